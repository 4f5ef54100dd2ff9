"""Decoding by Pillow: palettes, 1 bit, CMYK, and formats that nothing else needs to read."""

from __future__ import annotations

import io
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.errors import UnsupportedImageError
from vaetools.image.decoders.base import Opened, Planes
from vaetools.image.metadata import Density
from vaetools.image.metadata.reading import Blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image as PillowImage
    from PIL.ImageFile import ImageFile

_HEADERS = {
    "jpeg": ("JpegImagePlugin", "JpegImageFile"),
    "png": ("PngImagePlugin", "PngImageFile"),
    "webp": ("WebPImagePlugin", "WebPImageFile"),
    "tiff": ("TiffImagePlugin", "TiffImageFile"),
    "bmp": ("BmpImagePlugin", "BmpImageFile"),
    "gif": ("GifImagePlugin", "GifImageFile"),
    "avif": ("AvifImagePlugin", "AvifImageFile"),
}
# Pillow's mode -> the mode that we take the pixels in.
_MODES = {
    **dict.fromkeys(("1", "L"), "L"),
    **dict.fromkeys(("LA", "La"), "LA"),
    **dict.fromkeys(("P", "RGB", "RGBX", "YCbCr", "CMYK"), "RGB"),
    **dict.fromkeys(("PA", "RGBA", "RGBa"), "RGBA"),
}
_WITH_TRANSPARENCY = {"L": "LA", "RGB": "RGBA"}


def pillow_header(format_name: str, data: bytes) -> ImageFile:
    """Pillow's object for the file, with nothing decoded yet.

    Its class is called directly: `Image.open` would check Pillow's own limit of pixels.
    """
    module, name = _HEADERS[format_name]
    header: ImageFile = getattr(import_module(f"PIL.{module}"), name)(io.BytesIO(data))
    return header


def decode_pillow(header: ImageFile) -> Opened:
    """A file that Pillow decodes. The colours of CMYK become sRGB."""
    dpi = header.info.get("dpi")
    blocks = Blocks(
        icc=header.info.get("icc_profile") or b"",
        density=None if dpi is None else Density(float(dpi[0]), float(dpi[1])),
    )
    decode = partial(planes_of_header, header)
    keeps_icc = header.mode != "CMYK"
    return Opened(*header.size, header.mode, decode, blocks=blocks, keeps_icc=keeps_icc)


def planes_of_header(header: ImageFile, strict: bool) -> Planes:
    """Decode. Without `strict`, what there is of a damaged file."""
    mode = _MODES.get(header.mode)
    if mode is None:
        raise UnsupportedImageError(f"pixels of the kind {header.mode} are not supported")
    if "transparency" in header.info:
        mode = _WITH_TRANSPARENCY.get(mode, mode)
    _load(header, strict)
    image = _cmyk_to_rgb(header) if header.mode == "CMYK" else header.convert(mode)
    return planes_of_pillow(np.asarray(image))


def _load(header: ImageFile, strict: bool) -> None:
    from PIL import Image as PillowImage

    if header.format == "TIFF":
        # It would otherwise make this itself after a second check, against Pillow's own limit.
        header.im = PillowImage.new(header.mode, header.size).im
    try:
        header.load()
    except Exception:
        if strict:
            raise
        header.tile = []  # nothing more to decode: what is there so far is the image
        header.load()
        if header.getbbox() is None:  # all zero, so it is nothing
            raise


def _cmyk_to_rgb(image: PillowImage.Image) -> PillowImage.Image:
    from PIL import ImageCms

    profile = image.info.get("icc_profile")
    if profile:
        try:
            srgb = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(
                image, io.BytesIO(profile), srgb, outputMode="RGB"
            )
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
            converted = None  # not a CMYK profile, or broken: the plain formula has to do
        if converted is not None:
            return converted
    return image.convert("RGB")


def planes_of_pillow(array: NDArray[Any]) -> Planes:
    """Grey (H, W), grey and alpha (H, W, 2), RGB or RGBA -> planes."""
    import cv2

    if array.ndim == 2:
        return array.copy(), None
    if array.shape[2] == 2:
        return array[..., 0].copy(), array[..., 1].copy()
    if array.shape[2] == 3:
        return np.asarray(cv2.cvtColor(array, cv2.COLOR_RGB2BGR)), None
    return np.asarray(cv2.cvtColor(array, cv2.COLOR_RGBA2BGR)), array[..., 3].copy()
