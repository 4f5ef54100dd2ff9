"""Time of a training step on a CPU: threads that share each operation, or parts of the batch.

    python benchmarks/training_step.py [RECIPE] [--threads N] [--repeat N]
    LD_PRELOAD=libtcmalloc_minimal.so.4 python benchmarks/training_step.py

Random crops of the recipe's size, in float32; losses, gradients and optimizer, in turn for every
variant. Prints the median time and the CPU-seconds of a step, relative to the first row too.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import sys
import time
from typing import TYPE_CHECKING

import torch

from vaetools.training.recipe import read_recipe
from vaetools.training.run.gradients import Gradients
from vaetools.training.run.optimizer import make_optimizer
from vaetools.training.run.parts import SplitGradients, single_threads
from vaetools.training.run.soap import Soap
from vaetools.training.tasks import open_task

from common import circumstances  # isort: skip

if TYPE_CHECKING:
    from collections.abc import Callable

    from vaetools.training.recipe import Recipe

LAYOUTS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}


def step_of(recipe: Recipe, threads: int, parts: int, layout: str) -> Callable[[], None]:
    """A training step, with weights of its own."""
    task = open_task(recipe)
    form = LAYOUTS[layout]
    network = task.network.train().to(memory_format=form)
    settings = recipe.train
    optimizer = make_optimizer([{"params": [*network.parameters()]}], settings)
    gradients = Gradients(task, network, settings, bf16=False)
    if parts > 1:
        pool = single_threads(parts)
        gradients = SplitGradients(task, network, settings, bf16=False, pool=pool, parts=parts)
        if isinstance(optimizer, Soap):
            optimizer.pool = pool
    generator = torch.Generator().manual_seed(0)
    side, count = task.data.crop, task.data.batch
    images = torch.rand(count, 3, side, side, generator=generator).to(memory_format=form)

    def step() -> None:
        torch.set_num_threads(threads)
        gradients(images, generator)
        optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recipe", nargs="?", default="photo-codec")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeat", type=int, default=15)
    options = parser.parse_args()
    recipe, many = read_recipe(options.recipe), options.threads
    ways = dict.fromkeys(((many, 1), (1, 1), (many, many)))
    variants = [
        (f"{threads} threads, {parts} parts, {layout}", step_of(recipe, threads, parts, layout))
        for threads, parts in ways
        for layout in LAYOUTS
    ]
    times: dict[str, list[tuple[float, float]]] = {name: [] for name, _ in variants}
    for round_ in range(options.repeat + 1):
        for name, step in variants:
            wall, spent = time.monotonic(), time.process_time()
            step()
            if round_:  # the first step prepares
                now = time.monotonic() - wall, time.process_time() - spent
                times[name].append(now)
    first = None
    for name, found in times.items():
        wall, spent = (statistics.median(column) for column in zip(*found, strict=True))
        first = first or wall
        print(f"{name:28} {wall:6.3f} s  {spent:6.3f} CPU-s  {wall / first:5.2f}")
    words = shlex.join(["python", "benchmarks/training_step.py", *sys.argv[1:]])
    for line in circumstances(words):
        print(line)


if __name__ == "__main__":
    main()
