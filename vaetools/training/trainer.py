"""The training loop: one for all tasks, resumable at any moment.

A run is a folder: `recipe.toml`, `log.csv`, `checkpoint.pt` (everything that is needed to go on)
and, once training has ended, the averaged weights in the last checkpoint.
"""

from __future__ import annotations

import copy
import csv
import logging
import math
import time
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vaetools.errors import UsageError
from vaetools.training.tasks import Task, open_task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vaetools.training.pictures import PicturePack
    from vaetools.training.recipe import Recipe

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"


class Average:
    """Exponential moving average of a network's weights: what is exported.

    Early on the decay is shorter, so that the average does not remember the random start.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        ours = list(self.network.parameters())
        torch._foreach_lerp_(ours, list(network.parameters()), 1 - decay)


def learning_rate(progress: float, *, warmup: float, flat: float) -> float:
    """Factor on the learning rate at `progress` in [0, 1]: linear warm-up, flat, then a cosine to 0."""
    if progress < warmup:
        return progress / warmup
    if progress < flat:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - flat) / (1 - flat))))


class Trainer:
    """Trains one recipe in one folder.

    Args:
        recipe: what to train and how.
        data: training pictures.
        run: folder of the run; a checkpoint in it is continued.
        device: torch device.
        minutes: train for this long instead of `recipe.train.steps` steps. The schedule follows
            the time spent, that before an interruption included.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: PicturePack,
        run: Path,
        *,
        device: torch.device,
        minutes: float | None = None,
    ) -> None:
        self.recipe, self.run, self.device, self.minutes = recipe, run, device, minutes
        self.generator = torch.Generator().manual_seed(recipe.train.seed)
        torch.manual_seed(recipe.train.seed)
        self.data, self.held = (part.to(device) for part in data.split(recipe.data.hold_out))
        self.task: Task = open_task(recipe)
        self.step, self.seconds = 0, 0.0
        run.mkdir(parents=True, exist_ok=True)
        resumed = (run / CHECKPOINT).exists()
        if resumed and (run / "recipe.toml").read_text() != recipe.text:
            raise UsageError(
                "holds a run of another recipe", file=run, remedy="name another folder with --run"
            )
        if not resumed:
            self.task.start(self.data, self.generator)
        self.network = self.task.network.to(device)
        self.average = Average(self.network, recipe.train.average)
        self.optimizer = torch.optim.Adam(self._groups(), betas=(0.9, 0.99))
        if resumed:
            self._load()
        else:
            (run / "recipe.toml").write_text(recipe.text)

    def _groups(self) -> list[dict[str, object]]:
        named = list(self.network.named_parameters())
        slow = [p for name, p in named if name.startswith(self.task.slow)]
        fast = [p for name, p in named if not name.startswith(self.task.slow)]
        return [{"params": fast, "factor": 1.0}, {"params": slow, "factor": 0.1}]

    @property
    def progress(self) -> float:
        """Share of the training that is done, in [0, 1]."""
        if self.minutes is not None:
            return min(1.0, self.seconds / (60 * self.minutes))
        return min(1.0, self.step / self.recipe.train.steps)

    def fit(self, *, until: float = 1.0) -> Iterator[dict[str, float]]:
        """Train until `progress` reaches `until`; yields one row of figures per log interval.

        A checkpoint is written every `checkpoint_seconds`, at the end, and when interrupted.
        """
        settings = self.recipe.train
        forward = torch.compile(self.task.loss) if settings.compile else self.task.loss
        saved = logged = began = time.monotonic()
        spent = self.seconds
        try:
            while self.progress < until:
                figures = self._one_step(forward)
                self.step += 1
                now = time.monotonic()
                self.seconds = spent + now - began
                if now - logged >= settings.log_seconds or self.progress >= until:
                    logged = now
                    yield self._report(figures)
                if now - saved >= settings.checkpoint_seconds:
                    saved = now
                    self.save()
        finally:
            self.save()

    def _one_step(self, forward: object) -> dict[str, Tensor]:
        settings, data = self.recipe.train, self.recipe.data
        factor = settings.learning_rate * learning_rate(
            self.progress, warmup=settings.warmup, flat=settings.flat
        )
        for group in self.optimizer.param_groups:
            group["lr"] = factor * group["factor"]
        late = self.progress >= settings.late
        size = data.late_crop if late else data.crop
        count = max(1, data.batch * data.crop**2 // size**2)
        images = self.data.crops(count, size, self.generator, shrink=data.shrink)
        bf16 = self.device.type == "cuda"
        if bf16:
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16):
            loss, figures = forward(images, self.generator)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip)
        if bool(torch.isfinite(norm)):
            self.optimizer.step()
            self.average.update(self.network, self.step)
        else:
            log.warning("step %d: gradient is not finite, step left out", self.step)
        return {"loss": loss.detach(), "norm": norm.detach(), **figures}

    def _report(self, figures: dict[str, Tensor]) -> dict[str, float]:
        row = {
            "step": float(self.step),
            "minutes": self.seconds / 60,
            "progress": self.progress,
            **{name: float(value.detach().float().mean()) for name, value in figures.items()},
            **self.validate(),
        }
        path = self.run / "log.csv"
        fresh = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if fresh:
                writer.writeheader()
            writer.writerow({name: f"{value:.5g}" for name, value in row.items()})
        return row

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Figures of the averaged weights on pictures that are held out, always the same crops."""
        generator = torch.Generator().manual_seed(1)
        images = self.held.crops(8, self.recipe.data.late_crop, generator)
        return self.task.validate(self.average.network, images)

    def save(self) -> None:
        """Write the checkpoint; an interrupted write leaves the former one whole."""
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "noise": torch.get_rng_state(),
        }
        part = self.run / f"{CHECKPOINT}.part"
        torch.save(state, part)
        part.replace(self.run / CHECKPOINT)

    def _load(self) -> None:
        state = torch.load(self.run / CHECKPOINT, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.network.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"].cpu())
        torch.set_rng_state(state["noise"].cpu())
        self.step, self.seconds = state["step"], state["seconds"]
