"""Files, folders and globs become sources with relative names."""

from __future__ import annotations

import os
import socket
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest

from vaetools.errors import UsageError
from vaetools.runner.inputs import FileFilter, Found, discover, in_shard

if TYPE_CHECKING:
    from .conftest import Plant

TEXTS = FileFilter((".txt",))


def names(found: Found) -> list[str]:
    return [str(source.relative) for source in found.sources]


def problems(found: Found) -> dict[str, str]:
    return {str(s.relative): s.problem for s in found.sources if s.problem}


def test_a_folder_is_searched_to_the_bottom_in_order(plant: Plant) -> None:
    top = plant("in", {"b.txt": b"", "a/z.TXT": b"", "a/b/c.txt": b"123", "notes.md": b""})
    found = discover([top], TEXTS)
    assert names(found) == ["a/b/c.txt", "a/z.TXT", "b.txt"]
    assert found.sources[0].size == 3
    assert found.sources[0].mtime_ns == (top / "a/b/c.txt").stat().st_mtime_ns
    assert found.left_alone == 1
    assert not found.one_file


def test_hidden_files_and_folders_are_ignored(plant: Plant) -> None:
    top = plant("in", {".a.txt": b"", ".git/b.txt": b"", ".vaetools/c.txt": b"", "d.txt": b""})
    found = discover([top], TEXTS)
    assert names(found) == ["d.txt"]
    assert found.left_alone == 0


def test_a_file_given_by_its_path_may_have_any_suffix_and_keeps_only_its_name(plant: Plant) -> None:
    top = plant("in", {"deep/scan": b"", ".hidden": b""})
    found = discover([top / "deep/scan"], TEXTS)
    assert names(found) == ["scan"]
    assert found.one_file
    assert names(discover([top / ".hidden"], TEXTS)) == [".hidden"]


def test_globs_are_expanded_unless_a_file_has_this_name(plant: Plant) -> None:
    top = plant("in", {"a1.txt": b"", "a2.txt": b"", "b[1].txt": b"", "c/a3.txt": b""})
    assert names(discover([f"{top}/a*.txt"], TEXTS)) == ["a1.txt", "a2.txt"]
    assert names(discover([f"{top}/b[1].txt"], TEXTS)) == ["b[1].txt"]
    assert names(discover([f"{top}/**/*.txt"], TEXTS)) == ["a1.txt", "a2.txt", "b[1].txt", "a3.txt"]
    assert names(discover([f"{top}/none*", top / "a1.txt"], TEXTS)) == ["a1.txt"]


@pytest.mark.parametrize("name", ["none.txt", "", "nul\0byte"])
def test_an_input_that_does_not_exist_is_a_usage_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no such file"):
        discover([str(tmp_path / "x" / name)], TEXTS)


def test_the_same_file_twice_is_one_source(plant: Plant) -> None:
    top = plant("in", {"a.txt": b""})
    assert names(discover([top, top, f"{top}/a.txt", f"{top}/./a.txt"], TEXTS)) == ["a.txt"]


@pytest.mark.parametrize(
    ("include", "exclude", "wanted"),
    [
        (("*.txt",), (), ["a.txt", "raw/b.txt", "raw/new/c.txt"]),
        (("raw",), (), ["raw/b.txt", "raw/new/c.txt"]),
        (("raw/*",), ("new",), ["raw/b.txt"]),
        ((), ("raw/",), ["a.txt"]),
        ((), ("raw/new",), ["a.txt", "raw/b.txt"]),
        (("**/c.txt", "**/a.txt"), (), ["a.txt", "raw/new/c.txt"]),
        (("[ab].txt",), (), ["a.txt", "raw/b.txt"]),
    ],
)
def test_include_and_exclude(
    plant: Plant, include: tuple[str, ...], exclude: tuple[str, ...], wanted: list[str]
) -> None:
    top = plant("in", {"a.txt": b"", "raw/b.txt": b"", "raw/new/c.txt": b""})
    found = discover([top], FileFilter((".txt",), include, exclude))
    assert names(found) == wanted
    assert found.left_alone == 3 - len(wanted)


