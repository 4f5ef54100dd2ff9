"""A folder of bad and odd pictures, each with the error code that it must give (or None).

    expected = write_torture(folder)        # {"half_jpeg.jpg": "E012", "cmyk.jpg": None, ...}

No two names differ in their suffix only, so that a run over the folder has no clashes.
"""

from __future__ import annotations

import functools
import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageCms

from vaetools.image.containers import PNG_SIGNATURE, png_chunk

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def picture(height: int = 48, width: int = 64, channels: int = 3) -> NDArray[np.uint8]:
    """uint8 (H, W, channels), or (H, W) for one: smooth with noise, different in each corner."""
    rng = np.random.default_rng(height * width + channels)
    ramps = [
        np.linspace(20, 200, height)[:, None] + np.linspace(0, 40, width) * c for c in (1, -0.4)
    ]
    planes = [
        ramps[c % 2] * (1 - 0.15 * c) + rng.normal(0, 2, (height, width)) for c in range(channels)
    ]
    stacked = np.clip(np.stack(planes, axis=2), 0, 255).astype(np.uint8)
    return stacked[..., 0] if channels == 1 else stacked


def saved(array: NDArray[Any], kind: str, **options: Any) -> bytes:
    """The array as a file, by Pillow."""
    return saved_image(Image.fromarray(array), kind, **options)


