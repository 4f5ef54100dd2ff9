"""Times a few settings of a recipe on this machine, and writes the recipe with the fastest.

    python benchmarks/gpu/fastest.py photo-codec-gpu --data pack/ --to chosen.toml

Each variant trains from scratch for a few seconds. Nothing of that is kept.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from itertools import product
from pathlib import Path

import torch

from vaetools.training.recipe import Recipe, read_recipe
from vaetools.training.run.trainer import Trainer
from vaetools.training.tasks import Data, open_task

SETTINGS = ("cuda_graph", "channels_last")


def varied(recipe: Recipe, values: tuple[bool, ...]) -> str:
    """The text of the recipe with other values for `SETTINGS`."""
    text = recipe.text
    for name, value in zip(SETTINGS, values, strict=True):
        text = re.sub(rf"^{name} *=.*\n", "", text, flags=re.MULTILINE)
        text = text.replace("[train]\n", f"[train]\n{name} = {str(value).lower()}\n")
    return text


def steps_per_second(recipe: Recipe, data: Data, seconds: float, device: torch.device) -> float:
    """Steps after the first three, which choose algorithms and record."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(open_task(recipe), data, Path(folder) / "run", device=device)
        for _ in range(3):
            trainer.take_step()
        steps, start = 0, time.monotonic()
        while time.monotonic() < start + seconds:
            trainer.take_step()
            if device.type == "cuda" and steps % 8 == 0:
                torch.cuda.synchronize()
            steps += 1
        if device.type == "cuda":
            torch.cuda.synchronize()
        return steps / (time.monotonic() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recipe")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=2.5, help="for each variant")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    device = torch.device(options.device)
    recipe = read_recipe(options.recipe)
    data = open_task(recipe).load(options.data).to(device)
    found = {}
    for values in product((True, False), repeat=len(SETTINGS)):
        options.to.write_text(varied(recipe, values))
        rate = steps_per_second(read_recipe(options.to), data, options.seconds, device)
        found[values] = rate
        print(dict(zip(SETTINGS, values, strict=True)), f"{rate:.2f} steps/s", flush=True)
    options.to.write_text(varied(recipe, max(found, key=lambda values: found[values])))


if __name__ == "__main__":
    main()