def test_a_folder_named_like_an_image_is_a_folder(plant: Plant) -> None:
    top = plant("in", {"x.txt/y.txt": b""})
    assert names(discover([top], TEXTS)) == ["x.txt/y.txt"]
    assert names(discover([top / "x.txt"], TEXTS)) == ["y.txt"]


def test_links_are_followed_once_and_loops_are_not(plant: Plant) -> None:
    top = plant("in", {"real/a.txt": b"", "top.txt": b""})
    elsewhere = plant("elsewhere", {"b.txt": b""})
    (top / "again").symlink_to(top / "real")
    (top / "real" / "loop").symlink_to(top)
    (top / "real" / "upwards").symlink_to(top.parent)
    (top / "self").symlink_to(top / "self")
    (top / "zelsewhere").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(top)
    (top / "file.txt").symlink_to(top / "top.txt")
    found = discover([top], TEXTS)
    assert names(found) == ["file.txt", "real/a.txt", "top.txt", "zelsewhere/b.txt"]


def test_anything_but_a_file_is_a_source_with_a_problem(tmp_path: Path, plant: Plant) -> None:
    top = plant("in", {"a.txt": b""})
    os.mkfifo(top / "fifo.txt")
    (top / "broken.txt").symlink_to("nowhere")
    (top / "loop.txt").symlink_to("loop.txt")
    listener = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(top)  # the path of a socket must be short
    listener.bind("socket.txt")
    os.chdir(here)
    listener.close()
    found = discover([top, "/dev/null"], TEXTS)
    found_problems = problems(found)
    assert set(found_problems) == {"fifo.txt", "broken.txt", "loop.txt", "socket.txt", "null"}
    assert "FIFO" in found_problems["fifo.txt"]
    assert "socket" in found_problems["socket.txt"]
    assert "device" in found_problems["null"]
    assert "does not exist" in found_problems["broken.txt"]


def test_a_folder_that_cannot_be_listed_is_a_source_with_a_problem(nobody: Path) -> None:
    (nobody / "locked").mkdir()
    (nobody / "locked" / "a.txt").touch()
    (nobody / "b.txt").touch()
    (nobody / "locked").chmod(0)
    found = discover([nobody], FileFilter((".txt",), include=("*.txt",)))
    assert names(found) == ["b.txt", "locked"]
    assert "cannot be listed" in problems(found)["locked"]


def test_the_output_folder_is_no_input(plant: Plant) -> None:
    top = plant("in", {"a.txt": b"", "out/b.txt": b"", "out/c/d.txt": b""})
    assert names(discover([top], FileFilter((".txt",), apart={os.path.realpath(top / "out")}))) == [
        "a.txt"
    ]
    assert len(discover([top], FileFilter((".txt",), apart={os.path.realpath(top)})).sources) == 3
    made = frozenset({os.path.realpath(top / "out/b.txt")})
    found = discover([top], FileFilter((".txt",), apart={os.path.realpath(top)}, made=made))
    assert names(found) == ["a.txt", "out/c/d.txt"]


@pytest.mark.parametrize("name", ["a\nb.txt", "é ü 漢.txt", "e\u0301.txt", "x" * 251 + ".txt"])
def test_odd_names_survive(plant: Plant, name: str) -> None:
    assert names(discover([plant("in", {name: b""})], TEXTS)) == [name]


def test_a_name_that_is_not_unicode_survives(plant: Plant) -> None:
    top = plant("in", {})
    name = os.fsdecode(b"\xff\xfe.txt")
    (top / name).write_bytes(b"1")
    assert names(discover([top], TEXTS)) == [name]


def test_each_name_is_in_exactly_one_shard() -> None:
    paths = [PurePosixPath(f"a/{index}.png") for index in range(300)]
    paths.append(PurePosixPath(os.fsdecode(b"\xff.png")))
    counts = [[in_shard(path, (part, 4)) for part in (1, 2, 3, 4)].count(True) for path in paths]
    assert counts == [1] * 301
    assert 40 < sum(in_shard(path, (1, 4)) for path in paths) < 110
    assert in_shard(PurePosixPath("a/0.png"), (1, 1))
