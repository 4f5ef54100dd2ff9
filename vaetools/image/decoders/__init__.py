"""The pixels of a file, each kind by the decoder that gets it right.

JPEG grey and RGB                        simplejpeg: reports what libjpeg warns about
PNG 8 and 16 bit, TIFF and PNM 16 bit    cv2: fast; Pillow would silently cut 16-bit RGB to 8 bit
CMYK, palettes, 1 bit, all the rest      Pillow
"""

from __future__ import annotations

import io
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from vaetools.errors import DamagedImageError, UnsupportedImageError
from vaetools.image.decoders.guard import decoding
from vaetools.image.decoders.jpeg import decode_jpeg
from vaetools.image.decoders.png import check_pixel_data, pixel_data

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image as PillowImage
    from PIL.ImageFile import ImageFile

    from vaetools.image.containers import Bare

Planes: TypeAlias = "tuple[NDArray[Any], NDArray[Any] | None]"
"""Pixels, (H, W) or (H, W, 3) BGR, and alpha."""

_HEADERS = {
    "jpeg": ("JpegImagePlugin", "JpegImageFile"),
    "png": ("PngImagePlugin", "PngImageFile"),
    "webp": ("WebPImagePlugin", "WebPImageFile"),
    "tiff": ("TiffImagePlugin", "TiffImageFile"),
    "bmp": ("BmpImagePlugin", "BmpImageFile"),
    "gif": ("GifImagePlugin", "GifImageFile"),
    "ppm": ("PpmImagePlugin", "PpmImageFile"),
}
# Pillow's mode -> the mode that we take the pixels in.
_MODES = {
    **dict.fromkeys(("1", "L"), "L"),
    **dict.fromkeys(("LA", "La"), "LA"),
    **dict.fromkeys(("P", "RGB", "RGBX", "YCbCr", "CMYK"), "RGB"),
    **dict.fromkeys(("PA", "RGBA", "RGBa"), "RGBA"),
}
_WITH_TRANSPARENCY = {"L": "LA", "RGB": "RGBA"}
# EXIF orientation -> cv2.flip's code, after transposing from 5 on.
_FLIPS = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}


def open_header(bare: Bare, *, strict: bool) -> ImageFile:
    """Pillow's object for the file, with nothing decoded yet."""
    module, name = _HEADERS[bare.format]
    # A TIFF's directory and strips are known to be whole by now, so it must be its kind.
    known_whole = bare.format == "tiff" and strict
    with decoding(bare.format, UnsupportedImageError if known_whole else DamagedImageError):
        header: ImageFile = getattr(import_module(f"PIL.{module}"), name)(io.BytesIO(bare.data))
    return header


def describe_mode(bare: Bare, header: ImageFile) -> str:
    """Pillow's mode, and ` 16 bit` where samples are uint16."""
    with decoding(bare.format):
        return f"{header.mode} 16 bit" if _is_16_bit(bare, header) else header.mode


def has_frames(bare: Bare, header: ImageFile) -> bool:
    """Whether there are more frames or pages than one."""
    with decoding(bare.format):
        return bare.frames > 1 or bool(getattr(header, "is_animated", False))


def count_frames(bare: Bare, header: ImageFile) -> int:
    """How many frames or pages; this reads a GIF to its end."""
    with decoding(bare.format):
        return max(bare.frames, int(getattr(header, "n_frames", 1)))


def read_planes(bare: Bare, header: ImageFile, *, strict: bool) -> Planes:
    """Decode; the orientation is still to be applied.

    Raises:
        DamagedImageError: truncated or corrupt data; without `strict`, only if nothing comes of it.
        UnsupportedImageError: a depth or kind of pixels that we do not handle.
    """
    with decoding(bare.format):
        if bare.format == "jpeg":
            return _jpeg(bare, header, strict)
        deep = _is_16_bit(bare, header)
        if bare.format == "png" and (strict or deep):
            return _png(bare, header, deep)
        return _by_cv2(bare.data, bare, header, np.uint16) if deep else _by_pillow(header, strict)


def _jpeg(bare: Bare, header: ImageFile, strict: bool) -> Planes:
    array = decode_jpeg(bare.data, header.mode, strict=strict)
    if array is None:
        return _by_pillow(header, strict)
    return _of_size(array, header), None


def _png(bare: Bare, header: ImageFile, deep: bool) -> Planes:
    depth, colour_type = bare.data[24], bare.data[25]
    if deep or (depth == 8 and colour_type != 3 and "transparency" not in header.info):
        data = pixel_data(bare.data)
        return _by_cv2(data, bare, header, np.uint16 if deep else np.uint8)
    check_pixel_data(bare.data)
    return _by_pillow(header, strict=True)


