"""Masks that a user names beside the pictures: one file for all, or a folder with one for each."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

import numpy as np

from vaetools.errors import InputError, OptionError
from vaetools.image import MAX_PIXELS, SUFFIXES, Image, most_bytes, read_file, read_image


class Masks:
    """Finds the mask of every picture.

    Args:
        place: a picture, the mask of every input; or a folder: the mask of `a/b.jpg` is `a/b.png` in
            it, or with another suffix of a picture.

    Raises:
        OptionError: there is no such file or folder.
    """

    def __init__(self, place: Path) -> None:
        if not place.exists():
            raise OptionError(
                f"there is no mask {place}", remedy="name a picture or a folder of them"
            )
        self.place = place

    def find(self, key: str) -> Path:
        """The file of the mask for the input called `key`. Raises `InputError` if there is none."""
        if not self.place.is_dir():
            return self.place
        name = PurePosixPath(key)
        folder = self.place / name.parent
        found = [folder / f"{name.stem}{suffix}" for suffix in sorted(SUFFIXES)]
        found = [path for path in found if path.is_file()]
        if len(found) != 1:
            problem = "several masks" if found else "no mask"
            raise InputError(f"{problem} called {name.stem} in {folder}")
        return found[0]

    def read(self, key: str, image: Image, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
        """The mask for a picture, (H, W) float32: 0 black … 1 white; colours count by their luma.

        Raises:
            InputError: there is none, it cannot be read, or it has another size than the picture.
        """
        path = self.find(key)
        mask = read_image(path, max_pixels=max_pixels)
        if (mask.width, mask.height) != (image.width, image.height):
            raise InputError(
                f"the mask {path} has {mask.width} x {mask.height} pixels, the picture "
                f"{image.width} x {image.height}"
            )
        grey: np.ndarray = mask.to_rgb() @ np.array([0.299, 0.587, 0.114], np.float32)
        return grey.clip(max=1)

    @property
    def fingerprint(self) -> str:
        """Changes with the masks: names, sizes and times of a folder's files, the bytes of a single
        one."""
        if not self.place.is_dir():
            data = read_file(self.place, check_head=lambda _: None, most=most_bytes(MAX_PIXELS))
            return hashlib.sha256(data).hexdigest()
        files = sorted(path for path in self.place.rglob("*") if path.is_file())
        stats = [(str(path.relative_to(self.place)), path.stat()) for path in files]
        rows = [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats]
        return hashlib.sha256("\n".join(rows).encode("utf-8", "surrogateescape")).hexdigest()
