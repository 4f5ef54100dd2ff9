"""IDX files: what is read, and each way in which one can be wrong."""

from __future__ import annotations

import gzip
import os
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from vaetools import errors
from vaetools.image.idx import is_idx, read_idx

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5)


def idx(images: np.ndarray = IMAGES, magic: int = 0x0803) -> bytes:
    return struct.pack(f">I{images.ndim}I", magic, *images.shape) + images.tobytes()


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_images_come_back(tmp_path: Path, pack) -> None:
    path = tmp_path / "t-idx3-ubyte"
    path.write_bytes(pack(idx()))
    found = read_idx(path)
    assert found.dtype == np.uint8
    assert np.array_equal(found, IMAGES)
    found[0, 0, 0] = 9  # the array is the caller's own


def test_gzip_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    path = tmp_path / "t-idx3-ubyte.gz"
    path.write_bytes(idx())
    assert np.array_equal(read_idx(path), IMAGES)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train-images-idx3-ubyte.gz", True),
        ("a/b/t10k-images.idx3-ubyte", True),
        ("T-IDX3-UBYTE", True),
        ("train-labels-idx1-ubyte.gz", False),
        ("idx3-ubyte", False),
        ("a-idx3-ubyte.png", False),
    ],
)
def test_names(name: str, expected: bool) -> None:
    assert is_idx(name) is expected


PACKED = gzip.compress(idx(), mtime=0)


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        (b"", errors.EmptyFileError, "empty"),
        (gzip.compress(b"", mtime=0), errors.EmptyFileError, "empty"),
        (b"\0\0\x08", errors.NotAnImageError, "not an IDX file"),
        (b"\x89PNG\r\n\x1a\n", errors.NotAnImageError, "not an IDX file"),
        (idx()[:15], errors.DamagedImageError, "inside its header"),
        (idx()[:-1], errors.DamagedImageError, "29 of 30 bytes"),
        (idx() + b"x", errors.DamagedImageError, "after the 2 images"),
        (idx(IMAGES[:, :, 0], 0x0802), errors.UnsupportedImageError, "2 dimensions of type 0x08"),
        (idx(IMAGES[:, 0, 0], 0x0801), errors.UnsupportedImageError, "labels"),
        (idx(magic=0x0D03), errors.UnsupportedImageError, "type 0x0d"),
        (idx(IMAGES[:0]), errors.EmptyFileError, "no pixels in 0 images of 3×5"),
        (PACKED[:-9], errors.DamagedImageError, "gzip"),
        (PACKED[:-5] + bytes([PACKED[-5] ^ 1]) + PACKED[-4:], errors.DamagedImageError, "CRC"),
        (PACKED[:10] + b"\xff" * 20, errors.DamagedImageError, "gzip"),
    ],
)
def test_each_wrong_file_is_one_line(tmp_path: Path, data: bytes, error, said: str) -> None:
    path = tmp_path / "bad-idx3-ubyte"
    path.write_bytes(data)
    with pytest.raises(error) as caught:
        read_idx(path)
    assert said in caught.value.line and str(path) in caught.value.line
    assert len(caught.value.line.splitlines()) == 1


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_header_is_not_believed(tmp_path: Path, pack) -> None:
    path = tmp_path / "t-idx3-ubyte"
    path.write_bytes(pack(struct.pack(">4I", 0x0803, 2**32 - 1, 2**32 - 1, 2**32 - 1)))
    with pytest.raises(errors.TooLargeError, match="over the limit of 1,074 MB"):
        read_idx(path)
    path.write_bytes(pack(idx()))
    assert len(read_idx(path, max_bytes=30)) == 2
    with pytest.raises(errors.TooLargeError):
        read_idx(path, max_bytes=29)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("missing", "pipe", "."):
        with pytest.raises(errors.UnreadableError, match="cannot be read"):
            read_idx(tmp_path / name)
