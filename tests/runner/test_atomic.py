"""Atomic writing: a path is either absent, the old file, or the complete new file."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from vaetools.runner.atomic import (
    MAX_NAME_BYTES,
    Temporary,
    create,
    is_running,
    remove_stale,
    temporary_path,
    temporary_stem,
    write_files,
)

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Plant

NAMES = ["a.png", "a\nb", os.fsdecode(b"\xff.png"), "x" * 255, "é" * 127, "." * 3 + "x", "7.part"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_written_and_nothing_else_is_left(tmp_path: Path, name: str) -> None:
    path = tmp_path / "deep" / name
    write_files([(path, b"new")])
    assert path.read_bytes() == b"new"
    assert [path.name for path in path.parent.iterdir()] == [name]


@pytest.mark.parametrize("name", NAMES)
def test_temporary_files_have_names_that_fit_and_are_removed(tmp_path: Path, name: str) -> None:
    temporary = temporary_path(tmp_path / name)
    assert temporary.parent == tmp_path
    assert len(os.fsencode(temporary.name)) <= MAX_NAME_BYTES
    temporary.touch()
    seen: list[Temporary] = []

    def is_stale(found: Temporary) -> bool:
        seen.append(found)
        return True

    assert remove_stale([tmp_path], is_stale) == 1
    assert seen == [Temporary(temporary_stem(name), os.getpid())]
    assert not list(tmp_path.iterdir())


def test_only_temporary_files_are_removed(plant: Plant) -> None:
    others = {"a.part": b"", ".a.part": b"", ".a.b.part": b"", "a.1.part": b"", ".a.1.part~": b""}
    folder = plant("out", {**others, ".a.1.part": b"", "sub/.b.2.part": b""})
    assert remove_stale([folder, folder / "none"], lambda *_: False) == 0
    assert remove_stale([folder, folder / "none"], lambda *_: True) == 1
    assert sorted(p.name for p in folder.iterdir()) == sorted([*others, "sub"])


def test_threads_that_write_the_same_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    contents = [bytes([number]) * 50_000 for number in range(4)]

    def write(data: bytes) -> None:
        for _ in range(20):
            temporary = temporary_path(path)
            with create(temporary) as file:
                file.write(data)
            temporary.replace(path)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, contents))
    assert path.read_bytes() in contents
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_what_a_thread_left_is_removed(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        left = pool.submit(temporary_path, tmp_path / "a.txt").result()
    assert left != temporary_path(tmp_path / "a.txt")
    left.write_bytes(b"x")
    assert remove_stale([tmp_path], lambda found: found.pid == os.getpid()) == 1
    assert not left.exists()


def test_several_files_appear_together(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b" / "c"]
    paths[0].write_bytes(b"old")

    def before() -> None:
        assert paths[0].read_bytes() == b"old"
        assert not paths[1].exists()
        assert temporary_path(paths[1]).read_bytes() == b"new c"

    write_files([(paths[0], b"new a"), (paths[1], b"new c")], before=before)
    assert [path.read_bytes() for path in paths] == [b"new a", b"new c"]


def test_a_failure_leaves_old_files_unchanged(plant: Plant) -> None:
    folder = plant("out", {"a": b"old", "b/x": b"in the way"})

    def fail() -> None:
        raise OSError("no journal")

    with pytest.raises(OSError, match="no journal"):
        write_files([(folder / "a", b"new")], before=fail)
    with pytest.raises(OSError):  # noqa: PT011 - the message is the system's
        write_files([(folder / "c", b"new"), (folder / "b", b"new")])
    assert (folder / "a").read_bytes() == b"old"
    assert not list(folder.rglob("*.part"))


def test_a_link_in_the_place_of_a_temporary_file_is_not_followed(plant: Plant) -> None:
    folder = plant("out", {"precious": b"old"})
    temporary_path(folder / "a").symlink_to("precious")
    write_files([(folder / "a", b"new")])
    assert (folder / "precious").read_bytes() == b"old"
    assert (folder / "a").read_bytes() == b"new"
    assert not (folder / "a").is_symlink()


def test_an_output_that_is_a_link_is_replaced_and_not_followed(plant: Plant) -> None:
    folder = plant("out", {"precious": b"old"})
    (folder / "a").symlink_to("precious")
    write_files([(folder / "a", b"new")])
    assert (folder / "precious").read_bytes() == b"old"


def test_files_get_the_default_permissions(tmp_path: Path) -> None:
    write_files([(tmp_path / "ours", b"")])
    (tmp_path / "usual").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_running_processes_are_recognised() -> None:
    assert is_running(os.getpid())
    assert is_running(1)
    assert not is_running(999_999_999)
