"""`.vae` files through Pillow's own interface."""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

import vaetools
import vaetools.pillow
from tests.codec.miniature import DECODED, STREAMS
from tests.image.described import IPTC, exif_with, xmp
from vaetools.codec.container import FIXED, MAGIC
from vaetools.errors import OptionError
from vaetools.hub import Hub
from vaetools.image.metadata import icc
from vaetools.shared_hub import _Shared, shared_hub
from vaetools.testing import gradient

RGB = np.ascontiguousarray(gradient()[:, :, ::-1])
ALPHA = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)
MODES = {
    "L": RGB[:, :, 0],
    "LA": np.dstack([RGB[:, :, 0], (ALPHA // 13).astype(np.uint8)]),
    "RGB": RGB,
    "RGBA": np.dstack([RGB, (ALPHA // 13).astype(np.uint8)]),
    "I;16": RGB[:, :, 0].astype(np.uint16) * 257,
    "F": (RGB[:, :, 0] / 255).astype(np.float32),
}


def read(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return image


def saved(image: Image.Image, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, format="VAE", **options)
    return file


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_comes_back_as_the_hub_has_it(mode: str, mini_hub: Hub) -> None:
    image = Image.fromarray(MODES[mode])
    assert image.mode == mode
    file = saved(image, quality=90)
    opened = Image.open(file)
    assert (opened.format, opened.mode, opened.size) == ("VAE", mode, (64, 48))
    decoded = mini_hub.op("decompress", channel_order="rgb")(file.getvalue())
    expected = decoded[..., 2:] if mode == "LA" else decoded
    assert np.array_equal(np.asarray(opened), expected)
    if mode.endswith("A"):  # alpha is lossless
        assert np.array_equal(np.asarray(opened)[..., -1], MODES[mode][..., -1])


def test_a_transparent_level_of_16_bit_grey_becomes_alpha(mini_hub: Hub) -> None:
    grey = MODES["I;16"]
    image = Image.fromarray(grey)
    image.info["transparency"] = int(grey[3, 5])
    decoded = mini_hub.decompress(saved(image).getvalue())
    assert np.array_equal(decoded[..., 3] == 0, grey == grey[3, 5])


def test_the_file_is_that_of_the_hub(mini_hub: Hub) -> None:
    packed = saved(Image.fromarray(RGB), quality=30).getvalue()
    assert packed == mini_hub.compress(gradient(), quality=30)


@pytest.mark.parametrize("name", DECODED)
def test_every_kind_of_file_opens_lazily_in_the_mode_that_it_has(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = STREAMS / f"{name}.vae"
    with monkeypatch.context() as without:
        without.setattr(vaetools.Codec, "decode_file", None)  # would raise TypeError
        image = Image.open(path)
        before = image.mode, image.size, image.get_format_mimetype()
    image.load()
    whole = vaetools.imread(path)
    assert before == (image.mode, (whole.shape[1], whole.shape[0]), "image/x-vae")
    if whole.dtype == np.uint8 or whole.ndim == 2:
        expected = whole if whole.ndim == 2 else whole[..., [2, 1, 0, 3][: whole.shape[2]]]
        assert np.array_equal(np.asarray(image), expected)


def test_deep_colour_is_rounded_to_eight_bits_with_a_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    image = Image.open(STREAMS / "deep.vae")
    deep = vaetools.imread(STREAMS / "deep.vae", channel_order="rgb")
    assert image.mode == "RGBA" and image.info["bit_depth"] == 16
    assert np.abs(np.asarray(image).astype(int) - deep / 257).max() <= 0.5
    (line,) = caplog.messages
    assert line.endswith(
        "deep.vae: 16 bits per sample are reduced to 8 in mode RGBA; vaetools.imread keeps them"
    )


def described() -> Image.Image:
    """A JPEG with all kinds of metadata, on its side."""
    file = io.BytesIO()
    Image.fromarray(RGB).save(
        file,
        "JPEG",
        quality=95,
        icc_profile=icc.profile_of_cicp(vaetools.image.Cicp(12, 13), grey=False),
        exif=b"Exif\0\0" + exif_with(6),
        xmp=xmp(),
        dpi=(300, 300),
    )
    return Image.open(file)


def test_metadata_is_kept_and_the_orientation_is_applied() -> None:
    source = described()
    source.info["photoshop"] = {0x0404: IPTC}
    kept = Image.open(saved(source))
    assert kept.size == (48, 64)
    upright = np.asarray(ImageOps.exif_transpose(source)).astype(float)
    assert np.abs(np.asarray(kept) - upright).mean() < 30  # the miniature codec; turned: 60
    assert kept.info["icc_profile"] == source.info["icc_profile"]
    assert kept.info["dpi"] == (300, 300)
    assert kept.getexif()[0x0112] == 1
    assert kept.getexif().get_ifd(0x8769)[0x927C] == b"note of the maker"
    assert b'xmp:Rating="4"' in kept.info["xmp"]
    assert kept.info["photoshop"] == {0x0404: IPTC}
    again = Image.open(saved(kept))
    assert {name: again.info[name] for name in kept.info} == kept.info


def test_metadata_can_be_given_and_left_out() -> None:
    bare = Image.open(saved(described(), icc_profile=None, exif=b"", xmp=None, dpi=None))
    assert set(bare.info) == {"bit_depth"} and bare.size == (64, 48)
    exif = Image.Exif()
    exif[0x010E] = "a gradient"
    given = Image.open(saved(Image.fromarray(RGB), exif=exif, dpi=(72, 72)))
    assert given.getexif()[0x010E] == "a gradient" and given.info["dpi"] == (72, 72)


def test_saving_takes_the_options_of_compress(tmp_path: Path) -> None:
    image = Image.fromarray(RGB)
    sizes = [len(saved(image, quality=quality).getvalue()) for quality in (0, 100)]
    assert sizes[0] < sizes[1]
    aim = (sizes[0] + sizes[1]) // 2
    for target in (aim, str(aim)):
        assert len(saved(image, target_size=target).getvalue()) <= aim
    assert saved(image, optimize=True).getvalue() == saved(image, quality=75).getvalue()
    image.save(tmp_path / "a.VAE", bpp=2.0, model="miniature-codec")
    assert read(tmp_path / "a.VAE").size == (64, 48)
    mask = Image.new("L", (64, 48))
    assert len(saved(image, quality=100, roi=mask, roi_drop=100.0).getvalue()) < sizes[1]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"quality": 101}, "quality"),
        ({"quality": "high"}, "quality"),
        ({"target_size": "many"}, "target_size"),
        ({"quality": 50, "psnr": 30.0}, "psnr"),
    ],
    ids=["range", "type", "size", "two"],
)
def test_a_bad_option_is_one_line_and_leaves_no_file(
    tmp_path: Path, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=rf"^{OptionError.code} .*{problem}") as caught:
        Image.fromarray(RGB).save(tmp_path / "a.vae", **options)
    assert "\n" not in str(caught.value)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("mode", ["1", "P", "PA", "RGBX", "RGBa", "La"])
def test_other_modes_are_converted_where_nothing_is_lost(mode: str) -> None:
    image = Image.fromarray(RGB).quantize(8) if mode[0] == "P" else Image.new("L", (8, 8), 255)
    if mode == "PA":
        image = image.convert("PA")
    elif mode != "P":
        between = {"RGBa": "RGBA", "La": "LA"}.get(mode, "L")
        image = image.convert(between).convert(mode)
    opened = Image.open(saved(image))
    assert opened.mode == {"1": "L", "P": "RGB", "PA": "RGBA", "RGBX": "RGB"}.get(
        mode, mode.upper()
    )


def test_transparency_of_a_palette_becomes_alpha() -> None:
    image = Image.fromarray(RGB).quantize(8)
    image.info["transparency"] = 0
    opened = Image.open(saved(image))
    assert opened.mode == "RGBA"
    assert np.array_equal(np.asarray(opened)[..., 3] == 0, np.asarray(image) == 0)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "LAB", "I"])
def test_modes_that_a_file_cannot_hold_are_one_line(tmp_path: Path, mode: str) -> None:
    with pytest.raises(OSError, match=f"^cannot write mode {mode} as VAE; convert it"):
        Image.new(mode, (8, 8)).save(tmp_path / "a.vae")
    assert not [*tmp_path.iterdir()]


def test_floats_outside_0_to_1_are_one_line(tmp_path: Path) -> None:
    image = Image.fromarray(np.full((8, 8), 2, np.float32))
    with pytest.raises(OSError, match=r"a\.vae: float values range from 2 to 2, outside 0 … 1"):
        image.save(tmp_path / "a.vae")


def test_a_damaged_header_is_not_identified_with_our_line(tmp_path: Path) -> None:
    whole = (STREAMS / "grey.vae").read_bytes()
    path = tmp_path / "bad.vae"
    for data in (MAGIC, whole[:10], whole[: FIXED.size], whole[:40], b"\x89VAE" + bytes(60)):
        path.write_bytes(data)
        with pytest.raises(UnidentifiedImageError, match=rf"^E0\d\d .*{path.name}: "):
            Image.open(path)
    path.write_bytes(b"VAE" + whole)
    with pytest.raises(UnidentifiedImageError, match="cannot identify"):
        Image.open(path)


def test_a_damaged_body_is_found_by_load_and_verify(flipped: Path) -> None:
    for name in ("load", "verify"):
        problem = r"^E032 .*flipped\.vae: .*damaged"
        with Image.open(flipped) as image, pytest.raises(OSError, match=problem):
            getattr(image, name)()
    with Image.open(STREAMS / "grey.vae") as image:
        image.verify()
        with pytest.raises(ValueError, match="closed"):
            image.load()


def test_a_truncated_file_is_read_as_far_as_it_goes_if_pillow_allows_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cut = (STREAMS / "grey.vae").read_bytes()[:-8]
    with pytest.raises(OSError, match=r"bytes long"):
        Image.open(io.BytesIO(cut)).load()
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    image = Image.open(io.BytesIO(cut))
    image.load()
    assert image.getextrema() != (0, 0)


def test_a_missing_model_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = (STREAMS / "grey.vae").read_bytes()
    monkeypatch.setattr(vaetools.pillow, "shared_hub", lambda: Hub(shared_hub().host, [tmp_path]))
    with pytest.raises(OSError, match=r"^E0\d\d "):
        Image.open(io.BytesIO(data)).load()


@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
def test_the_limit_of_pixels_is_pillows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 48 * 64)
    file = saved(Image.fromarray(RGB))
    Image.open(file).load()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 48 * 64 - 1)
    with pytest.raises(Image.DecompressionBombWarning):
        Image.open(file)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 48 * 64 // 2 - 1)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(file)


