"""JPEG files as coefficients: what does not change stays, block by block."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL.JpegImagePlugin import JpegImageFile

from tests.torture import exif_block
from vaetools.image import Image, Origin, decode_image, encode_image, inspect_image
from vaetools.image.jpeg import patched
from vaetools.image.jpeg.decoding import coefficients
from vaetools.image.jpeg.encoding import encode
from vaetools.image.jpeg.splicing import spliced
from vaetools.image.jpeg.structure import NotCoveredError, read_structure

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "444": {"subsampling": 0},
    "422": {"subsampling": 1},
    "progressive": {"progressive": True},
    "progressive 444": {"progressive": True, "subsampling": 0},
    "optimised": {"optimize": True},
    "restart": {"restart_marker_blocks": 3},
    "restart progressive": {"restart_marker_rows": 1, "progressive": True},
    "coarse": {"quality": 5},
    "fine": {"quality": 100},
    "rgb": {"keep_rgb": True},
}


def photo(height: int, width: int) -> np.ndarray:
    """Waves with noise and saturated corners; RGB."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    waves = [
        120 + 90 * np.sin(rows / a) * np.cos(columns / b) for a, b in ((9, 7), (5, 11), (7, 5))
    ]
    noise = np.random.default_rng(0).normal(0, 12, (height, width, 3))
    array = np.clip(np.dstack(waves) + noise, 0, 255).astype(np.uint8)
    array[:10, :12] = 255
    return array


def jpeg(height: int, width: int, mode: str = "RGB", **options: Any) -> bytes:
    out = io.BytesIO()
    options = {"quality": 85, **options}
    PillowImage.fromarray(photo(height, width)).convert(mode).save(out, "JPEG", **options)
    return out.getvalue()


