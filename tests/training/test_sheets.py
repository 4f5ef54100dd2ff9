"""Sheets of held-out images: what they show, what they cost, and that a run does not depend on them."""

from __future__ import annotations

import csv
import io
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from tests.training.tiny import codec_recipe, read, restore_recipe, trainer, write_photos
from vaetools.cli.train import command
from vaetools.training.objectives.elbo import psnr
from vaetools.training.run import sheets
from vaetools.training.run.curves import LOG, append_row, read_log
from vaetools.training.run.sheets import SHEET, Sheets, sheet_png

pytestmark = pytest.mark.usefixtures("no_curves")

VAE = """
id = "tiny-vae"
version = "1"
task = "vae"
[network]
kind = "{kind}"
{network}
[data]
height = {side}
width = {side}
channels = {channels}
batch = 4
hold_out = 3
binarise = {binarise}
[train]
steps = 3
log_seconds = 0.0
"""

RECIPES = {
    "spatial": VAE.format(
        kind="spatial", network="channels = 8\nblocks = 1", side=64, channels=3, binarise="false"
    ),
    "mlp": VAE.format(kind="mlp", network="", side=28, channels=1, binarise="true"),
    "autoencoder": VAE.format(
        kind="autoencoder",
        network='likelihood = "gaussian"',
        side=28,
        channels=1,
        binarise="false",
    ),
    "codec": codec_recipe(),
    "denoise": restore_recipe("denoise", steps=3).replace("1000.0", "0.0"),
    "inpaint": restore_recipe("inpaint", steps=3).replace("1000.0", "0.0"),
}

ROWS = {
    "spatial": ["held-out images", "reconstructions", "samples of the prior"],
    "mlp": ["held-out images", "what it sees", "reconstructions", "samples of the prior"],
    "autoencoder": ["held-out images", "reconstructions"],
    "codec": ["held-out images", "rate index 0", "rate index 1", "rate index 2"],
    "denoise": ["held-out images", "damaged", "restored", "a sample"],
    "inpaint": ["held-out images", "damaged", "restored", "a sample"],
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    return write_photos(folder, ["astronaut", "coffee", "chelsea"], 128, 128)


def each(*names: str) -> pytest.MarkDecorator:
    """Recipes by name; some take seconds."""
    slow = RECIPES.keys() - {"mlp"}
    return pytest.mark.parametrize(
        "name", [pytest.param(name, marks=[pytest.mark.train] * (name in slow)) for name in names]
    )


@each(*RECIPES)
def test_a_run_ends_with_a_sheet_of_its_held_out_images(
    name: str, photos: Path, tmp_path: Path
) -> None:
    training = trainer(read(RECIPES[name], tmp_path), photos, tmp_path / "run")
    rows = [*training.fit()]
    state = torch.get_rng_state()
    shown = training.show()
    assert torch.equal(torch.get_rng_state(), state)
    assert [label.partition("\n")[0] for label in shown] == ROWS[name]
    shapes = {images.shape for images in shown.values()}
    assert len(shapes) == 1
    again = training.show()
    assert all(torch.equal(shown[label], again[label]) for label in shown)
    (kept,) = (tmp_path / "run/sheets").iterdir()
    assert kept.name == f"{training.step:08}.png"
    data = (tmp_path / "run" / SHEET).read_bytes()
    assert kept.read_bytes() == data
    with Image.open(io.BytesIO(data)) as sheet:
        (_, _, height, width) = shapes.pop()
        assert sheet.height > len(shown) * height and sheet.width > width
    if name in ("spatial", "mlp", "autoencoder"):
        assert {"held_elbo", "held_psnr"} <= set(rows[-1])


@pytest.mark.train
def test_reconstructions_have_the_psnr_of_the_log(photos: Path, tmp_path: Path) -> None:
    training = trainer(read(RECIPES["spatial"], tmp_path), photos, tmp_path / "run")
    (*_, row) = training.fit()
    shown = training.show()
    found = float(psnr(shown["reconstructions"], shown["held-out images"]).mean())
    assert abs(found - row["held_psnr"]) < 2  # of larger crops
    noise = torch.full((2, 3, 8, 8), 0.5)
    assert torch.allclose(psnr(noise + 0.1, noise), torch.tensor([20.0, 20.0]))
    assert torch.allclose(psnr(noise + 9, noise), psnr(noise + 0.5, noise))  # clipped


@pytest.mark.train
def test_the_damage_is_shown(photos: Path, tmp_path: Path) -> None:
    shown = {
        name: trainer(read(RECIPES[name], tmp_path), photos, tmp_path / name).show()
        for name in ("denoise", "inpaint")
    }
    error = shown["denoise"]["damaged"] - shown["denoise"]["held-out images"]
    assert abs(float(error.std()) * 255 - 25) < 4  # less where it is clipped
    images, damaged = shown["inpaint"]["held-out images"], shown["inpaint"]["damaged"]
    holes = (damaged != images).any(dim=1)
    assert 0.01 < float(holes.float().mean()) < 0.6
    assert set(damaged.permute(0, 2, 3, 1)[holes].unique(dim=0).flatten().tolist()) == {0.0, 1.0}


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(sheets, "time", clock)
    return clock


def test_sheets_take_one_percent_of_the_time(clock: Clock, tmp_path: Path) -> None:
    """A row each minute for two hours; a sheet takes 1.5 s."""
    drawn = []

    def show() -> dict[str, torch.Tensor]:
        clock.now += 1.5
        drawn.append(clock.now)
        return {"held-out images": torch.zeros(1, 3, 8, 8)}

    made = Sheets(tmp_path)
    begun = clock.now
    for row in range(1, 121):
        clock.now += 60
        made.offer(show, step=100 * row, title="a", estimate=3.0, is_last=False)
        assert made.spent <= 0.01 * (clock.now - begun)
    assert 40 <= len(drawn) <= 48
    assert drawn[0] - begun > 320  # the estimate: 3.2 s
    kept = [int(path.stem) for path in sorted((tmp_path / "sheets").iterdir())]
    assert len(kept) < 16 and all(b >= 1.25 * a for a, b in pairwise(kept))
    before = len(drawn)
    made.offer(show, step=12_001, title="a", estimate=3.0, is_last=True)
    assert len(drawn) == before + 1 and (tmp_path / "sheets/00012001.png").exists()
    resumed = Sheets(tmp_path)
    assert resumed.next_kept == 1.25 * 12_001


def test_a_sheet_that_cannot_be_written_does_not_end_the_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "sheets").write_text("not a folder")
    images = {"held-out images": torch.zeros(1, 3, 8, 8)}
    Sheets(tmp_path).offer(lambda: images, step=1, title="a", estimate=0.0, is_last=True)
    (line,) = caplog.messages
    assert line.startswith("no sheet.png: ")


