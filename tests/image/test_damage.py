"""Damage that only the decoder sees: refused, or with `strict=False` kept and named.

libjpeg and libpng report it on stderr if OpenCV decodes. So OpenCV is the reference here, and no
line of theirs may appear when we decode.
"""

from __future__ import annotations

import base64
import json
import os
import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from tests.image.samples import same
from tests.paths import ROOT
from tests.torture import picture, png, saved, saved_image
from vaetools.errors import DamagedImageError
from vaetools.image import decode_image, read_image
from vaetools.image.containers import PNG_SIGNATURE, png_chunk

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNUSUAL = base64.b85decode(
    "|JeWF01!$>Nk#wx0RR9200961|JwjV02B@n5)Ta&5)cv>6%-gAG9exu93DL^E+jHZKuk+VKt@GST61DhRc%&9Mr4R("
    "ZFhTtf`Lw8jhBplmUDiAeE-`3Lje^R7akfOJ0T%Ed{ahKe0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R-"
    "e0+R-e0+R-e0+R-e0=}F01*fP7yvK>0TTcM5di}c0sq7R9{>OW1pxs80RaI300000000010s{mE1_uZU3Jd?l0JRVR"
    "0s#X90t5pE1q1{D00Dgg0s{a95d{(<F+m0sQDFxnaTGFvk)a49Lb1UWQqk}vGh%Xr2?`b$7#SKRCMPH<Dl|1VH#j*u"
    "LqtVJM@UIZQ&d$}S6EqEV`OD!XJ~0^b98lfcX)YvgM@{Khlq)al9QB`mY0~BnxdnmrKYE-sj9NGw6(UkxVgH*!^FkL"
    "$H>Xb($mz{*4NnC+Tr5k<mKk)=;`Y5^7Hid_V@Vt`v1fL9{~UZ0RaI40RaI40RR91000010s{mE1_uZU3Jd?l0JRYS"
    "0s#U91Oo&I1q1{D0Rndb0RjUN1O*{61`<J02Vrp&A~Jyp6he`qvB3!=Gg9ysVsg<679=#`CGi&+85$-hC@Cs6Ha9pq"
    "IzvQ7Mn_0VN>fx-R##YAT4Q8oW@l(=YIAgTc6WGrdV+(5g@%WSiHeewl$Dm3n3<ZQqok##r>Lo_va__cwzs&sy28W6"
    "#m2|T$;#5x)YaD4*xB0R<K*S$=jiF`^7Hid_V@Vt`v2Mh3<CiG0ucid06zd#(WHiG*`IW2oGSswde=Z=2k$XIjVz^O"
    "Jg}@y>}9kfOM>A-gW9i1i62h1jN$p~NsJ&HI31~D;8O#0K&&?QLaKf0JF*I#`q6R$Q$Sd!9lJ_*9zi|%1Mu%wY`PF?"
    "D`|ji9y?G5ezjuka|%e{r~v1o&pdrAplHJm)aB#?Dcmf7|Je"
)
"""24×48 pixels, the luma sampled three times as often as the chroma."""

