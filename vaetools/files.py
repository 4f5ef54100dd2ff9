"""Image files in one call: `imread` and `imwrite`, for every format, `.vae` among them."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.codec.container import MAGIC, SUFFIX
from vaetools.errors import OptionError, UsageError
from vaetools.image import (
    MAX_PIXELS,
    Image,
    decode_image,
    encode_image,
    format_of,
    most_bytes,
    pillow_array,
    read_file,
    read_image,
)
from vaetools.operation.step import Step
from vaetools.paths import refuse_url
from vaetools.runner.atomic import write_files
from vaetools.shared_hub import shared_hub

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaetools.image import ChannelOrder
    from vaetools.operation.step import ImageLike


def imread(
    path: str | Path, *, channel_order: ChannelOrder = "bgr", max_pixels: int = MAX_PIXELS
) -> NDArray[Any]:
    """Read an image file as an array; the format is taken from the content, not from the suffix.

    EXIF orientation is applied. For ICC and EXIF, use `read_image`.

    Args:
        path: an image file (see `decode_image`) or `.vae`.
        channel_order: `bgr` as in OpenCV, or `rgb`.
        max_pixels: larger images are refused before memory is taken.

    Returns:
        (H, W), (H, W, 3), or (H, W, 4) with alpha; uint8, uint16 or float32 in [0, 1].

    Raises:
        InputError: not found, not an image, damaged, or too large. BitstreamError: a damaged `.vae`
        file. ModelError: its model is not installed.
    """
    _check_path(path)
    data = read_file(path, check_head=lambda _: None, most=most_bytes(max_pixels))
    if not data.startswith(MAGIC):
        image = decode_image(data, file=path, max_pixels=max_pixels)
        return image.to_array(channel_order=channel_order)
    operation = shared_hub().op("decompress").operation.limited(max_pixels)
    decoded: NDArray[Any] = Step(operation, channel_order)(path)
    return decoded


def imwrite(
    path: str | Path,
    image: ImageLike | Image,
    *,
    quality: float | None = None,
    channel_order: ChannelOrder = "bgr",
) -> None:
    """Write an image to a file; the suffix gives the format. The file appears whole or not at all.

    Args:
        path: `.jpg`, `.png`, `.webp`, `.tiff`, `.bmp`, `.ppm` or `.vae`; missing folders are made.
        image: an array as `imread` returns it, a path, a Pillow image, or an `Image`, whose ICC
            profile and EXIF are written as well.
        quality: 0 … 100 for JPEG and WebP (default 95) and for `.vae` (default 75).
        channel_order: of the array.

    Raises:
        UsageError: an unknown suffix. InputError: an invalid array. OptionError: the quality.
        UnsupportedImageError: the format cannot hold this image. OSError: the file cannot be written.
    """
    _check_path(path)
    _check_quality(quality)
    target = Path(path)
    if target.suffix.lower() == SUFFIX:
        data: bytes = shared_hub().compress(_image(image, channel_order), quality=quality)
    else:
        name = format_of(target)
        if quality is not None and name not in ("jpeg", "webp"):
            raise OptionError(f"quality={quality:g} does nothing for {target.suffix}")
        lossy = 95 if quality is None else round(quality)
        data = encode_image(_image(image, channel_order), name, quality=lossy)
    write_files([(target, data)])


def _check_path(path: object) -> None:
    """Raise `UsageError` for what no path can be."""
    if not isinstance(path, str | PurePath):
        raise UsageError(f"a path is a str or a pathlib.Path, not {type(path).__name__}")
    if "\0" in str(path):
        raise UsageError(f"the path {str(path)!r} contains a null byte")
    refuse_url(path)


def _check_quality(quality: object) -> None:
    is_number = isinstance(quality, int | float | np.number) and not isinstance(quality, bool)
    if quality is not None and not (is_number and 0 <= quality <= 100):  # type: ignore[operator]
        raise OptionError(f"quality={quality!r} is not 0 … 100")


def _image(image: object, channel_order: ChannelOrder) -> Image:
    if isinstance(image, Image):
        return image
    if isinstance(image, np.ndarray):
        return Image.from_array(image, channel_order=channel_order)
    if isinstance(image, str | Path):
        return read_image(image)
    pixels = pillow_array(image)
    if pixels is None:
        raise UsageError(
            f"an image is a numpy array, a path or a Pillow image, not {type(image).__name__}"
        )
    return Image.from_array(pixels, channel_order="rgb")
