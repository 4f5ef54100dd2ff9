"""Reports of runs that have ended: from the journal, or from lines of `--json`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from vaetools.errors import (
    ExistsError,
    NothingMatchedError,
    OutputError,
    UnreadableError,
    UsageError,
)
from vaetools.image import decode_image, read_image
from vaetools.record import Record
from vaetools.report.sheet import MOST_INPUTS
from vaetools.runner import RunResult, RunSettings, recorded, run

from .operations import Copy, Invert, Raising
from .test_report import small_images

if TYPE_CHECKING:
    from .conftest import Plant

TREE = {"a.txt": b"abc", "b/c.txt": b"def", "bad.txt": b"bad"}


class Finding(Copy):
    """Finds something about each input."""

    def process(self, item: bytes) -> bytes:
        self.finding("well", level=1.5, **({"odd": {1, 2}} if item == b"def" else {}))
        return super().process(item)


def by_name(result: RunResult) -> dict[str, Record]:
    return {Path(record.file).name: record for record in result.records}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_failed_in_a_shard_and_was_done_since_is_done(plant: Plant, here: Path) -> None:
    plant("in", TREE)
    for part in (1, 2):
        run(Raising(ValueError("no")), ["in"], RunSettings("out", shard=(part, 2)))
    assert recorded("out").counts["failed"] == 1
    run(Copy(), ["in"], RunSettings("out"))
    assert {r.status for r in recorded("out").records} == {"done"}


def test_the_journal_gives_the_records_and_options_of_all_runs(plant: Plant, here: Path) -> None:
    plant("in", TREE)
    settings = RunSettings("out", video_quality=7)
    first = run(Raising(ValueError("no")), ["in"], settings)
    assert run(Raising(ValueError("no")), ["in"], settings).counts["skipped"] == 2
    result = recorded("out")
    assert result.options == {"video quality": "7"}
    expected = {name: replace(r, ms=0, noted=True) for name, r in by_name(first).items()}
    assert {name: replace(r, ms=0) for name, r in by_name(result).items()} == expected
    assert all(record.ms > 0 for record in result.records)
    assert "in 0" not in result.summary and result.summary.startswith("2 done, 1 failed")
    # What failed and is done now has failed no more.
    (here / "in" / "bad.txt").write_bytes(b"good")
    run(Raising(ValueError("no")), ["in"], settings)
    assert recorded("out").counts["done"] == 3


def test_the_journal_keeps_what_was_found_but_no_path_of_the_machine(
    plant: Plant, tmp_path: Path
) -> None:
    top = plant("in", TREE)
    assert run(Finding(), [top], RunSettings(tmp_path / "out")).exit_code == 0
    records = by_name(recorded(tmp_path / "out"))
    assert records["a.txt"].found == {"level": 1.5}
    assert records["a.txt"].message == f"{top / 'a.txt'}: well"
    assert records["c.txt"].found == {"level": 1.5, "odd": [1, 2]}  # JSON has no sets
    assert str(tmp_path) not in (tmp_path / "out" / ".vaetools.ndjson").read_text()


def test_a_run_without_work_adds_nothing_to_the_journal(plant: Plant, tmp_path: Path) -> None:
    top, out = plant("in", {"a.txt": b"1"}), tmp_path / "out"
    run(Copy(), [top], RunSettings(out))
    before = (out / ".vaetools.ndjson").read_bytes()
    run(Copy(), [top], RunSettings(out))
    assert (out / ".vaetools.ndjson").read_bytes() == before


def test_a_journal_in_another_folder_is_read_from_there(plant: Plant, tmp_path: Path) -> None:
    top = plant("in", {"a.txt": b"1"})
    run(Copy(), [top], RunSettings(tmp_path / "out", journal=tmp_path / "kept"))
    (record,) = recorded(tmp_path / "kept").records
    assert Path(record.out[0]).samefile(tmp_path / "out" / "a.txt")


def test_lines_of_json_give_the_records_and_other_lines_are_left_out(tmp_path: Path) -> None:
    records = small_images(tmp_path, 2)
    bad = Record("x", (), "copy", "failed", code="E001", message="x: why", found={"a": [1]})
    good = [record.as_dict() for record in (*records, bad)]
    wrong: list[Any] = [
        {**good[0], "out": "text"},
        {**good[0], "file": "a\0"},
        {**good[0], "status": "lost"},
        {**good[0], "ms": "fast"},
        {**good[0], "v": 2},
        {"v": 1, "file": "a"},
        [1],
    ]
    lines = [json.dumps(values) for values in (*wrong, *good)]
    (tmp_path / "run.ndjson").write_text("\n".join([*lines, "{", "[" * 100_000]))
    assert recorded(tmp_path / "run.ndjson").records == (*records, bad)


@pytest.mark.parametrize("line", ["{}", '{"v":1,"event":"done","facts":{"options":7}}', "\xff"])
def test_hostile_journals_are_read_without_harm(plant: Plant, tmp_path: Path, line: str) -> None:
    run(Copy(), [plant("in", {"a.txt": b"1"})], RunSettings(tmp_path / "out"))
    journal = tmp_path / "out" / ".vaetools.ndjson"
    done = json.loads(journal.read_text().splitlines()[-1])
    broken = [
        {**done, "facts": facts} for facts in ([], {"ms": "x"}, {"found": 3}, {"out": ["/x"]})
    ]
    broken.append({**done, "at": 10**400})
    journal.write_text("\n".join([*map(json.dumps, broken), line, ""]))
    (record,) = recorded(tmp_path / "out").records
    assert record.out == (str(tmp_path / "out" / "a.txt"),) and record.found == {}


def test_what_has_no_records_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for path in (tmp_path, tmp_path / "empty"):
        with pytest.raises(NothingMatchedError, match="no records of a run"):
            recorded(path)
    with pytest.raises(UnreadableError, match="No such file"):
        recorded(tmp_path / "none")
    (tmp_path / ".vaetools.ndjson").symlink_to(tmp_path / "empty")
    with pytest.raises(OutputError, match="is a link"):
        recorded(tmp_path)


# The contact sheet.


def test_a_contact_sheet_shows_inputs_and_outputs(tmp_path: Path) -> None:
    top = tmp_path / "in"
    top.mkdir()
    records = [replace(r, out=r.out[:1]) for r in small_images(top, 4)]
    failed = Record("x.png", (), "copy", "failed", code="E012", message="x.png: damaged")
    sheet = tmp_path / "sheet.png"
    RunResult((*records, failed)).write_contact_sheet(sheet)
    pixels = read_image(sheet).pixels
    RunResult(tuple(records[:3])).write_contact_sheet(sheet)  # an earlier sheet is replaced
    assert read_image(sheet).height < pixels.shape[0]
    colours = decode_image((top / "0.png").read_bytes()).pixels.reshape(-1, 3)
    assert (pixels.reshape(-1, 3)[:, None] == colours[7]).all(axis=2).sum() >= 8
    assert ((pixels == (30, 38, 179)).all(axis=2)).any()  # red text for the failure


def test_a_contact_sheet_has_a_limited_size(tmp_path: Path) -> None:
    records = [Record(f"{n}.txt", (), "copy", "done") for n in range(MOST_INPUTS + 50)]
    RunResult(tuple(records)).write_contact_sheet(tmp_path / "many.png")
    RunResult(tuple(records[:MOST_INPUTS])).write_contact_sheet(tmp_path / "most.png")
    assert read_image(tmp_path / "many.png").height == read_image(tmp_path / "most.png").height


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("sheet.jpg", UsageError, "name it sheet.jpg.png"),
        ("folder.png", UsageError, "is a folder"),
        ("mine.png", ExistsError, "is not a contact sheet"),
        ("link.png", ExistsError, "is not a contact sheet"),
        ("none/sheet.png/x.png", OutputError, "cannot be written"),
    ],
)
def test_a_contact_sheet_replaces_nothing_else(
    tmp_path: Path, name: str, error: type[Exception], said: str
) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "mine.png").write_bytes(b"mine")
    RunResult(()).write_contact_sheet(tmp_path / "sheet.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "sheet.png")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "sheet.png").touch()
    with pytest.raises(error, match=said):
        RunResult(()).write_contact_sheet(tmp_path / name)
    assert (tmp_path / "mine.png").read_bytes() == b"mine"


def test_colour_of_a_previewed_run_is_that_of_its_images(tmp_path: Path) -> None:
    (record,) = small_images(tmp_path, 1)
    result = run(Invert(), [record.file], RunSettings(tmp_path / "out.png"))
    result.write_contact_sheet(tmp_path / "sheet.png")
    sheet = read_image(tmp_path / "sheet.png").pixels.reshape(-1, 3)
    inverted = read_image(tmp_path / "out.png").pixels.reshape(-1, 3)
    assert (sheet == inverted[5]).all(axis=1).any()
