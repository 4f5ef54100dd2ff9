"""Small images in tar shards as JPEG and as .vae: bytes, and CPU time of a loader.

Crops of the photographs of scikit-image are packed as JPEG of quality 90, and compressed by
`vaetools compress`. Each tar is then read in one thread, with one session for all images.

    python benchmarks/tar_shards.py --images 64
"""

from __future__ import annotations

import argparse
import io
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from common import Rgb, circumstances
from skimage import data

import vaetools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZE = 224
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
QUALITY = 90


def crops(count: int) -> list[Rgb]:
    """Crops of the photographs in turn, at places that a seed decides."""
    rng, found = np.random.default_rng(0), []
    images = [np.asarray(getattr(data, name)()) for name in PHOTOGRAPHS]
    for number in range(count):
        image = images[number % len(images)]
        top, left = (int(rng.integers(0, length - SIZE + 1)) for length in image.shape[:2])
        found.append(np.ascontiguousarray(image[top : top + SIZE, left : left + SIZE]))
    return found


def write(path: Path, images: list[Rgb], suffix: str, options: list[int]) -> None:
    """A tar of images in a format."""
    with tarfile.open(path, "w") as tar:
        for number, image in enumerate(images):
            encoded = cv2.imencode(suffix, image[..., ::-1], options)[1].tobytes()
            info = tarfile.TarInfo(f"{number:06}{suffix}")
            info.size = len(encoded)
            tar.addfile(info, io.BytesIO(encoded))


def members(path: Path) -> Iterator[bytes]:
    """The content of each member."""
    with tarfile.open(path, "r|") as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            yield file.read()


def measured(
    path: Path, images: list[Rgb], decode: Callable[[bytes], Rgb]
) -> tuple[float, float, float]:
    """(bytes, PSNR in dB, CPU milliseconds) of an image on average."""
    files = list(members(path))
    decode(files[0])  # opens the session
    started = time.process_time()
    decoded = [decode(file) for file in members(path)]
    seconds = time.process_time() - started
    psnr = [cv2.PSNR(*pair) for pair in zip(images, decoded, strict=True)]
    return float(np.mean([*map(len, files)])), float(np.mean(psnr)), 1000 * seconds / len(files)


def from_jpeg(file: bytes) -> Rgb:
    decoded = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded[..., ::-1].astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--quality", type=int, nargs="+", default=[25, 50, 75, 90])
    args = parser.parse_args()
    cv2.setNumThreads(1)
    hub, images = vaetools.open("cpu", threads=1), crops(args.images)
    step = hub.op("decompress", channel_order="rgb")
    print("| members | bytes per image | PSNR in dB | CPU ms per decoded image |")
    print("|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        write(top / "jpeg.tar", images, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        show(f"JPEG, quality {QUALITY}", measured(top / "jpeg.tar", images, from_jpeg))
        write(top / "exact.tar", images, ".png", [])
        for quality in args.quality:
            out = top / f"{quality}.tar"
            hub.map("compress", top / "exact.tar", out=out, quality=quality).raise_for_failures()
            show(f"`.vae`, quality {quality}", measured(out, images, step))
    print("\n" + "\n".join(circumstances(f"benchmarks/tar_shards.py --images {args.images}")))


def show(name: str, values: tuple[float, float, float]) -> None:
    size, psnr, milliseconds = values
    print(f"| {name} | {size:,.0f} | {psnr:.1f} | {milliseconds:.2g} |")


if __name__ == "__main__":
    main()
