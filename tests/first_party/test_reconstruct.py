"""Pictures through a model, and the way from one to another."""

from __future__ import annotations

import re
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pytest

from vaetools.errors import ImageValueError, InputError, OptionError
from vaetools.hub import Hub
from vaetools.image import Image, encode_image, read_image
from vaetools.plugin.host import PluginHost
from vaetools.testing import gradient, write_tiny_grey_vae

DEVIATION = 0.05  # of the tiny models' posteriors


@pytest.fixture
def colours(tiny_models: Path) -> Hub:
    return Hub(PluginHost(installed=False), [tiny_models], device="cpu", threads=1)


@pytest.fixture
def greys(tmp_path: Path) -> Hub:
    models = write_tiny_grey_vae(tmp_path / "grey", deviation=DEVIATION)
    return Hub(PluginHost(installed=False), [models], device="cpu", threads=1)


def blocks(picture: np.ndarray) -> np.ndarray:
    """What the tiny models make of a picture: means of 4 x 4 pixels."""
    height, width = picture.shape[:2]
    cells = picture.reshape(height // 4, 4, width // 4, 4, -1).mean(axis=(1, 3))
    return cells.repeat(4, 0).repeat(4, 1).reshape(picture.shape)


def save(path: Path, image: Image | np.ndarray) -> Path:
    image = image if isinstance(image, Image) else Image(image)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_image(image, path.suffix[1:]))
    return path


def test_the_mode_is_the_default(colours: Hub, greys: Hub, photo: np.ndarray) -> None:
    assert np.abs(colours.reconstruct(photo) - blocks(photo)).max() <= 0.51
    small = photo[:8, :8, 1].copy()
    assert np.abs(greys.reconstruct(small) - blocks(small)).max() <= 0.51


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(33, 50), (33, 50, 3), (33, 50, 4), (1, 1, 3)])
def test_dtype_shape_and_alpha_survive(
    colours: Hub, tmp_path: Path, dtype: type, shape: tuple[int, ...]
) -> None:
    top = {np.uint8: 255, np.uint16: 65535, np.float32: 1.0}[dtype]
    array = (np.random.default_rng(0).random(shape) * top).astype(dtype)
    before = array.copy()
    goal = save(tmp_path / "goal.png", gradient(*shape[:2]))
    for out in (colours.reconstruct(array), *colours.reconstruct(array, towards=goal, steps=2)):
        assert out.dtype == dtype and out.shape == shape
        if len(shape) == 3 and shape[2] == 4:
            assert np.array_equal(out[..., 3], array[..., 3])
    assert np.array_equal(array, before)


def test_samples_have_the_posterior_deviation(colours: Hub) -> None:
    plain = np.full((256, 256, 3), 0.5, np.float32)
    for temperature in (0.5, 1.0, 2.0):
        out = colours.reconstruct(plain, sample=True, temperature=temperature)
        assert out[::4, ::4].std() == pytest.approx(temperature * DEVIATION, rel=0.05)
        assert out.mean() == pytest.approx(0.5, abs=0.01)
    same = colours.reconstruct(plain, sample=True, temperature=0)
    assert np.array_equal(same, colours.reconstruct(plain))


def test_samples_follow_seed_and_name(colours: Hub, photo: np.ndarray) -> None:
    def draw(key: str = "", seed: int = 0) -> bytes:
        array: np.ndarray = colours.reconstruct(photo, sample=True, seed=seed, key=key)
        return array.tobytes()

    assert draw() == draw()
    assert len({draw(), draw(seed=1), draw(key="a")}) == 3


def test_the_way_is_straight_and_has_both_ends(colours: Hub, tmp_path: Path) -> None:
    here, there = gradient().astype(np.float32) / 255, gradient()[::-1, ::-1].copy()
    goal = save(tmp_path / "goal.png", there)
    way = np.stack(colours.reconstruct(here, towards=goal, steps=5))
    first, last = blocks(here), blocks(there.astype(np.float32) / 255)
    for index, picture in enumerate(way):
        assert np.abs(picture - (first + (last - first) * index / 4)).max() < 1e-5
    assert len(colours.reconstruct(here, towards=goal)) == 8


def test_files_on_the_way(colours: Hub, tmp_path: Path) -> None:
    """Each input gives its own row of PNG files, which keep what is the input's own."""
    photos, out = tmp_path / "photos", tmp_path / "out"
    rng = np.random.default_rng(0)
    deep = Image(rng.integers(0, 2**16, (48, 64), np.uint16), icc=b"\0" * 64)
    save(photos / "deep.tiff", deep)
    save(photos / "sub" / "a.jpeg", gradient())
    goal = save(tmp_path / "goal.png", gradient()[::-1].copy())
    result = colours.map("reconstruct", photos, out=out, towards=goal, steps=3)
    assert result.exit_code == 0
    names = [str(path.relative_to(out)) for path in out.rglob("*.png")]
    stems = ("deep", "sub/a")
    assert sorted(names) == [f"{stem}-{number:02}.png" for stem in stems for number in range(3)]
    for number in range(3):
        written = read_image(out / f"deep-{number:02}.png")
        assert written.grey and written.depth == 16 and written.icc == deep.icc


