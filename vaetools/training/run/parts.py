"""Parts of a batch that are computed at the same time on a CPU, by one thread each.

The threads of torch share each operation, wait for each other after it, and leave what lies between two
operations to one of them. Threads that compute whole passes wait once a step. Each has its own
gradients; their mean is that of the batch, if the loss is a mean over the images.

The noise in a loss comes from torch's own generator, in the order in which the threads ask for it: two
runs with the same seed differ.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vaetools.errors import UsageError
from vaetools.training.run.gradients import Gradients

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.training.recipe import TrainSettings
    from vaetools.training.tasks import AnyTask


def refuse_parts(task: AnyTask, device: torch.device) -> None:
    """Raise `UsageError` if a task is not computed in parts."""
    if device.type != "cpu":
        what = "a batch on a GPU"
    elif task.recipe.train.compile:
        what = "a compiled loss"
    elif not task.splits:
        what = f"the loss of {task.recipe.id}"
    else:
        return
    raise UsageError(f"{what} is not computed in parts", remedy="leave out --parts")


def single_threads(count: int) -> ThreadPoolExecutor:
    """A pool of threads in which torch's operations use no further threads."""
    before, all_here = torch.get_num_threads(), threading.Barrier(count)

    def begin() -> None:
        torch.get_num_threads()  # else the first operation of the thread would take the number of all
        torch.set_num_threads(1)

    pool = ThreadPoolExecutor(count, "vaetools part", begin)
    for _ in pool.map(lambda _: all_here.wait(), range(count)):
        pass
    torch.set_num_threads(before)  # of this thread, and of those that begin from now on
    return pool


class SplitGradients(Gradients):
    """The mean of the gradients of a batch's parts.

    Args:
        task, network, settings, bf16: as for `Gradients`.
        pool: of `single_threads`.
        parts: their number; a batch with fewer images has fewer.
    """

    def __init__(
        self,
        task: AnyTask,
        network: nn.Module,
        settings: TrainSettings,
        *,
        bf16: bool,
        pool: ThreadPoolExecutor,
        parts: int,
    ) -> None:
        refuse_parts(task, next(network.parameters()).device)
        super().__init__(task, network, settings, bf16=bf16)
        self.pool = pool
        self.parts = parts

    def compute(self, images: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        inputs = (images, *self.task.draws(images, generator))
        parts = min(self.parts, len(images))
        pieces = [*zip(*(tensor.tensor_split(parts) for tensor in inputs), strict=True)]
        shares = [len(piece[0]) / len(images) for piece in pieces]
        passes = [*self.pool.map(self._pass, pieces)]
        self._put(shares, [gradients for _, gradients in passes])
        norm = nn.utils.clip_grad_norm_(self.parameters, self.limit)
        return {**_mean(shares, [figures for figures, _ in passes]), "norm": norm.detach()}

    def _pass(
        self, inputs: Sequence[Tensor]
    ) -> tuple[dict[str, Tensor], tuple[Tensor | None, ...]]:
        """Figures and gradients of a part."""
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
            loss, figures = self.task.loss_of(*inputs)
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        return {"loss": loss.detach(), **figures}, gradients

    def _put(self, shares: Sequence[float], gradients: Sequence[tuple[Tensor | None, ...]]) -> None:
        """Leave the mean in the parameters."""
        for parameter, *several in zip(self.parameters, *gradients, strict=True):
            parameter.grad = None
            for share, gradient in zip(shares, several, strict=True):
                if gradient is None:
                    continue
                if parameter.grad is None:
                    parameter.grad = gradient * share
                else:
                    parameter.grad.add_(gradient, alpha=share)


def _mean(shares: Sequence[float], figures: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
    return {
        name: sum(
            share * some[name].detach().float().mean()
            for share, some in zip(shares, figures, strict=True)
        )
        for name in figures[0]
    }
