"""Checks of metadata: thumbnails, orientation, colour spaces, density."""

from __future__ import annotations

import io
import re
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import PIL.ImageOps
from PIL import ImageCms
from public_tool import (
    Check,
    Desk,
    chunks_of,
    collector,
    encoded,
    exif_block,
    exif_of,
    expect,
    gradient,
    pixels,
    red_pixels,
    red_square,
    save,
    square_mask,
    thumbnail_of,
    with_chunks,
)

if TYPE_CHECKING:
    from pathlib import Path

CHECKS: list[Check] = []
check = collector(CHECKS)

SIGMAS = ("0", "4")
"""`denoise --sigma`: nothing changes, and something does."""


def secret(desk: Desk, **exif: object) -> np.ndarray:
    """`secret.jpg` with a thumbnail that shows a red square."""
    image = red_square()
    thumbnail = encoded(image[::2, ::2], quality=95)
    block = exif_block(thumbnail=thumbnail, size=(160, 120), **exif)  # type: ignore[arg-type]
    save(desk / "secret.jpg", image, quality=95, exif=block)
    assert red_pixels(thumbnail_of(desk / "secret.jpg")) > 10
    square_mask(desk)
    return image


@check("F07a", "an inpainted JPEG has no thumbnail that shows what was removed")
def _(desk: Desk) -> None:
    secret(desk)
    desk.done("inpaint secret.jpg -o o.jpg --mask m.png")
    expect(red_pixels(pixels(desk / "o.jpg")) == 0, "the image is still red")
    expect(red_pixels(thumbnail_of(desk / "o.jpg")) == 0, "the thumbnail is still red")
    expect(b"Canon" in exif_of(desk / "o.jpg"), "the rest of the EXIF block is gone")


@check("F07b", "nor has a PNG or WebP that was made from it")
def _(desk: Desk) -> None:
    secret(desk)
    for suffix in ("png", "webp", "tif"):
        desk.done(f"inpaint secret.jpg -o o.{suffix} --mask m.png")
        found = red_pixels(thumbnail_of(desk / f"o.{suffix}"))
        expect(found == 0, f"{found} red pixels in the thumbnail of the {suffix}")


@check("F07c", "the thumbnail of a turned image stands upright, or is gone")
def _(desk: Desk) -> None:
    secret(desk, orientation=6)
    for sigma in SIGMAS:
        desk.done(f"denoise secret.jpg -o o{sigma}.jpg --sigma {sigma}")
        with PIL.Image.open(desk / f"o{sigma}.jpg") as image:
            size = PIL.ImageOps.exif_transpose(image).size
        found = thumbnail_of(desk / f"o{sigma}.jpg")
        expect(size == (120, 160), f"the image is {size}")
        expect(found is None or found.shape[0] > found.shape[1], "the thumbnail lies on its side")


@check("F07d", "a region of a .vae file does not carry the thumbnail of the whole")
def _(desk: Desk) -> None:
    secret(desk)
    desk.done("compress secret.jpg -o s.vae")
    desk.done("decompress s.vae -o part.jpg --region 80,60,40,30")
    found = red_pixels(thumbnail_of(desk / "part.jpg"))
    expect(found == 0, f"{found} red pixels in the thumbnail of a part without any")


@check("F07e", "the sizes in the EXIF block are those of the image")
def _(desk: Desk) -> None:
    secret(desk, orientation=6)
    desk.done("denoise secret.jpg -o o.jpg --sigma 4")
    with PIL.Image.open(desk / "o.jpg") as image:
        ifd = image.getexif().get_ifd(0x8769)
        found, size = (ifd.get(40962), ifd.get(40963)), image.size
    expect(found in (size, (None, None)), f"{found} for an image of {size}")


def raw_profile(desk: Desk) -> None:
    """`a.png` with EXIF as exiv2 and ImageMagick write it: hexadecimal text in a zTXt chunk."""
    block = exif_block(orientation=6)
    text = f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()
    body = b"Raw profile type exif\0\0" + zlib.compress(text)
    save(desk / "a.png", gradient())
    with_chunks(desk / "a.png", {b"zTXt": body})


