"""Jobs that cannot be worked on: one line each, the right exit code, nothing written."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from tests.paths import PLUGINS
from vaetools.cli import main
from vaetools.image import Image, encode_image
from vaetools.testing import gradient

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, list[str]]]:
    """Runs a command; returns (exit code, lines on stderr)."""
    monkeypatch.setenv("VAETOOLS_PLUGINS_DIR", str(PLUGINS))
    monkeypatch.chdir(tmp_path)

    def go(words: str) -> tuple[int, list[str]]:
        with pytest.raises(SystemExit) as caught:
            main(words.split())
        return int(caught.value.code or 0), capsys.readouterr().err.splitlines()

    return go


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a job for `negative` that has begun: one of its two shards is done."""
    top = tmp_path_factory.mktemp("jobs")
    images(top)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAETOOLS_PLUGINS_DIR", str(PLUGINS))
        patch.chdir(top)
        for words in ("shards in -o run --size 2", "negative --job run -o out"):
            with pytest.raises(SystemExit) as caught:
                main(words.split())
            assert not caught.value.code
    (top / "run/done/000001.json").unlink()
    return top


def images(folder: Path) -> None:
    (folder / "in").mkdir()
    for name in ("a", "b", "c"):
        (folder / "in" / f"{name}.png").write_bytes(encode_image(Image(gradient()), "png"))


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def changed(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def rewritten(path: Path, name: str) -> None:
    """Another name in a list, with the right hash."""
    head, first, *rest = path.read_text().splitlines(keepends=True)
    body = "".join([json.dumps([name, *json.loads(first)[1:]]) + "\n", *rest])
    about = {**json.loads(head), "sha256": hashlib.sha256(body.encode()).hexdigest()}
    path.write_text(json.dumps(about) + "\n" + body)


LIST = "run/shards/000001.txt"
JOB = "negative --job run -o out"

CASES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "no folder": (
        lambda f: shutil.rmtree(f / "run"),
        JOB,
        "E002 run: no such folder; make one with",
    ),
    "no job": (
        lambda f: (f / "run/job.toml").unlink(),
        JOB,
        "E002 run: is not the folder of a job",
    ),
    "a file": (
        lambda f: f,
        "negative --job in/a.png -o out",
        "E002 in/a.png: is not the folder of a",
    ),
    "not TOML": (
        lambda f: (f / "run/job.toml").write_text("x"),
        JOB,
        "E002 run/job.toml: is not TOML",
    ),
    "another format": (
        lambda f: changed(f / "run/job.toml", "format = 1", "format = 2"),
        JOB,
        "E002 run/job.toml: format 2 is not known to vaetools",
    ),
    "a key too many": (
        lambda f: changed(f / "run/job.toml", "format = 1", "format = 1\nwild = 1"),
        JOB,
        "E002 run/job.toml: unknown key wild",
    ),
    "another version": (
        lambda f: changed(f / "run/operation.toml", 'vaetools = "', 'vaetools = "0.0.'),
        JOB,
        "E002 run: was begun with vaetools 0.0.",
    ),
    "another operation": (
        lambda f: f,
        "dust --job run -o out",
        "E002 run: was begun with negative, n",
    ),
    "another setting": (
        lambda f: f,
        "negative --job run -o out --strip all",
        "E002 run: was begun with strip not set, not all; use the same options",
    ),
    "another model": (
        lambda f: changed(f / "run/operation.toml", 'fingerprint = "', 'fingerprint = "0'),
        JOB,
        "E002 run: was begun with another version of negative; use the same options and models",
    ),
    "another OUT": (
        lambda f: f,
        "negative --job run -o out2",
        "E002 out2: is not the output folder of",
    ),
    "OUT is gone": (
        lambda f: shutil.rmtree(f / "out"),
        JOB,
        "E002 out: is not the output folder of",
    ),
    "no inputs": (
        lambda f: (f / "in").rename(f / "in2"),
        JOB,
        "E002 in: the folder of the inputs is",
    ),
    "cut list": (
        lambda f: (f / LIST).write_bytes((f / LIST).read_bytes()[:-5]),
        JOB,
        f"E002 {LIST}: is cut short or was changed",
    ),
    "empty list": (lambda f: (f / LIST).write_bytes(b""), JOB, f"E002 {LIST}: is cut short or was"),
    "no list": (lambda f: (f / LIST).unlink(), JOB, f"E002 {LIST}: cannot be read: No such file"),
    "another list": (
        lambda f: shutil.copy(f / "run/shards/000000.txt", f / LIST),
        JOB,
        f"E002 {LIST}: is the list of another job or shard",
    ),
    "name that escapes": (
        lambda f: rewritten(f / LIST, "../x.png"),
        JOB,
        f"E002 {LIST}: '../x.png' is not a file below in",
    ),
    "inputs and a job": (lambda f: f, "negative in --job run -o out", "E002 IN and --job exclude"),
    "a list and a job": (
        lambda f: f,
        "negative --files-from x --job run -o out",
        "E002 --files-from and --job exclude each other",
    ),
    "flags of runs": (lambda f: f, f"{JOB} --shard 1/2", "E002 --shard has no effect on a job"),
    "force": (lambda f: f, f"{JOB} --force", "E002 --force has no effect on a job"),
    "a job again": (lambda f: f, "shards in -o run", "E081 run: is the folder of a job already"),
    "other files": (lambda f: f, "shards in -o in", "E081 in: has other files in it"),
    "no files": (
        lambda f: (f / "empty").mkdir(),
        "shards empty -o new",
        "E003 empty: no input mat",
    ),
    "no IN": (lambda f: f, "shards none -o new", "E002 none: no such folder"),
    "a URL": (lambda f: f, "negative --job s3://b/run -o out", "E002 s3://b/run: "),
    "an operation without inputs": (
        lambda f: f,
        "generate --job run -o out",
        "E002 no such option",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_jobs(folder: Path, call: Callable[[str], tuple[int, list[str]]], case: str) -> None:
    prepare, words, line = CASES[case]
    prepare(folder)
    code, lines = call(words)
    assert len(lines) == 1 and lines[0].startswith(line), lines
    assert code == (3 if line.startswith("E003") else 2)


def test_claims_without_permission(
    call: Callable[[str], tuple[int, list[str]]], nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(nobody)
    images(nobody)
    assert call("shards in -o run")[0] == 0
    (nobody / "run/claims").mkdir(mode=0o500)
    code, (line,) = call("negative --job run -o out")
    assert code == 1
    assert line == "E070 run/claims/000000.1: cannot be claimed: Permission denied"
    (nobody / "run/operation.toml").unlink()
    (nobody / "run").chmod(0o500)
    code, (line,) = call("negative --job run -o out")
    assert code == 1
    assert line == "E070 run: cannot be written: Permission denied"


def test_a_shard_that_is_refused_does_not_end_the_others(
    folder: Path,
    call: Callable[[str], tuple[int, list[str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")  # begins with shard 0
    assert call("shards in -o run2 --size 1")[0] == 0
    (folder / "out2").mkdir()
    (folder / "out2/b.png").write_bytes(b"mine")
    code, lines = call("negative --job run2 -o out2")
    assert code == 2
    assert lines[0].startswith("E081 out2/b.png: already exists; nothing was done; use --on-exists")
    assert lines[1].startswith("2 shards: 2 done, ") and "1 shard not done" in lines[1]
    assert (folder / "out2/b.png").read_bytes() == b"mine"
    code, lines = call("negative --job run2 -o out2 --on-exists skip")
    assert code == 0
    assert lines[0].startswith("1 shard: 0 done, 1 skipped in ")
    assert call("report run2")[0] == 0


def test_one_line_if_all_shards_are_refused(
    folder: Path, call: Callable[[str], tuple[int, list[str]]]
) -> None:
    assert call("shards in -o run2 --size 1")[0] == 0
    shutil.copytree(folder / "in", folder / "out2")
    code, (line,) = call("negative --job run2 -o out2")
    assert code == 2 and line.startswith("E081 out2/")


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are Unicode")
def test_folders_whose_names_are_not_utf_8_are_refused(
    call: Callable[..., tuple[int, list[str]]], tmp_path: Path
) -> None:
    images(tmp_path)
    (tmp_path / "in").rename(tmp_path / "in\udcff")
    code, lines = call("shards in\udcff -o run")
    assert code == 2 and len(lines) == 1 and lines[0].startswith("E002 run/job.toml: "), lines
    assert "not UTF-8: root = " in lines[0] and not (tmp_path / "run").exists()
    (tmp_path / "in\udcff").rename(tmp_path / "in")
    assert call("shards in -o run")[0] == 0
    before = sorted(tmp_path.rglob("*"))
    code, lines = call("negative --job run -o out\udcff")
    assert code == 2 and len(lines) == 1 and "not UTF-8: out = " in lines[0], lines
    assert sorted(tmp_path.rglob("*")) == before
