"""Previews of the inputs and outputs of records, as browsers can display them."""

from __future__ import annotations

import math
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from vaetools.image import SUFFIXES, Image, encode_image, read_image
from vaetools.model.session import usable_cores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vaetools.record import Record
    from vaetools.report.links import Links
    from vaetools.report.store import Store

    Decode: TypeAlias = Callable[[Path], Image | None]

BROWSER_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif", ".bmp")
"""Suffixes of images that browsers display."""

VIDEO_SUFFIXES = (".mp4", ".m4v", ".webm")
"""Suffixes of videos that browsers play."""

SHOTS_PER_ROW = 24
"""Images of one record, such as posterior samples; further ones have links only."""

THUMBNAIL_EDGE = 192
VIEW_EDGE = 1600
"""Longest edge of a preview in pixels: in the table, and in the viewer."""

LOSSLESS_PIXELS = 96 * 96
"""Small images are previewed as PNG."""

QUALITY, THUMBNAIL_QUALITY = 93, 80

UNCERTAINTY_STEPS = 256
"""Values of an uncertainty map per unit of the 0–255 scale."""

MOST_PROFILE_BYTES = 4096
"""A larger ICC profile is not repeated in a preview."""

_THREADS = 4
_SAMPLE = re.compile(r"_sample(\d+)$")


@dataclass(frozen=True, slots=True)
class Shot:
    """One image of a record.

    Attributes:
        role: `input`, `output`, `sample 2`, `uncertainty` or `video`.
        file: The file itself.
        thumbnail: URL for the table.
        view: URL for the viewer; empty if it is the thumbnail, or the file itself.
        width, height: Of the image, in pixels; 0 if not known.
        direct: Whether browsers display the file itself.
        peak: Top of the colour scale of an uncertainty map, on the 0–255 scale.
    """

    role: str
    file: str
    thumbnail: str
    view: str = ""
    width: int = 0
    height: int = 0
    direct: bool = False
    peak: float = 0.0


class Previews:
    """Makes previews, in several threads.

    Args:
        store: Keeps the preview images.
        links: URLs of files.
        decode: Decodes files that are not images for `read_image`, such as `.vae` files; returns
            None for other files.
    """

    def __init__(self, store: Store, links: Links, decode: Decode | None = None) -> None:
        self._store = store
        self._links = links
        self._decode = decode

    def of(self, records: Sequence[Record]) -> list[tuple[Shot, ...]]:
        """The shots of each record. Raises what `Store.add` raises."""
        workers = min(usable_cores(), _THREADS)
        with ThreadPoolExecutor(workers, thread_name_prefix="vaetools previews") as pool:
            try:
                return list(pool.map(self._shots, records))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _shots(self, record: Record) -> tuple[Shot, ...]:
        return tuple(shot for role, file in files_of(record) for shot in self._shot(role, file))

    def _shot(self, role: str, file: str) -> Iterator[Shot]:
        suffix = os.path.splitext(file)[1].lower()  # noqa: PTH122
        if suffix in VIDEO_SUFFIXES:
            yield Shot("video", file, self._links.url(file), direct=True)
            return
        image = read_for_preview(Path(file), self._decode)
        if image is None:
            return
        peak = 0.0
        if role == "uncertainty":
            image, peak = coloured(image)
        direct = suffix in BROWSER_SUFFIXES and not peak
        view = thumbnail = ""
        if self._store.full:
            thumbnail = self._store.add(*encoded(image, VIEW_EDGE, QUALITY))
        else:
            thumbnail = self._store.add(*encoded(image, THUMBNAIL_EDGE, THUMBNAIL_QUALITY))
            if not direct:
                view = self._store.add(*encoded(image, VIEW_EDGE, QUALITY))
        yield Shot(role, file, thumbnail, view, image.width, image.height, direct, peak)


def read_for_preview(path: Path, decode: Decode | None) -> Image | None:
    """The image of a file; None if there is none, or none that can be read."""
    try:
        if path.suffix.lower() in SUFFIXES:
            return read_image(path, first_frame=True, strict=False)
        return None if decode is None else decode(path)
    except Exception:  # noqa: BLE001 - files and plugins of others; the row has links
        return None


def files_of(record: Record) -> list[tuple[str, str]]:
    """(role, file) of what may be previewed: the input, and the outputs unless they are copies."""
    files = [("input", record.file)] if record.bytes_in and record.status != "failed" else []
    if record.status in ("done", "skipped") and not record.unchanged:
        several = len(record.out) > 1
        files += [(_role(file, n, several=several), file) for n, file in enumerate(record.out, 1)]
    return files[:SHOTS_PER_ROW]


def _role(file: str, number: int, *, several: bool) -> str:
    stem = os.path.splitext(os.path.basename(file))[0]  # noqa: PTH119, PTH122
    if stem.endswith("_uncertainty"):
        return "uncertainty"
    sample = _SAMPLE.search(stem)
    if sample:
        return f"sample {sample[1]}"
    return f"output {number}" if several and number > 1 else "output"


def encoded(image: Image, edge: int, quality: int) -> tuple[bytes, str]:
    """(bytes, suffix) of an image with 8 bits and at most `edge` pixels on each side."""
    pixels, alpha = shrunk(image.pixels, edge), image.alpha
    if alpha is not None:
        alpha = shrunk(alpha, edge)
        if alpha.min() == 255:
            alpha = None
    icc = image.icc if len(image.icc or b"") <= MOST_PROFILE_BYTES else None
    small = Image(pixels, alpha, icc=icc)
    if alpha is not None or pixels.shape[0] * pixels.shape[1] <= LOSSLESS_PIXELS:
        return encode_image(small, "png"), "png"
    return encode_image(small, "jpeg", quality=quality), "jpg"


def shrunk(plane: np.ndarray, edge: int) -> np.ndarray:
    """Pixels with 8 bits and at most `edge` pixels on each side; the aspect is kept."""
    import cv2

    height, width = plane.shape[:2]
    scale = edge / max(height, width)
    if scale < 1:
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        plane = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
    if plane.dtype == np.uint16:
        plane = plane / np.float32(257)
    elif plane.dtype != np.uint8:
        plane = plane * np.float32(255)
    if plane.dtype != np.uint8:
        plane = np.clip(np.rint(plane), 0, 255).astype(np.uint8)
    return plane


def coloured(image: Image) -> tuple[Image, float]:
    """An uncertainty map in colours, and the value of the brightest one on the 0–255 scale.

    Maps with 16 bits have 256 values per unit; others are shown as they are, with peak 0.
    """
    import cv2

    if not image.grey or image.pixels.dtype != np.uint16:
        return image, 0.0
    values: Any = image.pixels.astype(np.float32) / UNCERTAINTY_STEPS
    peak = max(math.ceil(float(np.percentile(values, 99.5)) * 10) / 10, 0.1)
    levels = np.clip(np.rint(values * (255 / peak)), 0, 255).astype(np.uint8)
    return Image(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)), peak