def _is_16_bit(bare: Bare, header: ImageFile) -> bool:
    """Whether samples are uint16. Raises `UnsupportedImageError` for other depths."""
    if bare.format == "png":
        return bare.data[24] == 16
    if bare.format == "tiff":
        return _is_16_bit_tiff(header)
    if bare.format == "ppm" and header.mode != "1":
        args: Any = header.tile[0].args
        maximum = args[1] if isinstance(args, tuple) else {"I;16B": 65535}.get(args, 255)
        if 255 < maximum < 65535:
            raise UnsupportedImageError(f"PNM samples up to {maximum}; 255 and 65535 are supported")
        return bool(maximum == 65535)
    return False


def _is_16_bit_tiff(header: Any) -> bool:
    tags = header.tag_v2
    bits, kinds, extra = tags.get(258, (1,)), tags.get(339, (1,)), tags.get(338, ())
    if max(bits) <= 8:
        return False
    if set(bits) != {16} or set(kinds) != {1}:
        kind = {2: "signed", 3: "float"}.get(kinds[0], "integer")
        raise UnsupportedImageError(
            f"TIFF with {max(bits)}-bit {kind} samples; 8 and 16 bits, unsigned, are supported"
        )
    if len(bits) == 2 or tags.get(262) not in (0, 1, 2):
        raise UnsupportedImageError("16-bit TIFF that is neither grey nor RGB nor RGBA")
    if tags.get(284, 1) != 1 and len(bits) > 1:  # cv2 would read rows of one plane as pixels
        raise UnsupportedImageError("16-bit TIFF with separate planes; interleaved is supported")
    if tuple(extra) == (1,):
        raise UnsupportedImageError("16-bit TIFF with premultiplied alpha; straight is supported")
    return True


def _by_cv2(data: bytes, bare: Bare, header: ImageFile, dtype: type) -> Planes:
    import cv2

    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != dtype:
        raise ValueError("cv2 cannot decode it")
    return _planes_of_cv2(_of_size(np.asarray(array), header), bare, header)


def _of_size(array: NDArray[Any], header: ImageFile) -> NDArray[Any]:
    if array.shape[:2] != (header.height, header.width):
        raise ValueError("its size is not that of the header")
    return array


def _planes_of_cv2(array: NDArray[Any], bare: Bare, header: Any) -> Planes:
    """Grey (H, W), BGR or BGRA as cv2 gave it -> planes, with what cv2 leaves undone."""
    if bare.format == "tiff" and header.tag_v2.get(262) == 0:  # zero is white
        array = ~array
    if array.ndim == 2:
        key = header.info.get("transparency") if bare.format == "png" else None
        opaque = np.iinfo(array.dtype).max
        return array, None if key is None else np.where(array == key, 0, opaque).astype(array.dtype)
    if bare.format == "png" and bare.data[25] == 4:  # grey and alpha
        return array[..., 0].copy(), array[..., 3].copy()
    if array.shape[2] == 3:
        return array, None
    if bare.format == "tiff" and header.tag_v2.get(338) != (2,):  # a fourth sample without meaning
        return array[..., :3].copy(), None
    return array[..., :3].copy(), array[..., 3].copy()


def _by_pillow(header: ImageFile, strict: bool) -> Planes:
    mode = _MODES.get(header.mode)
    if mode is None:
        raise UnsupportedImageError(f"pixels of the kind {header.mode} are not supported")
    if "transparency" in header.info:
        mode = _WITH_TRANSPARENCY.get(mode, mode)
    _load(header, strict)
    image = _cmyk_to_rgb(header) if header.mode == "CMYK" else header.convert(mode)
    return _planes_of_pillow(np.asarray(image))


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


def _planes_of_pillow(array: NDArray[Any]) -> Planes:
    """Grey (H, W), grey and alpha (H, W, 2), RGB or RGBA -> planes."""
    import cv2

    if array.ndim == 2:
        return array.copy(), None
    if array.shape[2] == 2:
        return array[..., 0].copy(), array[..., 1].copy()
    if array.shape[2] == 3:
        return np.asarray(cv2.cvtColor(array, cv2.COLOR_RGB2BGR)), None
    return np.asarray(cv2.cvtColor(array, cv2.COLOR_RGBA2BGR)), array[..., 3].copy()


def turned(plane: NDArray[Any], orientation: int) -> NDArray[Any]:
    """The plane as it is to be seen, for an EXIF orientation of 1 … 8."""
    import cv2

    if orientation >= 5:
        plane = cv2.transpose(plane)
    if orientation in _FLIPS:
        plane = cv2.flip(plane, _FLIPS[orientation])
    return plane
