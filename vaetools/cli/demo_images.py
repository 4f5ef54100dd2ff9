"""Images of `vaetools demo`: the photographs of scikit-image, with noise and with scratches."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from vaetools.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from vaetools.image import Image

PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "hubble_deep_field.jpg")
"""Colour images that scikit-image installs (public domain or CC0)."""

SIGMA = 25.0
"""Standard deviation of the noise, on the 0–255 scale."""


def copy_photographs(folder: Path) -> list[Path]:
    """Copy the photographs of scikit-image to `folder`. Raises `UsageError` if there are none."""
    from skimage import data

    source = Path(data.__file__).parent
    folder.mkdir(parents=True, exist_ok=True)
    found = [source / name for name in PHOTOGRAPHS if (source / name).exists()]
    if not found:
        raise UsageError("the installed scikit-image has no photographs", file=source)
    return [Path(shutil.copyfile(path, folder / path.name)) for path in found]


def write_noisy(photo: Path, folder: Path, seed: int) -> Path:
    """The photograph with Gaussian noise, clipped and rounded to 8 bits, as a PNG file."""
    import numpy as np

    from vaetools.image import read_image

    pixels = read_image(photo).pixels
    noise = np.random.default_rng(seed).normal(0, SIGMA, pixels.shape)
    return _write(np.clip(pixels + noise, 0, 255).round().astype(np.uint8), photo, folder)


def write_scratched(photo: Path, folder: Path, masks: Path, seed: int) -> Path:
    """The photograph with white scratches as a PNG file, and their mask under the same name."""
    import cv2
    import numpy as np

    from vaetools.image import read_image

    pixels = read_image(photo).pixels.copy()
    height, width = pixels.shape[:2]
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    for _ in range(12):
        start, end = rng.integers(0, (width, height), (2, 2)).tolist()
        cv2.line(mask, start, end, 255, int(rng.integers(1, 4)))
    pixels[mask > 0] = 255
    _write(mask, photo, masks)
    return _write(pixels, photo, folder)


def _write(pixels: np.ndarray, photo: Path, folder: Path) -> Path:
    from vaetools.image import Image, encode_image

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / photo.with_suffix(".png").name
    path.write_bytes(encode_image(Image(pixels), "png"))
    return path


def jpeg_of_size(original: Image, size: int) -> tuple[int, float]:
    """(bytes, PSNR) of the best optimised 4:2:0 JPEG of at most `size` bytes, or of the smallest."""
    from PIL import Image as PillowImage

    from vaetools.image import decode_image
    from vaetools.metrics import psnr

    rgb = PillowImage.fromarray(original.pixels[:, :, ::-1].copy())
    low, high, best = 1, 95, b""
    while low <= high:
        middle = (low + high) // 2
        buffer = io.BytesIO()
        rgb.save(buffer, "JPEG", quality=middle, subsampling="4:2:0", optimize=True)
        if len(buffer.getvalue()) <= size or not best:
            best = buffer.getvalue()
        low, high = (middle + 1, high) if len(buffer.getvalue()) <= size else (low, middle - 1)
    return len(best), psnr(original.pixels, decode_image(best).pixels)
