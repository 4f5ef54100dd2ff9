"""The training loop: one for all tasks, resumable at any moment.

A run is a folder: `recipe.toml`, `log.csv`, `curves.png` and `checkpoint.pt`, which holds everything
that is needed to go on, and the averaged weights, which are what is exported.
"""

from __future__ import annotations

import bisect
import copy
import csv
import logging
import math
import pickle
import time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vaetools.errors import UsageError
from vaetools.training.networks.precision import is_native
from vaetools.training.run.curves import LOG, draw_curves, forget_after
from vaetools.training.run.growth import grow
from vaetools.training.run.soap import Soap
from vaetools.training.tasks import Data, Task, open_task

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from vaetools.training.recipe import Recipe, TrainSettings

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"

HOPELESS = 20
"""Steps without a finite gradient, one after the other, after which a training has failed."""


def read_checkpoint(run: Path, device: torch.device) -> dict[str, Any]:
    """The last checkpoint of a run. Raises `UsageError` if it is damaged."""
    try:
        state: dict[str, Any] = torch.load(run / CHECKPOINT, map_location=device, weights_only=True)
    except (EOFError, OSError, RuntimeError, pickle.UnpicklingError):
        raise UsageError("checkpoint cannot be read", file=run, remedy="start a new run") from None
    return state


class Average:
    """Exponential moving average of a network's weights: what is exported.

    Early on the decay is shorter, so that the average does not remember the random start. With a
    decay of 0 it is the network itself.

    Attributes:
        since: the step at which it began.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.since = 0

    def restart(self, network: nn.Module, step: int) -> None:
        """Forget everything before `step`: what learns from now on begins at random again."""
        self.network.load_state_dict(network.state_dict())
        self.since = step

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        count = step - self.since
        decay = min(self.decay, (1 + count) / (10 + count))
        ours = list(self.network.parameters())
        torch._foreach_lerp_(ours, list(network.parameters()), 1 - decay)


class Best:
    """The weights with the lowest score, and when to stop because none was lower for long.

    Args:
        patience: scores without a better one after which training stops; 0 for never, and then
            nothing is remembered.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.score, self.since = math.inf, 0
        self.weights: dict[str, torch.Tensor] = {}

    @property
    def stopped(self) -> bool:
        return 0 < self.patience <= self.since

    def offer(self, score: float, network: nn.Module) -> bool:
        """Note a score; True if it is the lowest so far."""
        if not self.patience:
            return False
        if not score < self.score:
            self.since += 1
            return False
        self.score, self.since = score, 0
        self.weights = {name: value.clone() for name, value in network.state_dict().items()}
        return True

    def state(self) -> dict[str, Any]:
        return {"score": self.score, "since": self.since, "weights": self.weights}

    def load(self, state: dict[str, Any]) -> None:
        self.score, self.since, self.weights = state["score"], state["since"], state["weights"]


