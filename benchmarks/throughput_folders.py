"""Folders of images for the operations: of one size, of mixed sizes, large ones; PNG or JPEG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

import vaetools
from vaetools.tiling import ceil_div

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NOISE = 25.0
"""Standard deviation of the noise of images to denoise, on the 0–255 scale."""

LARGE = (4000, 6000)
"""Height and width of a large image: 24 MP."""

JPEG_QUALITY = 92

OPTIONS: dict[str, dict[str, Any]] = {
    "compress": {"quality": 75},
    "decompress": {},
    "denoise": {"sigma": f"{NOISE:g}"},
    "inpaint": {},
    "augment": {"n": 2},
}
"""Options of each operation."""

KINDS = ("same", "mixed", "large")


@dataclass(frozen=True)
class Folder:
    """Inputs of an operation.

    Attributes:
        inputs: their folder.
        options: of the operation.
        megapixels: of all inputs.
        count: of inputs.
    """

    inputs: Path
    options: dict[str, Any]
    megapixels: float
    count: int


def make_folder(
    target: Path, sources: Sequence[Path], op: str, kind: str, suffix: str, count: int
) -> Folder:
    """Write the inputs of an operation.

    Args:
        target: a new folder.
        sources: photographs; used again from the first one if there are too few.
        op: one of `OPTIONS`. Images to denoise get noise, those to inpaint masks, and those to
            decompress are compressed.
        kind: `same` (landscape format, one size), `mixed` (crops of many sizes), `large` (24 MP,
            photographs side by side), or `one` (the same image each time).
        suffix: `png` or `jpg`, which is also what the operation writes.
        count: of images.
    """
    inputs = target / "inputs"
    inputs.mkdir(parents=True)
    pixels = 0
    for number in range(count):
        rng = np.random.default_rng(number)
        image = _image(sources, 0 if kind == "one" else number, kind, rng)
        if op == "denoise":
            noisy = image + NOISE * rng.standard_normal(image.shape, np.float32)
            image = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
        if op == "inpaint":
            _write(target / f"masks/{number:04d}.png", _strokes(image.shape[:2], rng))
        _write(inputs / f"{number:04d}.{suffix}", image)
        pixels += image.shape[0] * image.shape[1]
    options = dict(OPTIONS[op])
    if op == "inpaint":
        options["mask"] = str(target / "masks")
    if op in ("augment", "decompress") and suffix == "jpg":  # otherwise PNG
        options["to"] = "jpg"
    if op == "decompress":
        inputs = _compressed(inputs, target / "packed")
    return Folder(inputs, options, pixels / 1e6, count)


def _image(sources: Sequence[Path], number: int, kind: str, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8 BGR."""
    if kind == "large":
        return _mosaic([_landscape(source) for source in sources], number)
    source = sources[number % len(sources)]
    if kind != "mixed":
        return _landscape(source)
    image = _read(source)
    height, width = (int(rng.integers(side // 2, side + 1)) for side in image.shape[:2])
    return np.ascontiguousarray(image[:height, :width])


def _mosaic(images: Sequence[np.ndarray], number: int) -> np.ndarray:
    """A large image of photographs side by side, another arrangement for each number."""
    height, width = images[0].shape[:2]
    columns = ceil_div(LARGE[1], width)
    rows = [
        np.hstack([images[(number + row * columns + n) % len(images)] for n in range(columns)])
        for row in range(ceil_div(LARGE[0], height))
    ]
    return np.ascontiguousarray(np.vstack(rows)[: LARGE[0], : LARGE[1]])


def _landscape(source: Path) -> np.ndarray:
    image = _read(source)
    return image if image.shape[0] <= image.shape[1] else np.ascontiguousarray(np.rot90(image))


def _read(source: Path) -> np.ndarray:
    image = cv2.imread(str(source), cv2.IMREAD_COLOR)
    if image is None:
        raise SystemExit(f"{source}: is no image")
    return image


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    parameters = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if path.suffix == ".jpg" else []
    if not cv2.imwrite(str(path), image, parameters):
        raise SystemExit(f"{path}: cannot be written")


def _strokes(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A mask of thick lines, (H, W) uint8; white is to be filled."""
    mask = np.zeros(shape, np.uint8)
    height, width = shape
    for _ in range(8):
        ends = rng.integers(0, (width, height), (2, 2)).tolist()
        cv2.line(mask, ends[0], ends[1], 255, 12)
    return mask


def _compressed(inputs: Path, packed: Path) -> Path:
    with vaetools.open("cpu") as hub:
        hub.map("compress", inputs, out=packed, **OPTIONS["compress"]).raise_for_failures()
    files = packed / "files"
    files.mkdir()
    for file in [*packed.glob("*.vae")]:  # without the journal
        file.rename(files / file.name)
    return files
