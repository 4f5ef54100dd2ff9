"""Where the journal lies, and that nothing in an output folder from a stranger is trusted."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from vaetools.errors import OutputError, UsageError
from vaetools.runner import RunResult, RunSettings, run
from vaetools.runner.atomic import temporary_path
from vaetools.runner.entries import MAX_LINE
from vaetools.runner.lock import folder_lock
from vaetools.runner.place import Place

from .operations import Raising

if TYPE_CHECKING:
    from .conftest import Plant

FILES = {"owl/a.txt": b"a", "robin/b.txt": b"bb", "c.txt": b"bad"}


def go(top: Path, out: Path, **settings: Any) -> RunResult:
    return run(Raising(ValueError("no")), [top], RunSettings(out, **settings))


def hidden(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name.startswith(".")}


@contextmanager
def soon(seconds: int = 20) -> Iterator[None]:
    """Fail instead of hanging."""

    def fail(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# The place.


def test_the_only_folders_are_those_of_outputs(plant: Plant, tmp_path: Path) -> None:
    """Loaders such as torchvision's ImageFolder take each folder, hidden or not, for a class."""
    top, out = plant("in", FILES), tmp_path / "out"
    go(top, out)
    with os.scandir(out) as entries:
        assert sorted(entry.name for entry in entries if entry.is_dir()) == ["owl", "robin"]
    assert hidden(out) == {".vaetools.ndjson", ".vaetools.lock", ".vaetools.failed.ndjson"}


def test_the_journal_can_be_kept_elsewhere(plant: Plant, tmp_path: Path) -> None:
    top, out, journal = plant("in", FILES), tmp_path / "out", tmp_path / "new" / "journal"
    go(top, out, journal=journal)
    assert hidden(out) == set()
    assert hidden(journal) == {".vaetools.ndjson", ".vaetools.lock", ".vaetools.failed.ndjson"}
    assert go(top, out, journal=str(journal)).counts["skipped"] == 2
    with pytest.raises(UsageError, match="already exists"):
        go(top, out)


def test_a_journal_belongs_to_one_output_folder(plant: Plant, tmp_path: Path) -> None:
    top, out, journal = plant("in", FILES), tmp_path / "out", tmp_path / "journal"
    go(top, out, journal=journal)
    with pytest.raises(UsageError, match=r"journal of another output folder, .*/out; choose"):
        go(top, tmp_path / "other", journal=journal)
    assert not (tmp_path / "other").exists()
    out.rename(tmp_path / "other")
    assert go(top, tmp_path / "other", journal=journal).counts["skipped"] == 2


def test_folders_that_move_together_stay_together(plant: Plant, tmp_path: Path) -> None:
    old = plant("old", {f"in/{name}": data for name, data in FILES.items()})
    go(old / "in", old / "out", journal=old / "journal")
    new = tmp_path / "new"
    old.rename(new)
    plant("old", {})
    (tmp_path / "old" / "out").mkdir()
    assert go(new / "in", new / "out", journal=new / "journal").counts["skipped"] == 2


def test_a_journal_that_was_in_the_output_folder_is_read_too(plant: Plant, tmp_path: Path) -> None:
    top, out = plant("in", FILES), tmp_path / "out"
    go(top, out)
    assert go(top, out, journal=tmp_path / "journal").counts["skipped"] == 2


@pytest.mark.parametrize("journal", ["out", "out/"])
def test_the_output_folder_may_be_named_as_the_place(
    plant: Plant, tmp_path: Path, journal: str
) -> None:
    top, out = plant("in", FILES), tmp_path / "out"
    for _ in range(2):
        go(top, out, journal=f"{tmp_path}/{journal}")
    out.rename(tmp_path / "moved")
    out.mkdir()
    moved = tmp_path / "moved"
    assert go(top, moved, journal=moved).counts["skipped"] == 2


def test_a_single_output_file_has_no_journal(plant: Plant, tmp_path: Path) -> None:
    top = plant("in", FILES)
    with pytest.raises(UsageError, match="a single output file has no journal"):
        go(top / "owl/a.txt", tmp_path / "x.txt", journal=tmp_path / "journal")
    assert not (tmp_path / "journal").exists()


def test_a_place_that_cannot_be_written_is_one_error(plant: Plant, tmp_path: Path) -> None:
    top = plant("in", {**FILES, "file": b""})
    with pytest.raises(OutputError, match="cannot be written"):
        go(top, tmp_path / "out", journal=top / "file")


# Moves and privacy.


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / ".vaetools.ndjson").read_bytes().splitlines()]


def test_the_journal_names_inputs_relative_to_the_output_folder(
    plant: Plant, tmp_path: Path
) -> None:
    top, out = plant("in", FILES), tmp_path / "out"
    go(top, out)
    assert {line["source"] for line in lines(out)} == {"../in/owl/a.txt", "../in/robin/b.txt"}
    assert str(tmp_path) not in (out / ".vaetools.ndjson").read_text()


