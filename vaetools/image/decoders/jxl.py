"""JPEG XL by pillow-jxl-plugin, whose decoder is called directly: its plugin decodes when it opens."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.errors import UnsupportedImageError
from vaetools.image.containers.jxl import read_header
from vaetools.image.decoders.base import Opened
from vaetools.image.decoders.pillow import planes_of_pillow
from vaetools.image.extras import optional_module
from vaetools.image.metadata.reading import Blocks

if TYPE_CHECKING:
    from vaetools.image.containers import Bare
    from vaetools.image.decoders.base import Planes

_CHANNELS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def open_jxl(bare: Bare, strict: bool) -> Opened:  # noqa: ARG001
    library = optional_module("jxl")
    header = read_header(bare.data)
    blocks = Blocks()
    decode = partial(_decode, library, bare.data, header.depth, blocks)
    frames = 2 if header.animated else 1
    mode = "RGB 16 bit" if header.depth > 8 else "RGB"
    return Opened(header.width, header.height, mode, decode, frames, blocks)


def _decode(
    library: Any,
    data: bytes,
    depth: int,
    blocks: Blocks,
    strict: bool,  # noqa: ARG001
) -> Planes:
    _, info, content, icc, _ = library.Decoder(num_threads=1)(data)
    blocks.icc = bytes(icc or b"")
    channels = info.num_channels + info.has_alpha_channel
    size = len(content) // (info.width * info.height * channels)
    if size not in (1, 2) or channels not in _CHANNELS:
        raise UnsupportedImageError("JPEG XL with samples that are not of 8 or 16 bit")
    if size == 1 and depth > 8:  # the decoder would silently cut it to 8
        raise UnsupportedImageError(f"JPEG XL with {depth}-bit colours; 8 bit is supported")
    array = np.frombuffer(content, np.uint8 if size == 1 else np.uint16)
    shape = (info.height, info.width, channels) if channels > 1 else (info.height, info.width)
    return planes_of_pillow(array.reshape(shape))
