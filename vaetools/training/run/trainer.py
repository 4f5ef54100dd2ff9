"""The training loop of all tasks. It can be resumed after any interruption.

A run is a folder with `recipe.toml`, `log.csv`, `curves.png`, `sheet.png` with earlier ones in
`sheets/`, `checkpoint.pt` and its compact copy, `compact.pt`.
"""

from __future__ import annotations

import bisect
import logging
import time
from typing import TYPE_CHECKING

import torch

from vaetools.errors import UsageError
from vaetools.training.networks.precision import is_native
from vaetools.training.run.average import Average, Best
from vaetools.training.run.batches import Batches
from vaetools.training.run.checkpoint import write_checkpoint
from vaetools.training.run.compact import is_run, read_run_state, write_compact, write_weights
from vaetools.training.run.curves import LOG, append_row, draw_curves, drop_rows_after
from vaetools.training.run.gradients import make_gradients
from vaetools.training.run.growth import fills, grow
from vaetools.training.run.optimizer import Decay, learning_rate, make_optimizer
from vaetools.training.run.parts import SplitGradients, refuse_parts, single_threads
from vaetools.training.run.sheets import Sheets
from vaetools.training.run.soap import Soap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from logging import Logger
    from pathlib import Path
    from typing import Any

    from torch import Tensor

    from vaetools.training.run.gradients import Gradients
    from vaetools.training.tasks import AnyTask, Data

log: Logger = logging.getLogger(__name__)

RECIPE = "recipe.toml"

MAX_SKIPPED = 20
"""Consecutive steps without a finite gradient after which a training has diverged."""


