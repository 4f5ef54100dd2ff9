"""Decode damaged and forged `.vae` files to the end: networks, metadata and pictures inside as well.

    python benchmarks/fuzz_decode.py --cases 20000 --seed 0

The mutations are those of `fuzz_container.py`, of the golden files of the tests; the model is the
miniature codec beside them, so that a case costs milliseconds. Some cases ask for a preview, some for a
part of the picture. The promise: a picture of the size that the header says, or a `BitstreamError`,
within two seconds of CPU time and 64 MiB; and no picture out of a damaged file whose checksums nobody
made right.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fuzz_container import run

from vaetools.codec import Codec, Container, Region
from vaetools.codec.container import unpack
from vaetools.model.manifest import read_manifest
from vaetools.model.runtime import Runtime
from vaetools.model.vae import Model

if TYPE_CHECKING:
    import random

GOLDEN = Path(__file__).parents[1] / "tests" / "codec" / "golden"

MAX_PIXELS = 2**16
"""Room for the golden files, and for mutations that make them larger."""


class FullDecoder:
    """`Codec.decode`, and a look at what it gives."""

    def __init__(self, folder: Path) -> None:
        self.codec = Codec(Model(read_manifest(folder), folder, Runtime("cpu", threads=1)))

    def __call__(self, data: bytes, preview: bool, rng: random.Random) -> Container:
        found = unpack(data, max_pixels=MAX_PIXELS, preview=preview)
        region = random_region(found, rng)
        image = self.codec.decode(data, max_pixels=MAX_PIXELS, region=region, preview=preview)
        wanted = region or Region(0, 0, found.width, found.height)
        if (image.width, image.height) != (wanted.width, wanted.height):
            raise AssertionError(f"{image.width} x {image.height} pixels, not {wanted}")
        return found


def random_region(container: Container, rng: random.Random) -> Region | None:
    """In half of the cases a part of the picture."""
    if rng.random() < 0.5:
        return None
    left, top = rng.randrange(container.width), rng.randrange(container.height)
    width, height = container.width - left, container.height - top
    return Region(left, top, rng.randint(1, width), rng.randint(1, height))


def main() -> int:
    files = [unpack(path.read_bytes()) for path in sorted(GOLDEN.glob("streams/*.vae"))]
    decode = FullDecoder(GOLDEN / "model")
    return run(__doc__ or "", files, decode, seconds=2.0)


if __name__ == "__main__":
    sys.exit(main())
