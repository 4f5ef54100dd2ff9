"""`.vae` files in Pillow. Importing this module registers them:

    import vaetools.pillow
    from PIL import Image

    image = Image.open("a.vae")                   # header and metadata only
    image.load()                                  # decodes
    image.save("b.vae", quality=75)               # options are those of `hub.compress`

Modes: L, LA, RGB, RGBA; I;16 for 16-bit grey; F in [0, 1] for float grey. Pillow has no colour of
more than 8 bits: such files are reduced to RGB or RGBA, with one line in the log.
"""

from __future__ import annotations

import logging
from typing import IO, TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import PIL.Image
from PIL import ImageFile, UnidentifiedImageError

from vaetools.codec import Codec
from vaetools.codec.container import MAGIC, SUFFIX, read_header, read_sections
from vaetools.codec.info import MIME, read_info
from vaetools.errors import ChecksumError, OptionError, VaetoolsError
from vaetools.image import Density, Image
from vaetools.image.metadata.iptc import IPTC_RESOURCE
from vaetools.image.metadata.reading import Blocks
from vaetools.operation import option_specs
from vaetools.shared_hub import shared_hub

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

    from numpy.typing import NDArray

    from vaetools.image import Metadata

log: logging.Logger = logging.getLogger(__name__)

FORMAT = "VAE"

NO_LIMIT = 2**62
"""Pixels: Pillow checks its own limit, `PIL.Image.MAX_IMAGE_PIXELS`, right after opening."""

GREY_MODES = {8: "L", 16: "I;16", 32: "F"}
EXIF_PREFIX = b"Exif\0\0"

CONVERTED = {"1": "L", "I;16B": "I;16", "I;16L": "I;16", "RGBX": "RGB", "RGBa": "RGBA", "La": "LA"}
"""Modes that are saved as another one without loss."""

SAVED = {"L", "LA", "RGB", "RGBA", "I;16", "F"}

FLIPS = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}
"""What makes an image of each EXIF orientation upright."""


class VaeImageFile(ImageFile.ImageFile):
    """A `.vae` file as a Pillow image; see `PIL.Image.open`."""

    format: ClassVar[str] = FORMAT  # type: ignore[misc]
    format_description: ClassVar[str] = "vaetools image"  # type: ignore[misc]

    _is_pending = False  # of a pickle: its pixels are there

    def _open(self) -> None:
        try:
            info = read_info(self._stream(), max_pixels=NO_LIMIT)
        except VaetoolsError as error:
            raise UnidentifiedImageError(self._line(error)) from error
        self._size = info.width, info.height
        self._mode = _mode(info.depth, grey=info.grey, alpha=info.alpha)
        self.info.update(_info_of(info.metadata), bit_depth=info.depth)
        self._is_pending = True

    def load(self) -> Any:
        """Decode the image. Raises `OSError` for a damaged file or a missing model."""
        if self._is_pending:
            image = self._decoded()
            decoded = pillow_image(image)
            self._mode = decoded.mode
            if image.depth > 8 and self.mode not in GREY_MODES.values():
                log.warning(
                    "%s: %d bits per sample are reduced to 8 in mode %s; vaetools.imread keeps them",
                    self.filename or "image",
                    image.depth,
                    self.mode,
                )
            self.im = decoded.im
            self._is_pending = False
            if self._exclusive_fp and self.fp is not None:
                self.fp.close()
                self.fp = None
        return PIL.Image.Image.load(self)

    def verify(self) -> None:
        """Verify all checksums of the file. Raises `OSError`."""
        try:
            data = self._bytes()
            read_sections(data, read_header(data, max_pixels=NO_LIMIT))
        except VaetoolsError as error:
            raise OSError(self._line(error)) from error
        super().verify()

    def _decoded(self) -> Image:
        data = self._bytes()
        try:
            return self._decode(data)
        except ChecksumError as error:
            if not ImageFile.LOAD_TRUNCATED_IMAGES:
                raise OSError(self._line(error)) from error
        except VaetoolsError as error:
            raise OSError(self._line(error)) from error
        try:
            return self._decode(data, preview=True)
        except VaetoolsError as error:
            raise OSError(self._line(error)) from error

    def _decode(self, data: bytes, *, preview: bool = False) -> Image:
        models = shared_hub().op("decompress").operation.models
        pixels = self.width * self.height  # Pillow has checked them
        return Codec.decode_file(data, models, max_pixels=pixels, preview=preview)

    def _stream(self) -> BinaryIO:
        if self.fp is None:
            raise ValueError("Operation on closed image")
        return cast("BinaryIO", self.fp)

    def _bytes(self) -> bytes:
        stream = self._stream()
        stream.seek(0)
        return stream.read()

    def _line(self, error: VaetoolsError) -> str:
        name = self.filename
        if name:
            error.about(name if isinstance(name, str) else name.decode(errors="replace"))
        return error.line


def _mode(depth: int, *, grey: bool, alpha: bool) -> str:
    if grey:
        return "LA" if alpha else GREY_MODES[depth]
    return "RGBA" if alpha else "RGB"