def upright_canon(path: Path) -> None:
    with PIL.Image.open(path) as image:
        make = image.getexif().get(271)
        size = PIL.ImageOps.exif_transpose(image).size
    expect(make == "Canon", f"{path.name}: the camera is {make}")
    expect(size == (120, 160), f"{path.name}: {size}")


@check("F08a", "EXIF in a PNG's raw profile is kept and its orientation applied")
def _(desk: Desk) -> None:
    raw_profile(desk)
    for sigma in SIGMAS:
        desk.done(f"denoise a.png -o o{sigma}.png --sigma {sigma}")
        upright_canon(desk / f"o{sigma}.png")


@check("F08b", "also through a .vae file, to other formats")
def _(desk: Desk) -> None:
    raw_profile(desk)
    desk.done("compress a.png -o a.vae")
    for suffix in ("png", "jpg"):
        desk.done(f"decompress a.vae -o d.{suffix}")
        upright_canon(desk / f"d.{suffix}")


@check("F08c", "`vaetools info` knows it")
def _(desk: Desk) -> None:
    raw_profile(desk)
    said = desk.done("info a.png").out
    expect("120" in said and not re.search(r"exif\W+(none|0)\b", said), said)


CHROMA = {  # xy of white, red, green and blue, times 100000
    "adobe": (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000),
}
COLOURS = {
    "a": ("PQ by cICP", {b"cICP": bytes((9, 16, 0, 1))}, None),
    "b": ("Display P3 by cICP", {b"cICP": bytes((12, 13, 0, 1))}, "p3"),
    "c": ("linear light by gAMA", {b"gAMA": struct.pack(">I", 100_000)}, "linear"),
    "d": (
        "Adobe RGB by gAMA and cHRM",
        {b"gAMA": struct.pack(">I", 45_470), b"cHRM": struct.pack(">8I", *CHROMA["adobe"])},
        "adobe",
    ),
}
# Linear RGB of a space -> linear sRGB (CSS Color 4, sample code; Adobe RGB (1998) specification).
TO_SRGB = {
    "p3": [[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]],
    "adobe": [[1.3984, -0.3984, 0.0], [0.0, 1.0, 0.0], [0.0, -0.0429, 1.0429]],
    "linear": np.eye(3).tolist(),
}
PATCH = (150, 120, 100)


def srgb_of(space: str) -> np.ndarray:
    """`PATCH` of a space in 8-bit sRGB."""
    share = np.array(PATCH) / 255
    straight = {"linear": share, "adobe": share**2.19921875}
    p3 = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    linear = np.array(TO_SRGB[space]) @ straight.get(space, p3)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def says_the_same(path: Path, chunks: dict[bytes, bytes], space: str | None) -> str:
    """Empty if the colours of a file mean what they meant; otherwise what it says."""
    found = chunks_of(path)
    if all(found.get(kind) == body for kind, body in chunks.items()):
        return ""
    if b"iCCP" not in found or space is None:
        return f"chunks {sorted(kind.decode() for kind in found)}"
    with PIL.Image.open(path) as image:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        patch = PIL.Image.new("RGB", (1, 1), PATCH)
        to = ImageCms.createProfile("sRGB")
        shown = ImageCms.profileToProfile(patch, profile, to, renderingIntent=1)
    seen, right = np.asarray(shown)[0, 0], srgb_of(space)
    return "" if np.abs(seen - right).max() <= 3 else f"{seen} instead of {right.round()}"


