"""Writing JPEG XL by pillow-jxl-plugin, whose encoder is called directly, for lack of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.errors import UnsupportedImageError
from vaetools.image.containers.jxl import as_srgb
from vaetools.image.extras import optional_module

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaetools.image.metadata import Metadata

_MODES = {(1, 1): "L", (1, 2): "LA", (1, 3): "RGB", (1, 4): "RGBA", (2, 1): "I;16"}
"""(bytes per sample, channels) -> the encoder's mode."""


def encode_jxl(samples: NDArray[Any], metadata: Metadata, quality: int) -> bytes:
    """A JPEG XL file.

    Args:
        samples: (H, W, 1 … 4) grey, grey and alpha, RGB or RGBA; uint8, or uint16 for grey.
        metadata: EXIF and XMP are written.
        quality: 0 … 100; lossless at 100.

    Raises:
        UnsupportedImageError: uint16 of more channels, or pillow-jxl-plugin is missing.
    """
    height, width, channels = samples.shape
    mode = _MODES.get((samples.itemsize, channels))
    if mode is None:
        raise UnsupportedImageError(
            "jxl is written with 8 bit, or with 16 bit of grey", remedy="use --to png or --to tiff"
        )
    lossless = quality == 100
    is_deep = samples.itemsize == 2
    # The library takes 16 bit for linear light, and writes that it is.
    if is_deep and not lossless:
        samples = _linear(samples)
    encoder = optional_module("jxl").Encoder(
        mode=mode,
        lossless=lossless,
        quality=quality,
        decoding_speed=0,
        effort=7,
        use_container=metadata.exif is not None or metadata.xmp is not None,
        use_original_profile=lossless,
        num_threads=1,
    )
    # In the box, four bytes say how far behind them the EXIF block begins.
    exif = None if metadata.exif is None else bytes(4) + metadata.exif
    boxes = {"exif": exif, "jumb": None, "xmp": metadata.xmp, "compress": False}
    data = bytes(encoder(samples.tobytes(), width, height, jpeg_encode=False, **boxes))
    return as_srgb(data) if is_deep else data


def _linear(samples: NDArray[Any]) -> NDArray[Any]:
    """sRGB of 16 bits as linear light."""
    signal = np.arange(65536) / 65535
    light = np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)
    linear: NDArray[Any] = np.rint(light * 65535).astype(np.uint16)[samples]
    return linear