def pillow_image(image: Image) -> PIL.Image.Image:
    """A vaetools image as a Pillow image in the mode that the module's docstring gives."""
    mode = _mode(image.depth, grey=image.grey, alpha=image.alpha is not None)
    if mode in GREY_MODES.values():
        return PIL.Image.fromarray(image.pixels)
    planes = eight_bit(image.to_array(channel_order="rgb"))
    return PIL.Image.fromarray(np.ascontiguousarray(planes[..., 2:]) if mode == "LA" else planes)


def eight_bit(planes: NDArray[Any]) -> NDArray[Any]:
    """uint8, uint16, or float32 in [0, 1], as the nearest uint8."""
    if planes.dtype == np.uint16:
        return ((planes.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if planes.dtype == np.float32:
        return (planes * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    return planes


def _info_of(metadata: Metadata) -> dict[str, Any]:
    """Metadata under the names that Pillow's own formats use."""
    found = {
        "icc_profile": metadata.icc,
        "exif": metadata.exif and EXIF_PREFIX + metadata.exif,
        "xmp": metadata.xmp,
        "photoshop": metadata.iptc and {IPTC_RESOURCE: metadata.iptc},
        "dpi": tuple(metadata.density[:2])
        if metadata.density is not None and metadata.density.absolute
        else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(MAGIC)


def _save(image: PIL.Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    """Write a `.vae` file; called by `PIL.Image.Image.save`.

    Options of `hub.compress` are taken from the keywords of `save`, `model` among them; others are
    ignored, as Pillow's formats do. ICC profile, EXIF, XMP and resolution are those of the image, or
    what `icc_profile`, `exif`, `xmp` and `dpi` say; None leaves them out. The orientation in EXIF is
    applied to the pixels.
    """
    given: dict[str, Any] = getattr(image, "encoderinfo", {})
    name = filename if isinstance(filename, str) else filename.decode(errors="replace")
    try:
        info: dict[Any, Any] = {**image.info, **given}
        source = _image_of(image, info)
        file.write(_compressed(source, given))
    except OptionError as error:
        raise ValueError(error.line) from error
    except VaetoolsError as error:
        raise OSError((error.about(name) if name else error).line) from error


def _compressed(image: Image, given: Mapping[str, Any]) -> bytes:
    hub = shared_hub()
    names = {spec.name for spec in option_specs(hub.find("compress").Options)} | {"model"}
    options = {name: value for name, value in given.items() if name in names}
    if isinstance(options.get("target_size"), int):
        options["target_size"] = str(options["target_size"])
    data: bytes = hub.compress(image, **options)
    return data


def _image_of(image: PIL.Image.Image, info: Mapping[str, Any]) -> Image:
    """A Pillow image with the metadata in `info`, upright. Raises `OSError` for other modes."""
    blocks = Blocks(
        icc=info.get("icc_profile") or b"",
        exif=_exif(info.get("exif")),
        xmp=_xmp(info),
        iptc=(info.get("photoshop") or {}).get(IPTC_RESOURCE, b""),
        density=_density(info.get("dpi")),
    )
    metadata, orientation = blocks.understood()
    if orientation in FLIPS:
        image = image.transpose(FLIPS[orientation])
    pixels = np.asarray(_saved(image))
    if image.mode.startswith("I;16") and isinstance(info.get("transparency"), int):
        opaque = np.where(pixels == info["transparency"], 0, 0xFFFF).astype(np.uint16)
        return Image(pixels.copy(), opaque, metadata=metadata)
    if pixels.ndim == 3 and pixels.shape[2] == 2:
        return Image(pixels[..., 0].copy(), pixels[..., 1].copy(), metadata=metadata)
    plain = Image.from_array(pixels, channel_order="rgb")
    return Image(plain.pixels, plain.alpha, metadata=metadata)


def _saved(image: PIL.Image.Image) -> PIL.Image.Image:
    """The image in a mode that can be saved."""
    mode = CONVERTED.get(image.mode, image.mode)
    if mode in {"P", "PA", "L", "RGB"} and image.has_transparency_data:
        mode = "LA" if mode == "L" else "RGBA"
    elif mode == "P":
        mode = "RGB"
    if mode not in SAVED:
        raise OSError(f"cannot write mode {image.mode} as {FORMAT}; convert it to RGB or L first")
    return image if mode == image.mode else image.convert(mode)


def _exif(value: Any) -> bytes:
    return value.tobytes() if isinstance(value, PIL.Image.Exif) else value or b""


def _xmp(info: Mapping[str, Any]) -> bytes:
    packet = info.get("xmp", info.get("XML:com.adobe.xmp"))
    return packet.encode() if isinstance(packet, str) else packet or b""


def _density(dpi: Any) -> Density | None:
    return Density(float(dpi[0]), float(dpi[1])) if dpi else None


PIL.Image.register_open(FORMAT, VaeImageFile, _accept)
PIL.Image.register_save(FORMAT, _save)
PIL.Image.register_extension(FORMAT, SUFFIX)
PIL.Image.register_mime(FORMAT, MIME)
