"""Tar files as inputs: their members, checked, and the bytes of each.

A member is described by its headers alone; nothing is extracted. Whatever could not be copied to
another tar without loss, or could do harm where that is unpacked, is refused.
"""

from __future__ import annotations

import copy
import math
import os
import re
import struct
import tarfile
import threading
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from vaetools.errors import (
    ClashError,
    DamagedImageError,
    EmptyFileError,
    InputError,
    NotAnImageError,
    NothingMatchedError,
    TooLargeError,
    UnreadableError,
    UnsupportedImageError,
    printable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self

TAR = ".tar"

MOST_MEMBERS = 1_000_000
"""Members of one tar: their headers are in memory."""

MOST_HEADER = 2**20
"""Bytes of an extended header, which is read at once."""

_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tar.lz4")

_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
}

_TYPES = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a FIFO",
}

_CHUNK = 2**20
_UNTAR = "unpack it, and pack it again without such members"


def is_tar(path: str | PurePath) -> bool:
    """Whether the name is that of a tar file, which may be compressed."""
    return PurePath(path).name.lower().endswith((TAR, *_COMPRESSED))


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a tar.

    Attributes:
        info: Its header.
        start: Position of its first header, and of global headers before it.
        end: Position after its last block.
    """

    info: tarfile.TarInfo
    start: int
    end: int

    @property
    def name(self) -> str:
        """The name as it is in the tar."""
        return self.info.name

    @property
    def is_file(self) -> bool:
        """Whether it is a file; otherwise it is a folder."""
        return self.info.isreg()

    def header(self, name: str, size: int) -> bytes:
        """The header of a file with the times, owner and permissions of this one."""
        info = copy.copy(self.info)
        info.name, info.size, info.type = name, size, tarfile.REGTYPE
        dropped = ("path", "size", "hdrcharset")
        info.pax_headers = {k: v for k, v in info.pax_headers.items() if k not in dropped}
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


class Archive:
    """A tar file that is open for reading; a context manager.

    Args:
        path: The file.
        strict: Refuse a tar that was cut, instead of giving the members that are whole.

    Attributes:
        path: As given.
        damage: What is missing at the end; otherwise empty. Set by `members`.

    Raises:
        InputError: The file cannot be read.
    """

    def __init__(self, path: Path, *, strict: bool = True) -> None:
        self.path = path
        self.damage: str = ""
        self._strict = strict
        self._lock = threading.Lock()
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise UnreadableError(f"cannot be read: {error.strerror}", file=path) from error
        self._status = os.fstat(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def members(self) -> list[Member]:
        """All members, in order.

        Raises:
            EmptyFileError, NotAnImageError, DamagedImageError: It is empty, no tar, or was cut.
            UnsupportedImageError: It is compressed, or has members that are neither files nor folders,
                or data after its end.
            InputError: A name leads out of the folder where it would be unpacked.
            ClashError: Two members have the same name.
            TooLargeError: There are too many members.
            NothingMatchedError: There are none.
        """
        self._check_kind()
        members: list[Member] = []
        seen: set[str] = set()
        for member in self._listed():
            self._check(member, seen)
            members.append(member)
            if len(members) > MOST_MEMBERS:
                problem = f"has more than {MOST_MEMBERS:,} members"
                raise TooLargeError(problem, file=self.path, remedy="divide it")
        if not members:
            raise NothingMatchedError("has no members", file=self.path)
        return members

    def read(self, member: Member) -> bytes:
        """The content of a file. Can be called by several threads. Raises `UnreadableError`."""
        return b"".join(self.parts(member.info.offset_data, member.info.size))

    def parts(self, position: int, size: int) -> Iterator[bytes]:
        """`size` bytes from a position, in parts. Raises `UnreadableError`."""
        while size:
            try:
                with self._lock:
                    self._file.seek(position)
                    part = self._file.read(min(size, _CHUNK))
            except OSError as error:
                problem = f"cannot be read: {error.strerror}"
                raise UnreadableError(problem, file=self.path) from error
            if not part:
                raise UnreadableError("it changed during the run", file=self.path)
            yield part
            position += len(part)
            size -= len(part)

    def check_unchanged(self) -> None:
        """Raise `UnreadableError` if the file was written to since it was opened."""
        now, then = os.fstat(self._file.fileno()), self._status
        if (now.st_size, now.st_mtime_ns) != (then.st_size, then.st_mtime_ns):
            raise UnreadableError("it changed during the run", file=self.path)

    def _check_kind(self) -> None:
        head = b"".join(self.parts(0, min(512, self._status.st_size)))
        if not head:
            raise EmptyFileError("is empty", file=self.path)
        for magic, name in _MAGIC.items():
            if head.startswith(magic):
                raise UnsupportedImageError(
                    f"is compressed with {name}", file=self.path, remedy=f"unpack it with {name} -d"
                )

    def _listed(self) -> Iterator[Member]:
        """All members; they are not checked yet."""
        tar: Any = None
        end = 0
        try:
            file: Any = _Headers(self._file)
            tar = tarfile.TarFile(fileobj=file, mode="r", encoding="utf-8")
            while (info := tar.next()) is not None:
                tar.members = []  # which would keep all of them a second time
                start, end = end, tar.offset
                self._check_position(info, start, end)
                self._check_globals(tar.pax_headers)
                yield Member(info, start, end)
        except InputError:
            raise
        except (tarfile.TarError, ValueError, OverflowError, RecursionError, struct.error) as error:
            if tar is None:
                raise NotAnImageError("is not a tar file", file=self.path) from error
            self._cut(end, "a header is damaged")
            return
        except OSError as error:
            problem = f"cannot be read: {error.strerror or error}"
            raise UnreadableError(problem, file=self.path) from error
        self._check_end(tar.offset)

    def _check_position(self, info: tarfile.TarInfo, start: int, end: int) -> None:
        size, data = info.size, info.offset_data
        has_data = info.isreg() or info.type not in tarfile.SUPPORTED_TYPES
        if info.offset < start or not info.offset < data <= end or size < 0:
            raise tarfile.HeaderError
        if has_data and data + size > self._status.st_size:
            raise tarfile.ReadError
        is_exact = info.pax_headers.get("size", str(size)) == str(size)
        if not is_exact or not math.isfinite(info.mtime):
            raise tarfile.HeaderError

    def _check_globals(self, headers: Any) -> None:
        if any(name in ("path", "linkpath", "size") or "sparse" in name for name in headers):
            problem = "has a global header that changes all members"
            raise UnsupportedImageError(problem, file=self.path, remedy=_UNTAR)

    def _check_end(self, end: int) -> None:
        """Look at what follows the last member: zeros to the end of the file."""
        rest = self.parts(end, max(0, self._status.st_size - end))
        first = next(rest, b"")
        if not first:
            self._cut(end, "the end of the tar is missing")
        elif len(first) < tarfile.BLOCKSIZE or any(first[: tarfile.BLOCKSIZE]):
            self._cut(end, "a header is damaged")
        elif any(first) or any(map(any, rest)):
            problem = "has data after its end"
            remedy = "join tars with tar -A, not with cat"
            raise UnsupportedImageError(problem, file=self.path, remedy=remedy)

    def _cut(self, end: int, what: str) -> None:
        self.damage = f"{what}, after {end:,} of {self._status.st_size:,} bytes"
        if self._strict:
            remedy = "get the file again, or keep the members before it with --lenient"
            raise DamagedImageError(f"is damaged: {self.damage}", file=self.path, remedy=remedy)

    def _check(self, member: Member, seen: set[str]) -> None:
        info, name = member.info, printable(member.name)
        kind = _TYPES.get(info.type, "" if info.isreg() or info.isdir() else "of an unknown type")
        if info.issparse():
            kind = "a sparse file"
        if kind:
            raise UnsupportedImageError(f"member {name} is {kind}", file=self.path, remedy=_UNTAR)
        if _is_unsafe(member.name, is_file=member.is_file):
            problem = f"member {name!r} leads out of the folder where it is unpacked"
            if not member.name.strip("/"):
                problem = "has a member without a name"
            raise InputError(problem, file=self.path, remedy=_UNTAR)
        path = str(PurePosixPath(member.name))
        if member.is_file and path in seen:
            raise ClashError(f"has two members called {name}", file=self.path, remedy=_UNTAR)
        seen.add(path)


def _is_unsafe(name: str, *, is_file: bool) -> bool:
    parts = re.split(r"[/\\]", name)
    is_path = not is_file or parts[-1] not in ("", ".")
    outside = name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:[/\\]", name)
    return not name or not is_path or bool(outside) or ".." in parts or "\0" in name


class _Headers:
    """A file of which `tarfile` reads headers: their size is what a stranger wrote."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek = file.seek
        self.tell = file.tell
        file.seek(0)

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MOST_HEADER:
            raise tarfile.HeaderError
        return self._file.read(size)
