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
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from common import Rgb, circumstances, read_images
from PIL import Image

import vaetools
from vaetools.metrics import psnr

if TYPE_CHECKING:
    from collections.abc import Iterator


class Row(TypedDict):
    """A screenshot.

    Attributes:
        image: Name of its file.
        vae: Bytes of its `.vae` file.
        psnr: Of that file, in dB; None if it is exact.
        coded: Bytes of the coded image if the pixels were stored instead; otherwise as `vae`.
        webp: Bytes of a lossless WebP file.
        lossy_webp: Bytes of a lossy WebP file of that PSNR; None if there is none.
    """

    image: str
    vae: int
    psnr: float | None
    coded: int
    webp: int
    lossy_webp: int | None


def screenshots(hub: vaetools.Hub, images: dict[str, Rgb], quality: float) -> Iterator[Row]:
    """Compress each image."""
    for name, rgb in images.items():
        bgr = np.ascontiguousarray(rgb[..., ::-1])
        data = hub.compress(bgr, quality=quality)
        found = hub.decompress(data)
        is_exact = np.array_equal(bgr, found)
        reached = psnr(bgr, found)
        yield {
            "image": name,
            "vae": len(data),
            "psnr": None if is_exact else reached,
            "coded": _coded(hub, bgr, quality) if is_exact else len(data),
            "webp": len(_webp(rgb, lossless=True, quality=75)),
            "lossy_webp": None if is_exact else _lossy_webp(rgb, reached),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quality", type=float, default=75)
    options = parser.parse_args()
    images, _ = read_images(options.folder, None)
    print("\n".join(circumstances("python " + shlex.join(sys.argv))), end="\n\n")
    print("| image | .vae | PSNR | coded | lossless WebP | lossy WebP |")
    print("|---|---:|---:|---:|---:|---:|")
    bad = 0
    for row in screenshots(vaetools.open(device="cpu"), images, options.quality):
        bad += row["psnr"] is not None and row["vae"] > row["webp"]
        shown = "exact" if row["psnr"] is None else f"{row['psnr']:.1f} dB"
        lossy = "" if row["psnr"] is None else _bytes(row["lossy_webp"])
        print(f"| {row['image']} | {row['vae']:,} | {shown} | {row['coded']:,} | {row['webp']:,} |"
              f" {lossy} |", flush=True)  # fmt: skip
    print(f"\nLarger than a lossless WebP file and not exact: {bad} of {len(images)}")


def _bytes(count: int | None) -> str:
    return "–" if count is None else f"{count:,}"


def _coded(hub: vaetools.Hub, bgr: Rgb, quality: float) -> int:
    """Bytes of the coded image where it was stored exactly."""
    codec = vaetools.Codec(hub.registry.for_task("compress"))
    probes = codec.probes(vaetools.Image.from_array(bgr), None)
    return len(probes.at_quality(quality).container.pack())


def _webp(rgb: Rgb, **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "WEBP", method=4, **options)
    return out.getvalue()


def _lossy_webp(rgb: Rgb, wanted: float) -> int | None:
    """Bytes of the lossy WebP file of the lowest quality with at least this PSNR."""
    low, high, best = 0, 100, None
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
