"""`.vae` files through imageio's own interface."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest

import vaetools
import vaetools.imageio
from tests.codec.miniature import DECODED, STREAMS
from vaetools.hub import Hub
from vaetools.testing import gradient

RGB = np.ascontiguousarray(gradient()[:, :, ::-1])


@pytest.mark.parametrize("name", DECODED)
def test_properties_are_those_of_the_decoded_image(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = STREAMS / f"{name}.vae"
    with monkeypatch.context() as without:
        without.setattr(vaetools.Codec, "decode_file", None)  # would raise TypeError
        found = iio.improps(path)
        many = iio.improps(path, index=...)
        facts = iio.immeta(path)
    image = iio.imread(path)
    assert np.array_equal(image, vaetools.imread(path, channel_order="rgb"))
    assert (found.shape, found.dtype) == (image.shape, image.dtype)
    assert many.shape == (1, *image.shape) == iio.imread(path, index=...).shape
    assert facts["model"] == "miniature-codec"
    assert facts["stored"] == name.startswith("stored")


def test_the_file_is_that_of_the_hub(mini_hub: Hub, tmp_path: Path) -> None:
    expected = mini_hub.compress(gradient(), quality=30)
    iio.imwrite(tmp_path / "a.vae", RGB, quality=30)
    assert (tmp_path / "a.vae").read_bytes() == expected
    assert iio.imwrite("<bytes>", [RGB], extension=".vae", quality=30) == expected
    assert np.array_equal(iio.imread(expected, plugin="vae"), iio.imread(tmp_path / "a.vae"))
    rough = iio.imread(expected, plugin="vae", preview=True)
    assert rough.shape == RGB.shape
    (whole,) = iio.imiter(expected, plugin="vae")
    assert not np.array_equal(rough, whole)


def test_metadata_comes_from_the_file() -> None:
    facts = iio.immeta(STREAMS / "described.vae")
    assert {"xmp", "iptc", "dpi"} <= set(facts)
    assert iio.immeta(STREAMS / "metadata.vae")["exif"][:2] in (b"II", b"MM")


def test_other_files_are_left_to_other_plugins(tmp_path: Path) -> None:
    iio.imwrite(tmp_path / "a.png", RGB)
    assert np.array_equal(iio.imread(tmp_path / "a.png"), RGB)
    (tmp_path / "a.png").rename(tmp_path / "b.vae")  # the content decides
    assert np.array_equal(iio.imread(tmp_path / "b.vae"), RGB)
    with pytest.raises(OSError, match="can not handle"):
        iio.imread(tmp_path / "b.vae", plugin="vae")
    with pytest.raises(OSError, match="can not handle"):
        iio.imwrite(tmp_path / "c.png", RGB, plugin="vae")


def test_errors_are_one_line(flipped: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"^E032 .*flipped\.vae: the section fine .* damaged"):
        iio.imread(flipped)
    cut = tmp_path / "cut.vae"
    cut.write_bytes(flipped.read_bytes()[:40])
    for call in (iio.imread, iio.improps, iio.immeta):
        with pytest.raises(OSError, match=r"^E032 .*cut\.vae: is truncated inside the header"):
            call(cut)
    for index in (1, -1):
        with pytest.raises(ValueError, match="holds one image"):
            iio.imread(STREAMS / "grey.vae", index=index)


@pytest.mark.parametrize(
    ("image", "options", "problem"),
    [
        (RGB, {"quality": 101}, "quality"),
        (RGB, {"qualty": 1}, "qualty"),
        (RGB.astype(np.float64), {}, "float64"),
        ([RGB, RGB], {}, "one image, not 2"),
    ],
    ids=["range", "unknown", "dtype", "two"],
)
def test_what_cannot_be_written_is_one_line(
    tmp_path: Path, image: Any, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises((ValueError, OSError), match=problem) as caught:
        iio.imwrite(tmp_path / "a.vae", image, **options)
    assert "\n" not in str(caught.value)


def test_batches_of_one_image_are_accepted(mini_hub: Hub, tmp_path: Path) -> None:
    import imageio.v2

    expected = mini_hub.compress(gradient())
    imageio.v2.mimwrite(tmp_path / "a.vae", [RGB])
    imageio.v2.imwrite(tmp_path / "b.vae", RGB)
    assert (tmp_path / "a.vae").read_bytes() == expected == (tmp_path / "b.vae").read_bytes()
    for one, is_batch in (
        ([RGB], None), ([RGB], True), (RGB[np.newaxis], True), (RGB, False), (RGB, None),
    ):  # fmt: skip
        assert iio.imwrite("<bytes>", one, extension=".vae", is_batch=is_batch) == expected
    with pytest.raises(ValueError, match="holds one image, not 2"):
        iio.imwrite("<bytes>", np.stack([RGB, RGB]), extension=".vae", is_batch=True)