@pytest.mark.parametrize("moved", ["out", "both"])
def test_own_outputs_are_recognised_after_a_move(plant: Plant, tmp_path: Path, moved: str) -> None:
    here = plant("here", {f"in/{name}": data for name, data in FILES.items()})
    go(here / "in", here / "out")
    there = tmp_path / "there"
    if moved == "both":
        here.rename(there)
    else:
        there.mkdir()
        (here / "out").rename(there / "out")
    top = (there if moved == "both" else here) / "in"
    assert go(top, there / "out").counts["skipped"] == 2
    (top / "owl/a.txt").write_bytes(b"changed")
    assert go(top, there / "out").counts["done"] == 1
    assert (there / "out/owl/a.txt").read_bytes() == b"changed"


def test_a_copy_of_hard_links_is_not_changed(plant: Plant, tmp_path: Path) -> None:
    top, out, copy = plant("in", FILES), tmp_path / "out", tmp_path / "copy"
    go(top, out)
    shutil.copytree(out, copy, copy_function=os.link)
    before = (copy / ".vaetools.ndjson").read_bytes()
    plant("in", {"new.txt": b"new"})
    assert go(top, out).counts["done"] == 1
    assert (copy / ".vaetools.ndjson").read_bytes() == before
    assert go(top, out).counts["skipped"] == 3


# Folders of earlier versions.


def make_old(out: Path) -> Path:
    """Lay the journal out as earlier versions did."""
    old = out / ".vaetools"
    old.mkdir()
    values = lines(out)
    for value in values:
        del value["origin"]
        value["source"] = os.path.normpath(out / value["source"])
    (old / "journal.ndjson").write_text("".join(json.dumps(value) + "\n" for value in values))
    (old / "journal-2-of-3.ndjson").write_text('{"v":1,"ev')
    (old / "lock").touch()
    (old / "failed.ndjson").write_text("{}\n")
    for name in hidden(out) - {".vaetools"}:
        (out / name).unlink()
    return old


def test_an_old_journal_is_taken_over(plant: Plant, tmp_path: Path) -> None:
    top, out = plant("in", FILES), tmp_path / "out"
    go(top, out)
    old = make_old(out)
    before = hidden(out)
    assert go(top, out, dry_run=True).counts["skipped"] == 2
    assert hidden(out) == before
    assert go(top, out, shard=(1, 1)).counts["skipped"] == 2
    assert old.is_dir()  # another shard may run in an earlier version
    (top / "owl/a.txt").write_bytes(b"changed")
    result = go(top, out)
    assert (result.counts["done"], result.counts["skipped"]) == (1, 1)
    assert not old.exists()
    assert go(top, out).counts["skipped"] == 2


