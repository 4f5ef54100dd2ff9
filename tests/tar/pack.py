"""Tars for tests, and operations on their members."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any

from tests.runner.operations import Copy

TIME = 1_234_567_890


def info(name: str, size: int = 0, **fields: Any) -> tarfile.TarInfo:
    """The header of a member."""
    found = tarfile.TarInfo(name)
    found.size, found.mtime, found.mode = size, TIME, 0o640
    found.uid, found.gid, found.uname, found.gname = 1000, 100, "ann", "users"
    for key, value in fields.items():
        setattr(found, key, value)
    return found


def pack(path: Path, members: Iterable[tuple[str, bytes]], kind: int = tarfile.PAX_FORMAT) -> Path:
    """A tar of files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=kind) as tar:
        for name, data in members:
            tar.addfile(info(name, len(data)), io.BytesIO(data))
    return path


def raw(path: Path, *headers: tarfile.TarInfo, data: bytes = b"") -> Path:
    """A tar of headers without content, except that of the last."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = b"".join(header.tobuf(tarfile.GNU_FORMAT) for header in headers)
    path.write_bytes(blocks + data + bytes(-len(data) % 512 + 1024))
    return path


def unpack(path: Path) -> list[tuple[str, bytes]]:
    """Names and content of the members."""
    with tarfile.open(path, "r:") as tar:
        found = [(member.name, tar.extractfile(member)) for member in tar]
        return [(name, b"" if file is None else file.read()) for name, file in found]


class Copies(Copy):
    """Two copies of each `.txt` file, under names of their own."""

    name = "copies"

    def outputs(self, source: PurePath) -> Any:
        return [source.with_name(f"{source.stem}_aug{n}.txt") for n in (1, 2)]

    def process(self, item: bytes) -> Any:
        if b"bad" in item:
            raise ValueError("bad")
        return [item + b"1", item + b"2"]


class Parts(Copies):
    """The file itself, and one more."""

    name = "parts"

    def outputs(self, source: PurePath) -> Any:
        return [source, source.with_stem(f"{source.stem}_sample1")]


class Listing(Copies):
    """Copies, and a list of them."""

    name = "listing"

    def outputs(self, source: PurePath) -> Any:
        return [*super().outputs(source)[:1], source.with_name(f"{source.stem}_aug.json")]


class Packed(Copy):
    """Adds a suffix."""

    name = "packed"

    def outputs(self, source: PurePath) -> Any:
        return [source.with_name(f"{source.name}.vae")]
