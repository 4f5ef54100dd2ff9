"""Weights alone: small enough to carry, enough to export and to start from. And training where little is
installed."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch
from click.testing import CliRunner

from tests.training import tiny
from vaetools.cli.train import command
from vaetools.errors import UsageError
from vaetools.training.run.checkpoint import CHECKPOINT
from vaetools.training.run.compact import COMPACT, WEIGHTS
from vaetools.training.run.finish import read_run
from vaetools.training.run.starting import starting_weights

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.usefixtures("no_curves"), pytest.mark.train]

MISSING = ("constriction", "tomli_w", "simplejpeg", "onnxscript", "matplotlib", "safetensors")
"""What a machine that trains need not have."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photographs, a recipe, a run and its weights."""
    folder = tmp_path_factory.mktemp("trained")
    photos = folder / "photos"
    photos.mkdir()
    tiny.write_photos(photos, ["astronaut", "coffee", "chelsea"], 160, 160)
    (folder / "recipe.toml").write_text(tiny.codec_recipe().replace("steps = 6", "steps = 2"))
    arguments = [str(folder / "recipe.toml"), "--data", str(photos), "--run", str(folder / "run")]
    arguments += ["--device", "cpu", "--threads", "1", "--weights", str(folder / "weights.pt")]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def weights_only(trained: Path, tmp_path: Path) -> Path:
    """The folder that such weights make up: with the recipe, and nothing else."""
    run = tmp_path / "carried"
    run.mkdir()
    (run / "recipe.toml").write_bytes((trained / "run" / "recipe.toml").read_bytes())
    (run / WEIGHTS).write_bytes((trained / "weights.pt").read_bytes())
    return run


def test_they_are_the_averaged_weights_in_half_the_bytes(trained: Path, weights_only: Path) -> None:
    whole, state = read_run(trained / "run")
    carried, facts = read_run(weights_only)
    for one, other in zip(whole.network.parameters(), carried.network.parameters(), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-4)
    assert [facts[name] for name in ("data", "step", "seconds")] == [
        state[name] for name in ("data", "step", "seconds")
    ]
    size = (weights_only / WEIGHTS).stat().st_size
    assert size < 0.2 * (trained / "run" / CHECKPOINT).stat().st_size
    assert size < 0.7 * (trained / "run" / COMPACT).stat().st_size


def test_a_run_can_start_from_them(weights_only: Path) -> None:
    task, _ = read_run(weights_only)
    found = starting_weights(weights_only, task.network, torch.device("cpu"))
    assert found.keys() == task.network.state_dict().keys()


def test_they_are_not_taken_for_a_checkpoint(trained: Path, weights_only: Path) -> None:
    recipe = tiny.read_recipe(weights_only / "recipe.toml")
    with pytest.raises(UsageError, match=r"holds weights only.*--from"):
        tiny.trainer(recipe, trained / "photos", weights_only)


def test_damaged_weights_are_one_line(weights_only: Path) -> None:
    data = (weights_only / WEIGHTS).read_bytes()
    (weights_only / WEIGHTS).write_bytes(data[: len(data) // 2])
    with pytest.raises(UsageError, match=r"weights\.pt cannot be read"):
        read_run(weights_only)


@pytest.mark.slow
def test_training_needs_little_more_than_torch(trained: Path, tmp_path: Path) -> None:
    """Without what only coding and exporting need, and without an installed vaetools."""
    script = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {MISSING!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
from vaetools.cli import main
sys.argv[0] = "vaetools"
main()
"""
    arguments = ["train", trained / "recipe.toml", "--data", trained / "photos"]
    arguments += ["--run", tmp_path / "run", "--device", "cpu", "--threads", "1"]
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / CHECKPOINT).exists()
