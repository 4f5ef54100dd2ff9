"""NumPy archives (`.npz`) from an untrusted source: sizes are known before anything is unpacked.

`np.load` unpacks what an archive declares, and can unpickle. Here, only plain arrays of numbers are
read, and only by name.
"""

from __future__ import annotations

import io
import math
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.errors import ModelBrokenError, printable

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_BYTES = 2**24
"""Bytes of all arrays of an archive, unpacked. The tables of `photo-codec` take 0.8 MB."""

HEADER = 2**12
"""Bytes of the header of an array."""


def read_arrays(data: bytes, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an archive.

    Args:
        data: the file.
        names: of the arrays that it may hold; None for any.

    Raises:
        ModelBrokenError: it is no such archive, is damaged, holds other arrays, or too much.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = _members(archive, names)
            return {name: _array(archive, member) for name, member in members.items()}
    except ModelBrokenError:
        raise
    except Exception as error:  # noqa: BLE001 - parsers raise almost anything
        reason = printable(str(error).partition("\n")[0][:100]) or type(error).__name__
        raise ModelBrokenError(f"is not a NumPy archive of plain arrays: {reason}") from None


def _members(archive: zipfile.ZipFile, names: Collection[str] | None) -> dict[str, zipfile.ZipInfo]:
    """The entries of the arrays by name."""
    entries = archive.infolist()
    found = {entry.filename.removesuffix(".npy"): entry for entry in entries}
    unknown = [] if names is None else sorted(found.keys() - set(names))
    if unknown:
        listed = ", ".join(printable(name[:40]) for name in unknown[:8])
        raise ModelBrokenError(f"has missing or unknown arrays: {listed}")
    if len(found) != len(entries):
        raise ValueError("an array is there twice")
    total = sum(entry.file_size for entry in entries)
    if total > MAX_BYTES:
        raise ModelBrokenError(f"has {total} bytes of arrays, the limit is {MAX_BYTES}")
    return found


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise ValueError("a compression other than deflate")
    with archive.open(member) as file:
        content = io.BytesIO(file.read(member.file_size))
    version = np.lib.format.read_magic(content)
    readers: dict[tuple[int, int], Any] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    shape, by_column, kind = readers[version](content, max_header_size=HEADER)
    if kind.kind not in "biuf" or by_column:
        raise ValueError(f"an array of {kind}")
    body = content.read()
    if min(shape, default=0) < 0 or math.prod(shape) * kind.itemsize != len(body):
        raise ValueError(f"an array of {len(body)} bytes and the shape {shape}")
    array: np.ndarray = np.frombuffer(body, kind).reshape(shape)
    return array.astype(kind.newbyteorder("="))
