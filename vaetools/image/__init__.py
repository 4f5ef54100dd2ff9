"""Images: pixels plus what must survive next to them (alpha, depth, metadata).

This is the only package that decodes or encodes images; cv2 and Pillow are imported inside its
functions, so that importing it costs nothing.

    file ──> containers  what is it, is it whole, metadata taken off ──> decode ──> Image
    Image ──> encode ──> file                                            (pixels: array)

Kept from file to file: pixels, grey, 8 or 16 bit, alpha, ICC profile, EXIF, XMP, IPTC, colour space
and resolution, each in the place that the container has for it. Dropped on purpose: thumbnails,
because they show what was there before. Not kept, and named by `not_kept`: what the output's
container has no place for, gain maps and further images, comments and text.
"""

from vaetools.image.array import ChannelOrder, Image
from vaetools.image.containers import SUFFIXES, format_of, missing_extra
from vaetools.image.decode import (
    MAX_PIXELS,
    ImageInfo,
    check_image,
    decode_image,
    inspect_image,
    read_image,
)
from vaetools.image.encode import encode_image, not_kept, strip_metadata
from vaetools.image.extras import install_command
from vaetools.image.metadata import Cicp, Density, Metadata
from vaetools.image.metadata.writing import Strip
from vaetools.image.pillow import pillow_array
from vaetools.image.quality import LOSSY, TO, Origin
from vaetools.image.read_bytes import HEAD_SIZE, most_bytes, read_file

__all__ = [
    "HEAD_SIZE",
    "LOSSY",
    "MAX_PIXELS",
    "SUFFIXES",
    "TO",
    "ChannelOrder",
    "Cicp",
    "Density",
    "Image",
    "ImageInfo",
    "Metadata",
    "Origin",
    "Strip",
    "check_image",
    "decode_image",
    "encode_image",
    "format_of",
    "inspect_image",
    "install_command",
    "missing_extra",
    "most_bytes",
    "not_kept",
    "pillow_array",
    "read_file",
    "read_image",
    "strip_metadata",
]
