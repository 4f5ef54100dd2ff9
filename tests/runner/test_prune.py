"""Pruning: outputs whose inputs are gone are removed, and nothing else."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from vaetools.errors import NothingMatchedError, UsageError
from vaetools.runner import RunResult, RunSettings, recorded, run

from .operations import Copy, Renaming

if TYPE_CHECKING:
    from .conftest import Plant

FILES = {"a.txt": b"a", "sub/b.txt": b"b", "sub/deep/c.txt": b"c"}


class World:
    """A folder of inputs whose outputs are in another one."""

    def __init__(self, top: Path, out: Path) -> None:
        self.top = top
        self.out = out
        self.operation: Any = Copy()

    def run(self, *inputs: Path, **settings: Any) -> RunResult:
        settings = {"out": self.out, **settings}
        return run(self.operation, inputs or [self.top], RunSettings(**settings))

    def prune(self, *inputs: Path, **settings: Any) -> RunResult:
        return self.run(*inputs, prune=True, **settings)

    @property
    def outputs(self) -> set[str]:
        """What is in OUT, folders with a slash, without hidden files."""
        found = [p for p in self.out.rglob("*") if not p.name.startswith(".")]
        return {f"{p.relative_to(self.out)}{'/' if p.is_dir() else ''}" for p in found}


@pytest.fixture
def world(plant: Plant, tmp_path: Path) -> World:
    made = World(plant("in", FILES), tmp_path / "out")
    made.run()
    return made


def statuses(result: RunResult) -> dict[str, str]:
    return {Path(r.file).name: r.status for r in result.records}


def test_outputs_go_with_their_inputs_and_empty_folders_with_them(world: World) -> None:
    (world.top / "sub/deep/c.txt").unlink()
    (world.top / "sub/b.txt").unlink()
    result = world.prune()
    assert statuses(result) == {"a.txt": "skipped", "b.txt": "pruned", "c.txt": "pruned"}
    assert world.outputs == {"a.txt"}
    assert result.counts["pruned"] == 2
    assert "2 pruned" in result.summary
    assert result.exit_code == 0
    assert result.unreached == 0
    assert {Path(r.file).name for r in recorded(world.out).records} == {"a.txt"}
    again = world.prune()
    assert "pruned" not in again.counts


def test_a_dry_run_lists_and_removes_nothing(world: World) -> None:
    (world.top / "sub/b.txt").unlink()
    before = world.outputs
    result = world.prune(dry_run=True)
    [obsolete] = [r for r in result.records if r.status == "obsolete"]
    assert obsolete.file == str(world.top / "sub/b.txt")
    assert obsolete.out == (str(world.out / "sub/b.txt"),)
    assert world.outputs == before
    assert "1 obsolete" in result.summary


def test_without_the_flag_nothing_is_removed(world: World) -> None:
    (world.top / "a.txt").unlink()
    world.run()
    assert "a.txt" in world.outputs


def test_what_a_user_edited_stays(world: World) -> None:
    (world.top / "a.txt").unlink()
    (world.out / "a.txt").write_bytes(b"A")  # of the same size
    result = world.prune()
    [kept] = [r for r in result.records if r.status == "kept"]
    assert kept.message == (
        f"{world.top}/a.txt: is gone, but its outputs stay: "
        f"{world.out}/a.txt was changed after it was written"
    )
    assert (world.out / "a.txt").read_bytes() == b"A"
    assert result.exit_code == 0
    assert result.unreached == 0


@pytest.mark.parametrize("sidecar", ["a.txt.xmp", "a.xmp"])
def test_a_sidecar_of_the_user_keeps_its_output(world: World, sidecar: str) -> None:
    (world.top / "a.txt").unlink()
    (world.out / sidecar).write_bytes(b"<edits/>")
    world.prune()
    assert {"a.txt", sidecar} <= world.outputs


def test_companions_go_together_and_stay_together(plant: Plant, tmp_path: Path) -> None:
    world = World(plant("in", {"a.txt": b"a", "b.txt": b"b", "c.txt": b"c"}), tmp_path / "out")
    world.operation = Renaming(lambda n: (n, n.with_suffix(".map"), Path("more") / f"{n.stem}.xmp"))
    world.run()
    (world.top / "a.txt").unlink()
    (world.top / "b.txt").unlink()
    (world.out / "b.map").write_bytes(b"mine")
    (world.out / "more" / "a.xmp").unlink()
    world.prune()
    assert world.outputs == {
        "b.txt",
        "b.map",
        "more/",
        "more/b.xmp",
        "c.txt",
        "c.map",
        "more/c.xmp",
    }


def test_files_that_no_run_wrote_stay_and_so_do_their_folders(world: World) -> None:
    (world.top / "sub/b.txt").unlink()
    (world.out / "sub/mine.txt").write_bytes(b"b")
    (world.out / "own").mkdir()
    world.prune()
    assert {"sub/mine.txt", "sub/", "own/"} <= world.outputs
    assert "sub/b.txt" not in world.outputs


def test_an_input_that_is_only_left_out_is_not_gone(world: World) -> None:
    world.prune(exclude=("sub",))
    world.prune(include=("a.txt",))
    (world.top / "sub/b.txt").unlink()
    world.prune(exclude=("sub",))
    assert {"a.txt", "sub/b.txt", "sub/deep/c.txt"} <= world.outputs


def test_an_input_that_became_something_else_is_not_gone(world: World) -> None:
    (world.top / "sub/b.txt").unlink()
    (world.top / "sub/b.txt").symlink_to("nothing")
    assert statuses(world.prune())["b.txt"] == "failed"
    assert "sub/b.txt" in world.outputs


def test_inputs_of_another_folder_or_operation_are_out_of_reach(
    world: World, plant: Plant, tmp_path: Path
) -> None:
    other = plant("other", {"d.txt": b"d", "e.txt": b"e"})
    world.run(other)
    (other / "d.txt").unlink()
    (world.top / "a.txt").unlink()
    world.prune()
    assert "d.txt" in world.outputs
    assert "a.txt" not in world.outputs
    (world.top / "sub/b.txt").unlink()
    world.operation = Renaming(lambda n: (n.with_suffix(".md"),))
    world.prune()
    assert "sub/b.txt" in world.outputs


def test_an_output_that_another_input_has_now_stays(world: World) -> None:
    moved = world.top.with_name("moved")
    world.top.rename(moved)
    world.top.mkdir()
    (world.top / "z.txt").write_bytes(b"z")
    world.run(moved)
    world.prune(world.top, moved)
    assert {"a.txt", "sub/b.txt", "z.txt"} <= world.outputs


@pytest.mark.skipif(sys.platform == "win32", reason="permissions")
def test_a_folder_that_cannot_be_listed_prunes_nothing(nobody: Path) -> None:
    world = World(nobody / "in", nobody / "out")
    for name, data in FILES.items():
        (world.top / name).parent.mkdir(parents=True, exist_ok=True)
        (world.top / name).write_bytes(data)
    world.run()
    (world.top / "a.txt").unlink()
    (world.top / "sub/deep").chmod(0)
    result = world.prune()
    assert {"a.txt", "sub/b.txt", "sub/deep/c.txt"} <= world.outputs
    [problem] = result.problems
    assert "nothing was pruned: a folder of inputs cannot be listed" in problem
    assert result.exit_code == 1


def test_an_empty_folder_of_inputs_prunes_nothing(world: World) -> None:
    world.top.rename(world.top.with_name("unmounted"))
    world.top.mkdir()
    with pytest.raises(NothingMatchedError):
        world.prune()
    assert "a.txt" in world.outputs


@pytest.mark.parametrize("dry_run", [False, True])
def test_one_of_several_folders_that_is_empty_prunes_nothing(
    plant: Plant, tmp_path: Path, dry_run: bool
) -> None:
    """Its disk may not be mounted."""
    first, second = plant("a", {"x.txt": b"x", "y.txt": b"y"}), plant("b", {"z.txt": b"z"})
    world = World(first, tmp_path / "out")
    world.run(first, second)
    (first / "y.txt").unlink()
    second.rename(second.with_name("unmounted"))
    second.mkdir()
    result = world.prune(first, second, dry_run=dry_run)
    assert result.exit_code == 1
    assert "nothing was pruned: no input is left in this folder" in result.problems[0]
    assert world.outputs == {"x.txt", "y.txt", "z.txt"}
    world.prune(first)
    assert world.outputs == {"x.txt", "z.txt"}


def test_a_link_in_out_leads_to_no_removal_elsewhere(world: World, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (world.out / "sub").rename(elsewhere)
    (world.out / "sub").symlink_to(elsewhere)
    (world.top / "sub/b.txt").unlink()
    (world.top / "sub/deep/c.txt").unlink()
    world.prune()
    assert (elsewhere / "b.txt").exists()
    assert (elsewhere / "deep/c.txt").exists()


@pytest.mark.parametrize("kind", ["link", "link to a link", "nested link"])
def test_a_folder_link_without_its_target_prunes_nothing(
    kind: str, plant: Plant, tmp_path: Path
) -> None:
    plant("ext", {"b.txt": b"b", "deep/c.txt": b"c"})
    top = plant("in", {"a.txt": b"a", "gone.txt": b"x", "sub/d.txt": b"d"})
    link = top / ("sub/link" if kind == "nested link" else "link")
    target = tmp_path / "ext"
    if kind == "link to a link":
        target = tmp_path / "middle"
        target.symlink_to(tmp_path / "ext")
    link.symlink_to(target)
    world = World(top, tmp_path / "out")
    world.run()
    before = world.outputs
    assert f"{link.relative_to(top)}/deep/c.txt" in before
    (tmp_path / "ext").rename(tmp_path / "away")
    (top / "gone.txt").unlink()
    result = world.prune()
    assert result.exit_code == 1
    [problem] = result.problems
    assert "nothing was pruned: an input " in problem
    assert world.outputs == before
    (tmp_path / "away").rename(tmp_path / "ext")
    (tmp_path / "ext/b.txt").unlink()
    world.prune()
    gone = {"gone.txt", f"{link.relative_to(top)}/b.txt"}
    assert world.outputs == before - gone


def test_shards_prune_their_part(world: World) -> None:
    for name in ("a.txt", "sub/b.txt"):
        (world.top / name).unlink()
    seen: list[str] = []
    for part in (1, 2):
        result = world.prune(shard=(part, 2))
        seen += [Path(r.file).name for r in result.records if r.status == "pruned"]
    assert sorted(seen) == ["a.txt", "b.txt"]


def test_an_input_that_comes_back_is_processed_again(world: World) -> None:
    (world.top / "a.txt").unlink()
    world.prune()
    (world.top / "a.txt").write_bytes(b"a")
    assert statuses(world.run())["a.txt"] == "done"


def test_only_folders_can_be_pruned(world: World) -> None:
    with pytest.raises(UsageError, match="--prune needs an input folder"):
        world.prune(world.top / "a.txt", world.top / "sub/b.txt")
    with pytest.raises(UsageError, match="no journal"):
        world.prune(world.top / "a.txt", out=world.out / "one.txt")
    assert os.path.lexists(world.out / "a.txt")
