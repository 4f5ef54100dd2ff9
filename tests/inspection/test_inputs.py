"""Files become tensors; what does not fit costs one line."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from tests.inspection.models import opened, orthogonal
from vaetools import errors
from vaetools.image import Image, encode_image
from vaetools.inspection.inputs import (
    WINDOW,
    ImageSource,
    central,
    fitted,
    read_input,
)
from vaetools.model.registry import ModelRegistry
from vaetools.model.runtime import Runtime
from vaetools.model.vae import Vae
from vaetools.testing import gradient, write_tiny_vae


@pytest.fixture
def grey(tmp_path: Path) -> Vae:
    """A model of grey pictures of 6 × 4 pixels."""
    return opened(orthogonal().write(tmp_path / "grey"))


@pytest.fixture
def free(tmp_path: Path) -> Vae:
    """A model of colour pictures of any size."""
    folder = write_tiny_vae(tmp_path / "tiny")
    return ModelRegistry([folder], lambda: Runtime("cpu", threads=1)).open("tiny-vae")


def png(path: Path, pixels: np.ndarray) -> Path:
    path.write_bytes(encode_image(Image(pixels), "png"))
    return path


def idx(path: Path, count: int, size: tuple[int, int] = (6, 4)) -> Path:
    images = np.arange(count, dtype=np.uint8)[:, None, None] * np.ones(size, np.uint8)
    path.write_bytes(struct.pack(">4I", 0x0803, count, *size) + images.tobytes())
    return path


class Source:
    """A `ImageSource` and what it said."""

    def __init__(self, model: Vae, files: list[Path], **options) -> None:
        self.failures: list[errors.VaetoolsError] = []
        seed = options.pop("seed", 0)
        options = {"limit": 100, "rng": np.random.default_rng(seed), **options}
        self.source = ImageSource(model, files, failed=self.failures.append, **options)

    @property
    def names(self) -> list[str]:
        return [picture.name for picture in self.source]


def test_good_and_bad_files(grey: Vae, tmp_path: Path) -> None:
    files = [
        png(tmp_path / "a.png", np.full((6, 4), 51, np.uint8)),
        png(tmp_path / "large.png", np.zeros((6, 5), np.uint8)),
        png(tmp_path / "colour.png", np.full((6, 4, 3), (0, 0, 255), np.uint8)),
        tmp_path / "empty.png",
        png(tmp_path / "b.png", np.full((6, 4), 102, np.uint8)),
    ]
    files[3].write_bytes(b"")
    source = Source(grey, files)
    good = list(source.source)
    assert [Path(one.name).name for one in good] == ["a.png", "b.png"]
    assert [Path(one.file).name for one in source.failures] == [
        "large.png",
        "colour.png",
        "empty.png",
    ]
    assert [one.code for one in source.failures] == ["E016", "E016", "E011"]
    assert "6 x 4 pixels only, not 6 x 5" in source.failures[0].line
    assert "--resize" in source.failures[0].line
    assert np.allclose(good[0].tensor, 0.2) and good[0].tensor.shape == (1, 1, 6, 4)
    assert good[0].rgb.shape == (6, 4, 3)


def test_resize_averages_areas(grey: Vae) -> None:
    pixels = np.zeros((12, 8), np.uint8)
    pixels[::2] = 200  # each area of 2 × 2 has the mean 100
    rgb = fitted(grey, Image(pixels), resize=True)
    assert rgb.shape == (6, 4, 3)
    assert np.allclose(rgb, 100 / 255, atol=1e-6)


def test_models_of_any_size_see_the_middle(free: Vae, tmp_path: Path) -> None:
    pixels = gradient(WINDOW + 10, WINDOW + 31)
    picture = read_input(free, png(tmp_path / "a.png", pixels))
    expected = pixels[5 : 5 + WINDOW, 15 : 15 + WINDOW, ::-1] / np.float32(255)
    assert np.allclose(picture.rgb, expected, atol=1e-6)
    small = read_input(free, png(tmp_path / "b.png", gradient(10, 7)))
    assert small.rgb.shape == (10, 7, 3)
    assert small.tensor.shape == (1, 3, 12, 8)
    assert central(np.arange(12).reshape(3, 4), 2).tolist() == [[1, 2], [5, 6]]


def test_idx_files_count_as_many_pictures(grey: Vae, tmp_path: Path) -> None:
    file = idx(tmp_path / "t-idx3-ubyte", 12)
    source = Source(grey, [file])
    assert source.source.found == 12
    assert source.names[3] == f"{file}[3]"
    chosen = Source(grey, [file], limit=5)
    assert chosen.source.found == 12 and len(chosen.source) == 5
    pictures = list(chosen.source)
    assert [f"{file}[{round(255 * p.tensor.mean())}]" for p in pictures] == [
        p.name for p in pictures
    ]


def test_an_idx_file_of_another_size_is_one_line(grey: Vae, tmp_path: Path) -> None:
    files = [idx(tmp_path / "a-idx3-ubyte", 9, (5, 5)), idx(tmp_path / "b-idx3-ubyte", 2)]
    source = Source(grey, files)
    assert [Path(one.file).name for one in source.failures] == ["a-idx3-ubyte"]
    assert "not 5 x 5" in source.failures[0].line
    assert len(source.names) == 2
    assert len(Source(grey, files, resize=True).names) == 11


def test_the_choice_follows_the_seed(grey: Vae, tmp_path: Path) -> None:
    file = idx(tmp_path / "t-idx3-ubyte", 200)
    names = [Source(grey, [file], limit=20, seed=seed).names for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]
    assert names[0] == sorted(names[0], key=lambda name: int(name.split("[")[1][:-1]))
    assert len(set(names[0])) == 20


def test_batches_hold_one_shape(free: Vae, grey: Vae, tmp_path: Path) -> None:
    file = idx(tmp_path / "t-idx3-ubyte", 300)
    sizes = [len(batch) for batch in Source(grey, [file], limit=300).source.batches()]
    assert sizes == [256, 44]
    files = [png(tmp_path / f"{i}.png", gradient(8, 8 + 4 * (i > 1))) for i in range(4)]
    batches = list(Source(free, files).source.batches())
    assert [len(batch) for batch in batches] == [1, 1, 1, 1]  # its graphs take one at a time


def test_read_picture_names_the_file(grey: Vae, tmp_path: Path) -> None:
    with pytest.raises(errors.ImageValueError, match="large"):
        read_input(grey, png(tmp_path / "large.png", np.zeros((6, 5), np.uint8)))
    assert read_input(
        grey, png(tmp_path / "large.png", np.zeros((6, 5), np.uint8)), resize=True
    ).tensor.shape == (1, 1, 6, 4)
