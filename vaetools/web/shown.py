"""What `vaetools view` shows: `.vae` files, decoded when the page asks for them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from vaetools.codec.container import SUFFIX
from vaetools.codec.info import read_info
from vaetools.errors import (
    InputError,
    NothingMatchedError,
    UnreadableError,
    UsageError,
    VaetoolsError,
)
from vaetools.image import SUFFIXES, encode_image, read_image
from vaetools.record import format_bytes, plural
from vaetools.report.previews import THUMBNAIL_EDGE, THUMBNAIL_QUALITY, encoded
from vaetools.runner.record import explain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from vaetools.codec.info import VaeInfo
    from vaetools.hub import Hub
    from vaetools.image import Image

Content: TypeAlias = tuple[str, bytes]
"""(media type, bytes)."""

KEPT_BYTES = 512 * 2**20
"""Decoded images that are kept for the next request."""


@dataclass(frozen=True)
class Shown:
    """One file.

    Attributes:
        path: The `.vae` file.
        original: The image next to it that it was made from, if it is there.
        info: What its header says; None if it is damaged.
        size: In bytes.
        problem: One line with a code, if the file cannot be shown.
    """

    path: Path
    original: Path | None
    info: VaeInfo | None
    size: int
    problem: str = ""

    @property
    def facts(self) -> list[str]:
        """About the image, for people."""
        info = self.info
        if info is None:
            return []
        kind = "grey" if info.grey else "colour"
        kind += " with alpha" if info.alpha else ""
        rate = 8 * self.size / (info.width * info.height)
        made = "source file stored" if info.stored else f"{info.model_id}, rate index {info.level}"
        return [
            f"{info.width} × {info.height} pixels, {kind}, {info.depth} bits per sample",
            f"{format_bytes(self.size)}, {rate:.3f} bits per pixel",
            made,
        ]


def files_named(names: Iterable[Path]) -> list[Path]:
    """The files, and the `.vae` files in folders.

    Raises:
        UsageError: A path that does not exist. NothingMatchedError: Folders without `.vae` files.
    """
    found: list[Path] = []
    for name in names:
        if not name.exists():
            raise UsageError("there is no such file or folder", file=name)
        if name.is_dir():
            found += sorted(path for path in name.rglob(f"*{SUFFIX}") if path.is_file())
        else:
            found.append(name)
    if not found:
        raise NothingMatchedError(f"no input matched the suffix {SUFFIX}")
    return found


def described(path: Path) -> Shown:
    """What the header of a file says. Never raises for a damaged file."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            info = read_info(stream)
    except OSError as error:
        problem = UnreadableError(f"cannot be read: {error.strerror}", file=path)
        return Shown(path, None, None, 0, problem.line)
    except VaetoolsError as error:
        return Shown(path, None, None, size, " ".join(explain(error, path)))
    return Shown(path, _original(path), info, size)


def _original(path: Path) -> Path | None:
    """`a.png` for `a.png.vae`, if it is there."""
    original = path.with_suffix("")
    is_image = original.suffix.lower() in SUFFIXES
    return original if is_image and original.is_file() else None


class Images:
    """The images of files as browsers display them; used by several threads."""

    def __init__(self, files: Sequence[Shown], hub: Hub) -> None:
        self.files = files
        self._hub = hub
        self._decoded: OrderedDict[tuple[int, str], Image] = OrderedDict()
        self._thumbnails: dict[tuple[int, str], Content] = {}
        self._lock = threading.Lock()  # one image at a time: a model uses all cores

    def thumbnail(self, number: int, role: str) -> Content:
        """A small image. Raises `VaetoolsError`."""
        key = number, role
        if key not in self._thumbnails:
            data, suffix = encoded(self._image(key), THUMBNAIL_EDGE, THUMBNAIL_QUALITY)
            self._thumbnails[key] = f"image/{'png' if suffix == 'png' else 'jpeg'}", data
        return self._thumbnails[key]

    def whole(self, number: int, role: str) -> Content:
        """All pixels, as a PNG file like that of `decompress`. Raises `VaetoolsError`."""
        return "image/png", encode_image(self._image((number, role)), "png")

    def _image(self, key: tuple[int, str]) -> Image:
        with self._lock:
            if key in self._decoded:
                self._decoded.move_to_end(key)
                return self._decoded[key]
            number, role = key
            image = self._read(self.files[number], role)
            self._decoded[key] = image
            while len(self._decoded) > 1 and self._bytes() > KEPT_BYTES:
                self._decoded.popitem(last=False)
            return image

    def _bytes(self) -> int:
        return sum(image.pixels.nbytes for image in self._decoded.values())

    def _read(self, file: Shown, role: str) -> Image:
        try:
            if role == "original" and file.original is not None:
                return self._of_equal_size(file.original, file)
            image = self._hub.preview(file.path)
        except VaetoolsError as error:
            raise error.about(file.path) from error
        if image is None:
            raise InputError("the operation decompress is not installed", file=file.path)
        return image

    def _of_equal_size(self, path: Path, file: Shown) -> Image:
        """An original. Raises `InputError` if it is another image, which cannot be compared."""
        image = read_image(path, first_frame=True, strict=False)
        if file.info is None or (image.width, image.height) != (file.info.width, file.info.height):
            raise InputError(f"has another size than {file.path.name}", file=path)
        return image


def title_of(files: Sequence[Shown]) -> str:
    """`a.png.vae`, or `3 images`."""
    return files[0].path.name if len(files) == 1 else plural(len(files), "image")