def changed_image(data: bytes) -> tuple[Image, Origin, np.ndarray]:
    """The file's image with a small area changed; where."""
    image = decode_image(data)
    where = np.zeros((image.height, image.width), bool)
    where[image.height // 3 : image.height // 3 + 6, image.width // 2 : image.width // 2 + 9] = True
    pixels = image.pixels.copy()
    pixels[where] = 255 - pixels[where] // 2
    changed = Image(pixels, format="jpeg", metadata=image.metadata)
    return changed, Origin(data, np.packbits(where, axis=1)), where


def blocks_that_differ(one: bytes, other: bytes) -> Iterator[tuple[np.ndarray, Any]]:
    """For each component: which blocks have other coefficients; its factors."""
    frames = [read_structure(data) for data in (one, other)]
    pairs = zip(*(coefficients(frame) for frame in frames), strict=True)
    for component, (before, after) in zip(frames[0].components, pairs, strict=True):
        rows, columns = component.shape
        differs = (before != after).any(axis=2)[:rows, :columns]
        span = frames[0].down // component.down, frames[0].across // component.across
        yield differs, span


GREY = ("plain", "progressive", "restart")


@pytest.mark.parametrize(
    ("kind", "mode"), [*((kind, "RGB") for kind in KINDS), *((kind, "L") for kind in GREY)]
)
def test_only_blocks_with_changed_pixels_change(kind: str, mode: str) -> None:
    for size in ((67, 93), (64, 96)):
        data = jpeg(*size, mode, **KINDS[kind])
        image, origin, where = changed_image(data)
        written = encode_image(image, "jpeg", origin=origin)
        touched = 0
        for differs, span in blocks_that_differ(data, written):
            for row, column in np.argwhere(differs):
                top, left = 8 * row * span[0], 8 * column * span[1]
                assert where[top : top + 8 * span[0], left : left + 8 * span[1]].any()
            touched += int(differs.sum())
        assert touched > 0
        before, after = decode_image(data), decode_image(written)
        # Chroma is smoothed across the border of blocks when it is enlarged: one pixel more.
        rows, columns = np.nonzero((before.pixels != after.pixels).reshape(*where.shape, -1).any(2))
        inside = np.argwhere(where)
        assert rows.min() >= inside[0][0] // 16 * 16 - 1 and columns.max() <= inside[-1][1] + 17
        error = np.abs(after.pixels[where].astype(int) - image.pixels[where].astype(int)).mean()
        assert error < (60 if kind == "coarse" else 20)


SEQUENTIAL = [kind for kind in KINDS if "progressive" not in kind]


@pytest.mark.parametrize("kind", SEQUENTIAL)
@pytest.mark.parametrize("share", [0, 0.02, 0.5, 1])
def test_new_blocks_lie_between_the_bits_of_the_source(kind: str, share: float) -> None:
    frame = read_structure(jpeg(67, 93, **KINDS[kind]))
    rng = np.random.default_rng(0)
    planes = coefficients(frame)
    new = []
    for plane in planes:
        flat = plane.reshape(-1, 64)
        places = np.flatnonzero(rng.random(len(flat)) < share)
        flat[places] = flat[rng.integers(0, len(flat), len(places))]  # the tables have their codes
        flat[places, 0] = rng.integers(-9, 9, len(places))
        new.append((places, flat[places].copy()))
    body = spliced(frame, new)
    if kind == "optimised" and share:  # no codes for other differences
        assert body is None
        return
    assert body is not None
    after = read_structure(b"\xff\xd8" + body)
    assert all(map(np.array_equal, coefficients(after), planes))
    assert after.scans[0].restart == frame.scans[0].restart
    if not share:
        assert after.scans[0].data == frame.scans[0].data


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (17, 33), (40, 15)])
def test_other_decoders_see_the_same_pixels(kind: str, size: tuple[int, int]) -> None:
    data = jpeg(*size, **KINDS[kind])
    frame = read_structure(data)
    head = b"\xff\xd8" if frame.has_luma else data[: data.index(b"\xff\xdb")]
    recoded = head + encode(frame, coefficients(frame))
    before, after = JpegImageFile(io.BytesIO(data)), JpegImageFile(io.BytesIO(recoded))
    assert np.array_equal(np.asarray(before), np.asarray(after))
    assert [part[1:3] for part in before.layer] == [part[1:3] for part in after.layer]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_stays_a_tag(orientation: int) -> None:
    data = jpeg(67, 93, exif=b"Exif\0\0" + exif_block(orientation))
    image, origin, where = changed_image(data)
    written = encode_image(image, "jpeg", origin=origin)
    assert all(not differs.all() for differs, _ in blocks_that_differ(data, written))
    after = decode_image(written)
    assert after.pixels.shape == image.pixels.shape and after.exif == image.exif
    far = ~np.pad(where, 24, mode="constant")[24:-24, 24:-24]
    far[image.height // 3 - 20 : image.height // 3 + 28, image.width // 2 - 20 :] = False
    assert far.any() and np.array_equal(after.pixels[far], image.pixels[far])
    # Without a place for the orientation the pixels are turned.
    stripped = encode_image(image, "jpeg", origin=origin, strip="exif")
    assert decode_image(stripped).exif is None
    assert inspect_image(stripped).width == image.width


def test_what_is_not_covered_is_encoded_with_the_tables_of_the_source() -> None:
    cmyk = jpeg(67, 93, "CMYK", quality=71)
    image, origin, _ = changed_image(cmyk)
    assert patched(cmyk, image.pixels, np.ones((67, 93), bool)) is None
    written = encode_image(image, "jpeg", origin=origin)
    before, after = JpegImageFile(io.BytesIO(cmyk)), JpegImageFile(io.BytesIO(written))
    assert after.mode == "RGB" and after.quantization[0] == before.quantization[0]


def test_a_quality_that_is_asked_for_is_taken() -> None:
    data = jpeg(67, 93, quality=90)
    image, origin, _ = changed_image(data)
    assert len(encode_image(image, "jpeg", origin=origin, quality=30)) < len(data) / 2


def test_damaged_files_are_not_covered() -> None:
    data = jpeg(67, 93)
    rng = np.random.default_rng(0)
    start = data.index(b"\xff\xda")
    for _ in range(25):
        broken = bytearray(data)
        for at in rng.integers(2, len(data), 4):
            broken[at] = int(rng.integers(256))
        with contextlib.suppress(NotCoveredError):
            coefficients(read_structure(bytes(broken)))
    for stop in (3, 30, start, start + 5, len(data) - 40, len(data) - 2):
        with pytest.raises(NotCoveredError):
            coefficients(read_structure(data[:stop]))


def test_a_file_with_more_behind_its_end() -> None:
    data = jpeg(67, 93)
    image, origin, where = changed_image(data)
    tail = Origin(data + b"motion photo" + data, origin.changed)
    assert encode_image(image, "jpeg", origin=tail) == encode_image(image, "jpeg", origin=origin)
    assert where.any()


def without_segments(data: bytes, *markers: int) -> bytes:
    """A JPEG file of Pillow without some of the segments at its start."""
    kept, at = [data[:2]], 2
    while data[at + 1] != 0xDA:
        stop = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        kept += [data[at:stop]] if data[at + 1] not in markers else []
        at = stop
    return b"".join([*kept, data[at:]])


@pytest.mark.parametrize("kind", ["rgb by its names", "ycbcr with two markers"])
def test_colours_stay_when_metadata_is_stripped(kind: str) -> None:
    """Decoders ask JFIF's marker first, then Adobe's, then the names of the components."""
    if kind == "rgb by its names":
        data = without_segments(jpeg(67, 93, keep_rgb=True, comment=b"x"), 0xE0, 0xEE)
    else:
        data = jpeg(67, 93)
        adobe = b"\xff\xee\x00\x0eAdobe\0d\0\0\0\0\0"
        data = data[:20] + adobe + data[20:]
    before = decode_image(data).pixels
    assert np.abs(before[..., ::-1].astype(int) - photo(67, 93)).mean() < 12
    image, unchanged = decode_image(data), np.packbits(np.zeros((67, 93), bool), axis=1)
    origin = Origin(data, unchanged)
    for strip in ("exif", "all"):
        after = encode_image(image, "jpeg", origin=origin, strip=strip)
        assert np.array_equal(decode_image(after).pixels, before)
