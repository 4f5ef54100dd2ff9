"""Small images of all kinds, some of them broken, for long runs."""

from __future__ import annotations

import random
import zlib
from typing import TYPE_CHECKING

import numpy as np

from vaetools.image import Image, encode_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

KINDS: dict[str, tuple[tuple[int, int], ...]] = {
    # suffix: (channels, bits) that the format can hold
    "png": ((1, 8), (2, 8), (3, 8), (4, 8), (1, 16), (3, 16), (4, 16)),
    "jpeg": ((1, 8), (3, 8)),
    "webp": ((3, 8), (4, 8)),
    "tiff": ((1, 8), (3, 8), (1, 16), (3, 16)),
    "bmp": ((3, 8),),
}

DISTINCT = 200
"""Number of different images; a soak has many copies of each, under names of their own."""

BROKEN_IN = 20
"""One file in this many is broken."""


def plant(folder: Path, count: int, seed: int = 0) -> int:
    """Write `count` files, in folders of 500; returns how many of them are broken."""
    rng = random.Random(seed)
    files = [_file(rng) for _ in range(DISTINCT)]
    broken = 0
    for index in range(count):
        suffix, data = files[index % DISTINCT]
        if index % BROKEN_IN == 0:
            data, broken = _damaged(data, rng), broken + 1
        path = folder / f"{index // 500:03}" / f"{index:06}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return broken


def _file(rng: random.Random) -> tuple[str, bytes]:
    suffix = rng.choice([*KINDS])
    channels, bits = rng.choice(KINDS[suffix])
    size = rng.randint(1, 96), rng.randint(1, 96)
    return suffix, encode_image(Image.from_array(_pixels(rng, size, channels, bits)), suffix)


def _pixels(
    rng: random.Random, size: tuple[int, int], channels: int, bits: int
) -> NDArray[np.uint8 | np.uint16]:
    most = 2**bits - 1
    noise = np.random.default_rng(rng.getrandbits(32)).random((*size, channels)) * 0.1
    ramp = np.linspace(0, 0.9, size[1])[:, None] + noise
    pixels = (ramp * most).astype(np.uint8 if bits == 8 else np.uint16)
    if channels == 2:  # grey with alpha is stored as colour with alpha
        return pixels[..., [0, 0, 0, 1]]
    return pixels[..., 0] if channels == 1 else pixels


def _damaged(data: bytes, rng: random.Random) -> bytes:
    """Empty, cut off, of another kind, or with an altered byte near its start."""
    how = rng.randrange(4)
    if how == 0:
        return b""
    if how == 1:
        return data[: len(data) // 2]
    if how == 2:
        return zlib.compress(data)
    at = min(len(data) - 1, 1)
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