def test_names_have_room_for_all_steps(colours: Hub, tmp_path: Path) -> None:
    goal = save(tmp_path / "goal.png", gradient())
    for steps, last in ((100, "a-99.png"), (101, "a-100.png")):
        operation = colours.op("reconstruct", towards=goal, steps=steps).operation
        names = [str(name) for name in operation.outputs(PurePath("a.jpg"))]
        assert len(names) == steps
        assert names == sorted(names)
        assert names[-1] == last
    assert colours.op("reconstruct").operation.outputs(PurePath("a.jpg")) == (PurePath("a.jpg"),)


def test_the_content_of_the_goal_counts_and_not_its_name(colours: Hub, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    save(photos / "a.png", gradient())
    goal, other = tmp_path / "goal.png", tmp_path / "other.png"

    def status(towards: Path) -> str:
        return colours.map("reconstruct", photos, out=out, towards=towards).records[0].status

    save(goal, gradient()[::-1].copy())
    save(other, gradient()[::-1].copy())
    assert [status(goal), status(goal), status(other)] == ["done", "skipped", "skipped"]
    save(goal, gradient()[:, ::-1].copy())
    assert status(goal) == "done"


def test_two_sizes_cost_one_input(colours: Hub, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    save(photos / "a.png", gradient())
    save(photos / "b.png", gradient(48, 63))  # the same number of cells
    goal = save(tmp_path / "goal.png", gradient())
    result = colours.map("reconstruct", photos, out=out, towards=goal, steps=2)
    assert result.exit_code == 1 and result.counts["done"] == 1
    (failed,) = (record for record in result.records if record.status == "failed")
    assert failed.message.startswith(f"{photos / 'b.png'}: has 48 × 63 pixels")
    assert "goal.png has 48 × 64" in failed.message
    with pytest.raises(InputError, match="of one size"):
        colours.reconstruct(gradient(64, 48), towards=goal)


def bad_goals(folder: Path) -> dict[str, tuple[Path, str]]:
    cut = save(folder / "cut.png", gradient(8, 8))
    cut.write_bytes(cut.read_bytes()[:-20])
    return {
        "missing": (folder / "nowhere.png", "No such file"),
        "damaged": (cut, "cut.png"),
        "colour": (save(folder / "red.png", gradient(8, 8)), "accepts grayscale images only"),
        "size": (save(folder / "wide.png", gradient(8, 9)[..., 0].copy()), "8 x 8 pixels only"),
    }


@pytest.mark.parametrize("kind", ["missing", "damaged", "colour", "size"])
def test_a_goal_that_is_no_use_is_named_before_any_work(
    greys: Hub, tmp_path: Path, kind: str
) -> None:
    goal, said = bad_goals(tmp_path)[kind]
    photos = save(tmp_path / "photos" / "a.png", gradient(8, 8)[..., 0].copy()).parent
    with pytest.raises(OptionError, match=re.escape(said)) as caught:
        greys.map("reconstruct", photos, out=tmp_path / "out", towards=goal)
    assert goal.name in caught.value.line
    assert caught.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_the_goal_is_under_the_limit_of_pixels(colours: Hub, tmp_path: Path) -> None:
    photos = save(tmp_path / "photos" / "a.png", gradient(8, 8)).parent
    goal = save(tmp_path / "goal.png", gradient(8, 9))
    with pytest.raises(OptionError, match="--max-pixels"):
        colours.map("reconstruct", photos, out=tmp_path / "out", towards=goal, max_pixels=64)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sample": True, "towards": "a.png"}, "exclude each other"),
        ({"temperature": 0.5}, "nothing without sample"),
        ({"steps": 3}, "nothing without towards"),
        ({"towards": "a.png", "steps": 1}, "2 … 1000"),
        ({"sample": True, "temperature": -1}, "0 … 2"),
    ],
)
def test_options_without_effect_are_refused(
    colours: Hub, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(OptionError, match=said):
        colours.op("reconstruct", **options)


def test_a_model_of_one_size_costs_the_pictures_of_others(greys: Hub, tmp_path: Path) -> None:
    photos = save(tmp_path / "photos" / "a.png", gradient(8, 8)[..., 0].copy()).parent
    save(photos / "b.png", gradient(8, 12)[..., 0].copy())
    save(photos / "c.png", gradient(8, 8))
    result = greys.map("reconstruct", photos, out=tmp_path / "out")
    told = {Path(r.file).name: (r.status, r.code) for r in result.records}
    assert told == {
        "a.png": ("done", ""),
        "b.png": ("failed", ImageValueError.code),
        "c.png": ("failed", ImageValueError.code),
    }
