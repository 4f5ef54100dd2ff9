"""Make the images at the top of the README and in docs/gallery.md: `python docs/make_images.py`.

Each shows a part of a photograph from scikit-image twice, before and after, with one pixel per pixel.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import vaetools
from vaetools.cli.demo_images import copy_photographs, write_noisy, write_scratched
from vaetools.image import read_image

FOLDER = Path(__file__).with_name("images")
SIZE = (240, 300)
GAP = 4
QUALITY = 25


def compress(hub: vaetools.Hub, photo: Path, _: Path) -> list[tuple[str, np.ndarray]]:
    """A `.vae` file, and the smallest JPEG file that is not smaller."""
    original = read_image(photo).pixels
    packed = hub.compress(original, quality=QUALITY)
    jpeg = next(
        data for quality in range(1, 96) if len(data := as_jpeg(original, quality)) >= len(packed)
    )
    return [
        (f"JPEG, {len(jpeg) / 1000:.1f} kB", np.asarray(Image.open(io.BytesIO(jpeg)))[:, :, ::-1]),
        (f".vae, {len(packed) / 1000:.1f} kB", hub.decompress(packed)),
    ]


def as_jpeg(pixels: np.ndarray, quality: int) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels[:, :, ::-1])
    image.save(buffer, "JPEG", quality=quality, subsampling="4:2:0", optimize=True)
    return buffer.getvalue()


def denoise(hub: vaetools.Hub, photo: Path, folder: Path) -> list[tuple[str, np.ndarray]]:
    noisy = read_image(write_noisy(photo, folder, seed=1)).pixels
    return [("noise", noisy), ("denoised", hub.denoise(noisy))]


def inpaint(hub: vaetools.Hub, photo: Path, folder: Path) -> list[tuple[str, np.ndarray]]:
    damaged = read_image(write_scratched(photo, folder, folder / "masks", seed=2)).pixels
    mask = read_image(folder / "masks" / photo.with_suffix(".png").name).pixels
    return [("scratches", damaged), ("filled", hub.inpaint(damaged, mask))]


def texture(hub: vaetools.Hub, photo: Path, _: Path) -> list[tuple[str, np.ndarray]]:
    """A rocket, and the sky without it."""
    before = read_image(photo).pixels
    mask = np.zeros(before.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.array(ROCKET)], 255)
    return [("photograph", before), ("--fill texture", hub.inpaint(before, mask, fill="texture"))]


ROCKET = (
    *((310, 120), (330, 120), (342, 180), (345, 320), (362, 355), (362, 412)),
    *((280, 412), (280, 355), (298, 320), (300, 180)),
)
"""Corners (x, y) of a mask."""

IMAGES = {
    "compress": (compress, "astronaut.png", (110, 10)),
    "denoise": (denoise, "chelsea.png", (60, 0)),
    "inpaint": (inpaint, "coffee.png", (180, 40)),
    "texture": (texture, "rocket.jpg", (200, 115)),
}
"""Name: what is shown, of which photograph, from which corner (x, y) on."""


def side_by_side(parts: list[tuple[str, np.ndarray]], corner: tuple[int, int]) -> Image.Image:
    width, height = SIZE
    x, y = corner
    sheet = Image.new("RGB", (2 * width + GAP, height), "white")
    font = ImageFont.load_default(16)
    for number, (label, pixels) in enumerate(parts):
        part = Image.fromarray(pixels[y : y + height, x : x + width, ::-1].copy())
        draw = ImageDraw.Draw(part)
        box = draw.textbbox((10, height - 28), label, font=font)
        draw.rectangle((box[0] - 5, box[1] - 4, box[2] + 5, box[3] + 4), fill="black")
        draw.text((10, height - 28), label, font=font, fill="white")
        sheet.paste(part, (number * (width + GAP), 0))
    return sheet


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name, vaetools.open("cpu") as hub:
        photos = {path.name: path for path in copy_photographs(Path(name) / "photos")}
        for image, (make, photo, corner) in IMAGES.items():
            sheet = side_by_side(make(hub, photos[photo], Path(name) / image), corner)
            sheet.save(FOLDER / f"{image}.jpg", quality=88, subsampling="4:4:4", optimize=True)


if __name__ == "__main__":
    main()