DAMAGE = {
    "bit": lambda d, at, rng: d[:at] + bytes([d[at] ^ 1 << rng.randrange(8)]) + d[at + 1 :],
    "byte": lambda d, at, rng: d[:at] + rng.randbytes(1) + d[at + 1 :],
    "zeros": lambda d, at, _: d[:at] + bytes(256) + d[at + 256 :],
    "hole": lambda d, at, _: d[:at] + d[at + 256 :],
    "another end": lambda d, at, rng: d[:at] + d[rng.randrange(len(d) // 2, len(d) - 2) :],
}


def by_opencv(data: bytes, capfd: Any) -> tuple[NDArray[Any] | None, str]:
    """OpenCV's pixels, and what was printed meanwhile."""
    capfd.readouterr()
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return pixels, capfd.readouterr().err


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", ["grey", "baseline", "progressive", "cmyk"])
def test_a_jpeg_that_libjpeg_warns_about_is_damaged(kind, damage, capfd):
    rng = random.Random(f"{kind} {damage}")
    pillow = PillowImage.fromarray(picture(120, 160, 1 if kind == "grey" else 3))
    source = pillow.convert("CMYK") if kind == "cmyk" else pillow
    data = saved_image(source, "JPEG", progressive=kind == "progressive")
    first = data.index(b"\xff\xda") + 12
    refused = 0
    for _ in range(8):
        broken = DAMAGE[damage](data, rng.randrange(first, len(data) - 300), rng)
        pixels, warning = by_opencv(broken, capfd)
        if pixels is None:  # beyond repair
            with pytest.raises(DamagedImageError):
                decode_image(broken)
            continue
        image = decode_image(broken, strict=False)
        if warning:
            with pytest.raises(DamagedImageError) as caught:
                decode_image(broken)
            reason = warning.splitlines()[0].removeprefix("Corrupt JPEG data: ")
            assert caught.value.problem == f"the jpeg data is damaged ({reason})"
            assert caught.value.remedy == "--lenient keeps what can be decoded"
            assert image.damage == caught.value.problem
            refused += 1
        else:
            assert not image.damage
        assert kind == "cmyk" or same(image.pixels, pixels)
        assert capfd.readouterr().err == ""
    assert refused >= (0 if damage in ("bit", "byte") else 3)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_whole_jpegs_have_the_pixels_of_opencv(subsampling, progressive, capfd):
    options = {"subsampling": subsampling, "progressive": progressive}
    data = saved(picture(61, 83), "JPEG", **options)
    assert same(decode_image(data).pixels, by_opencv(data, capfd)[0])


def test_unusual_subsampling(capfd):
    image = decode_image(UNUSUAL)
    assert same(image.pixels, by_opencv(UNUSUAL, capfd)[0])
    broken = UNUSUAL[:-40] + bytes(20) + UNUSUAL[-20:]
    assert by_opencv(broken, capfd)[1]
    with pytest.raises(DamagedImageError, match="the jpeg data is damaged"):
        decode_image(broken)
    assert "the jpeg data is damaged" in decode_image(broken, strict=False).damage
    assert capfd.readouterr().err == ""


def bare_png(*chunks: tuple[bytes, bytes], interlace: int = 0) -> bytes:
    """A PNG of 8×8 RGB pixels."""
    header = struct.pack(">LLBBBBB", 8, 8, 8, 2, 0, 0, interlace)
    parts = [(b"IHDR", header), *chunks, (b"IEND", b"")]
    return PNG_SIGNATURE + b"".join(png_chunk(kind, content) for kind, content in parts)


PIXELS = picture(8, 8)
ROWS = b"".join(b"\0" + row.tobytes() for row in PIXELS)
PACKED = zlib.compress(ROWS)
DATA = (b"IDAT", PACKED)
HARMLESS = {
    "rows behind the last": bare_png((b"IDAT", zlib.compress(ROWS + bytes(100)))),
    "bytes behind the stream": bare_png((b"IDAT", PACKED + b"more")),
    "another chunk": bare_png(DATA, (b"IDAT", b"more")),
    "no ICC profile": bare_png((b"iCCP", b"x\0\0" + zlib.compress(b"none")), DATA),
    "half a palette": bare_png((b"PLTE", b"1234"), DATA),
    "late palette": bare_png(DATA, (b"PLTE", b"123")),
}
BROKEN = {
    "checksum of the stream": bare_png((b"IDAT", PACKED[:-1] + b"\0")),
    "no checksum": bare_png((b"IDAT", PACKED[:-4])),
    "half of the rows": bare_png((b"IDAT", zlib.compress(ROWS[:100]))),
    "unknown filter": bare_png((b"IDAT", zlib.compress(ROWS[:100] + b"\5" + ROWS[101:]))),
    "no data": bare_png(),
    "half of a palette image": png(
        picture(8, 8, 1)[..., None],
        3,
        png_chunk(b"PLTE", bytes(768)),
        data=zlib.compress(ROWS[:36]),
    ),
    "half of 16 bit": png(picture(8, 8).astype(np.uint16), 2, data=zlib.compress(ROWS)),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_faults_of_png_files_are_not_printed(name, capfd):
    image = decode_image(HARMLESS[name])
    assert same(image.pixels, np.ascontiguousarray(PIXELS[..., ::-1]))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", BROKEN)
def test_pixel_data_of_png_files_is_whole(name, capfd):
    with pytest.raises(DamagedImageError, match="the pixel data"):
        decode_image(BROKEN[name])
    assert capfd.readouterr().err == ""


def interlaced(pixels: NDArray[np.uint8], *, without: int = 0) -> bytes:
    """RGB pixels in the seven passes of Adam7, without the last bytes."""
    starts = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))
    passes = [pixels[y::down, x::right] for y, x, down, right in (*starts, (1, 0, 2, 1))]
    rows = b"".join(b"\0" + row.tobytes() for part in passes if part.size for row in part)
    header = struct.pack(">LLBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 1)
    packed = zlib.compress(rows[: len(rows) - without])
    parts = [(b"IHDR", header), (b"IDAT", packed), (b"IEND", b"")]
    return PNG_SIGNATURE + b"".join(png_chunk(kind, content) for kind, content in parts)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (8, 8), (13, 7)])
