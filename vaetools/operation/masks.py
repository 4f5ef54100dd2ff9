"""Masks that a user names: one file for all pictures, a folder with one for each, or a pattern for what
lies beside each."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

import numpy as np

from vaetools.errors import InputError, OptionError
from vaetools.image import MAX_PIXELS, SUFFIXES, Image, most_bytes, read_file, read_image

STEM = "{stem}"
"""In a pattern: the picture's name without its suffix."""


class Masks:
    """Finds the mask of every picture.

    Args:
        place: a picture, the mask of every input; or a folder: the mask of `a/b.jpg` is `a/b.png` in
            it, or with another suffix of a picture; or a pattern such as `{stem}_mask.png`, counted
            from the folder where the picture lies.

    Raises:
        OptionError: there is no such file or folder.
    """

    def __init__(self, place: Path) -> None:
        self.is_pattern = STEM in str(place)
        if not self.is_pattern and not place.exists():
            raise OptionError(
                f"there is no mask {place}",
                remedy=f"name a picture, a folder of them, or a pattern with {STEM}",
            )
        self.place = place

    def find(self, key: str, source: Path | None = None) -> Path:
        """The file of the mask for the input called `key`, which comes from the file `source`.

        Raises:
            InputError: there is none, or more than one.
            OptionError: a pattern, for an input that comes from no file.
        """
        found = self.candidates(key, source)
        if len(found) != 1:
            name, problem = PurePosixPath(key).stem, "several masks" if found else "no mask"
            if self.is_pattern:
                raise InputError(f"there is no mask {self._beside(source)}")
            raise InputError(f"{problem} called {name} in {self.place / PurePosixPath(key).parent}")
        return found[0]

    def candidates(self, key: str, source: Path | None = None) -> list[Path]:
        """Files that may be the mask: one if all is well. Raises `OptionError` as `find` does."""
        if self.is_pattern:
            beside = self._beside(source)
            return [beside] if beside.is_file() else []
        if not self.place.is_dir():
            return [self.place]
        name = PurePosixPath(key)
        folder = self.place / name.parent
        found: list[Path] = []
        for suffix in sorted(SUFFIXES):
            for path in (folder / f"{name.stem}{form}" for form in (suffix, suffix.upper())):
                if path.is_file() and not any(path.samefile(other) for other in found):
                    found.append(path)  # some file systems do not tell .png from .PNG
        return found

    def _beside(self, source: Path | None) -> Path:
        """What a pattern names for a picture's file."""
        if source is None:
            raise OptionError(
                f"{self.place} is counted from a picture's file, and there is none",
                remedy="name the mask itself",
            )
        return source.parent / str(self.place).replace(STEM, source.stem)

    @property
    def glob(self) -> str:
        """What the masks of a pattern are called below the folder of the pictures; empty where that
        cannot be said, and for a file or folder."""
        if not self.is_pattern or self.place.is_absolute() or ".." in self.place.parts:
            return ""
        above = "*" if len(self.place.parts) > 1 else ""  # the pictures may lie in folders
        return above + self.place.as_posix().replace(STEM, "*")

    def read(
        self, key: str, image: Image, *, source: Path | None = None, max_pixels: int = MAX_PIXELS
    ) -> np.ndarray:
        """The mask for a picture, (H, W) float32: 0 black … 1 white; colours count by their luma.

        Raises:
            InputError: there is none, it cannot be read, or it has another size than the picture.
            OptionError: as `find`.
        """
        path = self.find(key, source)
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
        one. Of a pattern it is only the pattern."""
        if self.is_pattern:
            return str(self.place)
        if not self.place.is_dir():
            data = read_file(self.place, check_head=lambda _: None, most=most_bytes(MAX_PIXELS))
            return hashlib.sha256(data).hexdigest()
        files = sorted(path for path in self.place.rglob("*") if path.is_file())
        stats = [(str(path.relative_to(self.place)), path.stat()) for path in files]
        rows = [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats]
        return hashlib.sha256("\n".join(rows).encode("utf-8", "surrogateescape")).hexdigest()
