"""Reports for web/test: `python -m tests.report.for_browsers DIR`.

`small/report.html` is one file with samples, an uncertainty map, a TIFF file and a failure;
`many/report.html` has 1,000 images.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from vaetools.image import Image, encode_image
from vaetools.record import Record
from vaetools.runner import RunResult
from vaetools.testing import gradient


def write(path: Path, pixels: np.ndarray, kind: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_image(Image(pixels), kind))
    return str(path)


def small(top: Path) -> None:
    clean = gradient(300, 400)
    noise = np.random.default_rng(0).normal(0, 20, clean.shape)
    noisy = np.clip(clean + noise, 0, 255).astype(np.uint8)
    spread = np.tile(np.linspace(0, 5000, 400).astype(np.uint16), (300, 1))
    outputs = (
        write(top / "out/a.png", clean, "png"),
        write(top / "out/a_sample1.png", noisy, "png"),
        write(top / "out/a_uncertainty.png", spread, "png"),
    )
    source = write(top / "in/a.png", noisy, "png")
    size = {"bytes_in": 9000, "bytes_out": 5000, "width": 400, "height": 300, "ms": 80.0}
    scan = write(top / "in/<b>&.tif", noisy, "tiff")
    records = (
        Record(source, outputs, "denoise", "done", found={"sigma": 20.0}, **size),
        Record(scan, (write(top / "out/b.tif", clean, "tiff"),), "denoise", "done", **size),
        Record("c.png", (), "denoise", "failed", code="E012", message="c.png: truncated"),
    )
    RunResult(records, options={"sigma": "auto"}).write_report(top / "report.html")


def many(top: Path) -> None:
    pixels = gradient(60, 80)
    records = []
    for number in range(1000):
        files = [top / kind / f"IMG_{number:04}.png" for kind in ("in", "out")]
        one, other = (write(file, pixels, "png") for file in files)
        size = {"bytes_in": 9000 + number, "bytes_out": 5000, "width": 80, "height": 60}
        records.append(Record(one, (other,), "denoise", "done", ms=5.0 + number, **size))
    RunResult(tuple(records)).write_report(top / "report.html")


if __name__ == "__main__":
    small(Path(sys.argv[1]) / "small")
    many(Path(sys.argv[1]) / "many")
