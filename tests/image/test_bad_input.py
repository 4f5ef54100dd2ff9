"""Bad files: one error with its code, limits, and no cost."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL import ImageFile

from tests.image.samples import (
    KEEPS_METADATA,
    same,
)
from tests.paths import ROOT
from tests.profiles import examples
from tests.torture import (
    bomb,
    exif_block,
    picture,
    png,
    saved,
    torture_files,
    write_torture,
)
from vaetools.errors import (
    DamagedImageError,
    InputError,
    TooLargeError,
    UnreadableError,
)
from vaetools.image import (
    Image,
    decode_image,
    encode_image,
    read_image,
)


@pytest.mark.parametrize("name", list(torture_files()))
def test_torture(name, tmp_path):
    content, code = torture_files()[name]
    try:
        (tmp_path / name).write_bytes(content)
    except OSError:
        pytest.skip("no such name on this system")
    if code is None:
        assert read_image(tmp_path / name).pixels.size
        return
    with pytest.raises(InputError) as caught:
        read_image(tmp_path / name)
    assert caught.value.code == code
    assert caught.value.file == str(tmp_path / name)
    assert "\n" not in caught.value.line
    assert "object at 0x" not in caught.value.line


def test_torture_folder(tmp_path):
    expected = write_torture(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(expected)
    assert len({Path(name).stem for name in expected}) == len(expected)


@pytest.mark.parametrize(
    "name",
    ["animated_gif.gif", "animated_png.png", "animated_webp.webp", "pages.tif"],
)
def test_the_first_frame_on_request(name):
    image = decode_image(torture_files()[name][0], first_frame=True)
    assert image.pixels.shape == picture().shape
    assert np.abs(image.pixels[..., ::-1].astype(int) - picture()).mean() < 6


def test_lenient_takes_what_is_there():
    files = torture_files()
    whole = np.ascontiguousarray(picture()[..., ::-1])
    for name in ("half_png.png", "half_tiff.tif", "half_ppm.ppm"):
        image = decode_image(files[name][0], strict=False)
        assert same(image.pixels[:10], whole[:10])
    for name in ("half_jpeg.jpg", "half_progressive.jpg", "one_byte_short.jpg"):
        image = decode_image(files[name][0], strict=False)
        top = picture(240, 320)[:40, :, ::-1]
        assert np.abs(image.pixels[:40].astype(int) - top).mean() < 12
    assert same(decode_image(files["no_end.png"][0], strict=False).pixels, whole)
    nothing = png(picture(), 2, data=b"no zlib stream")
    with pytest.raises(DamagedImageError):
        decode_image(nothing, strict=False)
    for name in ("three_bytes.jpg", "half_webp.webp", "half_lzw.tif"):
        with pytest.raises(DamagedImageError):
            decode_image(files[name][0], strict=False)


def test_every_cut_of_a_file_is_noticed():
    # What pads the last row of a BMP or ends a GIF may be missing, so those are not here.
    for name in ("JPEG", "PNG", "TIFF", "WEBP", "PPM"):
        data = saved(picture(12, 16), name)
        for length in range(len(data)):
            with pytest.raises(InputError):
                decode_image(data[:length])


@settings(max_examples=examples(300))
@given(
    st.sampled_from(["JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP", "PPM"]),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6),
    st.booleans(),
)
def test_changed_bytes_give_an_image_or_one_of_our_errors(name, changes, strict):
    options = {"exif": b"Exif\0\0" + exif_block(5)} if name in ("JPEG", "PNG", "TIFF") else {}
    data = bytearray(saved(picture(12, 16), name, **options))
    for position, value in changes:
        data[position % len(data)] = value
    try:
        image = decode_image(bytes(data), max_pixels=10**6, strict=strict)
    except InputError:
        return
    assert image.pixels.dtype in (np.uint8, np.uint16)
    for target in ("png", "tiff"):
        encode_image(Image(image.pixels, icc=image.icc, exif=image.exif), target, strip="gps")


@pytest.mark.parametrize("kind", ["directory", "missing", "below a file", "loop", "pipe", "nul"])
def test_what_cannot_be_read_is_said(kind, tmp_path):
    path = tmp_path / "x.png"
    if kind == "directory":
        path.mkdir()
    elif kind == "below a file":
        path.write_bytes(b"")
        path = path / "y.png"
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "nul":
        path = tmp_path / "a\0b.png"
    with pytest.raises(UnreadableError, match="cannot be read") as caught:
        read_image(path)
    assert caught.value.code == "E015"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_permission(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(saved(picture(), "PNG"))
    path.chmod(0)
    with pytest.raises(UnreadableError, match="Permission denied"):
        read_image(path)


def test_the_limit_says_itself_and_can_be_raised():
    with pytest.raises(TooLargeError) as caught:
        decode_image(bomb(), file="photos/big.png")
    line = (
        "E013 photos/big.png: 900 megapixels is over the limit of 268; raise it with --max-pixels"
    )
    assert caught.value.line == line
    data = saved(picture(), "PNG")
    assert decode_image(data, max_pixels=48 * 64).width == 64
    with pytest.raises(TooLargeError, match=r"0\.003072 megapixels is over the limit of 0\.003071"):
        decode_image(data, max_pixels=48 * 64 - 1)


def test_more_bytes_than_the_limit_can_need_are_not_read(tmp_path):
    path = tmp_path / "huge.png"
    with path.open("wb") as stream:
        stream.write(saved(picture(), "PNG"))
        stream.truncate(2**40)  # a sparse file
    with pytest.raises(TooLargeError, match=r"1,099,512 MB are more than 2,215 MB"):
        read_image(path)


def test_a_bomb_costs_neither_time_nor_memory(tmp_path):
    resource = pytest.importorskip("resource")
    del resource
    (tmp_path / "bomb.png").write_bytes(bomb())
    (tmp_path / "small.png").write_bytes(saved(picture(), "PNG"))
    script = """
