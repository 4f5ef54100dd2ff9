"""A third-party operation in forty lines gets folders, flags, resume and reports for nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.paths import PLUGINS
from vaetools.cli.app import program
from vaetools.hub import Hub
from vaetools.image import Image, encode_image, read_image
from vaetools.plugin.host import PluginHost
from vaetools.testing import TINY, gradient


@pytest.fixture
def grain_hub(tiny_models: Path) -> Hub:
    host = PluginHost(builtin=False, installed=False, folders=[PLUGINS])
    assert not host.broken
    return Hub(host, [tiny_models], device="cpu", threads=1)


def test_is_at_most_forty_lines() -> None:
    assert len((PLUGINS / "grain.py").read_text().splitlines()) <= 40


def test_amount_zero_is_the_mode_and_seeds_decide(grain_hub: Hub, photo: np.ndarray) -> None:
    still = grain_hub.grain(photo, amount=0)
    blocks = photo.reshape(12, 4, 16, 4, 3).mean(axis=(1, 3)).repeat(4, 0).repeat(4, 1)
    assert np.abs(still - blocks).max() <= 0.51
    assert np.array_equal(grain_hub.grain(photo, seed=1), grain_hub.grain(photo, seed=1))
    assert not np.array_equal(grain_hub.grain(photo, seed=1), grain_hub.grain(photo, seed=2))
    assert not np.array_equal(
        grain_hub.grain(photo, seed=1, key="a"), grain_hub.grain(photo, seed=1, key="b")
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(33, 50), (33, 50, 3), (33, 50, 4), (1, 1, 3)])
def test_dtype_shape_and_alpha_survive(grain_hub: Hub, dtype: type, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    top = {np.uint8: 255, np.uint16: 65535, np.float32: 1.0}[dtype]
    array = (rng.random(shape) * top).astype(dtype)
    before = array.copy()
    out = grain_hub.op("grain")(array)
    assert out.dtype == dtype and out.shape == shape
    assert np.array_equal(array, before)
    if len(shape) == 3 and shape[2] == 4:
        assert np.array_equal(out[..., 3], array[..., 3])


def test_command_line_works_on_a_folder(tiny_models: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos" / "deep"
    photos.mkdir(parents=True)
    for name in ("a", "b"):
        (photos / f"{name}.png").write_bytes(encode_image(Image(gradient()), "png"))
    arguments = ["--plugins-dir", str(PLUGINS), "grain", str(tmp_path / "photos")]
    arguments += ["-o", str(tmp_path / "out"), "--amount", "0.3"]
    arguments += ["--models-dir", str(tiny_models), "--model", TINY]
    result = CliRunner().invoke(program, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    first, second = (read_image(tmp_path / "out" / "deep" / f"{n}.png").pixels for n in "ab")
    assert not np.array_equal(first, second)  # same picture, other name: other noise

    again = CliRunner().invoke(program, arguments, catch_exceptions=False)
    assert again.exit_code == 0
    assert "2 skipped" in again.output

    bad = CliRunner().invoke(program, [*arguments, "--amount", "3"])
    assert bad.exit_code != 0
    assert "0 … 2" in str(bad.exception)
