"""Thumbnails of `.vae` files for file managers."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from vaetools.codec import Codec
from vaetools.errors import ChecksumError, OutputError, VaetoolsError
from vaetools.image import MAX_PIXELS, most_bytes, read_file
from vaetools.runner.atomic import write_files

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image as PillowImage

    from vaetools.hub import Hub
    from vaetools.image import Image


def thumbnail(source: Path, target: Path, size: int, hub: Hub) -> None:
    """Write a PNG file that fits into a square.

    Args:
        source: a `.vae` file. Of a file that is cut short, as during a download, the part for the
            preview is enough.
        target: the PNG file. Its colours are sRGB.
        size: side of the square in pixels; smaller images are not enlarged.
        hub: knows the models.

    Raises:
        InputError, BitstreamError, ModelError: the file cannot be decoded.
        OutputError: the target cannot be written.
    """
    data = read_file(source, check_head=Codec.check_head, most=most_bytes(MAX_PIXELS))
    try:
        image = _decoded(data, hub)
    except VaetoolsError as error:
        raise error.about(source) from error
    file = io.BytesIO()
    _small(image, size).save(file, "PNG", icc_profile=None)
    try:
        write_files([(target, file.getvalue())])
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", file=target) from error


def _decoded(data: bytes, hub: Hub) -> Image:
    models = hub.op("decompress").operation.models
    try:
        return Codec.decode_file(data, models)
    except ChecksumError:
        return Codec.decode_file(data, models, preview=True)


def _small(image: Image, size: int) -> PillowImage.Image:
    import PIL.Image

    from vaetools.pillow import eight_bit

    whole = PIL.Image.fromarray(eight_bit(image.to_array(channel_order="rgb")))
    whole.thumbnail((size, size))
    return _as_srgb(whole, image.metadata.icc)


def _as_srgb(image: PillowImage.Image, profile: bytes | None) -> PillowImage.Image:
    """The image with its colours in sRGB, which a thumbnail without a profile is taken for."""
    from PIL import ImageCms

    if profile is None:
        return image
    mode = image.mode if image.mode != "L" else "RGB"
    try:
        srgb = ImageCms.createProfile("sRGB")
        done = ImageCms.profileToProfile(image, io.BytesIO(profile), srgb, outputMode=mode)
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return image  # not a profile for these channels
    return image if done is None else done
