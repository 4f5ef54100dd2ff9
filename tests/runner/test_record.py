"""Records, error codes, totals and the summary line."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest

from vaetools.errors import (
    EmptyFileError,
    ModelBrokenError,
    OutputError,
    RunError,
    UsageError,
    VaetoolsError,
)
from vaetools.record import Record, Status, format_bytes, format_seconds, json_value
from vaetools.runner.record import explain
from vaetools.runner.result import INTERRUPTED, RunResult


def record(status: Status, size: int = 1_500_000) -> Record:
    return Record("a.jpg", ("out/a.vae",), "compress", status, bytes_in=size, bytes_out=size // 10)


def test_a_record_is_one_line_of_json_for_any_name() -> None:
    name = os.fsdecode(b"a\n\xff\xc3\xa9.jpg")
    facts = Record(name, (name,), "copy", "failed", code="E012", width=3, ms=1.5).as_dict()
    line = json.dumps(facts)
    assert "\n" not in line
    assert line.isascii()
    wanted = {"v", "file", "out", "op", "status", "code", "message", "bytes_in", "bytes_out"}
    assert set(json.loads(line)) == wanted | {"width", "height", "ms"}
    assert json.loads(line)["file"] == name
    assert Record("a", (), "copy", "done", device="cpu").as_dict()["device"] == "cpu"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([0.5, np.nan]), [0.5, None]),
        (float("inf"), None),
        ({1: (float("nan"), Path("a"))}, {"1": [None, "a"]}),
        ({"a": None, "b": True}, {"a": None, "b": True}),
        (1 + 2j, "(1+2j)"),
    ],
)
def test_findings_of_plugins_are_valid_json(value: object, expected: object) -> None:
    found = json_value(value)
    assert found == expected
    json.dumps(found, allow_nan=False)


def test_a_result_adds_up() -> None:
    result = RunResult((record("done"), record("done"), record("skipped")), left_alone=4, seconds=3)
    assert result.counts == {"done": 2, "failed": 0, "skipped": 1, "planned": 0, "left alone": 4}
    assert (result.bytes_in, result.bytes_out) == (3_000_000, 300_000)
    assert result.exit_code == 0
    assert result.summary == "2 done, 1 skipped, 4 left alone, 3.0 MB -> 300 kB in 3.0 s"


def test_what_is_left_alone_is_named(monkeypatch) -> None:
    from vaetools.image import containers

    monkeypatch.setattr(containers, "is_installed", lambda extra: extra != "heif")
    kinds = {".pdf": 2, ".heic": 3, "": 1}
    result = RunResult((record("done"),), left_alone=6, other_kinds=kinds)
    named = "3 HEIC (pip install 'vaetools[heif]'), 2 PDF, 1 without a suffix"
    assert f"1 done, 6 left alone: {named}, " in result.summary
    many = RunResult((), left_alone=9, other_kinds={f".{i}": 1 for i in range(9)})
    assert many.summary.startswith(
        "0 done, 9 left alone: 1 0, 1 1, 1 2, 1 3, 1 4, 4 of other kinds"
    )


def test_failures_and_interrupts_are_in_the_exit_code_and_in_the_summary() -> None:
    failed = RunResult((record("failed"),))
    assert failed.exit_code == 1
    assert failed.summary == "0 done, 1 failed in 0.0 s"
    stopped = RunResult((record("done"),), unreached=1200, stopped=INTERRUPTED)
    assert stopped.exit_code == 130
    assert stopped.summary.endswith(
        "; interrupted, 1,200 inputs not processed; run the same command again to resume"
    )
    full = RunResult((), unreached=1, stopped="stopped because the disk is full")
    assert full.exit_code == 1
    assert "; stopped because the disk is full, 1 input not processed; run" in full.summary


def test_the_result_has_the_device_of_its_records() -> None:
    assert RunResult((record("done"),)).device is None
    on_gpu = dataclasses.replace(record("done"), device="cuda:0")
    assert RunResult((on_gpu, record("failed"), on_gpu)).device == "cuda:0"
    on_cpu = dataclasses.replace(record("done"), device="cpu")
    assert RunResult((on_gpu, on_cpu)).device == "cpu, cuda:0"


def test_the_repr_is_the_summary_and_the_device() -> None:
    on_cpu = dataclasses.replace(record("done"), device="cpu")
    result = RunResult((on_cpu, record("failed")), seconds=4.24)
    assert repr(result) == "<RunResult: 1 done, 1 failed, 1.5 MB -> 150 kB in 4.2 s on cpu>"
    assert repr(RunResult(())) == "<RunResult: 0 done in 0.0 s>"


def test_a_run_without_failures_is_returned() -> None:
    result = RunResult((record("done"), record("skipped"), record("planned")), left_alone=2)
    assert result.failures == ()
    assert result.raise_for_failures() is result


def test_failures_are_raised_with_their_records() -> None:
    _, message = explain(EmptyFileError("is empty"), "b.jpg")
    first = dataclasses.replace(record("failed"), file="b.jpg", code="E011", message=message)
    other = dataclasses.replace(record("failed"), file="c.jpg", code="E012")
    result = RunResult((record("done"), first, record("skipped"), other))
    with pytest.raises(RunError) as caught:
        result.raise_for_failures()
    assert caught.value.line == "E090 2 of 4 inputs failed, first: E011 b.jpg: is empty"
    assert caught.value.failures == [first, other] == list(result.failures)
    assert caught.value.exit_code == 1
    assert isinstance(caught.value, VaetoolsError)


def test_a_run_that_stopped_early_is_raised() -> None:
    stopped = RunResult((record("done"),), unreached=1200, stopped=INTERRUPTED)
    with pytest.raises(RunError, match=r"^interrupted, 1,200 inputs not processed$") as caught:
        stopped.raise_for_failures()
    assert caught.value.failures == []
    both = RunResult((record("failed"),), unreached=3, stopped="stopped because the disk is full")
    with pytest.raises(RunError, match=r"1 of 4 inputs failed.*; stopped because .*, 3 inputs not"):
        both.raise_for_failures()


def test_a_dry_run_says_what_is_planned() -> None:
    assert RunResult((record("planned"),)).summary == "1 planned in 0.0 s"


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (EmptyFileError("is empty"), "E011", "in/a.jpg: is empty"),
        (OutputError("is full", file="out"), "E070", "in/a.jpg: out: is full"),
        (ModelBrokenError("gave NaN", remedy="verify it"), "E044", "in/a.jpg: gave NaN; verify it"),
        (UsageError("no"), "E002", "in/a.jpg: no"),
        (SystemExit(3), "E050", "in/a.jpg: the operation tried to exit (3)"),
        (ValueError("two\nlines"), "E099", "in/a.jpg: ValueError: two lines; this is a bug"),
        (MemoryError(), "E099", "in/a.jpg: MemoryError; use fewer --jobs"),
        (KeyError("x"), "E099", "in/a.jpg: KeyError: 'x'"),
        (GeneratorExit(), "E099", "in/a.jpg: GeneratorExit"),
        (Unprintable(), "E099", "in/a.jpg: Unprintable"),
    ],
)
def test_anything_becomes_a_code_and_one_line(error: BaseException, code: str, text: str) -> None:
    assert explain(error, "in/a.jpg")[0] == code
    assert explain(error, "in/a.jpg")[1].startswith(text)


def test_one_error_for_many_inputs_names_each() -> None:
    error = EmptyFileError("is empty")
    assert explain(error, "a.jpg") == ("E011", "a.jpg: is empty")
    assert explain(error, "b.jpg") == ("E011", "b.jpg: is empty")


def test_unusual_names_stay_on_one_printable_line() -> None:
    name = os.fsdecode(b"a\n\x1b[31m\xff.jpg")
    _, message = explain(EmptyFileError(f"is empty {name}"), name)
    message.encode("utf-8")
    assert message.isprintable()


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_990, "10 kB"),
        (999_600, "1.0 MB"),
        (71_200_000, "71 MB"),
        (3 * 10**12, "3.0 TB"),
    ],
)
def test_sizes_as_text(count: int, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.44, "0.4 s"), (59.9, "59.9 s"), (262, "4:22"), (3862.2, "1:04:22")]
)
def test_times_as_text(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
