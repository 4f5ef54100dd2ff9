"""Decode damaged and forged `.vae` files completely, with networks, metadata and embedded images.

    python -m tests.fuzz.decode --cases 20000 --seed 0

The mutations are those of `tests.fuzz.container`, applied to the golden files of the codec tests. The
model is their miniature codec, so that a case takes milliseconds. Some cases decode a preview, some a
region. Allowed outcomes are an image of the size in the header or a `BitstreamError`, within two
seconds of CPU time and 64 MiB. A damaged file whose checksums were not recomputed must be refused.
"""

from __future__ import annotations

import random
import sys

from tests.codec.miniature import STREAMS, open_codec
from tests.fuzz.run import run
from vaetools.codec import Container, Region
from vaetools.codec.container import unpack

MAX_PIXELS = 2**16
"""Enough for the golden files, and for mutations that enlarge them."""


class FullDecoder:
    """`Codec.decode`, with a check of the size."""

    def __init__(self) -> None:
        self.codec = open_codec()

    def __call__(self, data: bytes, preview: bool, rng: random.Random) -> Container:
        found = unpack(data, max_pixels=MAX_PIXELS, preview=preview)
        region = random_region(found, rng)
        image = self.codec.decode(data, max_pixels=MAX_PIXELS, region=region, preview=preview)
        wanted = region or Region(0, 0, found.width, found.height)
        if (image.width, image.height) != (wanted.width, wanted.height):
            raise AssertionError(f"{image.width} x {image.height} pixels, not {wanted}")
        return found


def random_region(container: Container, rng: random.Random) -> Region | None:
    """A random region in half of the cases, else None."""
    if rng.random() < 0.5:
        return None
    left, top = rng.randrange(container.width), rng.randrange(container.height)
    width, height = container.width - left, container.height - top
    return Region(left, top, rng.randint(1, width), rng.randint(1, height))


def main() -> int:
    files = [unpack(path.read_bytes()) for path in sorted(STREAMS.glob("*.vae"))]
    return run(__doc__ or "", files, FullDecoder(), seconds=2.0)


if __name__ == "__main__":
    sys.exit(main())
