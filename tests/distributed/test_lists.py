"""A job has the same inputs as a run over the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.distributed.conftest import tree
from tests.runner.operations import Copy
from vaetools.cli import main
from vaetools.distributed.job import open_job
from vaetools.distributed.lists import Left, walk, write_lists
from vaetools.distributed.loop import work
from vaetools.distributed.shard_runner import ShardRunner
from vaetools.runner import RunSettings, run
from vaetools.runner.inputs import FileFilter, discover

FILTER = FileFilter((".txt",))


def torture(top: Path) -> Path:
    """A folder with loops of links, links to folders and hidden files."""
    for name in ("a.txt", "s/b.txt", "s/.hidden.txt", ".hidden/c.txt", "far/d.txt"):
        (top / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (top / "in" / name).write_bytes(name.encode())
    (top / "in/s/loop").symlink_to("loop")
    (top / "in/s/one").symlink_to("two")
    (top / "in/s/two").symlink_to("one")
    (top / "in/s/up").symlink_to("..")
    (top / "in/near").symlink_to("far")
    (top / "in/broken").symlink_to("nowhere")
    (top / "beside.txt").write_bytes(b"not among the inputs")
    (top / "in/above").symlink_to("../")
    return top / "in"


def test_a_walk_and_a_run_find_the_same_files(tmp_path: Path) -> None:
    folder = torture(tmp_path)
    found = discover([folder], FILTER).sources
    assert {file.name for file in walk(folder, FILTER, Left())} == {
        str(source.relative) for source in found
    }
    assert len(found) == 3


def test_a_link_into_a_folder_without_permission_is_no_folder(nobody: Path) -> None:
    (nobody / "closed/inner").mkdir(parents=True)
    (nobody / "in").mkdir()
    (nobody / "in/a.txt").write_bytes(b"a")
    (nobody / "in/link").symlink_to(nobody / "closed/inner")
    (nobody / "closed").chmod(0)
    assert [file.name for file in walk(nobody / "in", FILTER, Left())] == ["a.txt"]


def test_a_folder_that_cannot_be_listed_is_named(
    nobody: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("in/a.png", "in/lost+found/b.png"):
        (nobody / name).parent.mkdir(parents=True, exist_ok=True)
        (nobody / name).write_bytes(b"a")
    (nobody / "in/lost+found").chmod(0)
    assert code_of(nobody, "run") == 1
    assert "E015" in (told := capsys.readouterr().err) and "lost+found: cannot be listed" in told
    assert code_of(nobody, "run2", "--exclude", "lost+found") == 0
    assert open_job(nobody / "run").files == open_job(nobody / "run2").files == 1
    (nobody / "in").chmod(0)
    assert code_of(nobody, "run3") == 2


def code_of(folder: Path, run: str, *words: str) -> object:
    """The exit code of `vaetools shards` over `in`."""
    with pytest.raises(SystemExit) as ended:
        main(["shards", str(folder / "in"), "-o", str(folder / run), *words])
    return ended.value.code


def test_outputs_in_the_folder_of_the_inputs_are_no_inputs(tmp_path: Path) -> None:
    folder = torture(tmp_path)
    settings = RunSettings(folder / "out", jobs=1)
    run(Copy(), [folder], settings, fingerprint="f")
    once = tree(folder / "out")
    write_lists(tmp_path / "run", folder, walk(folder, FILTER, Left()), size=2)
    job = open_job(tmp_path / "run")
    assert job.files == 2 * len(once)
    done = work(
        ShardRunner(job, Copy(), RunSettings(folder / "out", jobs=1, on_exists="skip"), "f")
    )
    assert done.exit_code == 0
    assert tree(folder / "out") == once