def test_the_lock_of_an_earlier_version_is_respected(plant: Plant, tmp_path: Path) -> None:
    top, out = plant("in", FILES), tmp_path / "out"
    go(top, out)
    old = make_old(out)
    program = (
        "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print(1); input()"
    )
    command = [sys.executable, "-uc", program, str(old / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(UsageError, match="another run"):
            go(top, out)
        other.communicate(b"\n")
    assert go(top, out).counts["skipped"] == 2


def test_further_files_in_an_old_folder_stay(plant: Plant, tmp_path: Path) -> None:
    top, out = plant("in", FILES), tmp_path / "out"
    go(top, out)
    old = make_old(out)
    (old / "notes.txt").write_text("mine")
    assert go(top, out).counts["skipped"] == 2
    assert [path.name for path in old.iterdir()] == ["notes.txt"]


# An output folder from a stranger.

OWN = [".vaetools", ".vaetools.ndjson", ".vaetools.2-of-3.ndjson", ".vaetools.lock"]
LEGACY = [".vaetools/journal.ndjson", ".vaetools/journal-1-of-2.ndjson", ".vaetools/lock"]
REPLACED = [".vaetools.failed.ndjson", ".vaetools/failed.ndjson"]
"""Never opened, only replaced or removed."""


def link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def relative_link(path: Path, victim: Path) -> None:
    path.symlink_to(os.path.relpath(victim, path.parent))


def link_to_folder(path: Path, victim: Path) -> None:
    path.symlink_to(victim.parent)


def link_to_nothing(path: Path, victim: Path) -> None:
    path.symlink_to(victim.parent / "new")


def link_to_zeros(path: Path, victim: Path) -> None:
    path.symlink_to("/dev/zero")


def fifo(path: Path, victim: Path) -> None:
    os.mkfifo(path)


def folder(path: Path, victim: Path) -> None:
    path.mkdir()


def garbage(path: Path, victim: Path) -> None:
    path.write_bytes(os.urandom(1000) + b"\n" + b"[" * 100_000 + b"\n")


def zeros(path: Path, victim: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MAX_LINE + 10)


KINDS = [link, relative_link, link_to_folder, link_to_nothing, link_to_zeros, fifo, folder]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OWN + LEGACY + REPLACED)
def test_nothing_is_followed_overwritten_or_waited_for(
    plant: Plant, tmp_path: Path, name: str, kind: Callable[[Path, Path], None]
) -> None:
    victims = plant("victims", {"victim": b"precious"})
    top, out = plant("in", FILES), plant("out", {})
    path = out / name
    path.parent.mkdir(exist_ok=True)
    kind(path, victims / "victim")
    is_harmless = name in REPLACED or (kind is folder and name == ".vaetools")
    for _ in range(2):
        with soon():
            if is_harmless:
                counts = go(top, out).counts
                assert counts["done"] + counts["skipped"] == 2
            else:
                with pytest.raises(OutputError, match=re.escape(str(path))) as caught:
                    go(top, out)
                assert "not a f" in caught.value.line
    assert [path.name for path in victims.iterdir()] == ["victim"]
    assert (victims / "victim").read_bytes() == b"precious"


@pytest.mark.parametrize("kind", [garbage, zeros])
@pytest.mark.parametrize("name", OWN[1:] + LEGACY + REPLACED)
def test_garbage_costs_nothing(
    plant: Plant, tmp_path: Path, name: str, kind: Callable[[Path, Path], None]
) -> None:
    top, out = plant("in", FILES), plant("out", {})
    path = out / name
    path.parent.mkdir(exist_ok=True)
    kind(path, path)
    with soon():
        assert go(top, out).counts["done"] == 2
        assert go(top, out).counts["skipped"] == 2


def test_temporary_files_are_not_followed(plant: Plant, tmp_path: Path) -> None:
    victim = plant("victims", {"victim": b"precious"}) / "victim"
    top, out = plant("in", FILES), plant("out", {"owl/x": b""})
    for path in (out / "owl/a.txt", out / ".vaetools.failed.ndjson", tmp_path / "r.html"):
        temporary_path(path).symlink_to(victim)
    result = go(top, out, report=tmp_path / "r.html")
    assert result.counts["done"] == 2
    assert not result.problems
    assert victim.read_bytes() == b"precious"
    assert not list(tmp_path.rglob("*.part"))


HOSTILE = [
    {"file": ["x"]},
    {"source": 7},
    {"source": "a\0b"},
    {"source": "\ud800"},
    {"out": {"../../victim": [1, "0"]}},
    {"out": {"/etc/passwd": [1, "0"]}},
    {"out": {"a\0": [1, "0"]}},
    {"out": {"\ud800/a": [1, "0"]}},
    {"out": {"owl/a.txt": [10**400, "0"]}},
    {"at": 1e400},
    {"at": float("nan")},
    {"size": None},
]


def test_keys_of_later_versions_are_ignored(plant: Plant, tmp_path: Path) -> None:
    top, out = plant("in", FILES), tmp_path / "out"
    go(top, out)
    values = [{**line, "unknown": 1} for line in lines(out)]
    (out / ".vaetools.ndjson").write_text("".join(json.dumps(value) + "\n" for value in values))
    assert go(top, out).counts["skipped"] == 2


@pytest.mark.parametrize("change", HOSTILE, ids=[f"{i}" for i in range(len(HOSTILE))])
def test_hostile_lines_are_skipped(plant: Plant, tmp_path: Path, change: dict[str, Any]) -> None:
    top, out = plant("in", FILES), tmp_path / "out"
    go(top, out)
    values = [{**line, **change} for line in lines(out)]
    (out / ".vaetools.ndjson").write_text("".join(json.dumps(value) + "\n" for value in values))
    with pytest.raises(UsageError, match="already exists"):
        go(top, out)
    assert go(top, out, on_exists="replace").counts["done"] == 2


def test_a_fifo_that_the_journal_calls_an_output_is_not_opened(
    plant: Plant, tmp_path: Path
) -> None:
    top, out = plant("in", {"a.txt": b""}), tmp_path / "out"
    go(top, out)
    (out / "a.txt").unlink()
    os.mkfifo(out / "a.txt")
    for shorten in (0, 1):
        path = out / ".vaetools.ndjson"
        kept = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(kept[: len(kept) - shorten]))
        with soon(), pytest.raises(UsageError, match="already exists"):
            go(top, out)


def test_lines_that_are_too_long_are_skipped(plant: Plant, tmp_path: Path) -> None:
    top, out = plant("in", FILES), tmp_path / "out"
    go(top, out)
    path = out / ".vaetools.ndjson"
    good = path.read_bytes()
    path.write_bytes(b" " * (MAX_LINE + 5) + good)
    assert len(Place(out).journals()) == 1
    assert go(top, out).counts["skipped"] == 2  # only the first "writing" line is lost


def test_the_lock_is_where_the_journal_is(plant: Plant, tmp_path: Path) -> None:
    top, out, journal = plant("in", FILES), tmp_path / "out", tmp_path / "journal"
    with folder_lock(Place(out, journal), None), pytest.raises(UsageError, match="another run"):
        go(top, out, journal=journal)
