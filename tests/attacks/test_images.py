"""Small image files that are large or slow to decode: each is refused at once, in little memory."""

from __future__ import annotations

import io
import os
import re
import struct
import threading
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from tests.attacks.test_attacks import little_time_and_memory
from tests.torture import saved
from vaetools.errors import InputError, UnreadableError
from vaetools.image import decode_image, read_file
from vaetools.image.containers import PNG_SIGNATURE, png_chunk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def solid(side: int, kind: str, **options: Any) -> bytes:
    return saved(np.full((side, side, 3), 90, np.uint8), kind, **options)


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    return PNG_SIGNATURE + b"".join(png_chunk(kind, content) for kind, content in chunks)


def header(side: int, depth: int = 8, colour: int = 0) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">LLBBBBB", side, side, depth, colour, 0, 0, 0)


DATA = b"IDAT", zlib.compress(bytes(16 * 17))
END = b"IEND", b""


def jpeg_of_side(side: int, **options: Any) -> bytes:
    """16×16 pixels that claim to be more."""
    data = solid(16, "JPEG", **options)
    at = data.index(b"\xff\xc2" if options else b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", side, side) + data[at + 4 :]


def jpeg_with_scans(count: int) -> bytes:
    data = solid(1000, "JPEG", progressive=True)
    last, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:end] + data[last:end] * count + data[end:]


def tiff(side: int, **tags: int) -> bytes:
    """One strip or tile of zeros, 1000 of them, by Deflate."""
    packed = zlib.compress(bytes(1000))
    values = {256: side, 257: side, 258: 8, 259: 8, 262: 1, 277: 1, 278: side}
    places = (324, 325) if tags else (273, 279)
    values |= {322: tags["tile"], 323: tags["tile"]} if tags else {}
    values |= dict(zip(places, (0, len(packed)), strict=True))
    start = 8 + 2 + 12 * len(values) + 4
    values[places[0]] = start
    entries = b"".join(struct.pack("<HHLL", tag, 4, 1, values[tag]) for tag in sorted(values))
    return struct.pack("<2sHLH", b"II", 42, 8, len(values)) + entries + bytes(4) + packed


def gif(sides: tuple[int, int], image: tuple[int, int], before: bytes = b"") -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", *sides, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return screen + before + b"," + struct.pack("<HHHHB", 0, 0, *image, 0) + b"\2\2D\1\0;"


def webp_of_side(side: int) -> bytes:
    bits = side - 1 | side - 1 << 14
    content = b"VP8L" + struct.pack("<LBL", 13, 0x2F, bits) + bytes(9)
    return b"RIFF" + struct.pack("<L", len(content) + 4) + b"WEBP" + content


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "JPEG, scans": (lambda: jpeg_with_scans(600), "E014 it has more than 500 scans"),
    "JPEG, size": (lambda: jpeg_of_side(16_000), "E012 truncated: 6.. bytes are too few"),
    "JPEG, size, progressive": (
        lambda: jpeg_of_side(16_000, progressive=True),
        "E012 truncated: ... bytes are too few for 16000×16000 pixels",
    ),
    "JPEG, segments": (
        lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * 3_000_000 + solid(16, "JPEG")[2:],
        "E014 it has more than 10,000 segments",
    ),
    "PNG, chunks": (
        lambda: png(header(16)) + png_chunk(b"tEXt", b"") * 300_000 + png(DATA, END)[8:],
        "E014 the png file has too many short chunks",
    ),
    "PNG, data chunks": (
        lambda: png(header(16)) + png_chunk(b"IDAT", b"") * 300_000 + png(DATA, END)[8:],
        "E014 the png file has too many short chunks",
    ),
    "PNG, two headers": (
        lambda: png(header(10_000), header(16), DATA, END),
        "E012 corrupt: IHDR is not the first chunk",
    ),
    "PNG, late header": (lambda: png(DATA, header(16), END), "E012 corrupt: IHDR is not the first"),
    "PNG, size": (lambda: png(header(16_000), DATA, END), "E012 truncated: the pixel data"),
    "TIFF, tiles": (lambda: tiff(16, tile=16_384), "E014 tiles of 16384 pixels in an image of 16"),
    "TIFF, size": (lambda: tiff(16_000), "E012 truncated: too few bytes of pixels"),
    "PNM, comment": (
        lambda: b"P6\n#" + b"x" * 20_000_000 + b"\n4 4\n255\n" + bytes(48),
        "E012 no PNM header in the first 65536 bytes",
    ),
    "PNM, comments": (
        lambda: b"P6\n" + b"#x\n" * 10_000_000 + b"4 4\n255\n" + bytes(48),
        "E012 no PNM header in the first 65536 bytes",
    ),
    "PNM, zeros": (lambda: b"P5 " + b"0" * 10_000_000 + b"4 4 255\n", "E012 no PNM header"),
    "PNM, size": (lambda: b"P1 16000 16000\n0", "E012 truncated: 1 bytes of samples"),
    "GIF, screen": (lambda: gif((65_535, 65_535), (1, 1)), "E013 4295 megapixels"),
    "GIF, image": (lambda: gif((1, 1), (65_535, 65_535)), "E013 4295 megapixels"),
    "GIF, comments": (
        lambda: gif((4, 4), (4, 4), b"!\xfe\1x\0" * 2_000_000),
        "E014 the gif file has too many short blocks",
    ),
    "GIF, short blocks": (
        lambda: gif((4, 4), (4, 4), b"!\xfe" + b"\1x" * 5_000_000 + b"\0"),
        "E014 the gif file has too many short blocks",
    ),
    "WebP, size": (lambda: webp_of_side(16_383), "E012 the webp data is corrupt or truncated"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_images_that_cost_too_much(name: str) -> None:
    build, line = HOSTILE[name]
    data = build()
    with pytest.raises(InputError) as caught, little_time_and_memory():
        decode_image(data)
    assert caught.value.line.isprintable()
    assert re.match(line, caught.value.line), caught.value.line


def test_large_webp_files_are_read_up_to_our_own_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest WebP has 268 megapixels; Pillow refuses more than 179."""
    from vaetools.image.decoders import webp

    data = solid(40, "WEBP", lossless=True)
    monkeypatch.setattr(PillowImage, "MAX_IMAGE_PIXELS", 500)
    monkeypatch.setattr(webp, "_MOST_OF_PILLOW", 500)
    assert (decode_image(data).pixels == 90).all()
    with PillowImage.open(io.BytesIO(saved(np.full((9, 9, 4), 80, np.uint8), "PNG"))) as image:
        out = io.BytesIO()
        image.resize((40, 40)).save(out, "WEBP", lossless=True)
    alpha = decode_image(out.getvalue()).alpha
    assert alpha is not None
    assert (alpha == 80).all()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_an_input_that_becomes_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the first look at the file and opening it."""
    import vaetools.image.read_bytes as module

    path = tmp_path / "a.png"
    path.write_bytes(b"there")
    check = module._check_regular
    swaps = [lambda: (path.unlink(), os.mkfifo(path))]

    def check_then_swap(status: os.stat_result) -> None:
        check(status)
        if swaps:
            swaps.pop()()

    monkeypatch.setattr(module, "_check_regular", check_then_swap)
    outcome: list[UnreadableError] = []

    def read() -> None:
        try:
            read_file(path, check_head=lambda _: None, most=100)
        except UnreadableError as error:
            outcome.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(10)
    assert [error.problem for error in outcome] == ["cannot be read: it is not a regular file"]
