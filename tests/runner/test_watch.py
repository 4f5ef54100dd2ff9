"""Watching folders: what is processed when, and how it ends."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.runner.conftest import Plant
from tests.runner.operations import Copy, Raising, Renaming
from vaetools.errors import OptionError, UsageError
from vaetools.operation import Operation
from vaetools.record import Record
from vaetools.runner import RunSettings, WatchResult, run, watch
from vaetools.runner.place import Place

SECONDS = 60
"""Patience; on an idle machine each wait takes a tenth of a second."""


class Watching:
    """A watch in a thread.

    Attributes:
        result: After the end.
    """

    def __init__(self, operation: Operation, folder: Path, out: Path, **settings: Any) -> None:
        self.records: list[Record] = []
        self.problems: list[str] = []
        self.result = WatchResult()
        self.stop = threading.Event()

        def call() -> None:
            self.result = watch(
                operation,
                [folder],
                RunSettings(out=out, **settings),
                interval=0.02,
                on_record=self.records.append,
                on_problem=self.problems.append,
                stop=self.stop,
            )

        self.thread = threading.Thread(target=call)
        self.thread.start()

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something to happen."""
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < deadline, (self.records, self.problems)
            time.sleep(0.005)

    def has(self, *rows: str) -> bool:
        """Whether there are exactly these records, as `done a.txt`."""
        return sorted(f"{r.status} {Path(r.file).name}" for r in self.records) == sorted(rows)


@contextmanager
def watching(operation: Operation, folder: Path, out: Path, **settings: Any) -> Iterator[Watching]:
    found = Watching(operation, folder, out, **settings)
    try:
        yield found
    finally:
        found.stop.set()
        found.thread.join(SECONDS)
    assert not found.thread.is_alive()


def test_files_are_processed_as_they_arrive(plant: Plant, tmp_path: Path) -> None:
    folder, out = plant("in", {"a.txt": b"abc"}), tmp_path / "out"
    with watching(Copy(), folder, out) as found:
        found.until(lambda: found.has("done a.txt"))
        plant("in/new/deep", {"b.txt": b"xyz"})
        found.until(lambda: found.has("done a.txt", "done b.txt"))
    assert (out / "new/deep/b.txt").read_bytes() == b"zyx"
    assert found.result.summary.startswith("2 done, 6 B -> 6 B, watched for ")
    assert found.result.exit_code == 0
    done = run(Copy(), [folder], RunSettings(out=out))
    assert done.counts["skipped"] == 2, "the journal is that of any run"


def test_what_is_done_is_not_done_again(plant: Plant, tmp_path: Path) -> None:
    folder, out = plant("in", {"a.txt": b"abc", "b.txt": b"def"}), tmp_path / "out"
    run(Copy(), [folder / "a.txt"], RunSettings(out=f"{out}/"))
    with watching(Copy(), folder, out) as found:
        found.until(lambda: found.has("skipped a.txt", "done b.txt"))


def test_a_failure_ends_nothing_and_is_tried_again_when_the_file_changes(
    plant: Plant, tmp_path: Path
) -> None:
    folder, out = plant("in", {"a.txt": b"bad"}), tmp_path / "out"
    failures = out / ".vaetools.failed.ndjson"
    with watching(Raising(ValueError("no")), folder, out) as found:
        found.until(lambda: found.has("failed a.txt") and failures.exists())
        assert json.loads(failures.read_text())["code"] == "E099"
        plant("in", {"b.txt": b"good", "c.txt": b"bad too"})
        found.until(lambda: len(found.records) == 3)
        (folder / "a.txt").write_bytes(b"fine now")
        found.until(lambda: len(found.records) == 4)
    assert (out / "a.txt").read_bytes() == b"fine now"
    assert found.result.exit_code == 1
    assert [Path(r.file).name for r in found.result.failures] == ["c.txt"]
    assert found.result.summary.startswith("2 done, 1 failed")


def test_a_changed_input_replaces_its_output(plant: Plant, tmp_path: Path) -> None:
    folder, out = plant("in", {"a.txt": b"abc"}), tmp_path / "out"
    with watching(Copy(), folder, out) as found:
        found.until(lambda: found.has("done a.txt"))
        (folder / "a.txt").write_bytes(b"longer")
        found.until(lambda: len(found.records) == 2)
    assert (out / "a.txt").read_bytes() == b"regnol"


@pytest.mark.parametrize("name", ["in", "in/out"])
def test_outputs_in_the_watched_folder_are_no_inputs(
    name: str, plant: Plant, tmp_path: Path
) -> None:
    class Longer(Copy):
        def outputs(self, source: Any) -> Any:
            return (source.with_name(f"long-{source.name}"),)

    folder = plant("in", {"a.txt": b"abc"})
    with watching(Longer(), folder, tmp_path / name) as found:
        found.until(lambda: found.has("done a.txt"))
        plant("in", {"b.txt": b"abc"})
        found.until(lambda: len(found.records) >= 2)
        time.sleep(0.2)
        assert found.has("done a.txt", "done b.txt")


def test_a_file_of_the_user_fails_one_input_only(plant: Plant, tmp_path: Path) -> None:
    files = {f"{name}.txt": b"abc" for name in "abcdefg"}
    folder, out = plant("in", files), plant("out", {"c.txt": b"mine"})
    with watching(Copy(), folder, out) as found:
        found.until(lambda: len(found.records) == 7)
    assert (out / "c.txt").read_bytes() == b"mine"
    assert [(r.code, Path(r.file).name) for r in found.result.failures] == [("E081", "c.txt")]


def without_first_letter(name: Path) -> tuple[Path]:
    return (name.with_name(f"{name.stem[1:]}.out"),)


