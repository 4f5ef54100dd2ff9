"""Whole runs: what is written, skipped, refused and processed again."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest

from vaetools import device_memory
from vaetools.device_memory import MOVED, SMALLER
from vaetools.errors import (
    ClashError,
    EmptyFileError,
    ExistsError,
    NothingMatchedError,
    OptionError,
    OutputError,
    UsageError,
)
from vaetools.image import Image, decode_image, encode_image
from vaetools.runner import Record, RunResult, RunSettings, run
from vaetools.runner.atomic import temporary_path
from vaetools.runner.inputs import in_shard
from vaetools.runner.lock import folder_lock
from vaetools.runner.place import Place
from vaetools.runner.settings import work_key

from .operations import Copy, Invert, Raising, Renaming

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vaetools.operation import Operation

    from .conftest import Plant

TREE = {"a.txt": b"abc", "b/c.txt": b"def", "b/d/e.txt": b"", "notes.md": b"-"}


def tree(folder: Path) -> dict[str, bytes]:
    """All files that are not hidden."""
    files = [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".vaetools")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def state(folder: Path) -> Mapping[str, object]:
    """All names with contents and times; equal if nothing was written."""
    paths = [folder, *folder.rglob("*")]
    return {str(p): (p.lstat().st_mtime_ns, p.read_bytes() if p.is_file() else b"") for p in paths}


def go(
    operation: Operation, inputs: Any, out: Any, fingerprint: str = "", **settings: Any
) -> RunResult:
    listed = inputs if isinstance(inputs, list) else [inputs]
    return run(operation, listed, RunSettings(out, **settings), fingerprint=fingerprint)


def statuses(result: RunResult) -> dict[str, str]:
    return {Path(record.file).name: record.status for record in result.records}


def age(path: Path, seconds: int = 10) -> None:
    """Make a file older, so that writing it again certainly changes its time."""
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns - seconds * 10**9))


def test_the_tree_is_mirrored_and_inputs_are_not_touched(plant: Plant, tmp_path: Path) -> None:
    top, out = plant("in", TREE), tmp_path / "new" / "out"
    before, heard = state(top), list[Record]()
    result = run(Copy(), [top], RunSettings(out), on_record=heard.append)
    assert tree(out) == {"a.txt": b"cba", "b/c.txt": b"fed", "b/d/e.txt": b""}
    assert state(top) == before
    assert result.counts == {"done": 3, "failed": 0, "skipped": 0, "planned": 0, "left alone": 1}
    assert (result.exit_code, result.bytes_in, result.bytes_out) == (0, 6, 6)
    assert list(result.records) == heard
    record = next(r for r in heard if r.file.endswith("c.txt"))
    assert record.out == (str(out / "b/c.txt"),)
    assert record.ms > 0


def test_an_operation_knows_the_relative_name(plant: Plant, tmp_path: Path) -> None:
    operation = Copy()
    go(operation, plant("in", TREE), tmp_path / "out")
    assert sorted(operation.seen) == ["a.txt", "b/c.txt", "b/d/e.txt"]


@pytest.mark.parametrize("jobs", [1, 4])
def test_the_same_tree_for_any_number_of_jobs(plant: Plant, tmp_path: Path, jobs: int) -> None:
    files = {f"{i % 5}/{i}.txt": bytes([i]) * i * 100 for i in range(60)}
    result = go(Copy(), plant("in", files), tmp_path / "out", jobs=jobs, memory=100_000)
    assert result.counts["done"] == 60
    assert tree(tmp_path / "out") == {name: data[::-1] for name, data in files.items()}


def test_several_outputs_of_one_input(plant: Plant, tmp_path: Path) -> None:
    three = Renaming(lambda s: [s.with_name(f"{s.stem}_{i}.txt") for i in range(3)])
    result = go(three, plant("in", {"a.txt": b"x"}), tmp_path / "out")
    assert tree(tmp_path / "out") == {f"a_{i}.txt": b"x" + bytes([i]) for i in range(3)}
    assert result.records[0].bytes_out == 6
    assert statuses(go(three, tmp_path / "in", tmp_path / "out")) == {"a.txt": "skipped"}
    (tmp_path / "out" / "a_1.txt").unlink()
    assert statuses(go(three, tmp_path / "in", tmp_path / "out")) == {"a.txt": "done"}


# Runs that are refused before any work.


@pytest.mark.parametrize("jobs", [1, 2])
def test_clashes_are_refused_and_nothing_is_written(
    plant: Plant, tmp_path: Path, jobs: int
) -> None:
    top = plant("in", {"a.png": b"1", "a.jpg": b"2", "b.png": b"3"})
    to_png = Renaming(lambda s: (s.with_suffix(".png"),))
    with pytest.raises(ClashError, match=r"a\.jpg and .*a\.png would both be .*--exclude"):
        go(to_png, [top / "a.jpg", top / "a.png", top / "b.png"], tmp_path / "out", jobs=jobs)
    assert not (tmp_path / "out").exists()


def test_files_of_one_name_from_two_folders_clash(plant: Plant, tmp_path: Path) -> None:
    one, other = plant("one", {"a.txt": b"1"}), plant("other", {"a.txt": b"2"})
    with pytest.raises(ClashError):
        go(Copy(), [one, other], tmp_path / "out")
    with pytest.raises(ClashError):
        go(Copy(), [one / "a.txt", other / "a.txt"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_clash_between_two_shards_is_seen_by_both(plant: Plant, tmp_path: Path) -> None:
    top = plant("in", {f"{i}.txt": b"" for i in range(8)})
    same = Renaming(lambda s: (s.with_name("same.txt"),))
    for part in (1, 2):
        with pytest.raises(ClashError):
            go(same, top, tmp_path / "out", shard=(part, 2))


def test_inputs_are_never_outputs(plant: Plant) -> None:
    top = plant("in", TREE)
    before = state(top)
    for settings in ({}, {"force": True}, {"on_exists": "replace"}):
        with pytest.raises(ClashError, match="inputs are never overwritten"):
            go(Copy(), top, top, **settings)
    assert state(top) == before


def test_nothing_matched(plant: Plant, tmp_path: Path) -> None:
    top = plant("in", {"notes.md": b""})
    with pytest.raises(
        NothingMatchedError,
        match=r"^no input matched the suffixes \.txt \.tar; ignored 1 other file: 1 MD$",
    ) as caught:
        go(Copy(), top, tmp_path / "out")
    assert caught.value.exit_code == 3
    with pytest.raises(UsageError, match="no such file"):
        go(Copy(), top / "none", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "wrong", [{"jobs": 0}, {"memory": 0}, {"shard": (3, 2)}, {"on_exists": "ask"}]
)
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        RunSettings("out", **wrong)


# Existing outputs.


def test_existing_outputs_are_refused_skipped_or_replaced(plant: Plant) -> None:
    top, out = plant("in", TREE), plant("out", {"a.txt": b"mine"})
    before = state(out)
    with pytest.raises(ExistsError, match=r"out/a\.txt: already exists"):
        go(Copy(), top, out)
    assert state(out) == before
    assert statuses(go(Copy(), top, out, on_exists="skip"))["a.txt"] == "skipped"
    assert tree(out) == {"a.txt": b"mine", "b/c.txt": b"fed", "b/d/e.txt": b""}
    assert statuses(go(Copy(), top, out, on_exists="replace"))["a.txt"] == "done"
    assert tree(out)["a.txt"] == b"cba"


def test_completed_inputs_are_skipped_and_not_written_again(plant: Plant, tmp_path: Path) -> None:
    top, out = plant("in", TREE), tmp_path / "out"
    go(Copy(), top, out)
    before = {name: (out / name).stat().st_mtime_ns for name in tree(out)}
    operation = Copy()
    result = go(operation, top, out)
    assert result.counts["skipped"] == 3
    assert result.exit_code == 0
    assert operation.seen == []
    assert {name: (out / name).stat().st_mtime_ns for name in tree(out)} == before
    assert "is already done" in result.records[0].message


def test_changed_inputs_and_lost_outputs_are_processed_again(plant: Plant, tmp_path: Path) -> None:
    top, out = plant("in", TREE), tmp_path / "out"
    go(Copy(), top, out)
    age(top / "a.txt")
    (top / "b/c.txt").write_bytes(b"12345")
    (out / "b/d/e.txt").unlink()
    assert set(statuses(go(Copy(), top, out)).values()) == {"done"}
    assert tree(out) == {"a.txt": b"cba", "b/c.txt": b"54321", "b/d/e.txt": b""}
    plant("in", {"new.txt": b"new"})
    assert statuses(go(Copy(), top, out)) == {
        "a.txt": "skipped", "c.txt": "skipped", "e.txt": "skipped", "new.txt": "done"
    }  # fmt: skip


@pytest.mark.parametrize(
    "change", [{"fingerprint": "2"}, {"strip": "all"}, {"video_quality": 20}, {"force": True}]
)
def test_other_settings_are_other_work(
    plant: Plant, tmp_path: Path, change: dict[str, Any]
) -> None:
    top, out = plant("in", TREE), tmp_path / "out"
    settings = {"fingerprint": "1", **change}
    go(Copy(), top, out, fingerprint="1")
    assert go(Copy(), top, out, **settings).counts["done"] == 3
    assert go(Copy(), top, out, fingerprint="1", resume=False).counts["done"] == 3
    assert go(Copy(), top, out, fingerprint="1", jobs=3).counts["skipped"] == 3


def test_an_output_that_the_user_changed_is_kept(plant: Plant, tmp_path: Path) -> None:
    top, out = plant("in", TREE), tmp_path / "out"
    go(Copy(), top, out)
    (out / "a.txt").write_bytes(b"painted over")
    with pytest.raises(ExistsError, match="was changed after it was written"):
        go(Copy(), top, out)
    assert tree(out)["a.txt"] == b"painted over"
    go(Copy(), top, out, force=True)
    assert tree(out)["a.txt"] == b"cba"


def test_results_of_another_folder_are_not_replaced(plant: Plant, tmp_path: Path) -> None:
    one, other = plant("2024", {"img1.txt": b"1"}), plant("2025", {"img1.txt": b"22"})
    go(Copy(), one, tmp_path / "out")
    with pytest.raises(ExistsError, match=r"made from .*2024/img1\.txt"):
        go(Copy(), other, tmp_path / "out")
    assert tree(tmp_path / "out") == {"img1.txt": b"1"}


def test_without_a_journal_nothing_is_replaced(plant: Plant, tmp_path: Path) -> None:
    top, out = plant("in", TREE), tmp_path / "out"
    go(Copy(), top, out)
    (out / ".vaetools.ndjson").unlink()
    with pytest.raises(ExistsError, match="and 2 more"):
        go(Copy(), top, out)


def test_a_failed_input_is_tried_again(plant: Plant, tmp_path: Path) -> None:
    top, out = plant("in", {"a.txt": b"bad", "b.txt": b"good"}), tmp_path / "out"
    assert statuses(go(Raising(ValueError()), top, out)) == {"a.txt": "failed", "b.txt": "done"}
    operation = Raising(ValueError())
    operation.process = lambda item: item  # type: ignore[method-assign]
    assert statuses(go(operation, top, out)) == {"a.txt": "done", "b.txt": "skipped"}


def test_an_output_folder_among_the_inputs(plant: Plant) -> None:
    """Outputs of a run are not inputs of the next one, below the input folder or in it."""
    below, same = plant("below", {"a.txt": b"a"}), plant("same", {"a.txt": b"a"})
    more = Renaming(lambda s: (s.with_name(f"{s.stem}-1.txt"), s.with_name(f"{s.stem}-2.txt")))
    for _ in range(2):
        go(Copy(), below, below / "out")
        go(more, same, same)
    assert set(tree(below)) == {"a.txt", "out/a.txt"}
    assert set(tree(same)) == {"a.txt", "a-1.txt", "a-2.txt"}


def test_a_dry_run_writes_nothing(plant: Plant, tmp_path: Path) -> None:
    top = plant("in", TREE)
    before = state(tmp_path)
    result = go(Copy(), top, tmp_path / "out" / "deep", dry_run=True)
    assert set(statuses(result).values()) == {"planned"}
    assert result.records[0].out == (str(tmp_path / "out" / "deep" / "a.txt"),)
    assert state(tmp_path) == before
    go(Copy(), top / "b", tmp_path / "out")
    before = state(tmp_path)
    plant_again = go(Copy(), [top / "b", top / "a.txt"], tmp_path / "out", dry_run=True)
    assert plant_again.counts["skipped"] == 2
    assert plant_again.counts["planned"] == 1
    assert state(tmp_path) == before


def test_one_file_to_one_file_leaves_no_other_file(plant: Plant, tmp_path: Path) -> None:
    top = plant("in", TREE)
    out = tmp_path / "new" / "x.txt"
    dead = out.with_name(".x.txt.999999999.part")
    alive = out.with_name(f".x.txt.{os.getppid()}.part")
    plant("new", {dead.name: b"", alive.name: b"", ".y.txt.999999999.part": b""})
    assert go(Copy(), top / "a.txt", out).exit_code == 0
    assert {path.name for path in out.parent.iterdir()} == {
        "x.txt",
        alive.name,
        ".y.txt.999999999.part",
    }
    with pytest.raises(ExistsError):
        go(Copy(), top / "a.txt", out)
    assert go(Copy(), top / "a.txt", out, on_exists="replace").counts["done"] == 1


def test_temporary_files_of_killed_runs_are_removed(plant: Plant, tmp_path: Path) -> None:
    top, out = plant("in", TREE), tmp_path / "out"
    go(Copy(), top, out)
    stale = [out / ".gone.txt.999999999.part", out / "b" / f".c.txt.{os.getppid()}.part"]
    kept = [out / ".user.part", out / "other" / ".x.999999999.part"]
    plant("out", {str(path.relative_to(out)): b"half" for path in stale + kept})
    go(Copy(), top, out)
    assert [path.exists() for path in stale + kept] == [False, False, True, True]


def test_shards_make_one_tree(plant: Plant, tmp_path: Path) -> None:
    files = {f"{i}.txt": b"%d" % i for i in range(40)}
    top, out = plant("in", files), tmp_path / "out"
    counts = []
    for part in (1, 2, 3):
        other = temporary_path(out / "0.txt").with_name(".gone.txt.1.part")
        plant("out", {other.name: b""})
        counts.append(go(Copy(), top, out, shard=(part, 3)).counts["done"])
        assert other.exists()  # perhaps another shard is writing it just now
    assert sum(counts) == 40
    assert min(counts) > 0
    assert {k: v for k, v in tree(out).items() if k[0] != "."} == {
        name: data[::-1] for name, data in files.items()
    }
    other.rename(other.with_name(".gone.txt.999999999.part"))
    assert go(Copy(), top, out).counts["skipped"] == 40
    assert not list(out.glob("*.part"))


def test_temporary_files_of_live_runs_are_kept(plant: Plant, tmp_path: Path) -> None:
    """Of a run whose OUT lies in this one, and of a process that shares the lock."""
    top, out = plant("in", TREE), tmp_path / "out"
    alive = out / "b" / f".inner.txt.{os.getppid()}.part"
    plant("out", {str(alive.relative_to(out)): b"half"})
    go(Copy(), top, out)
    assert alive.exists()
    name = next(path for path in TREE if in_shard(PurePosixPath(path), (1, 2)))
    own = (out / name).with_name(f".{PurePosixPath(name).name}.{os.getppid()}.part")
    own.touch()
    go(Copy(), top, out, shard=(1, 2))
    assert own.exists()


def test_shards_keep_temporary_files_of_the_same_name(plant: Plant, tmp_path: Path) -> None:
    files = {f"{folder}/{i}.txt": b"" for folder in "ab" for i in range(9)}
    top, out = plant("in", files), tmp_path / "out"
    parts = {name: 1 if in_shard(PurePosixPath(name), (1, 2)) else 2 for name in files}
    other = next(f"a/{i}.txt" for i in range(9) if parts[f"a/{i}.txt"] != parts[f"b/{i}.txt"])
    left = (out / other).with_name(f".{PurePosixPath(other).name}.999999999.part")
    plant("out", {str(left.relative_to(out)): b"half"})
    go(Copy(), top, out, shard=(3 - parts[other], 2))
    assert left.exists()  # the other shard removes it
    go(Copy(), top, out, shard=(parts[other], 2))
    assert not left.exists()


def test_a_locked_folder_is_refused(plant: Plant, tmp_path: Path) -> None:
    top, out = plant("in", TREE), tmp_path / "out"
    with folder_lock(Place(out), None), pytest.raises(UsageError, match="another run"):
        go(Copy(), top, out)
    assert tree(out) == {}


# Bad inputs and bad output folders.


def test_an_image_of_another_folder_is_not_done_already(plant: Plant, tmp_path: Path) -> None:
    """Not even with the same name, size and time, as after `tar --mtime`."""
    first, second = plant("a", {"x.txt": b"abc"}), plant("b", {"x.txt": b"xyz"})
    for folder in (first, second):
        os.utime(folder / "x.txt", (10**9, 10**9))
    out = tmp_path / "out"
    assert go(Copy(), first, out).counts["done"] == 1
    assert go(Copy(), first, out).counts["skipped"] == 1
    with pytest.raises(ExistsError):
        go(Copy(), second, out)
    assert (out / "x.txt").read_bytes() == b"cba"
    (first / "x.txt").unlink()
    os.link(second / "x.txt", first / "x.txt")  # the same file by another name
    assert go(Copy(), first, out).counts["skipped"] == 1
    assert go(Copy(), second, out).counts["skipped"] == 1


@pytest.mark.parametrize("name", ["include", "exclude"])
def test_one_pattern_may_stand_alone(plant: Plant, tmp_path: Path, name: str) -> None:
    top = plant("in", {"a.txt": b"a", "b.txt": b"b"})
    result = go(Copy(), top, tmp_path / "out", **{name: "a.*"})
    (record,) = result.records
    assert Path(record.file).name == ("a.txt" if name == "include" else "b.txt")
    with pytest.raises(OptionError, match="is not a pattern"):
        RunSettings(tmp_path, **{name: [1]})


@pytest.mark.parametrize("shard", [(1,), (1, 2, 3), (1.0, 2), ("1", "2")])
def test_a_shard_is_two_whole_numbers(shard: Any) -> None:
    with pytest.raises(OptionError, match=r"is not \(i, N\)"):
        RunSettings("out", shard=shard)


def test_unusual_names_are_processed_and_resumed(plant: Plant, tmp_path: Path) -> None:
    names = ["a\nb.txt", "é ü 漢.txt", os.fsdecode(b"\xff\xfe.txt"), "x" * 251 + ".txt", " .txt"]
    top, out = plant("in", dict.fromkeys(names, b"12")), tmp_path / "out"
    assert go(Copy(), top, out).counts["done"] == 5
    assert tree(out) == dict.fromkeys(names, b"21")
    assert go(Copy(), top, out).counts["skipped"] == 5


def test_a_name_that_gets_too_long_costs_one_input(plant: Plant, tmp_path: Path) -> None:
    longer = Renaming(lambda s: (s.with_name(s.name + ".vae"),))
    result = go(longer, plant("in", {"x" * 251 + ".txt": b"", "y.txt": b""}), tmp_path / "out")
    assert result.counts["done"] == 1
    (failed,) = [record for record in result.records if record.status == "failed"]
    assert failed.code == "E070"
    assert "too long" in failed.message


def test_anything_but_a_file_is_never_opened(plant: Plant, tmp_path: Path) -> None:
    top = plant("in", {"a.txt": b"1", "x.txt/y.txt": b"2"})
    os.mkfifo(top / "fifo.txt")
    (top / "loop").symlink_to(top)
    result = go(Copy(), top, tmp_path / "out")
    assert statuses(result) == {"a.txt": "done", "y.txt": "done", "fifo.txt": "failed"}
    (failed,) = [record for record in result.records if record.status == "failed"]
    assert (failed.code, failed.out) == ("E015", ())
    assert failed.message == f"{top}/fifo.txt: is a FIFO, not a file"
    assert result.exit_code == 1


def test_an_unreadable_file_costs_one_input(nobody: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (nobody / name).write_bytes(b"1")
    (nobody / "a.txt").chmod(0)
    result = go(Copy(), nobody, nobody / "out")
    assert statuses(result) == {"a.txt": "failed", "b.txt": "done"}
    assert {r.code for r in result.records} == {"E015", ""}


def test_a_read_only_output_folder(nobody: Path) -> None:
    (nobody / "a.txt").write_bytes(b"1")
    (nobody / "sub").mkdir()
    (nobody / "sub" / "b.txt").write_bytes(b"2")
    (nobody / "out" / "sub").mkdir(parents=True)
    (nobody / "out" / "sub").chmod(0o500)
    result = go(Copy(), nobody, nobody / "out")
    assert statuses(result) == {"a.txt": "done", "b.txt": "failed"}
    assert {r.code for r in result.records} == {"", "E070"}
    (nobody / "locked").mkdir(0o500)
    with pytest.raises(OutputError, match="cannot be written to"):
        go(Copy(), nobody / "a.txt", nobody / "locked")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("plugin\ndefect"), "E099"),
        (MemoryError(), "E099"),
        (SystemExit(2), "E050"),
        (KeyboardInterrupt(), "E099"),
        (EmptyFileError("is empty"), "E011"),
    ],
)
def test_an_operation_that_raises_costs_one_input(
    plant: Plant, tmp_path: Path, error: BaseException, code: str
) -> None:
    top = plant("in", {f"{i}.txt": b"bad" if i == 5 else b"good" for i in range(20)})
    result = go(Raising(error), top, tmp_path / "out", jobs=2)
    assert result.counts["done"] == 19
    (failed,) = [record for record in result.records if record.status == "failed"]
    assert failed.code == code
    assert failed.message.startswith(f"{top}/5.txt: ")
    assert "\n" not in failed.message
    assert len(tree(tmp_path / "out")) == 19


def test_the_device_is_that_of_the_model(plant: Plant, tmp_path: Path) -> None:
    class Model:
        @property
        def device(self) -> str:
            if not self.works:
                raise RuntimeError("lost")
            return "cuda:0"

        works = True

    operation = Copy()
    operation.model = model = Model()
    top = plant("in", {"a.txt": b""})
    result = go(operation, top, tmp_path / "out", report=tmp_path / "report.html")
    facts = result.records[0].as_dict()
    assert (facts["device"], facts["onnxruntime"]) == ("cuda:0", onnxruntime.__version__)
    assert (result.device, result.onnxruntime) == ("cuda:0", onnxruntime.__version__)
    assert onnxruntime.__version__ in (tmp_path / "report.html").read_text(encoding="utf-8")
    model.works = False
    assert go(operation, top, tmp_path / "out", force=True).records[0].code == "E099"


def test_a_device_that_lacks_memory_is_in_the_record(plant: Plant, tmp_path: Path) -> None:
    """Both devices are named, for the input that needed them, and the run goes on."""

    class Model:
        device = "cuda:0"

    class Large(Copy):
        def process(self, item: Any) -> Any:
            if item == b"large":
                for what in (SMALLER, MOVED):
                    device_memory.note("cuda:0", what)
            return super().process(item)

    operation = Large()
    operation.model = Model()  # type: ignore[attr-defined]
    top = plant("in", {"a.txt": b"large", "b.txt": b"small"})
    result = go(operation, top, tmp_path / "out")
    large, small = sorted(result.records, key=lambda record: record.file)
    assert (large.status, large.device) == ("done", "cuda:0, cpu")
    assert large.message == (
        f"{top}/a.txt: cuda:0 had too little memory: smaller tiles were computed; "
        "cuda:0 had too little memory: parts were computed on the CPU"
    )
    assert (small.status, small.device, small.message) == ("done", "cuda:0", "")
    assert result.device == "cpu, cuda:0"


@pytest.mark.parametrize("given", [None, 3, "text", [b"1", b"2"], [], [None]])
def test_wrong_results_cost_one_input(plant: Plant, tmp_path: Path, given: Any) -> None:
    operation = Copy()
    operation.process = lambda item: given  # type: ignore[method-assign]
    result = go(operation, plant("in", {"a.txt": b""}), tmp_path / "out")
    assert result.records[0].code == "E050"
    assert tree(tmp_path / "out") == {}


# Images.


def image(height: int, width: int) -> Image:
    pixels = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    return Image.from_array(pixels)


@pytest.mark.parametrize("suffix", [None, ".png"])
def test_images_are_decoded_and_encoded(plant: Plant, tmp_path: Path, suffix: str | None) -> None:
    data = encode_image(image(5, 7), "png")
    top = plant("in", {"a.png": data, "b/broken.png": b"not an image", "notes.txt": b""})
    result = go(Invert(suffix), top, tmp_path / "out")
    assert statuses(result) == {"a.png": "done", "broken.png": "failed"}
    done = next(record for record in result.records if record.status == "done")
    assert (done.width, done.height, done.bytes_in) == (7, 5, len(data))
    failed = next(record for record in result.records if record.status == "failed")
    assert failed.code == "E010"
    back = decode_image((tmp_path / "out/a.png").read_bytes(), file="a.png")
    assert np.array_equal(back.pixels, 255 - image(5, 7).pixels)
    assert done.bytes_out == (tmp_path / "out/a.png").stat().st_size


def test_a_file_too_large_for_any_image_is_not_read(plant: Plant, tmp_path: Path) -> None:
    top = plant("in", {"a.png": b""})
    with (top / "a.png").open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.truncate(2**34)
    result = go(Invert(), top, tmp_path / "out")
    assert result.records[0].code == "E013"
    assert "--max-pixels" in result.records[0].message


def test_only_settings_that_change_outputs_change_the_work_key() -> None:
    settings = RunSettings("out")
    key = work_key("1", settings)
    assert work_key("1", dataclasses.replace(settings, jobs=3, memory=5)) == key
    assert work_key("1", dataclasses.replace(settings, strict=False)) != key
    assert work_key("2", settings) != key


def test_failures_are_listed_in_a_file_until_they_are_fixed(plant: Plant, tmp_path: Path) -> None:
    top = plant("in", {"good.txt": b"fine", "bad.txt": b"bad"})
    out = tmp_path / "out"
    assert go(Raising(ValueError("no")), top, out).exit_code == 1
    kept = out / ".vaetools.failed.ndjson"
    (record,) = map(json.loads, kept.read_text().splitlines())
    assert record["file"].endswith("bad.txt") and record["status"] == "failed"
    (top / "bad.txt").write_bytes(b"mended")
    assert go(Raising(ValueError("no")), top, out).exit_code == 0
    assert not kept.exists()