class Trainer:
    """Trains one task in one folder.

    Args:
        task: with its network as `open_task` initialised it.
        data: training images, as the task loads them.
        run: folder of the run; training resumes from a checkpoint in it.
        device: torch device.
        minutes: train for this long instead of the recipe's number of steps. The schedule follows the
            time spent, including that before an interruption. None: as before the interruption.
        weights: initial weights of a new run; see `vaetools.training.run.growth`.
        decay: start the final decay of the learning rate now, and end after this number of steps; if it
            has begun, go on with it.
        parts: of a batch, computed at the same time; see `vaetools.training.run.parts`.

    Raises:
        UsageError: the folder holds a run of another recipe or on other data, the checkpoint is damaged,
            the weights do not fit the network, `decay` is given with `minutes` or while another one is
            under way, or the task cannot be computed in parts.
        InputError: no training image is large enough for the late crops.
    """

    def __init__(
        self,
        task: AnyTask,
        data: Data,
        run: Path,
        *,
        device: torch.device,
        minutes: float | None = None,
        weights: Mapping[str, Tensor] | None = None,
        decay: int | None = None,
        parts: int = 1,
    ) -> None:
        recipe = task.recipe
        if parts > 1:
            refuse_parts(task, device)
        self.task: AnyTask = task
        self.run: Path = run
        self.device: torch.device = device
        self.minutes: float | None = minutes
        self.generator: torch.Generator = torch.Generator().manual_seed(recipe.train.seed)
        self.data: Data
        self.held: Data
        self.data, self.held = data.to(device).split(task.hold_out)
        self.described: str = data.summary
        self.best: Best = Best(recipe.train.patience)
        self.step: int = 0
        self.seconds: float = 0.0
        self.phase: int = 0
        self.decay: Decay | None = None
        self.stopping: bool = False
        self.weights_file: Path | None = None
        self.sheets: Sheets = Sheets(run)
        resumed = _prepared(run, recipe.text)
        if not resumed:
            if weights is None or not fills(task.network, weights):
                task.start(self.data, self.generator)
            if weights is not None:
                grow(task.network, weights)
        self.bf16: bool = recipe.train.bf16 and is_native(device)
        self.network: Any = task.network.to(device)
        self.layout: torch.memory_format = torch.contiguous_format
        if self.bf16 or recipe.train.channels_last:
            self.layout = torch.channels_last
        self.network.to(memory_format=self.layout)
        self.average: Average = Average(self.network, recipe.train.average)
        self.optimizer: torch.optim.Optimizer = make_optimizer(self._groups(), recipe.train)
        if resumed:
            self._load()
        else:
            (run / RECIPE).write_text(recipe.text, encoding="utf-8")
            (run / LOG).unlink(missing_ok=True)  # left by a run that has no checkpoint yet
        task.enter(self.phase)
        self.batches: Batches = Batches(task, self.data, self.generator, device)
        self.gradients: Gradients = self._gradients(parts)
        if decay is not None:
            self._start_decay(decay)

    def _gradients(self, parts: int) -> Gradients:
        settings = self.task.recipe.train
        if parts == 1:
            return make_gradients(self.task, self.network, settings, bf16=self.bf16)
        pool = single_threads(parts)
        if isinstance(self.optimizer, Soap):
            self.optimizer.pool = pool
        return SplitGradients(
            self.task, self.network, settings, bf16=self.bf16, pool=pool, parts=parts
        )

    def _start_decay(self, steps: int) -> None:
        if self.decay and self.decay.steps == steps:
            return  # the same command again
        if self.minutes is not None or self.decay:
            already = f"decays since step {self.decay.start}" if self.decay else "follows the time"
            raise UsageError(
                f"the learning rate {already}", file=self.run, remedy="leave out --decay"
            )
        factor = self._rate_factor()
        self.decay = Decay(self.step, steps, self.progress, factor)

    def _groups(self) -> list[dict[str, object]]:
        named = list(self.network.named_parameters())
        named = [(name, parameter) for name, parameter in named if parameter.requires_grad]
        slow = [p for name, p in named if name.startswith(self.task.slow)]
        fast = [p for name, p in named if not name.startswith(self.task.slow)]
        return [{"params": fast, "factor": 1.0}, {"params": slow, "factor": 0.1}]

    @property
    def progress(self) -> float:
        """Completed share of the training, in [0, 1]."""
        if self.best.stopped:
            return 1.0
        if self.minutes is not None:
            return min(1.0, self.seconds / (60 * self.minutes))
        if self.decay:
            return self.decay.progress(self.step)
        return min(1.0, self.step / self.task.recipe.train.steps)

    def _enter_phase(self) -> float:
        """Switch the task to the current phase; returns the completed share of that phase."""
        ends = self.task.phases
        number = bisect.bisect_right(ends[:-1], self.progress)
        if number != self.phase:
            self.phase = number
            self.average.restart(self.network, self.step)
            self.task.enter(number)
            self.gradients.forget()
        begun = ends[number - 1] if number else 0.0
        return (self.progress - begun) / (ends[number] - begun)

    def fit(self, *, until: float = 1.0) -> Iterator[dict[str, float]]:
        """Train until `progress` reaches `until` or `stop` is called; yields one row of figures per log
        interval.

        A checkpoint is written every `checkpoint_seconds`, at the end, and when interrupted.
        """
        settings = self.task.recipe.train
        saved = logged = began = time.monotonic()
        spent = self.seconds
        try:
            while self.progress < until and not self.stopping:
                figures = self.take_step()
                self.step += 1
                now = time.monotonic()
                self.seconds = spent + now - began
                is_last = self.progress >= until
                if now - logged >= settings.log_seconds or is_last:
                    logged = now
                    yield self._report(figures, is_last=is_last)
                if now - saved >= settings.checkpoint_seconds:
                    saved = now
                    self._save_if_possible()
        finally:
            if self.gradients.skipped < MAX_SKIPPED:  # otherwise the previous checkpoint is better
                self.save()
            draw_curves(self.run)

    def stop(self) -> None:
        """End `fit` after the current step, with a whole checkpoint."""
        self.stopping = True

    def _rate_factor(self) -> float:
        """Factor on the learning rate at the current step."""
        settings = self.task.recipe.train
        if self.decay:
            self._enter_phase()
            return self.decay.factor(self.step)
        return learning_rate(self._enter_phase(), warmup=settings.warmup, flat=settings.flat)

    def take_step(self) -> dict[str, Tensor]:
        """One step of `fit`, without its clock and log: the figures of a batch."""
        factor = self.task.recipe.train.learning_rate * self._rate_factor()
        for group in self.optimizer.param_groups:
            group["lr"] = factor * group["factor"]
        images = self.batches.take(self.progress).contiguous(memory_format=self.layout)
        figures = self.gradients(images, self.generator)
        self.batches.prepare(self.progress)
        if self.gradients.usable:
            self.optimizer.step()
            self.average.update(self.network, self.step)
        else:
            log.warning("step %d: gradient is not finite, step skipped", self.step)
            self._refuse_divergence()
        return figures

    def _refuse_divergence(self) -> None:
        """Too many steps in a row without a finite gradient mean that the weights are lost."""
        if self.gradients.skipped >= MAX_SKIPPED:
            raise UsageError(
                f"training has diverged: no finite gradient in {MAX_SKIPPED} steps, at step {self.step}",
                file=self.run,
                remedy="lower learning_rate or set clip in the recipe, and start a new run",
            )

    def _report(self, figures: dict[str, Tensor], *, is_last: bool) -> dict[str, float]:
        self.gradients.update_count()
        self._refuse_divergence()
        start = time.monotonic()
        held = self.validate()
        seconds = time.monotonic() - start
        row = {
            "step": float(self.step),
            "minutes": self.seconds / 60,
            "progress": self.progress,
            **{name: float(value.detach().float().mean()) for name, value in figures.items()},
            **held,
        }
        if self.best.offer(row["held_loss"], self.average.network):
            log.info("step %d: best score so far", self.step)
        append_row(self.run, row)
        psnr = f", PSNR {held['held_psnr']:.1f} dB" if "held_psnr" in held else ""
        self.sheets.offer(
            self.show,
            step=self.step,
            title=f"{self.task.recipe.id}, step {self.step:,}{psnr}",
            estimate=seconds,
            is_last=is_last,
        )
        return row

    def show(self) -> Mapping[str, Tensor]:
        """Images of the averaged weights for a sheet; see `Task.show`."""
        return self.task.show(self.average.network, self.held)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Figures of the averaged weights on the held-out images, with the same noise at every call."""
        return self.task.validate(self.average.network, self.held)

    def _save_if_possible(self) -> None:
        """`save`, or a warning: a disk that is full now need not be so when the training ends."""
        try:
            self.save()
        except OSError as error:
            log.warning("step %d: no checkpoint: %s", self.step, error)

    def save(self) -> None:
        """Write the checkpoint and its compact copy, and the weights where `weights_file` is set."""
        state = {
            "data": self.described,
            "step": self.step,
            "seconds": self.seconds,
            "phase": (self.phase, self.average.since),
            "decay": None if self.decay is None else self.decay.state(),
            "minutes": self.minutes,
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "best": self.best.state(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.batches.state,
            "noise": torch.get_rng_state(),
            "cuda_noise": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
        }
        write_checkpoint(self.run, state)
        write_compact(self.run, state)
        if self.weights_file is not None:
            write_weights(self.weights_file, state)

    def _load(self) -> None:
        state = read_run_state(self.run, self.device)
        if "optimizer" not in state:
            raise UsageError(
                "holds weights only, no checkpoint to resume",
                file=self.run,
                remedy="start another run from it with --from",
            )
        trained_on = state["data"].replace(" pictures, ", " images, ")  # the word of older versions
        if trained_on != self.described:
            raise UsageError(
                f"was trained on {trained_on}, but the data is {self.described}",
                file=self.run,
                remedy="give the same data, or another folder with --run",
            )
        self.network.load_state_dict(state["network"])
        self.average.network.load_state_dict(state["average"])
        self.phase, self.average.since = state.get("phase", (0, 0))  # older runs had one phase only
        self.decay = Decay(*state["decay"]) if state.get("decay") else None
        if self.decay and self.minutes is not None:
            raise UsageError(
                f"the learning rate decays since step {self.decay.start}",
                file=self.run,
                remedy="leave out --minutes",
            )
        if self.minutes is None:
            self.minutes = state.get("minutes")
        self.optimizer.load_state_dict(state["optimizer"])
        self.best.load(state["best"])
        self.generator.set_state(state["generator"].cpu())
        torch.set_rng_state(state["noise"].cpu())
        if self.device.type == "cuda" and state["cuda_noise"]:
            torch.cuda.set_rng_state_all([noise.cpu() for noise in state["cuda_noise"]])
        self.step, self.seconds = state["step"], state["seconds"]
        drop_rows_after(self.run, self.step)


def _prepared(run: Path, recipe: str) -> bool:
    """Make the folder of a run; whether it holds one of this recipe already.

    Raises:
        UsageError: it holds one of another recipe, or is no folder.
    """
    if run.exists() and not run.is_dir():
        raise UsageError("is not a folder", file=run, remedy="give another folder with --run")
    run.mkdir(parents=True, exist_ok=True)
    if not is_run(run):
        return False
    if not (run / RECIPE).exists():
        raise UsageError(
            f"contains a checkpoint without {RECIPE}", file=run, remedy="copy it as well"
        )
    if (run / RECIPE).read_text(encoding="utf-8") != recipe:
        raise UsageError(
            "holds a run of another recipe", file=run, remedy="give another folder with --run"
        )
    return True