ALL_RULES: dict[str, dict[str, Any]] = {
    "error": {},
    "skip": {"on_exists": "skip"},
    "replace": {"on_exists": "replace"},
    "force": {"force": True},
}


@pytest.mark.parametrize("rule", ALL_RULES)
def test_a_later_input_does_not_take_the_output_of_an_earlier_one(
    rule: str, plant: Plant, tmp_path: Path
) -> None:
    folder, out = plant("in", {"b1.txt": b"abc"}), tmp_path / "out"
    operation = Renaming(without_first_letter)
    with watching(operation, folder, out, **ALL_RULES[rule]) as found:
        found.until(lambda: found.has("done b1.txt"))
        plant("in", {"a1.txt": b"other", "c2.txt": b"cde"})
        found.until(lambda: found.has("done b1.txt", "done c2.txt", "failed a1.txt"))
    assert [r.code for r in found.result.failures] == ["E080"]
    assert (out / "1.out").read_bytes() == b"abc"
    with watching(operation, folder, out, **ALL_RULES[rule]) as found:  # a1.txt comes first now
        found.until(lambda: len(found.records) == 3)
    assert [(r.code, Path(r.file).name) for r in found.result.failures] == [("E080", "a1.txt")]
    assert (out / "1.out").read_bytes() == b"abc"


def test_an_output_is_free_when_its_input_is_gone(plant: Plant, tmp_path: Path) -> None:
    folder, out = plant("in", {"b1.txt": b"abc"}), tmp_path / "out"
    with watching(Renaming(without_first_letter), folder, out, on_exists="replace") as found:
        found.until(lambda: found.has("done b1.txt"))
        (folder / "b1.txt").unlink()
        plant("in", {"a1.txt": b"other"})
        found.until(lambda: found.has("done b1.txt", "done a1.txt"))
    assert (out / "1.out").read_bytes() == b"other"


def test_a_later_output_does_not_lie_below_an_earlier_one(plant: Plant, tmp_path: Path) -> None:
    folder, out = plant("in", {"b1.txt": b"abc"}), tmp_path / "out"
    with watching(Renaming(without_first_letter), folder, out, force=True) as found:
        found.until(lambda: found.has("done b1.txt"))
        plant("in/1.out", {"c2.txt": b"cde"})
        found.until(lambda: found.has("done b1.txt", "failed c2.txt"))
    assert [r.code for r in found.result.failures] == ["E080"]


def test_a_folder_that_is_gone_for_a_while(plant: Plant, tmp_path: Path) -> None:
    folder, out = plant("in", {"a.txt": b"abc"}), tmp_path / "out"
    with watching(Copy(), folder, out) as found:
        found.until(lambda: found.has("done a.txt"))
        folder.rename(tmp_path / "away")
        found.until(lambda: bool(found.problems))
        plant("away", {"b.txt": b"abc"})
        (tmp_path / "away").rename(folder)
        found.until(lambda: found.has("done a.txt", "done b.txt"))
    assert found.problems == [f"E002 {folder}: no such file or folder"]
    assert found.result.exit_code == 0


def test_one_run_at_a_time(plant: Plant, tmp_path: Path) -> None:
    folder, out = plant("in", {"a.txt": b"abc"}), tmp_path / "out"
    with watching(Copy(), folder, out) as found:
        found.until(lambda: found.has("done a.txt"))
        with pytest.raises(UsageError, match="another run is writing"):
            watch(Copy(), [folder], RunSettings(out=out))


def test_a_lost_output_folder_ends_it(plant: Plant, tmp_path: Path) -> None:
    folder, out = plant("in", {"a.txt": b"abc"}), tmp_path / "out"
    found = Watching(Copy(), folder, out)
    found.until(lambda: found.has("done a.txt"))
    out.rename(tmp_path / "moved")
    plant("in", {"b.txt": b"abc"})
    found.thread.join(SECONDS)
    assert not found.thread.is_alive()
    assert not out.exists()
    assert "moved, removed or replaced" in found.result.summary
    assert found.result.exit_code == 1


def test_an_output_folder_is_lost_while_the_journal_is_read(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between listing the journals and opening them."""
    folder, out = plant("in", {"a.txt": b"abc"}), tmp_path / "out"
    real = Place.journals

    def journals(self: Place) -> list[Path]:
        found = [*real(self)]
        if found and out.exists():
            out.rename(tmp_path / "moved")
        return found

    monkeypatch.setattr(Place, "journals", journals)
    found = Watching(Copy(), folder, out)
    found.until(lambda: found.has("done a.txt"))
    plant("in", {"b.txt": b"abc"})
    found.thread.join(SECONDS)
    assert not found.thread.is_alive()
    assert "moved, removed or replaced" in found.result.summary


def test_what_makes_no_sense_is_refused(plant: Plant, tmp_path: Path) -> None:
    folder, out = plant("in", {"a.txt": b"abc"}), tmp_path / "out"
    with pytest.raises(UsageError, match="dry_run has no effect"):
        watch(Copy(), [folder], RunSettings(out=out, dry_run=True))
    with pytest.raises(UsageError, match="no report of a watched folder"):
        watch(Copy(), [folder], RunSettings(out=out, report=tmp_path / "r.html"))
    with pytest.raises(UsageError, match="no such file"):
        watch(Copy(), [tmp_path / "none"], RunSettings(out=out))
    for interval in (0, math.inf, math.nan, 1e10):
        with pytest.raises(OptionError, match=f"interval={interval}"):
            watch(Copy(), [folder], RunSettings(out=out), interval=interval)
    assert not out.exists()