def make_optimizer(
    groups: list[dict[str, object]], settings: TrainSettings
) -> torch.optim.Optimizer:
    """Raises `UsageError` for an unknown name."""
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "adam":
        return torch.optim.Adam(groups, lr=rate, betas=(0.9, 0.99), fused=True)
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99), weight_decay=decay, fused=True)
    if settings.optimizer == "soap":
        return Soap(groups, lr=rate, every=settings.basis_every)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=settings.momentum, weight_decay=decay)
    raise UsageError(
        f"recipe: optimizer = {settings.optimizer!r}", remedy="known: adam, adamw, sgd, soap"
    )


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
        data: training images, as the task loads them.
        run: folder of the run; a checkpoint in it is continued.
        device: torch device.
        minutes: train for this long instead of `recipe.train.steps` steps. The schedule follows
            the time spent, that before an interruption included.
        weights: those of another run, to start a new one from; see `vaetools.training.run.growth`.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Data,
        run: Path,
        *,
        device: torch.device,
        minutes: float | None = None,
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.recipe, self.run, self.device, self.minutes = recipe, run, device, minutes
        self.generator = torch.Generator().manual_seed(recipe.train.seed)
        self.task: Task = open_task(recipe)
        self.data, self.held = data.to(device).split(self.task.hold_out)
        self.described = data.summary
        self.best = Best(recipe.train.patience)
        self.step, self.seconds = 0, 0.0
        self.left_out = 0
        self.phase = 0
        run.mkdir(parents=True, exist_ok=True)
        resumed = (run / CHECKPOINT).exists()
        if resumed and (run / "recipe.toml").read_text() != recipe.text:
            raise UsageError(
                "holds a run of another recipe", file=run, remedy="name another folder with --run"
            )
        if not resumed:
            self.task.start(self.data, self.generator)
            if weights is not None:
                grow(self.task.network, weights)
        self.bf16 = recipe.train.bf16 and is_native(device)
        self.network = self.task.network.to(device)
        self.layout = torch.contiguous_format
        if self.bf16 or recipe.train.channels_last:
            self.layout = torch.channels_last
        self.network.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.average = Average(self.network, recipe.train.average)
        self.optimizer = make_optimizer(self._groups(), recipe.train)
        if resumed:
            self._load()
        else:
            (run / "recipe.toml").write_text(recipe.text)
            (run / LOG).unlink(missing_ok=True)  # of a run that ended before its first checkpoint
        self.task.enter(self.phase)

    def _groups(self) -> list[dict[str, object]]:
        named = list(self.network.named_parameters())
        named = [(name, parameter) for name, parameter in named if parameter.requires_grad]
        slow = [p for name, p in named if name.startswith(self.task.slow)]
        fast = [p for name, p in named if not name.startswith(self.task.slow)]
        return [{"params": fast, "factor": 1.0}, {"params": slow, "factor": 0.1}]

    @property
    def progress(self) -> float:
        """Share of the training that is done, in [0, 1]."""
        if self.best.stopped:
            return 1.0
        if self.minutes is not None:
            return min(1.0, self.seconds / (60 * self.minutes))
        return min(1.0, self.step / self.recipe.train.steps)

    def _enter_phase(self) -> float:
        """See to it that the task's phase is the present one; the share of it that is done."""
        ends = self.task.phases
        number = bisect.bisect_right(ends[:-1], self.progress)
        if number != self.phase:
            self.phase = number
            self.average.restart(self.network, self.step)
            self.task.enter(number)
        begun = ends[number - 1] if number else 0.0
        return (self.progress - begun) / (ends[number] - begun)

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
            if self.left_out < HOPELESS:  # else the last good checkpoint is worth more
                self.save()
            draw_curves(self.run)

    def _one_step(self, forward: object) -> dict[str, Tensor]:
        settings = self.recipe.train
        factor = settings.learning_rate * learning_rate(
            self._enter_phase(), warmup=settings.warmup, flat=settings.flat
        )
        for group in self.optimizer.param_groups:
            group["lr"] = factor * group["factor"]
        images = self.task.batch(self.data, self.generator, self.progress)
        images = images.contiguous(memory_format=self.layout)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            loss, figures = forward(images, self.generator)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        limit = settings.clip or math.inf
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), limit)
        if bool(torch.isfinite(norm)):
            self.optimizer.step()
            self.average.update(self.network, self.step)
            self.left_out = 0
        else:
            self._leave_out()
        return {"loss": loss.detach(), "norm": norm.detach(), **figures}

    def _leave_out(self) -> None:
        """Go on without a step whose gradient is not finite; not for ever: the weights may be lost."""
        log.warning("step %d: gradient is not finite, step left out", self.step)
        self.left_out += 1
        if self.left_out >= HOPELESS:
            raise UsageError(
                f"training has diverged: no finite gradient in {HOPELESS} steps, at step {self.step}",
                file=self.run,
                remedy="lower learning_rate or set clip in the recipe, and start a new run",
            )

    def _report(self, figures: dict[str, Tensor]) -> dict[str, float]:
        row = {
            "step": float(self.step),
            "minutes": self.seconds / 60,
            "progress": self.progress,
            **{name: float(value.detach().float().mean()) for name, value in figures.items()},
            **self.validate(),
        }
        if self.best.offer(row["held_loss"], self.average.network):
            log.info("step %d: the best so far", self.step)
        path = self.run / LOG
        fresh = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if fresh:
                writer.writeheader()
            shown = {name: f"{value:.5g}" for name, value in row.items()}
            writer.writerow({**shown, "step": self.step})
        return row

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Figures of the averaged weights on what is held out, always the same images and noise."""
        return self.task.validate(self.average.network, self.held)

    def save(self) -> None:
        """Write the checkpoint; an interrupted write leaves the former one whole."""
        state = {
            "data": self.described,
            "step": self.step,
            "seconds": self.seconds,
            "phase": (self.phase, self.average.since),
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "best": self.best.state(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "noise": torch.get_rng_state(),
            "cuda_noise": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
        }
        part = self.run / f"{CHECKPOINT}.part"
        torch.save(state, part)
        part.replace(self.run / CHECKPOINT)

    def _load(self) -> None:
        state = read_checkpoint(self.run, self.device)
        if state["data"] != self.described:
            raise UsageError(
                f"was trained on {state['data']}, and here are {self.described}",
                file=self.run,
                remedy="name the same data, or another folder with --run",
            )
        self.network.load_state_dict(state["network"])
        self.average.network.load_state_dict(state["average"])
        self.phase, self.average.since = state.get("phase", (0, 0))  # older runs had only one
        self.optimizer.load_state_dict(state["optimizer"])
        self.best.load(state["best"])
        self.generator.set_state(state["generator"].cpu())
        torch.set_rng_state(state["noise"].cpu())
        if self.device.type == "cuda" and state["cuda_noise"]:
            torch.cuda.set_rng_state_all([noise.cpu() for noise in state["cuda_noise"]])
        self.step, self.seconds = state["step"], state["seconds"]
        forget_after(self.run, self.step)