def test_every_pass_of_an_interlaced_png_file_is_counted(size):
    pixels = picture(*size)
    assert same(decode_image(interlaced(pixels)).pixels, np.ascontiguousarray(pixels[..., ::-1]))
    with pytest.raises(DamagedImageError, match="the pixel data ends early"):
        decode_image(interlaced(pixels, without=1))


def vaetools(folder: Path, arguments: str) -> subprocess.CompletedProcess[str]:
    command = f"{sys.executable} -m vaetools {arguments}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell closes the stream")
def test_what_libraries_say_is_in_the_record_of_the_file(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    data = saved(picture(120, 160), "JPEG")
    at = len(data) // 2
    (photos / "damaged.jpg").write_bytes(data[:at] + bytes(256) + data[at + 256 :])
    (photos / "png.png").write_bytes(HARMLESS["rows behind the last"])
    (photos / "whole.jpg").write_bytes(data)
    lzw = saved(picture(120, 160), "TIFF", compression="tiff_lzw")
    (photos / "lzw.tif").write_bytes(lzw[:3000] + bytes(500) + lzw[3500:])
    done = vaetools(tmp_path, "mask-dust photos -o strict")
    said = done.stderr.splitlines()
    assert sum(line.startswith("E012 photos/") for line in said) == 2
    expected = ("E012 ", "photos/", "1 more input: ", "2 done")
    assert not [line for line in said if not line.startswith(expected)]
    (photos / "lzw.tif").unlink()
    (line,) = (line for line in done.stderr.splitlines() if "jpeg" in line.lower())
    assert line.startswith("E012 photos/damaged.jpg: the jpeg data is damaged (")
    assert line.endswith("); --lenient keeps what can be decoded")
    done = vaetools(tmp_path, "mask-dust photos -o lenient --lenient --json 2>&-")
    assert done.returncode == 0, done.stdout
    records = [json.loads(line) for line in done.stdout.splitlines()]
    notes = {Path(r["file"]).name: r["message"] for r in records if "file" in r}
    assert notes["damaged.jpg"].startswith("photos/damaged.jpg: read in part: the jpeg data is")
    assert "read in part" not in notes["whole.jpg"] + notes["png.png"]
    written = [path for path in (tmp_path / "lenient").rglob("*") if path.is_file()]
    assert not any(b"libpng" in path.read_bytes() for path in written)
    for name in ("damaged", "png", "whole"):
        assert read_image(tmp_path / "lenient" / f"{name}.png").pixels.size
