"""Training images in few megabytes, to carry to another machine.

    python benchmarks/gpu/pack.py DATA pack/ --megabytes 40

Writes AVIF 4:4:4 at quality 90, or JPEG with `--format jpeg`. Large images are reduced by --scale,
which training does anyway (`shrink` in recipes). The first image of each folder comes first, then
the second of each, until the size is reached.
"""

from __future__ import annotations

import argparse
import io
import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

OPTIONS: dict[str, dict[str, Any]] = {
    "avif": {"quality": 90, "subsampling": "4:4:4", "speed": 6},
    "jpeg": {"quality": 92, "subsampling": 0},
}


def interleaved(data: Path) -> list[Path]:
    """The files below a folder, taking one of each of its folders in turn."""
    folders: dict[Path, list[Path]] = {}
    for path in sorted(data.rglob("*")):
        if path.is_file():
            folders.setdefault(path.parent, []).append(path)
    turns = itertools.zip_longest(*folders.values())
    return [path for files in turns for path in files if path is not None]


def encoded(path: Path, kind: str, *, scale: float, large: int) -> bytes:
    """One image; no bytes for what is no image."""
    try:
        image = Image.open(path).convert("RGB")
    except (UnidentifiedImageError, OSError):
        return b""
    if min(image.size) >= large:
        width, height = (round(side * scale) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, kind.upper(), **OPTIONS[kind])
    return out.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--megabytes", type=float, default=40.0)
    parser.add_argument("--format", choices=OPTIONS, default="avif")
    parser.add_argument("--scale", type=float, default=0.6, help="of large images")
    parser.add_argument("--large", type=int, default=1200, metavar="PX", help="their shorter side")
    options = parser.parse_args()
    options.out.mkdir(parents=True)
    files = interleaved(options.data)
    left = most = round(options.megabytes * 1e6)
    count = 0
    with ThreadPoolExecutor(2) as pool:
        kind, how = options.format, {"scale": options.scale, "large": options.large}
        for number, data in enumerate(pool.map(lambda file: encoded(file, kind, **how), files)):
            if 0 < len(data) <= left:
                (options.out / f"{number:05d}.{kind}").write_bytes(data)
                left, count = left - len(data), count + 1
            if left < most / 500:
                pool.shutdown(wait=False, cancel_futures=True)
                break
    print(f"{count} of {len(files)} files, {(most - left) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
