"""What several benchmarks need: reading images, and a description of how a benchmark was run."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import os
import platform
from importlib import metadata
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

import vaetools

Rgb = npt.NDArray[np.uint8]
"""(H, W, 3)."""

SUFFIXES = {".png", ".bmp", ".tif", ".tiff", ".webp", ".jpg", ".jpeg"}


def read_images(folder: Path, quick: int | None) -> tuple[dict[str, Rgb], str]:
    """Read the images of a folder.

    Args:
        folder: searched without subfolders.
        quick: read only this number of images, evenly spread; None for all.

    Returns:
        8-bit RGB images by file name, and a hash of their files.
    """
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    if not files:
        raise SystemExit(f"{folder}: contains no images")
    if quick is not None and quick < len(files):
        files = [files[i * len(files) // quick] for i in range(quick)]
    content = hashlib.sha256()
    images = {}
    for file in files:
        data = file.read_bytes()
        content.update(file.name.encode() + hashlib.sha256(data).digest())
        with Image.open(io.BytesIO(data)) as image:
            images[file.name] = np.asarray(image.convert("RGB"))
    return images, content.hexdigest()


def circumstances(command: str) -> list[str]:
    """Command, date, versions and machine, one line each."""
    packages = ("onnxruntime", "onnxruntime-gpu", "pillow", "numpy", "opencv-python")
    versions = ", ".join(f"{name} {version_of(name)}" for name in packages if version_of(name))
    now = dt.datetime.now(dt.UTC)
    lines = [
        f"`{command}`",
        f"{now:%Y-%m-%d %H:%M} UTC",
        f"vaetools {vaetools.__version__}, Python {platform.python_version()}, {versions}",
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
    ]
    if hasattr(os, "getloadavg"):
        lines.append(f"load average at the end {os.getloadavg()[0]:.1f}")
    return lines


def version_of(package: str) -> str:
    """Version of an installed package, or an empty string."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"
