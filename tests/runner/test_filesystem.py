"""Folders that several machines write to: what a lock proves, and what it does not."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

import pytest

from vaetools.runner import RunSettings, run
from vaetools.runner.filesystem import is_shared
from vaetools.runner.machine import machine_id, started
from vaetools.runner.runner import FOREIGN_AGE

from .operations import Copy

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Plant

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

LINE = "36 35 {device} /export /mnt rw,noatime shared:1 - {kind} server:/export rw,vers=4.2"


def mounted(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the file system of a folder seem to be another one."""
    device = folder.stat().st_dev
    mounts = folder.parent / "mountinfo"
    line = LINE.format(device=f"{os.major(device)}:{os.minor(device)}", kind=kind)
    mounts.write_text(f"22 1 0:1 / /proc rw - proc proc rw\n{line}\n")
    monkeypatch.setattr("vaetools.runner.filesystem._MOUNTS", mounts)


@pytest.mark.parametrize(
    ("kind", "shared"),
    [("nfs4", True), ("cifs", True), ("fuse.sshfs", True), ("ext4", False), ("overlay", False)],
)
def test_file_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, shared: bool
) -> None:
    (tmp_path / "out").mkdir()
    mounted(tmp_path / "out", kind, monkeypatch)
    assert is_shared(tmp_path / "out") is shared
    assert not is_shared(tmp_path / "none")


PARTS = {
    "of this machine": f".b.txt.{machine_id()}-999999999.part",
    "new": ".b.txt.00000000-1.part",
    "old": ".c.txt.00000000-1.part",
}


@pytest.mark.parametrize("kind", ["nfs4", "ext4"])
def test_temporary_files_of_other_machines(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A lock proves on a local file system that they are stale; on a shared one, only time does."""
    top, out = plant("in", {"a.txt": b"a"}), plant("out", dict.fromkeys(PARTS.values(), b""))
    old = (out / PARTS["old"]).stat().st_mtime - FOREIGN_AGE - 10
    os.utime(out / PARTS["old"], (old, old))
    mounted(out, kind, monkeypatch)
    run(Copy(), [top], RunSettings(out, jobs=1))
    left = {name for name, part in PARTS.items() if (out / part).exists()}
    assert left == ({"new"} if kind == "nfs4" else set())


def test_a_file_system_without_locks_lets_runs_in(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    top = plant("in", {"a.txt": b"ab"})
    assert run(Copy(), [top], RunSettings(tmp_path / "out", jobs=1)).exit_code == 0


def test_processes_are_told_apart_by_their_start() -> None:
    assert started(os.getpid()).isdigit() and started(os.getpid()) == started(os.getpid())
    assert started(999_999_999) == ""