def colour_check(letter: str) -> None:
    title, chunks, space = COLOURS[letter]

    @check(f"F09{letter}", f"colours of a PNG in {title} mean the same, or a line says that not")
    def _(desk: Desk) -> None:
        save(desk / "a.png", gradient())
        with_chunks(desk / "a.png", chunks)
        for number, line in enumerate(
            ("denoise a.png -o o0.png --sigma 0", "denoise a.png -o o1.png --sigma 4")
        ):
            ended = desk.vaetools(line)
            if not ended.refused():
                wrong = says_the_same(desk / f"o{number}.png", chunks, space)
                expect(not wrong or re.search("colou?r|cICP|gAMA", ended.err), f"{line}: {wrong}")
        ended = desk.vaetools("compress a.png -o a.vae")
        if not ended.refused():
            more = desk.done("decompress a.vae -o d.png")
            wrong = says_the_same(desk / "d.png", chunks, space)
            expect(
                not wrong or re.search("colou?r|cICP|gAMA", ended.err + more.err),
                f"through .vae: {wrong}",
            )


for _letter in COLOURS:
    colour_check(_letter)


def grey_profile() -> bytes:
    """An ICC profile of version 2 for grey: D50, a curve with the exponent 1.0."""
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"grey\0" + b"\0" * 78,
        b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061),
        b"cprt": b"text\0\0\0\0none\0",
        b"kTRC": b"curv\0\0\0\0" + struct.pack(">IH", 1, 256),
    }
    at = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for kind, data in tags.items():
        table += kind + struct.pack(">II", at + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    head = bytearray(128)
    head[8:12], head[12:24], head[36:40] = b"\x02\x40\0\0", b"mntrGRAYXYZ ", b"acsp"
    head[68:80] = struct.pack(">3i", 63190, 65536, 54061)
    head[0:4] = struct.pack(">I", at + len(body))
    return bytes(head) + table + body


def shown_mean(path: Path) -> float:
    """Mean of an image in sRGB, by its own profile."""
    with PIL.Image.open(path) as image:
        profile = image.info.get("icc_profile")
        if profile is None:
            return float(np.asarray(image.convert("RGB")).mean())
        to = ImageCms.createProfile("sRGB")
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        try:
            shown = ImageCms.profileToProfile(image, source, to, outputMode="RGB")
        except ImageCms.PyCMSError as error:
            raise AssertionError(f"{path.name}: {error}") from None
    return float(np.asarray(shown).mean())


def grey_icc(desk: Desk) -> float:
    plane = np.resize(np.arange(90, 180, dtype=np.uint8), (96, 120))
    save(desk / "g.png", plane, icc_profile=grey_profile())
    return shown_mean(desk / "g.png")


@check("F10a", "a WebP of a grey image has no grey profile beside RGB pixels")
def _(desk: Desk) -> None:
    right = grey_icc(desk)
    desk.done("denoise g.png -o o.webp --sigma 0")
    found = shown_mean(desk / "o.webp")
    expect(abs(found - right) < 2.5, f"mean {found:.1f} instead of {right:.1f}")


@check("F10b", "nor has one that is decoded from a .vae file")
def _(desk: Desk) -> None:
    right = grey_icc(desk)
    desk.done("compress g.png -o g.vae -q 95")
    desk.done("decompress g.vae -o d.webp")
    found = shown_mean(desk / "d.webp")
    expect(abs(found - right) < 4, f"mean {found:.1f} instead of {right:.1f}")


@check("F12a", "600 dpi of a JPEG's JFIF header stay")
def _(desk: Desk) -> None:
    save(desk / "a.jpg", gradient(), quality=90, dpi=(600, 600))
    densities(desk, "a.jpg")


@check("F12b", "600 dpi of a PNG's pHYs chunk stay")
def _(desk: Desk) -> None:
    save(desk / "a.png", gradient(), dpi=(600, 600))
    densities(desk, "a.png")


def densities(desk: Desk, name: str) -> None:
    for sigma in SIGMAS:
        for suffix in ("jpg", "png", "tif"):
            desk.done(f"denoise {name} -o o{sigma}.{suffix} --sigma {sigma}")
            with PIL.Image.open(desk / f"o{sigma}.{suffix}") as image:
                found = image.info.get("dpi", (0, 0))
            expect(np.allclose(np.float64(found), 600, atol=0.5), f"{suffix}: {found}")
