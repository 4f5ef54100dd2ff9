"""A disk that is full hides nothing: not the summary, not how to go on, not the report."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from vaetools.runner import RunSettings, run

from .operations import Copy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .conftest import Plant

FILES = {f"{i:02}.txt": b"data" * 300 for i in range(20)}


@pytest.mark.parametrize("after", [0, 7, 20])
@pytest.mark.parametrize("call", ["fsync", "open", "link"])
def test_the_result_is_there_whenever_the_disk_fills_up(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, after: int
) -> None:
    top, out, report = plant("in", FILES), tmp_path / "out", tmp_path / "reports" / "r.html"
    real: Callable[..., Any] = getattr(os, call)
    calls: list[None] = []

    def fail(*words: Any, **options: Any) -> Any:
        place = _place(words[-1 if call == "link" else 0])
        if call == "open" and not place.endswith(".part"):
            return real(*words, **options)
        calls.append(None)
        if len(calls) > after and str(out) in place:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*words, **options)

    plant("out", {})
    settings = RunSettings(out, jobs=2, report=report)
    assert run(Copy(), [plant("few", {"a.txt": b"a"})], settings).exit_code == 0
    monkeypatch.setattr(os, call, fail)
    result = run(Copy(), [top], RunSettings(out, jobs=2, report=report))
    monkeypatch.undo()
    if call != "link":  # renaming is what a file system without links does, and needs no space
        assert result.exit_code == 1
        assert result.stopped == "stopped because the disk is full"
        assert result.summary.endswith("run the same command again to resume")
        assert result.stopped in report.read_text()
    assert run(Copy(), [top], settings).exit_code == 0
    assert {p.name: p.read_bytes() for p in out.glob("[!.]*")} == {
        name: data[::-1] for name, data in {**FILES, "a.txt": b"a"}.items()
    }
    assert not list(tmp_path.rglob("*.part"))


def _place(name: Any) -> str:
    return (
        str(Path(f"/proc/self/fd/{name}").readlink()) if isinstance(name, int) else os.fspath(name)
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 kB in memory."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(disk)]
    if (
        sys.platform != "linux"
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        pytest.skip("needs permission to mount")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


PROGRAM = """
import sys
from vaetools.cli import main
main([*sys.argv[1:], "--json"])
"""


@pytest.mark.slow
def test_a_command_on_a_full_disk_ends_with_its_summary(plant: Plant, small_disk: Path) -> None:
    from vaetools.image import Image, encode_image
    from vaetools.testing import gradient

    picture = encode_image(Image(gradient()), "png")
    count = 200_000 // len(picture) + 5
    top = plant("in", {f"{i:03}.png": picture for i in range(count)} | {"bad.png": b"no image"})
    command = [sys.executable, "-c", PROGRAM, "denoise", str(top), "-o", str(small_disk / "o")]
    command += ["--sigma", "0", "--report", str(small_disk / "r.html")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    summary = done.stderr.splitlines()[-1]
    assert "the disk is full" in summary
    assert summary.endswith("run the same command again to resume")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert "E070" in {record["code"] for record in records}
    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "1 failed, " in done.stderr.splitlines()[-1]
    assert len(list((small_disk / "o").glob("*.png"))) == count
    assert (small_disk / "r.html").exists()
    assert not list(small_disk.rglob("*.part"))
