"""The Python face, with the shipped codec."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import vaetools
from vaetools.errors import ImageValueError, InputError, OptionError, UsageError
from vaetools.hub import Hub, fingerprint
from vaetools.image import Image, encode_image, read_image
from vaetools.metrics import psnr


@pytest.fixture
def crop(astronaut: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(astronaut[:128, 160:320])


def test_compress_and_back(codec_hub: Hub, crop: np.ndarray) -> None:
    before = crop.copy()
    data = codec_hub.compress(crop, quality=75)
    back = codec_hub.decompress(data)
    assert isinstance(data, bytes) and data[:4] == b"\x89VAE"
    assert back.shape == crop.shape and back.dtype == crop.dtype
    assert np.array_equal(crop, before)
    assert psnr(crop, back) > 28
    assert len(data) < crop.nbytes / 8


def test_channel_order_is_only_a_matter_of_the_face(codec_hub: Hub, crop: np.ndarray) -> None:
    rgb = np.ascontiguousarray(crop[:, :, ::-1])
    assert codec_hub.compress(rgb, channel_order="rgb") == codec_hub.compress(crop)
    data = codec_hub.compress(crop)
    assert np.array_equal(
        codec_hub.decompress(data, channel_order="rgb"), codec_hub.decompress(data)[:, :, ::-1]
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [None, 3, 4])
def test_dtype_and_shape_come_back(
    codec_hub: Hub, crop: np.ndarray, dtype: type, channels: int | None
) -> None:
    small = crop[:40, :50]
    array = small[:, :, 0] if channels is None else np.dstack([small] * 2)[:, :, :channels]
    top = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[dtype]
    array = np.ascontiguousarray((array / 255 * top).astype(dtype))
    back = codec_hub.decompress(codec_hub.compress(array, quality=90))
    assert back.dtype == dtype and back.shape == array.shape
    assert psnr(array, back) > 28


def test_wrong_calls_are_one_clear_error(codec_hub: Hub, crop: np.ndarray) -> None:
    with pytest.raises(OptionError, match="options: quality"):
        codec_hub.op("compress", qualty=3)
    with pytest.raises(OptionError, match="0 … 100"):
        codec_hub.op("compress", quality=101)
    with pytest.raises(OptionError, match="exclude each other"):
        codec_hub.op("compress", bpp=1, psnr=30)
    with pytest.raises(UsageError, match=r"known: .*compress, decompress"):
        codec_hub.op("compres")
    with pytest.raises(UsageError, match="numpy array, a path or a Pillow image, not list"):
        codec_hub.compress([1, 2])
    with pytest.raises(InputError, match=r"photo\.png: cannot be read"):
        codec_hub.compress("photo.png")
    with pytest.raises(UsageError, match="bytes of a file or a path"):
        codec_hub.decompress(crop)
    with pytest.raises(ImageValueError):
        codec_hub.compress(crop.astype(np.float32))  # 0 … 255 is not 0 … 1
    with pytest.raises(AttributeError, match=r"no operation 'denoize'.*did you mean 'denoise'"):
        _ = codec_hub.denoize
    with pytest.raises(vaetools.BitstreamError):
        codec_hub.decompress(b"not a file of ours")


def test_map_is_the_same_as_calls(codec_hub: Hub, crop: np.ndarray, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.png").write_bytes(encode_image(Image(crop), "png"))
    result = codec_hub.map("compress", photos, out=tmp_path / "packed", quality=50, jobs=1)
    assert result.exit_code == 0
    packed = (tmp_path / "packed" / "a.png.vae").read_bytes()
    assert packed == codec_hub.compress(crop, quality=50)
    assert result.records[0].bytes_out == len(packed)
    again = codec_hub.map("compress", photos, out=tmp_path / "packed", quality=50)
    assert again.counts["skipped"] == 1
    other = codec_hub.map("compress", photos, out=tmp_path / "packed", quality=60)
    assert other.counts["done"] == 1  # other options: ours to replace
    codec_hub.map("decompress", tmp_path / "packed", out=tmp_path / "back")
    assert read_image(tmp_path / "back" / "a.png").pixels.shape == crop.shape


def test_fingerprint_knows_options_and_model(codec_hub: Hub) -> None:
    def of(**options: object) -> str:
        return fingerprint(codec_hub.op("compress", **options).operation)

    assert of() == of(quality=75)
    assert len({of(), of(quality=74), of(bpp=0.5), of(bpp=0.6)}) == 4


def test_public_names_are_real() -> None:
    for name in vaetools.__all__:
        assert getattr(vaetools, name) is not None
    with pytest.raises(AttributeError, match="No vaetools attribute nonsense"):
        _ = vaetools.nonsense


def test_the_report_of_a_run_shows_vae_files(
    codec_hub: Hub, crop: np.ndarray, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(encode_image(Image(crop[:64, :80]), "png"))
    report = tmp_path / "report.html"
    codec_hub.map("compress", tmp_path / "a.png", out=tmp_path / "a.vae", report=report, quality=61)
    text = report.read_text()
    assert re.findall(r'data-role="(\w+)" data-w="80" data-h="64"', text) == ["input", "output"]
    assert "<dt>quality</dt><dd>61.0</dd>" in text
    assert "<dt>model</dt><dd>photo-codec</dd>" in text
    codec_hub.map("decompress", tmp_path / "a.vae", out=tmp_path / "b.png", report=report)
    assert len(re.findall('data-w="80" data-h="64"', report.read_text())) == 2
