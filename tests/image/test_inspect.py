"""What a file says about itself without its pixels."""

from __future__ import annotations

import zlib

import pytest

from tests.image.samples import (
    icc_profile,
)
from tests.torture import (
    exif_block,
    picture,
    png,
    saved,
    torture_files,
)
from vaetools.errors import (
    InputError,
)
from vaetools.image import (
    decode_image,
    inspect_image,
)
from vaetools.image.containers import png_chunk


def test_inspect():
    options = {"exif": b"Exif\0\0" + exif_block(6), "icc_profile": icc_profile()}
    info = inspect_image(saved(picture(), "JPEG", **options))
    assert (info.format, info.width, info.height, info.mode) == ("jpeg", 48, 64, "RGB")
    assert (info.frames, info.icc, info.exif) == (1, len(icc_profile()), len(exif_block()))
    files = torture_files()
    assert inspect_image(files["rgb16.png"][0]).mode == "RGB 16 bit"
    assert inspect_image(files["bomb.png"][0]).width == 30_000
    for name in ("animated_gif.gif", "animated_png.png", "animated_webp.webp", "pages.tif"):
        assert inspect_image(files[name][0]).frames == 3
    with pytest.raises(InputError, match="a\\.png: not an image"):
        inspect_image(b"text", file="a.png")


def test_a_large_comment_is_not_inflated():
    text = zlib.compress(bytes(2**24))
    data = png(picture(), 2, png_chunk(b"zTXt", b"Comment\0\0" + text))
    assert decode_image(data).width == 64
