"""Lists of files as the inputs of a run."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from vaetools.errors import NothingMatchedError, OptionError, UnreadableError, UsageError
from vaetools.runner import RunResult, RunSettings, run
from vaetools.runner.filelist import read_list

from .operations import Copy

if TYPE_CHECKING:
    from .conftest import Plant

FILES = {"a.txt": b"a", "x/a.txt": b"xa", "x/y/b.txt": b"b", "x/c.dat": b"c", ".d.txt": b"d"}


@pytest.fixture
def root(plant: Plant) -> Path:
    return plant("in", FILES)


def names(folder: Path, data: bytes, root: Path) -> tuple[str, ...]:
    path = folder / "list"
    path.write_bytes(data)
    return read_list(path, root).names


@pytest.mark.parametrize(
    "data",
    [
        b"a.txt\nx/a.txt\n",
        b"a.txt\nx/a.txt",
        b"./a.txt\n\n\nx//a.txt\n",
        b"a.txt\r\nx/a.txt\r\n",
        b"a.txt\r\nx/a.txt",
        b"a.txt\r\n\r\nx/a.txt\r\n\r\n",
        b"\xef\xbb\xbfa.txt\nx/a.txt\n",
        b"a.txt\0x/a.txt\0",
        b"a.txt\0./x/a.txt",
    ],
)
def test_the_forms_of_a_list(tmp_path: Path, root: Path, data: bytes) -> None:
    assert names(tmp_path, data, root) == ("a.txt", "x/a.txt")


def test_standard_input_may_be_closed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UnreadableError, match="standard input is closed"):
        read_list("-", root)


def test_absolute_names_may_lie_in_the_root(tmp_path: Path, root: Path) -> None:
    assert names(tmp_path, f"{root}/x/a.txt\n".encode(), root) == ("x/a.txt",)


def test_odd_names(tmp_path: Path, root: Path) -> None:
    assert names(tmp_path, b"a\nb.txt\0c\r\0 \0", root) == ("a\nb.txt", "c\r", " ")
    assert names(tmp_path, b"\xff.txt\na\r\nb\n", root) == ("\udcff.txt", "a\r", "b")


@pytest.mark.parametrize(
    "name",
    ["../a.txt", "x/../../a.txt", "x/..", "/etc/passwd", "..", ".", "/", "s3://bucket/x.png"],
)
def test_names_that_escape_are_refused(tmp_path: Path, root: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        names(tmp_path, f"a.txt\n{name}\n".encode(), root)
    assert caught.value.exit_code == 2 and "\n" not in caught.value.line
    assert name in caught.value.line


def test_a_name_that_would_hide_in_the_message(tmp_path: Path, root: Path) -> None:
    with pytest.raises(UsageError) as caught:
        names(tmp_path, b"../\x1b[31mx\0", root)
    assert "\x1b" not in caught.value.line


def test_what_is_no_list_or_no_root(tmp_path: Path, root: Path) -> None:
    with pytest.raises(UnreadableError, match="No such file"):
        read_list(tmp_path / "none", root)
    with pytest.raises(UnreadableError, match="Is a directory"):
        read_list(tmp_path, root)
    (tmp_path / "list").write_bytes(b"a.txt\n")
    for wrong, problem in ((tmp_path / "none", "no such folder"), (tmp_path / "list", "not a fol")):
        with pytest.raises(UsageError, match=problem):
            read_list(tmp_path / "list", wrong)


def go(root: Path, data: bytes, **settings: Any) -> tuple[RunResult, Path]:
    path, out = root.parent / "list", root.parent / "out"
    path.write_bytes(data)
    made = RunSettings(out, files_from=path, root=root, jobs=1, **settings)
    return run(Copy(), (), made), out


def test_folders_survive_and_suffixes_do_not_matter(root: Path) -> None:
    result, out = go(root, b"x/y/b.txt\nx/c.dat\n.d.txt\nx/y/b.txt\n")
    assert result.exit_code == 0
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    own = [name for name in written if not name.startswith(".vaetools")]
    assert own == [".d.txt", "x/c.dat", "x/y/b.txt"]
    assert go(root, b"x/y/b.txt\n")[0].counts["skipped"] == 1


def test_one_name_goes_into_a_folder(root: Path) -> None:
    out = go(root, b"a.txt\n")[1]
    assert (out / "a.txt").read_bytes() == b"a"


def test_a_file_that_is_missing_fails_alone(root: Path) -> None:
    result, out = go(root, b"a.txt\nnone.txt\nx\n")
    assert [(Path(r.file).name, r.code) for r in result.failures] == [
        ("none.txt", "E015"),
        ("x", "E015"),
    ]
    assert (out / "a.txt").exists() and result.exit_code == 1


def test_include_and_exclude_choose_among_the_names(root: Path) -> None:
    assert (
        go(root, b"a.txt\nx/a.txt\nx/y/b.txt\n", include=("x",), exclude=("b.*",))[0].counts["done"]
        == 1
    )


def test_nothing_in_the_list(root: Path) -> None:
    with pytest.raises(NothingMatchedError):
        go(root, b"\n\n")


def test_a_list_and_inputs_exclude_each_other(root: Path) -> None:
    (root.parent / "list").write_bytes(b"a.txt\n")
    settings = RunSettings("out", files_from=root.parent / "list", root=root)
    with pytest.raises(UsageError, match="exclude each other"):
        run(Copy(), [root], settings)
    with pytest.raises(OptionError, match="without files_from"):
        RunSettings("out", root=root)


def test_the_list_may_come_from_stdin(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"a.txt\n")))
    assert read_list("-", root).names == ("a.txt",)


def test_an_output_clash_is_found(root: Path) -> None:
    path = root.parent / "list"
    path.write_bytes(b"a.txt\n")
    settings = RunSettings(root, files_from=path, root=root)
    with pytest.raises(UsageError, match="is the input"):
        run(Copy(), (), settings)
