"""What a container module says: signature, wholeness, bytes without metadata, metadata."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vaetools.image.metadata import Metadata
from vaetools.image.metadata.writing import Holds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MOST_NAMES = 5
"""Names in a note."""


@dataclass(frozen=True)
class Bare:
    """A file taken apart: what its pixels are decoded from, and its metadata.

    Attributes:
        format: name of the container.
        data: the same format, with what pixels come from and no more where that is easily had.
        metadata: with orientation 1 in its EXIF. None if only Pillow's header knows it; its
            `info` is then asked for `icc_profile`, `exif` and `xmp`.
        orientation: 1 … 8, still to be applied.
        frames: number of frames or pages; 1 if only the decoder knows.
    """

    format: str
    data: bytes
    metadata: Metadata | None = field(default_factory=Metadata)
    orientation: int = 1
    frames: int = 1


def unknown(kind: str, names: Iterable[str]) -> list[str]:
    """The note on parts of a file that we do not know, at most one; `kind` says what they are."""
    found = list(dict.fromkeys(names))
    more = ", …" if len(found) > MOST_NAMES else ""
    return [f"{kind} ({', '.join(found[:MOST_NAMES])}{more})"] if found else []


@dataclass(frozen=True)
class Container:
    """One file format.

    Attributes:
        name: as in `Image.format`.
        suffixes: lower case, the usual one first.
        signature: regular expression for the first bytes.
        unwrap: called with the file and `strict`; returns a `Bare`, and with `strict` raises
            `DamagedImageError` if the file is not whole as far as the container can tell.
        holds: what metadata it has a place for, as we write it.
        is_written: whether `encode_image` writes it.
        extra: the extra of the package that brings the library for it; empty if none is needed.
    """

    name: str
    suffixes: tuple[str, ...]
    signature: bytes
    unwrap: Callable[[bytes, bool], Bare]
    holds: Holds = field(default_factory=Holds)
    is_written: bool = True
    extra: str = ""
