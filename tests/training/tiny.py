"""Small trainings: pictures, recipes, trainers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from skimage import data
from torch import Tensor

from vaetools.image import Image, encode_image
from vaetools.training.data.image_pack import ImagePack
from vaetools.training.networks.restoration.network import RestoreConfig
from vaetools.training.recipe import Recipe, read_recipe
from vaetools.training.run.trainer import Trainer
from vaetools.training.tasks import open_task

SMALL = RestoreConfig(widths=[8, 12, 16], latents=4, ladder=12)
"""The network of `restore_recipe`."""


def restore_recipe(task: str, *, steps: int, data: str = "") -> str:
    """A recipe of a restorer that learns in seconds; `data`: further lines of `[data]`."""
    return f"""
id = "tiny-{task}"
version = "1"
task = "{task}"
[network]
widths = [8, 12, 16]
latents = 4
ladder = 12
[data]
crop = 48
late_crop = 64
batch = 8
hold_out = 3
{data}
[objective]
ladder_from = 0.6
[train]
steps = {steps}
learning_rate = 5e-3
warmup = 0.05
flat = 0.3
average = 0.95
log_seconds = 1000.0
"""


def codec_recipe() -> str:
    """A recipe of a codec that learns in seconds, with a row of the log for each step."""
    return """
id = "tiny-codec"
version = "1"
task = "codec"
[network]
channels = 16
middle = 16
latents = 48
hyper = 8
hyper_hidden = 16
analysis_blocks = 1
synthesis_blocks = 1
rates = 3
[data]
crop = 64
late_crop = 128
batch = 2
hold_out = 3
shrink = 1.5
[train]
steps = 6
log_seconds = 0.0
"""


def write_photos(
    folder: Path,
    names: Iterable[str],
    height: int | None = None,
    width: int | None = None,
) -> Path:
    """Photographs of scikit-image, or their upper left corners, as PNG files."""
    for name in names:
        rgb = getattr(data, name)()[:height, :width]
        bgr = np.ascontiguousarray(rgb if rgb.ndim == 2 else rgb[:, :, ::-1])
        (folder / f"{name}.png").write_bytes(encode_image(Image(bgr), "png"))
    return folder


def read(text: str, folder: Path) -> Recipe:
    path = folder / "recipe.toml"
    path.write_text(text)
    return read_recipe(path)


def trainer(
    recipe: Recipe,
    photos: Path | ImagePack,
    run: Path,
    *,
    minutes: float | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> Trainer:
    """On one core, so that results are the same everywhere."""
    torch.set_num_threads(1)
    task = open_task(recipe)
    pack = task.load(photos) if isinstance(photos, Path) else photos
    return Trainer(task, pack, run, device=torch.device("cpu"), minutes=minutes, weights=weights)
