"""Images that an option names, such as masks: no flag changes how these are read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vaetools.errors import InputError
from vaetools.image import read_image

if TYPE_CHECKING:
    from pathlib import Path

    from vaetools.image import Image

_FOR_INPUTS = re.compile(r"--(frames|lenient|strict)\b")


def read_named_image(
    path: str | Path, *, max_pixels: int, keep_encoded: bool = False, first_frame: bool = False
) -> Image:
    """Read an image that an option names.

    Raises:
        InputError: as `read_image`, without remedies that help with inputs only.
    """
    try:
        return read_image(
            path, max_pixels=max_pixels, keep_encoded=keep_encoded, first_frame=first_frame
        )
    except InputError as error:
        if error.remedy is not None and _FOR_INPUTS.search(error.remedy):
            error.remedy = "convert it first"
        raise
