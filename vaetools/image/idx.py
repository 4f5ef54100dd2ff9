"""IDX files, in which MNIST comes: many small grey images behind one header, often gzipped.

    offset  bytes  big-endian
    0       2      zero
    2       1      type of the samples; 0x08 is uint8
    3       1      number of dimensions, 3 for images
    4       4 × 3  N, H, W
    16      N·H·W  samples, row by row

Y. LeCun, C. Cortes & C. Burges, "The MNIST database of handwritten digits": the format is described
at the end of that page.
"""

from __future__ import annotations

import gzip
import math
import re
import stat
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vaetools.errors import (
    DamagedImageError,
    EmptyFileError,
    InputError,
    NotAnImageError,
    TooLargeError,
    UnreadableError,
    UnsupportedImageError,
)

if TYPE_CHECKING:
    import io

    from numpy.typing import NDArray

MAX_BYTES = 2**30
"""The default limit: a gigabyte of samples, 23 times the training images of MNIST."""

_NAME = re.compile(r".*[.-]idx3-ubyte(\.gz)?", re.IGNORECASE | re.DOTALL)
_GZIP = b"\x1f\x8b"
_HEADER = struct.Struct(">HBB3I")
_UINT8 = 0x08


def is_idx(path: str | Path) -> bool:
    """Whether a file's name says that it holds images: `*-idx3-ubyte`, `*.idx3-ubyte`, or `.gz`."""
    return _NAME.fullmatch(Path(path).name) is not None


def read_idx(path: str | Path, *, max_bytes: int = MAX_BYTES) -> NDArray[np.uint8]:
    """The images of an IDX file, plain or gzipped: uint8 (N, H, W), 0 … 255, N at least 1.

    Args:
        max_bytes: refuse files whose header promises more samples, before memory is taken for them.

    Raises:
        UnreadableError: not there, not permitted, a directory, a pipe.
        EmptyFileError: no bytes, or no images.
        NotAnImageError: another magic number.
        UnsupportedImageError: samples that are not uint8, or labels, or another number of dimensions.
        TooLargeError: more samples than `max_bytes`.
        DamagedImageError: cut short, bytes that no image accounts for, or a broken gzip stream.
    """
    try:
        return _read(Path(path), max_bytes)
    except InputError as error:
        error.about(path)
        raise
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DamagedImageError(f"damaged gzip stream: {error}", file=path) from None
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror or error}", file=path) from error


def _read(path: Path, max_bytes: int) -> NDArray[np.uint8]:
    # A pipe would make open() wait for ever.
    if not stat.S_ISREG(path.stat().st_mode):
        raise UnreadableError("cannot be read: it is not a regular file")
    with path.open("rb") as file:
        start = file.read(2)
        file.seek(0)
        if start != _GZIP:
            return _images(file, max_bytes)
        with gzip.open(file) as unpacked:
            return _images(unpacked, max_bytes)


def _images(stream: io.BufferedIOBase, max_bytes: int) -> NDArray[np.uint8]:
    shape = _shape(stream.read(_HEADER.size))
    size = math.prod(shape)
    if size > max_bytes:
        raise TooLargeError(
            f"its header promises {size / 1e6:,.0f} MB of images, over the limit of "
            f"{max_bytes / 1e6:,.0f} MB"
        )
    # The system gives memory as it is written to: a header that lies costs next to nothing.
    images = np.empty(shape, np.uint8)
    rest = images.reshape(-1).data
    while rest:
        count = stream.readinto(rest)
        if not count:
            raise DamagedImageError(
                f"truncated: {size - len(rest)} of {size} bytes of images are there"
            )
        rest = rest[count:]
    # One more read also makes gzip check its checksum.
    if stream.read(1):
        raise DamagedImageError(f"extra bytes after the {shape[0]} images of its header")
    return images


def _shape(header: bytes) -> tuple[int, int, int]:
    if not header:
        raise EmptyFileError("the file is empty")
    if header[:2] != b"\0\0" or len(header) < 4:
        raise NotAnImageError("not an IDX file: it does not begin with two zero bytes")
    kind, dimensions = header[2:4]
    if kind != _UINT8 or dimensions != 3:
        what = "labels" if dimensions == 1 else f"{dimensions} dimensions of type 0x{kind:02x}"
        raise UnsupportedImageError(
            f"an IDX file of {what}, not of images (3 dimensions of type 0x08)"
        )
    if len(header) < _HEADER.size:
        raise DamagedImageError("truncated: the file ends inside its header")
    _, _, _, count, height, width = _HEADER.unpack(header)
    if not count * height * width:
        raise EmptyFileError(f"there are no pixels in {count} images of {height}×{width}")
    return count, height, width