import resource, sys, time
from vaetools.errors import TooLargeError
from vaetools.image import read_image
read_image("small.png")
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
try:
    read_image("bomb.png")
except TooLargeError:
    print(time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    seconds, growth = map(float, output_of(script, tmp_path).split())
    assert seconds < 0.3
    assert growth * (1 if sys.platform == "darwin" else 1024) < 50 * 2**20


def output_of(script, folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.stdout


def test_importing_is_light(tmp_path):
    script = "import sys, vaetools.image; print([m for m in ('cv2', 'PIL') if m in sys.modules])"
    assert output_of(script, tmp_path).strip() == "[]"


def test_our_limit_rules_and_pillows_is_left_alone(monkeypatch):
    monkeypatch.setattr(PillowImage, "MAX_IMAGE_PIXELS", 1000)
    for name in ("JPEG", "PNG", "TIFF", "GIF", "BMP", "PPM"):
        assert decode_image(saved(picture(), name)).width == 64
    assert decode_image(saved(picture(), "TIFF", compression="tiff_lzw")).width == 64
    with suppress(TooLargeError):  # the one format where Pillow insists, in newer versions
        decode_image(saved(picture(), "WEBP"))
    assert PillowImage.MAX_IMAGE_PIXELS == 1000


def test_many_threads_decode_at_once_without_shared_state():
    before = list(warnings.filters), ImageFile.LOAD_TRUNCATED_IMAGES
    files = [(name, *entry) for name, entry in torture_files().items() if "bomb" not in name]

    def outcome(data, strict):
        try:
            return decode_image(data, strict=strict).pixels.shape
        except InputError as error:
            return error.code

    jobs = [(data, code, strict) for _, data, code in files * 4 for strict in (True, False)]
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda job: outcome(job[0], job[2]), jobs))
    for (_, code, strict), result in zip(jobs, results, strict=True):
        assert not strict or result == code or (code is None and isinstance(result, tuple))
    assert (list(warnings.filters), ImageFile.LOAD_TRUNCATED_IMAGES) == before


@pytest.mark.parametrize("kind", ["pointer to itself", "many pointers", "huge count"])
def test_hostile_directories_end(kind):
    entries = {
        "pointer to itself": [(0x8769, 4, 1, 8)],
        "many pointers": [(0x8769, 4, 1, 8)] * 3000 + [(270, 2, 90_000, 8)] * 3000,
        "huge count": [(273, 4, 2**30, 8), (270, 2, 2**32 - 1, 8)],
    }[kind]
    table = b"".join(struct.pack("<HHLL", *entry) for entry in entries)
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + table + bytes(100_000)
    with pytest.raises(InputError):
        decode_image(data)
    exif = saved(picture(), "JPEG", exif=b"Exif\0\0" + data[:60_000])
    image = decode_image(exif)
    for name in KEEPS_METADATA:
        encode_image(image, name, strip="gps")
