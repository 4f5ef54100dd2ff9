"""Trees of files, and an unprivileged user."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

Plant = Callable[[str, Mapping[str, bytes]], Path]

NOBODY = 65534


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Creates a folder of files: `plant("photos", {"a/b.txt": b"…"})`."""

    def make(folder: str, files: Mapping[str, bytes]) -> Path:
        top = tmp_path / folder
        top.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            path = top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return top

    return make


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A folder of an unprivileged user; root becomes that user for the test."""
    folder = Path(tempfile.mkdtemp(prefix="runner-"))
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if is_root:
            os.seteuid(0)
        for path, _, _ in os.walk(folder):
            Path(path).chmod(0o700)
        shutil.rmtree(folder)