def saved_image(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png(samples: NDArray[Any], colour_type: int, *extra: bytes, data: bytes | None = None) -> bytes:
    """A PNG of `samples` (H, W, channels), 8 or 16 bit; chunks `extra` stand before the pixels."""
    height, width = samples.shape[:2]
    header = struct.pack(">LLBBBBB", width, height, 8 * samples.itemsize, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(f">u{samples.itemsize}").tobytes() for row in samples)
    packed = zlib.compress(rows) if data is None else data
    chunks = [
        png_chunk(b"IHDR", header),
        *extra,
        png_chunk(b"IDAT", packed),
        png_chunk(b"IEND", b""),
    ]
    return PNG_SIGNATURE + b"".join(chunks)


def bomb(side: int = 30_000) -> bytes:
    """A side×side black PNG of 1 bit per pixel, some 100 kB for 900 megapixels."""
    header = struct.pack(">LLBBBBB", side, side, 1, 0, 0, 0, 0)
    data = _packed_zeros(side * (1 + (side + 7) // 8))
    chunks = [png_chunk(b"IHDR", header), png_chunk(b"IDAT", data), png_chunk(b"IEND", b"")]
    return PNG_SIGNATURE + b"".join(chunks)


def _packed_zeros(count: int) -> bytes:
    """A zlib stream of zeros: one compressed block, repeated, since each starts from nothing."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    rest = packer.compress(bytes(count % 2**20)) + packer.flush()
    checksum = struct.pack(">L", (count % 65521) << 16 | 1)
    return b"\x78\xda" + block * (count // 2**20) + rest + checksum


def exif_block(orientation: int = 1) -> bytes:
    """An EXIF block as `Image.exif` has it: maker, maker's note, GPS position, orientation."""
    exif = Image.Exif()
    exif[271] = "Maker of cameras"
    exif[274] = orientation
    exif[0x8769] = {36867: "2024:05:06 07:08:09", 37500: b"note of the maker"}
    exif[0x8825] = {1: "N", 2: (47.0, 22.0, 11.5), 29: "2024:05:06"}
    return exif.tobytes().removeprefix(b"Exif\0\0")


def _frames(count: int = 3) -> list[Image.Image]:
    return [Image.fromarray(np.roll(picture(), 9 * i, axis=1)) for i in range(count)]


def _several(kind: str) -> bytes:
    first, *others = _frames()
    return saved_image(first, kind, save_all=True, append_images=others)


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _with_wrong_checksum(data: bytes) -> bytes:
    at = data.index(b"IDAT") + 200
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _palette(**options: Any) -> bytes:
    return saved_image(Image.fromarray(picture()).quantize(16), "PNG", **options)


def _text_bomb() -> bytes:
    """A PNG with a comment of 256 MiB."""
    text = b"Comment\0\0" + _packed_zeros(2**28)
    return png(picture(), 2, png_chunk(b"zTXt", text))


def _broken_exif() -> bytes:
    """An EXIF block that points behind its end."""
    return b"Exif\0\0" + exif_block(6)[:40]


@functools.cache
def torture_files() -> dict[str, tuple[bytes, str | None]]:
    """Name -> (content, expected error code or None)."""
    colour = picture()
    deep = colour.astype(np.uint16) * 257 + 3
    jpeg = saved(picture(240, 320), "JPEG")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return {
        "text.png": (b"This is not a picture, whatever its name says.\n", "E010"),
        "html.jpg": (b"<!DOCTYPE html><html>404</html>", "E010"),
        "empty.png": (b"", "E011"),
        "half_jpeg.jpg": (_half(jpeg), "E012"),
        "half_progressive.jpg": (_half(saved(picture(240, 320), "JPEG", progressive=True)), "E012"),
        "one_byte_short.jpg": (jpeg[:-1], "E012"),
        "three_bytes.jpg": (jpeg[:3], "E012"),
        "half_png.png": (_half(saved(colour, "PNG")), "E012"),
        "no_end.png": (saved(colour, "PNG")[:-12], "E012"),
        "crc.png": (_with_wrong_checksum(saved(colour, "PNG")), "E012"),
        "half_the_rows.png": (png(colour, 2, data=zlib.compress(bytes(24 * 193))), "E012"),
        "half_tiff.tif": (_half(saved(colour, "TIFF")), "E012"),
        "half_lzw.tif": (_half(saved(colour, "TIFF", compression="tiff_lzw")), "E012"),
        "half_webp.webp": (_half(saved(colour, "WEBP")), "E012"),
        "half_bmp.bmp": (_half(saved(colour, "BMP")), "E012"),
        "half_gif.gif": (_half(saved(colour, "GIF")), "E012"),
        "half_ppm.ppm": (_half(saved(colour, "PPM")), "E012"),
        "bomb.png": (bomb(), "E013"),
        "animated_gif.gif": (_several("GIF"), "E014"),
        "animated_png.png": (_several("PNG"), "E014"),
        "animated_webp.webp": (_several("WEBP"), "E014"),
        "pages.tif": (_several("TIFF"), "E014"),
        "float.tif": (saved(np.ones((9, 9), np.float32), "TIFF"), "E014"),
        "lab.tif": (saved_image(Image.new("LAB", (9, 9)), "TIFF"), "E014"),
        "cmyk.jpg": (saved_image(Image.fromarray(colour).convert("CMYK"), "JPEG"), None),
        "grey16.png": (png(deep[..., :1], 0), None),
        "rgb16.png": (png(deep, 2), None),
        "palette.png": (_palette(), None),
        "palette_transparent.png": (_palette(transparency=3), None),
        "grey_alpha.png": (png(colour[..., :2], 4), None),
        "one_bit.png": (saved_image(Image.fromarray(colour).convert("1"), "PNG"), None),
        "single.gif": (saved(colour, "GIF"), None),
        "one_pixel.png": (saved(colour[:1, :1], "PNG"), None),
        "tall.png": (saved(picture(20_000, 1), "PNG"), None),
        "wide.png": (saved(picture(1, 20_000), "PNG"), None),
        "turned.jpg": (saved(colour, "JPEG", exif=b"Exif\0\0" + exif_block(6)), None),
        "jpeg_named.png": (jpeg, None),
        "broken_exif.jpg": (saved(colour, "JPEG", exif=_broken_exif()), None),
        "broken_icc.jpg": (saved(colour, "JPEG", icc_profile=b"no profile"), None),
        "cmyk_rgb_icc.jpg": (
            saved_image(Image.fromarray(colour).convert("CMYK"), "JPEG", icc_profile=srgb),
            None,
        ),
        "text_bomb.png": (_text_bomb(), None),
        "größe 日本 🙂.png": (saved(colour, "PNG"), None),
        "new\nline.png": (saved(colour, "PNG"), None),
        "-q 5.png": (saved(colour, "PNG"), None),
    }


def write_torture(folder: Path) -> dict[str, str | None]:
    """Write the files; returns name -> expected error code, None for those that must succeed."""
    expected = {}
    for name, (content, code) in torture_files().items():
        try:
            (folder / name).write_bytes(content)
        except OSError:  # Windows takes no line feed in a name
            continue
        expected[name] = code
    return expected
