"""Which files of a watched folder count as complete."""

from __future__ import annotations

import os
import sys
from pathlib import Path, PurePosixPath

import pytest

from tests.runner.operations import Copy
from vaetools.runner.arrivals import (
    Arrivals,
    is_open_for_writing,
    is_unfinished_name,
    leases_allowed,
)
from vaetools.runner.inputs import FileFilter, Source, discover


def names(sources: list[Source]) -> list[str]:
    return [str(source.relative) for source in sources]


@pytest.fixture
def look(tmp_path: Path) -> object:
    arrivals = Arrivals(Copy())

    def call() -> list[str]:
        return names(arrivals.complete(discover([tmp_path], FileFilter((".txt",))).sources))

    return call


def test_a_file_is_taken_once_when_two_looks_agree(look: object, tmp_path: Path) -> None:
    assert callable(look)
    file = tmp_path / "a.txt"
    file.write_text("begun")
    assert look() == []
    file.write_text("begun and grown")
    assert look() == []
    assert look() == ["a.txt"]
    assert look() == []


def test_a_file_that_changes_is_taken_again(look: object, tmp_path: Path) -> None:
    assert callable(look)
    file = tmp_path / "a.txt"
    file.write_text("one")
    assert (look(), look()) == ([], ["a.txt"])
    os.utime(file, ns=(1, 1))
    assert (look(), look(), look()) == ([], ["a.txt"], [])
    file.unlink()
    assert look() == []
    file.write_text("new")
    assert (look(), look()) == ([], ["a.txt"])


def test_a_file_that_is_renamed_into_the_folder_is_taken(look: object, tmp_path: Path) -> None:
    assert callable(look)
    (tmp_path / "a.txt.crdownload").write_text("whole")
    assert (look(), look(), look()) == ([], [], [])
    (tmp_path / "new").mkdir()
    (tmp_path / "a.txt.crdownload").rename(tmp_path / "new" / "a.txt")
    assert (look(), look()) == ([], ["new/a.txt"])


def test_an_empty_file_waits_for_its_content(look: object, tmp_path: Path) -> None:
    assert callable(look)
    (tmp_path / "a.txt").touch()
    assert (look(), look(), look()) == ([], [], [])
    (tmp_path / "a.txt").write_text("content")
    assert (look(), look()) == ([], ["a.txt"])


def test_a_list_of_missing_parts_holds_a_file_back(look: object, tmp_path: Path) -> None:
    assert callable(look)
    (tmp_path / "a.txt").write_text("with holes")
    (tmp_path / "a.txt.aria2").write_text("parts")
    assert (look(), look()) == ([], [])
    (tmp_path / "a.txt.aria2").unlink()
    assert look() == ["a.txt"]


@pytest.mark.parametrize(
    ("name", "unfinished"),
    [
        ("a.jpg", False),
        ("part.jpg", False),
        ("a.part.1.jpg", False),
        ("download/a.jpg", False),
        ("a.jpg.part", True),
        ("a.XYZ.part.jpg", True),
        ("A.TMP.JPG", True),
        ("~syncthing~a.jpg", True),
        ("a.jpg.download/a.jpg", True),
        ("Unconfirmed 1.crdownload", True),
    ],
)
def test_names_of_what_is_not_complete(name: str, unfinished: bool) -> None:
    assert is_unfinished_name(PurePosixPath(name)) is unfinished


@pytest.mark.skipif(sys.platform != "linux", reason="leases of Linux")
def test_a_file_that_is_open_for_writing_waits(look: object, tmp_path: Path) -> None:
    assert callable(look)
    file = tmp_path / "a.txt"
    with leases_allowed():
        with file.open("w") as handle:
            handle.write("a part")
            handle.flush()
            if not is_open_for_writing(file):
                pytest.skip("this file system has no leases")
            assert (look(), look(), look()) == ([], [], [])
        assert look() == ["a.txt"]
        assert not is_open_for_writing(file)
    assert not is_open_for_writing(tmp_path / "none")
