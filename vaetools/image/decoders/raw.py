"""Camera RAW by LibRaw through rawpy, developed with its defaults to 8-bit sRGB."""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.errors import DamagedImageError, UnsupportedImageError
from vaetools.image.decoders.base import Opened, Planes
from vaetools.image.decoders.pillow import planes_of_pillow
from vaetools.image.extras import optional_module

if TYPE_CHECKING:
    from vaetools.image.containers import Bare


def open_raw(bare: Bare, strict: bool) -> Opened:  # noqa: ARG001
    """LibRaw turns the image as the camera says."""
    library = optional_module("raw")
    file = library.RawPy()
    try:
        file.open_buffer(io.BytesIO(bare.data))
    except library.LibRawFileUnsupportedError as error:
        raise UnsupportedImageError(
            f"a kind of camera RAW file that LibRaw does not know ({error})"
        ) from error
    sizes = file.sizes
    return Opened(sizes.iwidth, sizes.iheight, "RGB", partial(_decode, library, file))


def _decode(library: Any, file: Any, strict: bool) -> Planes:  # noqa: ARG001
    try:
        return planes_of_pillow(np.asarray(file.postprocess()))
    except library.LibRawError as error:
        raise DamagedImageError(f"the camera RAW data is corrupt or truncated ({error})") from error
    finally:
        file.close()
