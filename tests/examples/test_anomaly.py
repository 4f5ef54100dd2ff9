"""The plugin examples/plugins/anomaly: what a model cannot reconstruct is hot."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

import vaetools
from tests.examples.conftest import PLUGINS, noise
from vaetools.hub import Hub
from vaetools.testing import TINY, TINY_GREY


def marked(height: int = 60, width: int = 80) -> np.ndarray:
    """A smooth grey picture, with 1-pixel checks in rows 20 … 31, columns 40 … 51: no tiny VAE, which
    averages 4 × 4 pixels, can reproduce them."""
    picture = np.linspace(90, 110, width).astype(np.uint8)[None].repeat(height, 0)
    checks = np.indices((12, 12)).sum(axis=0) % 2 * 160 + 20
    picture[20:32, 40:52] = checks[: max(0, height - 20), : max(0, width - 40)]
    return picture


@pytest.mark.parametrize("model", [TINY, TINY_GREY])
def test_what_cannot_be_reconstructed_is_hot(hub: Hub, model: str) -> None:
    heat = hub.op("anomaly", model=model, by="residual", smooth=1)(marked()) / 100
    assert (heat.shape, heat.max() > 60) == ((60, 80), True)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert 20 <= row < 32 and 40 <= column < 52
    assert heat[:, :28].max() < 4
    plain = hub.op("anomaly", model=model, by="residual", smooth=1)(marked()[:, :30])
    assert plain.max() / 100 < heat.max() / 10


@pytest.mark.parametrize("model", [TINY, TINY_GREY])
def test_kl_is_the_posteriors_own(hub: Hub, model: str) -> None:
    """Both models have the deviation 0.05 and means of 4 × 4 pixels as latents."""
    heat = hub.op("anomaly", model=model, smooth=0)(np.full((8, 8), 204, np.uint8)) / 100
    latents = {TINY: 3, TINY_GREY: 4}[model]
    wanted = latents * 0.5 * (0.8**2 + 0.05**2 - 1 - 2 * np.log(0.05))
    assert heat == pytest.approx(np.full((8, 8), wanted), abs=0.01)


@pytest.mark.parametrize("step", [8, 4, 3])
def test_windows_overlap_and_are_averaged(hub: Hub, step: int) -> None:
    picture = noise(16, 21)
    heat = hub.op("anomaly", model=TINY_GREY, by="residual", smooth=0, step=step)(picture) / 100
    total, count = np.zeros((2, 16, 21))
    for top in {*range(0, 8, step), 8}:
        for left in {*range(0, 13, step), 13}:
            window = picture[top : top + 8, left : left + 8].astype(float)
            known = window.reshape(2, 4, 2, 4).mean(axis=(1, 3)).repeat(4, 0).repeat(4, 1)
            total[top : top + 8, left : left + 8] += np.abs(window - known)
            count[top : top + 8, left : left + 8] += 1
    assert heat == pytest.approx(total / count, abs=0.01)


@pytest.mark.parametrize("model", [TINY, TINY_GREY])
@pytest.mark.parametrize("shape", [(1, 1), (5, 9), (8, 8), (33, 50, 3), (17, 8, 4)])
@pytest.mark.parametrize("show", ["map", "overlay"])
def test_any_size(hub: Hub, model: str, shape: tuple[int, ...], show: str) -> None:
    picture = np.full(shape, 40000, np.uint16)
    found = hub.op("anomaly", model=model, show=show)(picture)
    kept = shape[2:] or (3,)  # grey pictures get colours
    assert found.shape == (shape[:2] if show == "map" else shape[:2] + kept)
    assert found.dtype == np.uint16


def test_colours_are_nothing_to_a_grey_model(hub: Hub, photo: np.ndarray) -> None:
    with pytest.raises(vaetools.InputError, match="grayscale images only"):
        hub.op("anomaly", model=TINY_GREY)(photo)


def test_the_overlay_leaves_the_usual_alone(hub: Hub) -> None:
    picture = cv2.cvtColor(marked(), cv2.COLOR_GRAY2BGR)
    shown = hub.op("anomaly", model=TINY, by="residual", show="overlay", smooth=0)(picture)
    changed = (shown != picture).any(axis=2)
    assert changed[20:32, 40:52].all() and changed[:, :32].mean() < 0.6
    hot = shown[20:32, 40:52].reshape(-1, 3).mean(axis=0)
    assert hot[2] > hot[0] + 60  # red over blue
    cooler = hub.op("anomaly", model=TINY, by="residual", show="overlay", smooth=0, limit=255)(
        picture
    )
    assert np.abs(cooler - picture.astype(int)).mean() < np.abs(shown - picture.astype(int)).mean()


def test_a_folder_gives_maps_and_scores(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    cv2.imwrite(str(tmp_path / "parts" / "bad.bmp"), marked())
    cv2.imwrite(str(tmp_path / "parts" / "good.bmp"), marked()[:, :30])
    options = {"model": TINY_GREY, "by": "residual", "limit": 20.0}
    done = [
        hub.map("anomaly", tmp_path / "parts", out=tmp_path / out, **options) for out in ("a", "b")
    ]
    bad, good = sorted(record.message for record in done[0].records)
    assert "bad.bmp: score " in bad and bad.endswith(", over 20")
    assert "good.bmp: score " in good and "over" not in good
    for name in ("bad.png", "good.png"):
        first = (tmp_path / "a" / name).read_bytes()
        assert first == (tmp_path / "b" / name).read_bytes()
    heat = cv2.imread(str(tmp_path / "a" / "bad.png"), cv2.IMREAD_UNCHANGED)
    assert f"score {heat.max() / 100:.2f} " in bad


def test_kl_needs_a_prior(hub: Hub, tmp_path: Path) -> None:
    manifest = tmp_path / "models" / TINY / "model.toml"
    manifest.write_text(manifest.read_text().replace('prior = "normal"', 'prior = "none"'))
    with pytest.raises(vaetools.OptionError, match="use by='residual'"):
        hub.op("anomaly", model=TINY)
    assert hub.op("anomaly", model=TINY, by="residual")(marked()).max() > 0


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    """The script examples/plugins/anomaly/measure.py."""
    path = PLUGINS / "anomaly" / "measure.py"
    spec = importlib.util.spec_from_file_location("example_measure", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_auroc_counts_pairs(measure: ModuleType) -> None:
    rng = np.random.default_rng(0)
    bad, good = rng.integers(2, 9, 30), rng.integers(0, 7, 50)
    pairs = (bad[:, None] > good) + 0.5 * (bad[:, None] == good)
    assert measure.auroc(bad, good) == pytest.approx(pairs.mean())


def test_the_painted_defects(measure: ModuleType) -> None:
    good, bad, masks = measure.drawn_images("gravel", 4)
    assert good.shape == bad.shape == masks.shape == (12, 128, 128)
    assert masks.sum(axis=(1, 2)).min() > 50 and masks.mean() < 0.05
    flat = np.full((128, 128), 0.5)
    for kind in measure.DEFECTS:
        changed, mask = measure.paint(np.random.default_rng(3), kind, flat)
        assert np.abs(changed - flat)[mask].min() > 0.1
        assert (changed != flat).mean() < 0.15
    again = measure.drawn_images("gravel", 4)
    assert all(np.array_equal(a, b) for a, b in zip((good, bad, masks), again, strict=True))


def test_the_recipe_fits_the_windows(measure: ModuleType) -> None:
    pytest.importorskip("torch")
    from vaetools.training.recipe import read_recipe
    from vaetools.training.tasks import open_task

    task = open_task(read_recipe(PLUGINS / "anomaly" / "texture.toml"))
    windows = measure.training_windows("brick")
    assert windows.shape == (measure.WINDOWS, *task.network.shape[1:])
