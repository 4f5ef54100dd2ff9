"""Screenshots: bytes of `.vae` files next to lossless and lossy WebP files of the same pixels.

    python benchmarks/screens.py FOLDER [--quality 75]

The lossy WebP file is the smallest one with at least the PSNR of the coded image; where the image is
stored exactly, or no such file is possible, there is none.
"""

from __future__ import annotations

import argparse
import io
import shlex
import sys
from pathlib import Path

import numpy as np
from common import Rgb, circumstances, read_images
from PIL import Image

import vaetools
from vaetools.metrics import psnr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quality", type=float, default=75)
    options = parser.parse_args()
    images, _ = read_images(options.folder, None)
    print("\n".join(circumstances("python " + shlex.join(sys.argv))), end="\n\n")
    print("| image | .vae | PSNR | coded instead | lossless WebP | lossy WebP |")
    print("|---|---:|---:|---:|---:|---:|")
    larger = 0
    hub = vaetools.open(device="cpu")
    for name, rgb in images.items():
        bgr = np.ascontiguousarray(rgb[..., ::-1])
        data = hub.compress(bgr, quality=options.quality)
        exact = len(_webp(rgb, lossless=True, quality=75))
        found = hub.decompress(data)
        quality, is_stored = psnr(bgr, found), np.array_equal(bgr, found)
        larger += not is_stored and len(data) > exact
        coded = f"{_coded(hub, bgr, options.quality):,}" if is_stored else ""
        shown = "exact" if is_stored else f"{quality:.1f} dB"
        lossy = "" if is_stored else _bytes(_equal_webp(rgb, quality))
        print(f"| {name} | {len(data):,} | {shown} | {coded} | {exact:,} | {lossy} |", flush=True)
    print(f"\nLarger than a lossless WebP file and not exact: {larger} of {len(images)}")


def _bytes(count: int) -> str:
    return f"{count:,}" if count else "–"


def _coded(hub: vaetools.Hub, bgr: Rgb, quality: float) -> int:
    """Bytes of the coded image where it was stored exactly."""
    codec = vaetools.Codec(hub.registry.for_task("compress"))
    probes = codec.probes(vaetools.Image.from_array(bgr), None)
    return len(probes.at_quality(quality).container.pack())


def _webp(rgb: Rgb, **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "WEBP", method=4, **options)
    return out.getvalue()


def _equal_webp(rgb: Rgb, wanted: float) -> int:
    """Bytes of the lossy WebP file of the lowest quality with at least this PSNR; 0 for none."""
    low, high, best = 0, 100, 0
    while low <= high:
        middle = (low + high) // 2
        data = _webp(rgb, quality=middle)
        with Image.open(io.BytesIO(data)) as image:
            is_enough = psnr(rgb, np.asarray(image.convert("RGB"))) >= wanted
        if is_enough:
            best, high = len(data), middle - 1
        else:
            low = middle + 1
    return best


if __name__ == "__main__":
    main()
