"""Equal messages are folded; different ones are not."""

from __future__ import annotations

import json

import pytest

from vaetools.cli.reporter import Reporter
from vaetools.record import Record
from vaetools.runner import RunResult


def failed(file: str, message: str, code: str = "E010", out: str = "out/x.png") -> Record:
    return Record(file, (out,), "denoise", "failed", code=code, message=f"{file}: {message}")


def lines(
    capsys: pytest.CaptureFixture[str], records: list[Record], **flags: bool
) -> tuple[list[str], list[str]]:
    """What the reporter prints on stderr before the end of the run, and at the end."""
    reporter = Reporter(**{"as_json": False, "quiet": True, **flags})
    for record in records:
        reporter.record(record)
    during = capsys.readouterr().err.splitlines()
    reporter.finish(RunResult(tuple(records)))
    return during, capsys.readouterr().err.splitlines()


def test_the_first_comes_at_once_and_the_count_at_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    records = [failed(f"in/{i}.jpg", "is not an image") for i in range(5000)]
    during, after = lines(capsys, records)
    assert during == ["E010 in/0.jpg: is not an image"]
    assert after == ["E010 4,999 more inputs: is not an image"]


def test_messages_that_differ_in_code_or_text_are_all_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    records = [
        failed("a.jpg", "is cut after 7 bytes"),
        failed("b.jpg", "is cut after 8 bytes"),
        failed("c.jpg", "is cut after 7 bytes", code="E012"),
    ]
    during, after = lines(capsys, records)
    assert len(during) == 3
    assert not after


@pytest.mark.parametrize(
    "message",
    [
        "out/{stem}.png: cannot be written: Permission denied",
        "no mask masks/{stem}_mask.png",
        "masks/{stem}.jpg: is not an image",
    ],
)
def test_names_of_the_input_and_its_outputs_do_not_count(
    capsys: pytest.CaptureFixture[str], message: str
) -> None:
    records = [
        failed(f"in/{stem}.jpg", message.format(stem=stem), out=f"out/{stem}.png")
        for stem in ("a", "b1", "c_2")
    ]
    during, after = lines(capsys, records)
    assert len(during) == 1
    assert after == [f"E010 2 more inputs: {message.format(stem='a')}"]


def test_verbose_prints_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    records = [failed(f"in/{i}.jpg", "is not an image") for i in range(4)]
    during, after = lines(capsys, records, verbose=True)
    assert during == [f"E010 in/{i}.jpg: is not an image" for i in range(4)]
    assert not after


def test_json_keeps_every_record(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter(as_json=True, quiet=True)
    for i in range(4):
        reporter.record(failed(f"in/{i}.jpg", "is not an image"))
    out, err = capsys.readouterr()
    assert [json.loads(line)["file"] for line in out.splitlines()] == [
        f"in/{i}.jpg" for i in range(4)
    ]
    assert len(err.splitlines()) == 1