def test_a_task_without_images_has_no_sheet(tmp_path: Path) -> None:
    Sheets(tmp_path).offer(dict, step=1, title="a", estimate=0.0, is_last=True)
    assert not [*tmp_path.iterdir()]


def test_tiles_are_pixels_one_for_one(tmp_path: Path) -> None:
    """Small ones enlarged by a whole number."""
    large = torch.zeros(2, 3, 100, 150)
    large[0, 0] = 2.0  # clipped to red
    with Image.open(io.BytesIO(sheet_png({"": large}, "a"))) as sheet:
        red = (np.asarray(sheet) == (255, 0, 0)).all(axis=2)
    assert red.sum() == 100 * 150
    small = torch.full((1, 1, 28, 28), 0.4)
    with Image.open(io.BytesIO(sheet_png({"": small}, "a"))) as sheet:
        grey = (np.asarray(sheet) == 102).all(axis=2)
    assert grey.sum() == 84 * 84


def test_the_log_of_an_older_version_gets_the_new_columns(tmp_path: Path) -> None:
    (tmp_path / LOG).write_text("step,held_loss\r\n5,1.25\r\n")
    append_row(tmp_path, {"step": 10.0, "held_loss": 1.5, "held_psnr": 20.123456})
    append_row(tmp_path, {"step": 15.0, "held_loss": 1.0})
    with (tmp_path / LOG).open(newline="") as file:
        assert [*csv.reader(file)] == [
            ["step", "held_loss", "held_psnr"],
            ["5", "1.25", "nan"],
            ["10", "1.5", "20.123"],
            ["15", "1", "nan"],
        ]
    assert read_log(tmp_path)[1] == {"step": 10, "held_loss": 1.5, "held_psnr": 20.123}


@each("mlp", "spatial", "denoise")
def test_a_run_of_an_older_version_resumes(name: str, photos: Path, tmp_path: Path) -> None:
    """Without sheets, and with a log that has no PSNR."""
    text, run = RECIPES[name], tmp_path / "run"
    [*trainer(read(text, tmp_path), photos, run).fit(until=0.5)]
    (run / SHEET).unlink()
    with (run / LOG).open(newline="") as file:
        rows: list[dict[str, Any]] = [*csv.DictReader(file)]
    with (run / LOG).open("w", newline="") as file:
        old = csv.DictWriter(file, [n for n in rows[0] if n != "held_psnr"], extrasaction="ignore")
        old.writeheader()
        old.writerows(rows)
    whole = trainer(read(text, tmp_path), photos, tmp_path / "whole")
    [*whole.fit()]
    resumed = trainer(read(text, tmp_path), photos, run)
    [*resumed.fit()]
    assert (run / SHEET).read_bytes() == (tmp_path / "whole" / SHEET).read_bytes()
    assert [row["step"] for row in read_log(run)] == [1, 2, 3]


def test_the_command_prints_psnr_and_names_the_sheet(photos: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPES["mlp"])
    run = tmp_path / "run"
    words = [str(recipe), "--data", str(photos), "--run", str(run), "--threads", "1"]
    outcome = CliRunner().invoke(command, words)
    assert outcome.exit_code == 0, outcome.output
    assert re.search(
        r"^step 3  .* held_psnr \d+\.\d+  held_elbo -?\d", outcome.output, re.MULTILINE
    )
    assert f"held-out images and what the model makes of them: {run / SHEET}\n" in outcome.output
    assert "0 minutes of training; what to expect: docs/training.md" in outcome.output
    words += ["--until", "0.5", "--run", str(tmp_path / "other")]
    stopped = CliRunner().invoke(command, words)
    assert stopped.output.splitlines()[-1].startswith("stopped at step 2")
