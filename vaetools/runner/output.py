"""Results of an operation on their way to files: copied where nothing changed, otherwise encoded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.image import (
    LOSSY,
    Image,
    Origin,
    check_image,
    decode_image,
    encode_image,
    format_of,
    inspect_image,
    most_bytes,
    not_kept,
    read_file,
    read_image,
    strip_metadata,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path, PurePath

    from vaetools.operation import Item, Operation
    from vaetools.runner.plan import PlannedItem
    from vaetools.runner.settings import RunSettings


@dataclass(frozen=True)
class Original:
    """An image as it was read, and its file.

    Attributes:
        image: Without the metadata that are to be removed.
        data: The whole file, or None if the file is damaged.
    """

    image: Image
    data: bytes | None

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.image.nbytes + len(self.data or b"")


def read_original(path: Path, settings: RunSettings, data: bytes | None = None) -> Original:
    """Read an image for an operation.

    Args:
        path: The file.
        settings: Of the run.
        data: Its bytes, if they are in memory already.

    Raises:
        InputError: As `read_image`.
    """
    limits: dict[str, Any] = {
        "max_pixels": settings.max_pixels,
        "first_frame": settings.first_frame,
        "strict": settings.strict,
    }
    if data is None:
        image = read_image(path, **limits, keep_encoded=True)
        data, image = image.encoded, replace(image, encoded=None)
    else:
        image = decode_image(data, file=path, **limits)
        data = None if image.damage else data
    # Not only when an image is encoded: the operation may embed metadata in bytes of its own.
    return Original(strip_metadata(image, settings.strip), data)


def check_input(operation: Operation, path: Path, settings: RunSettings) -> int:
    """Read an input as far as that is possible without decoding it. Raises as a run would.

    Returns:
        Its size, at least 1: pixels of an image, bytes of another file.
    """
    if operation.takes == "file":
        most = most_bytes(settings.max_pixels)
        return max(1, len(read_file(path, check_head=operation.check_head, most=most)))
    data = read_file(path, check_head=lambda _: None, most=most_bytes(settings.max_pixels))
    return check_image(
        data,
        max_pixels=settings.max_pixels,
        first_frame=settings.first_frame,
        strict=settings.strict,
    )


@dataclass(frozen=True)
class Output:
    """One result, to be written.

    Attributes:
        result: An image to encode, or the bytes of a file.
        format: Of an image; see `Image.format`.
        origin: The file that the image was made from, if there is one.
        copied: Whether the bytes are those of the source, because nothing changed.
    """

    result: Item
    format: str = ""
    origin: Origin | None = None
    copied: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes in memory; the source file, which outputs share, counts in each."""
        size = self.result.nbytes if isinstance(self.result, Image) else len(self.result)
        return size + (0 if self.origin is None else self.origin.nbytes)

    def not_kept(self, settings: RunSettings) -> tuple[str, ...]:
        """What of an image's metadata is not in the file; see `vaetools.image.not_kept`."""
        if isinstance(self.result, bytes):
            return ()
        return not_kept(self.result, self.format, settings.strip)

    def encoded(self, settings: RunSettings, lost: list[str]) -> bytes:
        """The bytes of the file. Raises as `encode_image`, which adds to `lost`."""
        if isinstance(self.result, bytes):
            return self.result
        return encode_image(
            self.result,
            self.format,
            quality=settings.quality_out,
            strip=settings.strip,
            origin=self.origin,
            lost=lost,
        )


def outputs_of(
    planned: PlannedItem, results: Sequence[Item], original: Original | None, settings: RunSettings
) -> list[Output]:
    """The results of one input, with what each has in common with its source."""
    names = zip(planned.outputs, results, strict=True)
    return [_output(path, result, planned, original, settings) for path, result in names]


def _output(
    path: Path,
    result: Item,
    planned: PlannedItem,
    original: Original | None,
    settings: RunSettings,
) -> Output:
    if isinstance(result, bytes):
        return Output(result)
    data = None if original is None else original.data
    if original is None and result.encoded is not None:
        return _unpacked(path, result, result.encoded, settings)
    if original is None or data is None:
        return Output(result, format_of(path.name))
    name = _format(path, result, planned, settings)
    if name == original.image.format and result.same_as(original.image):
        copied = _copied(data, name, settings)
        if copied is not None:
            return Output(copied, copied=True)
    return Output(result, name, Origin(data, _changed(result, original.image)))


def _unpacked(path: Path, result: Image, data: bytes, settings: RunSettings) -> Output:
    """An image that came with its file, such as one that was stored: the file, if it fits."""
    name, image = format_of(path.name), replace(result, encoded=None)
    copied = _copied(data, name, settings) if name == result.format else None
    return Output(image if copied is None else copied, name)


def _format(path: Path, result: Image, planned: PlannedItem, settings: RunSettings) -> str:
    """The format of an output: that of its suffix. A source whose suffix is wrong is what it is."""
    if settings.to == "same" and result.format and _is_namesake(path, planned):
        return result.format
    return format_of(path.name)


def _is_namesake(path: PurePath, planned: PlannedItem) -> bool:
    """Whether an output stands for its source: it has the same name, or is OUT of the same kind."""
    source = planned.source.path
    alone = len(planned.outputs) == 1 and path.suffix.lower() == source.suffix.lower()
    return alone or path.name == source.name


def _copied(data: bytes, name: str, settings: RunSettings) -> bytes | None:
    """The bytes of a source that did not change, or None if the file is to be encoded anew."""
    if settings.strip != "none" or (settings.quality_out is not None and name in LOSSY):
        return None
    if settings.first_frame and inspect_image(data).frames > 1:
        return None
    return data


def _changed(image: Image, original: Image) -> np.ndarray | None:
    """See `Origin.changed`."""
    if image.pixels.shape != original.pixels.shape or image.depth != original.depth:
        return None
    differs = image.pixels != original.pixels
    if not image.grey:
        differs = differs[..., 0] | differs[..., 1] | differs[..., 2]  # faster than any(axis=2)
    return np.packbits(differs, axis=1)
