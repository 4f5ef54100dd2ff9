"""What other programs do in the output folder while a run goes on: nothing of theirs is lost."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from vaetools.runner import RunResult, RunSettings, run
from vaetools.runner.atomic import stamp_of, take_name, write_files

from .operations import Copy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Plant


class Meanwhile(Copy):
    """Something happens while `b.txt` is processed."""

    def __init__(self, happens: Callable[[], object]) -> None:
        super().__init__()
        self._happens = happens

    def process(self, item: bytes) -> bytes:
        if item == b"b":
            self._happens()
        return super().process(item)


FILES = {"a.txt": b"a", "b.txt": b"b", "c.txt": b"c"}


def go(operation: Copy, top: Path, out: Path, **settings: Any) -> RunResult:
    return run(operation, [top], RunSettings(out, jobs=1, **settings))


@pytest.mark.parametrize("on_exists", ["error", "replace", "skip"])
def test_a_file_that_appears_at_an_output_is_left_alone(
    plant: Plant, tmp_path: Path, on_exists: str
) -> None:
    top, out = plant("in", FILES), tmp_path / "out"
    result = go(
        Meanwhile(lambda: (out / "b.txt").write_bytes(b"mine")), top, out, on_exists=on_exists
    )
    assert (out / "b.txt").read_bytes() == b"mine"
    (failed,) = result.failures
    assert failed.code == "E081"
    assert "b.txt appeared" in failed.message.replace(": ", " ")
    assert result.counts["done"] == 2
    assert not list(out.rglob("*.part"))


@pytest.mark.parametrize("kind", ["link", "dangling link", "fifo", "folder"])
def test_nothing_is_written_through_what_appears_at_an_output(
    plant: Plant, tmp_path: Path, kind: str
) -> None:
    top, out = plant("in", FILES), tmp_path / "out"
    victim = tmp_path / "victim.txt"
    victim.write_bytes(b"precious")

    def appear() -> None:
        path = out / "b.txt"
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            path.symlink_to(victim if kind == "link" else tmp_path / "new")

    result = go(Meanwhile(appear), top, out)
    assert [record.code for record in result.failures] == ["E081"]
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("how", ["edited", "replaced"])
def test_an_own_output_that_the_user_changes_meanwhile_is_kept(
    plant: Plant, tmp_path: Path, how: str
) -> None:
    top, out = plant("in", FILES), tmp_path / "out"
    go(Copy(), top, out)

    def change() -> None:
        if how == "replaced":
            (out / "b.txt").unlink()
        (out / "b.txt").write_bytes(b"painted over")

    result = go(Meanwhile(change), top, out, force=True)
    assert (out / "b.txt").read_bytes() == b"painted over"
    assert [(r.code, "changed" in r.message) for r in result.failures] == [("E081", True)]
    assert result.counts["done"] == 2


def test_an_output_that_is_removed_meanwhile_is_written(plant: Plant, tmp_path: Path) -> None:
    top, out = plant("in", FILES), tmp_path / "out"
    go(Copy(), top, out)
    result = go(Meanwhile((out / "b.txt").unlink), top, out, force=True)
    assert result.counts["done"] == 3
    assert (out / "b.txt").read_bytes() == b"b"


def test_two_runs_into_one_file_the_first_wins(plant: Plant, tmp_path: Path) -> None:
    top, out = plant("in", FILES), tmp_path / "one.txt"
    other = plant("other", {"b.txt": b"other"})
    second = Meanwhile(lambda: run(Copy(), [other / "b.txt"], RunSettings(out)))
    (record,) = go(second, top / "b.txt", out).records
    assert (record.status, record.code) == ("failed", "E081")
    assert out.read_bytes() == b"rehto"


@pytest.mark.parametrize("how", ["moved", "removed", "replaced by a link", "replaced"])
def test_an_output_folder_that_goes_away_ends_the_run(
    plant: Plant, tmp_path: Path, how: str
) -> None:
    files = {"b.txt": b"b", "c.txt": b"c"}
    top, out, gone = plant("in", files), tmp_path / "out", tmp_path / "gone"
    elsewhere = plant("elsewhere", {})

    def go_away() -> None:
        if how == "removed":
            shutil.rmtree(out)
            return
        out.rename(gone)
        if how == "replaced by a link":
            out.symlink_to(elsewhere)
        elif how == "replaced":
            out.mkdir()

    result = go(Meanwhile(go_away), top, out)
    assert result.exit_code == 1
    assert {record.code for record in result.failures} == {"E070"}
    assert any("moved, removed or replaced" in one.message for one in result.failures)
    assert "the output folder is gone" in result.summary
    assert not list(elsewhere.iterdir())
    assert out.exists() == how.startswith("replaced")
    assert not out.exists() or not list(out.iterdir())


def test_a_link_that_appears_in_the_output_folder_leads_nowhere(
    plant: Plant, tmp_path: Path
) -> None:
    top, out = plant("in", {"sub/b.txt": b"b"}), tmp_path / "out"
    elsewhere = plant("elsewhere", {})
    result = go(Meanwhile(lambda: (out / "sub").symlink_to(elsewhere)), top, out)
    assert [record.code for record in result.failures] == ["E070"]
    assert "leads out of the output folder" in result.failures[0].message
    assert not list(elsewhere.iterdir())


def test_a_file_system_without_hard_links_is_no_worse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", fail)
    path, part = tmp_path / "a", tmp_path / "part"
    write_files([(path, b"ours")], standing=[None])
    part.write_bytes(b"more")
    with pytest.raises(Exception, match="appeared"):
        take_name(part, path, None)
    assert path.read_bytes() == b"ours"
    take_name(part, path, stamp_of(path))
    assert path.read_bytes() == b"more"


# Permissions.


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o666, 0o777])
def test_an_output_can_be_read_by_those_who_can_read_the_input(
    plant: Plant, tmp_path: Path, mode: int
) -> None:
    top, out = plant("in", {"a.txt": b"a"}), tmp_path / "out"
    (top / "a.txt").chmod(mode)
    before = os.umask(0o022)
    try:
        go(Copy(), top, out)
    finally:
        os.umask(before)
    assert (out / "a.txt").stat().st_mode & 0o777 == (mode & 0o644) | 0o600


def test_an_output_that_is_replaced_keeps_its_permissions(plant: Plant, tmp_path: Path) -> None:
    top, out = plant("in", {"a.txt": b"a"}), tmp_path / "out"
    go(Copy(), top, out)
    (out / "a.txt").chmod(0o664)
    assert go(Copy(), top, out, force=True).counts["done"] == 1
    assert (out / "a.txt").stat().st_mode & 0o777 == 0o664
