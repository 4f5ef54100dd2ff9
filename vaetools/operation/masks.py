"""Masks and maps of images: given as arrays, or found as files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from vaetools.errors import InputError, OptionError
from vaetools.image import (
    MAX_PIXELS,
    SUFFIXES,
    most_bytes,
    read_file,
)
from vaetools.operation.mask_levels import amount_of, levels_of, levels_of_array, pillow_mask
from vaetools.operation.named_images import read_named_image
from vaetools.operation.options import check_map, option_specs

if TYPE_CHECKING:
    from collections.abc import Callable

    from vaetools.image import ChannelOrder, Image
    from vaetools.operation.mask_levels import MaskLevels

STEM = "{stem}"
"""In a pattern: the name of the image without its suffix."""

_FORMS = [form for suffix in sorted(SUFFIXES) for form in (suffix, suffix.upper())]

MaskPlace: TypeAlias = "str | Path | np.ndarray | Callable[[np.ndarray], Any]"


class Masks:
    """Gives the mask of each image.

    Args:
        place: where masks come from:

            - an array: the mask of every image, (H, W); bool, uint8, uint16 or a float in [0, 1].
              Integers that are all 0 or 1 count as bool.
            - a function: called with each image as the caller has it, returns such an array.
            - a file: the mask of every image.
            - a folder: the mask of `a/b.jpg` is `a/b.png` in it, or with another image suffix.
            - a pattern such as `{stem}_mask.png`, relative to the folder of the image.
        name: of the option, for errors.
        white: for maps of a quantity, such as noise levels: what white in a file stands for. Arrays
            then hold the quantity itself.

    Raises:
        OptionError: no such file or folder; an array that is not a mask.
    """

    def __init__(self, place: MaskPlace, *, name: str = "mask", white: float | None = None) -> None:
        self.name = name
        self.white = white
        self.array: np.ndarray | None = None
        self.function: Callable[[np.ndarray], Any] | None = None
        self.path: Path = Path()
        if isinstance(place, np.ndarray):
            self.array = check_map(name, place)
            if white is None:
                levels_of_array(self.array, name)  # refused now, not with the first image
        elif isinstance(place, str | Path):
            self.path = Path(place)
        else:
            self.function = place
        if self.is_file and not self.is_pattern and not self.path.exists():
            raise OptionError(
                f"there is no {name} {self.path}",
                remedy=f"name an image, a folder of images, or a pattern with {STEM}",
            )

    @property
    def is_file(self) -> bool:
        """Whether masks are files, not arrays."""
        return self.array is None and self.function is None

    @property
    def is_per_image(self) -> bool:
        """Whether each image has a file of its own, found by its name."""
        return self.is_pattern or (self.is_file and self.path.is_dir())

    @property
    def is_pattern(self) -> bool:
        return self.is_file and STEM in str(self.path)

    def find(self, key: str, source: Path | None = None) -> Path:
        """The file of the mask for the input called `key`, which was read from the file `source`.

        Raises:
            InputError: there is none, or more than one.
            OptionError: a pattern, for an input that was not read from a file; a folder, for an
                input without a name.
        """
        found = self.candidates(key, source)
        if len(found) != 1:
            name = _named(key, source).stem
            problem = f"several {self.name}s" if found else f"no {self.name}"
            if self.is_pattern:
                raise InputError(f"there is no {self.name} {self._next_to(source)}")
            raise InputError(f"{problem} called {name} in {self.path / _named(key, source).parent}")
        return found[0]

    def candidates(self, key: str, source: Path | None = None) -> list[Path]:
        """Files that may be the mask: normally one. Raises `OptionError` as `find` does."""
        if self.is_pattern:
            file = self._next_to(source)
            return [file] if file.is_file() else []
        if not self.path.is_dir():
            return [self.path]
        name = _named(key, source)
        if not name.name:
            raise OptionError(
                f"{self.path} is a folder, and the image has no name to look for in it",
                remedy=f"pass key=…, or the {self.name} of this image",
            )
        start = os.path.join(self.path, name.parent, name.stem)  # noqa: PTH118 - called very often
        found: list[Path] = []
        for suffix in _FORMS:
            if os.path.isfile(start + suffix):
                path = Path(start + suffix)
                if not any(path.samefile(other) for other in found):
                    found.append(path)  # some file systems do not distinguish .png and .PNG
        return found

    def _next_to(self, source: Path | None) -> Path:
        """The file that a pattern names for the file of an image."""
        if source is None:
            raise OptionError(
                f"{self.path} is relative to the file of an image, and there is none",
                remedy=f"pass the {self.name} as an array or name its file",
            )
        return source.parent / str(self.path).replace(STEM, source.stem)

    @property
    def glob(self) -> str:
        """A glob that matches the masks of a pattern among the inputs; empty where none can be
        given, and for arrays, files and folders."""
        if not self.is_pattern or self.path.is_absolute() or ".." in self.path.parts:
            return ""
        above = "*" if len(self.path.parts) > 1 else ""  # the images may lie in folders
        return above + self.path.as_posix().replace(STEM, "*")

    def values(self, image: Image, channel_order: ChannelOrder = "bgr") -> np.ndarray | None:
        """The given array, or the one that the function returns, (H, W) as it is; None for files.

        Raises:
            InputError: another size than the image. OptionError: not one value per pixel.
        """
        values = self.array
        if self.function is not None:
            made = self.function(image.to_array(channel_order=channel_order))
            pixels = pillow_mask(made, self.name)
            array = np.asarray(made if pixels is None else pixels)
            if array.ndim == 0:
                raise OptionError(
                    f"the function for {self.name} returned {type(made).__name__}, not an array"
                )
            values = check_map(self.name, array)
        if values is not None:
            self._check_size(values.shape, image, "")
        return values

    def read(
        self,
        key: str,
        image: Image,
        *,
        source: Path | None = None,
        max_pixels: int = MAX_PIXELS,
        channel_order: ChannelOrder = "bgr",
    ) -> np.ndarray:
        """The mask of an image, (H, W) float32: 0 black to 1 (or `white`) white.

        `vaetools.operation.mask_levels` says what counts as black and white.

        Raises:
            InputError: not found, cannot be read, of another size than the image, or labels other
                than 0 and 1.
            OptionError: as `find`; an array that is not a mask.
        """
        if self.white is None:
            levels, name = self._levels(key, image, source, max_pixels, channel_order)
            return levels.soft(name)
        given = self.values(image, channel_order)
        if given is not None:
            return given.astype(np.float32)
        found, _ = self._file(key, image, source, max_pixels)
        return amount_of(found) * np.float32(self.white)

    def read_hole(
        self,
        key: str,
        image: Image,
        colour: Literal["white", "black"] = "white",
        *,
        source: Path | None = None,
        max_pixels: int = MAX_PIXELS,
        channel_order: ChannelOrder = "bgr",
    ) -> np.ndarray:
        """The hole in an image, (H, W) bool: what is nearer to `colour` than to its opposite.

        A hole of one level on pure black (or white) may have any level.

        Raises:
            InputError: as `read`; or no level is near to `colour`, although there are several.
            OptionError: as `read`.
        """
        levels, name = self._levels(key, image, source, max_pixels, channel_order)
        return levels.hole(name, colour)

    def _levels(
        self,
        key: str,
        image: Image,
        source: Path | None,
        max_pixels: int,
        channel_order: ChannelOrder,
    ) -> tuple[MaskLevels, str]:
        """(levels, name of the mask for errors)."""
        given = self.values(image, channel_order)
        if given is not None:
            return levels_of_array(given, self.name), self.name
        mask, path = self._file(key, image, source, max_pixels)
        name = f"the {self.name} {path}"
        return levels_of(mask, name), name

    def _file(
        self, key: str, image: Image, source: Path | None, max_pixels: int
    ) -> tuple[Image, Path]:
        path = self.find(key, source)
        mask = read_named_image(path, max_pixels=max_pixels)
        self._check_size((mask.height, mask.width), image, f" {path}")
        return mask, path

    def _check_size(self, size: tuple[int, ...], image: Image, which: str) -> None:
        if size != (image.height, image.width):
            turned = size == (image.width, image.height)
            raise InputError(
                f"the {self.name}{which} has {size[1]} x {size[0]} pixels, the image "
                f"{image.width} x {image.height}",
                remedy="rotate it: it has to fit the image as it is displayed" if turned else None,
            )

    @property
    def fingerprint(self) -> str:
        """Changes with the masks: a hash of an array, or of the bytes of a file. A pattern is only
        its text, and a folder `folder`: see `Operation.files_of` for the files.

        Raises:
            OptionError: a function, which cannot be identified.
        """
        if self.function is not None:
            raise OptionError(
                f"{self.name} is a function, which the journal of a run cannot identify",
                remedy="pass an array, or a path that names a file, a folder or a pattern",
            )
        if self.array is not None:
            head = f"{self.array.dtype.str} {self.array.shape} ".encode()
            return hashlib.sha256(head + self.array.tobytes()).hexdigest()
        if self.is_pattern:
            return str(self.path)
        if self.path.is_dir():
            return "folder"
        data = read_file(self.path, check_head=lambda _: None, most=most_bytes(MAX_PIXELS))
        return hashlib.sha256(data).hexdigest()


def _named(key: str, source: Path | None) -> PurePosixPath:
    """The name of an input: its key, or else the name of its file."""
    return PurePosixPath(key or ("" if source is None else source.name))


def places_of(options: Any) -> dict[str, Masks]:
    """The options for arrays that name files, with where these are."""
    found = {}
    for spec in option_specs(type(options)):
        value = getattr(options, spec.name)
        if spec.kind is not np.ndarray or not isinstance(value, str | Path):
            continue
        is_place = str(value) not in spec.words and not spec.means_number(value)
        if is_place and (STEM in str(value) or Path(value).exists()):
            found[spec.name] = Masks(value, name=spec.name)
    return found