def test_usual_calls_work_on_an_unloaded_image(tmp_path: Path) -> None:
    path = tmp_path / "a.vae"
    Image.fromarray(RGB).save(path)
    thumbnail = Image.open(path)
    thumbnail.thumbnail((16, 16))
    assert thumbnail.size == (16, 12)
    assert Image.open(path).convert("L").crop((0, 0, 5, 5)).size == (5, 5)
    again = pickle.loads(pickle.dumps(Image.open(path)))
    assert again.tobytes() == Image.open(path).copy().tobytes()
    image = Image.open(path)
    image.save(path, quality=10)  # over the file that it is opened from
    assert read(path).size == image.size
    with path.open("rb") as file:
        Image.open(file).load()
        assert not file.closed


def test_threads_share_one_hub(monkeypatch: pytest.MonkeyPatch, mini_hub: Hub) -> None:
    opened: list[Hub] = []
    monkeypatch.setattr(_Shared, "hub", None)
    monkeypatch.setattr("vaetools.shared_hub.open_hub", lambda: opened.append(mini_hub) or mini_hub)
    data = (STREAMS / "grey.vae").read_bytes()
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(lambda _: np.asarray(Image.open(io.BytesIO(data))), range(8)))
    assert len(opened) == 1
    assert all(np.array_equal(image, images[0]) for image in images)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_opens_a_hub_of_its_own(mini_hub: Hub) -> None:
    assert shared_hub() is mini_hub
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(_has_no_hub)
    assert shared_hub() is mini_hub


def _has_no_hub() -> bool:
    return _Shared.hub is None and not _Shared.lock.locked()


def test_a_stored_file_has_the_mode_of_the_embedded_one(mini_hub: Hub) -> None:
    """A transparent colour beside the palette as well."""
    inner = io.BytesIO()
    palette = Image.fromarray(RGB).quantize(8)
    palette.info["transparency"] = 0
    palette.save(inner, "PNG")
    whole = vaetools.decode_image(inner.getvalue())
    codec = vaetools.Codec(mini_hub.registry.for_task("compress"))
    image = Image.open(io.BytesIO(codec.store(whole, inner.getvalue())))
    assert image.mode == "RGBA"
    assert np.array_equal(np.asarray(image), np.asarray(palette.convert("RGBA")))
