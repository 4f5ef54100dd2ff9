"""One pass forwards and backwards: the loss of a batch, and the gradients of the network.

On a GPU, launching the 1,800 kernels of a pass takes longer than running them. So a pass can be recorded
as a CUDA graph, once for each shape of its inputs, and replayed with one launch. A recorded pass cannot
wait for the host: a gradient that is not finite is set to 0 on the device, and counted there.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vaetools.training.recipe import TrainSettings
    from vaetools.training.tasks import AnyTask

WARM_UP = 3
"""Passes before a recording, in which libraries choose their algorithms."""


class Gradients:
    """Gradients of a task's network, left in its parameters and clipped.

    Attributes:
        usable: whether the optimizer can take a step with the last ones.
        skipped: how many passes in a row gave a gradient that is not finite.
    """

    cache_casts: ClassVar[bool] = True
    """Whether autocast keeps the weights that it converted for the rest of a pass."""

    def __init__(
        self, task: AnyTask, network: nn.Module, settings: TrainSettings, *, bf16: bool
    ) -> None:
        self.task = task
        self.bf16 = bf16
        self.parameters: list[nn.Parameter] = [p for p in network.parameters() if p.requires_grad]
        self.device: torch.device = self.parameters[0].device
        self.limit: float = settings.clip or math.inf
        self.loss: Any = torch.compile(task.loss) if settings.compile else task.loss
        self.usable: bool = True
        self.skipped: int = 0

    def __call__(self, images: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Calculate the gradients of a batch; returns its figures, `loss` and `norm` among them."""
        figures = self.compute(images, generator)
        self.usable = bool(torch.isfinite(figures["norm"]))
        self.skipped = 0 if self.usable else self.skipped + 1
        return figures

    def compute(self, images: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Leave the clipped gradients in the parameters; returns the figures."""
        return self.launch(lambda: self.loss(images, generator))

    def update_count(self) -> None:
        """Bring `skipped` up to date, where that takes waiting for the device."""

    def forget(self) -> None:
        """The task has entered another phase: its loss is another one now."""

    def launch(self, loss: Callable[[], tuple[Tensor, dict[str, Tensor]]]) -> dict[str, Tensor]:
        """One pass, kernel by kernel."""
        for parameter in self.parameters:
            parameter.grad = None
        kind = self.device.type
        with torch.autocast(
            kind, dtype=torch.bfloat16, enabled=self.bf16, cache_enabled=self.cache_casts
        ):
            value, figures = loss()
        torch.autograd.backward(value)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.limit)
        return {"loss": value.detach(), "norm": norm.detach(), **figures}


class RecordedGradients(Gradients):
    """The same, recorded. For tasks that are `recordable`.

    On a CPU there is nothing to record: it then takes the same steps one by one.
    """

    cache_casts = False

    def __init__(
        self, task: AnyTask, network: nn.Module, settings: TrainSettings, *, bf16: bool
    ) -> None:
        super().__init__(task, network, settings, bf16=bf16)
        self.recordings: dict[tuple[torch.Size, ...], Recording] = {}
        self.unusable: Tensor = torch.zeros((), dtype=torch.int64, device=self.device)

    def __call__(self, images: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        inputs = (images, *self.task.draws(images, generator))
        shapes = tuple(tensor.shape for tensor in inputs)
        if shapes not in self.recordings:
            self.recordings[shapes] = Recording(self, inputs)
        return self.recordings[shapes].replay(inputs)

    def update_count(self) -> None:
        self.skipped: int = int(self.unusable)

    def forget(self) -> None:
        self.recordings.clear()

    def guarded(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """One pass; all gradients are 0 if one of them is not finite."""
        figures = self.launch(lambda: self.task.loss_of(*inputs))
        finite = torch.isfinite(figures["norm"])
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        for gradient in gradients:
            gradient.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
        torch._foreach_mul_(gradients, finite.float())
        self.unusable.copy_(torch.where(finite, 0, self.unusable + 1))
        return figures


class Recording:
    """One pass for inputs of the given shapes."""

    def __init__(self, gradients: RecordedGradients, inputs: Sequence[Tensor]) -> None:
        self.gradients: RecordedGradients = gradients
        # A graph reads and writes the memory that it was recorded with.
        self.inputs: list[Tensor] = [tensor.clone() for tensor in inputs]
        self.graph: torch.cuda.CUDAGraph | None = None
        self.figures: dict[str, Tensor] = {}
        self.results: list[Tensor | None] = []
        if gradients.device.type == "cuda":
            self._record()

    def replay(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """The pass for other inputs of these shapes. The next one overwrites the figures."""
        torch._foreach_copy_(self.inputs, list(inputs))
        if self.graph is None:
            return self.gradients.guarded(self.inputs)
        self.graph.replay()
        for parameter, gradient in zip(self.gradients.parameters, self.results, strict=True):
            parameter.grad = gradient  # another recording has gradients of its own
        return self.figures

    def _record(self) -> None:
        before = self.gradients.unusable.clone()
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                self.gradients.guarded(self.inputs)
        torch.cuda.current_stream().wait_stream(aside)
        for parameter in self.gradients.parameters:
            parameter.grad = None
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.figures = self.gradients.guarded(self.inputs)
        self.results = [parameter.grad for parameter in self.gradients.parameters]
        self.gradients.unusable.copy_(before)


def make_gradients(
    task: AnyTask, network: nn.Module, settings: TrainSettings, *, bf16: bool
) -> Gradients:
    """Recorded ones if the recipe wants them, and task and device allow it."""
    on_gpu = next(network.parameters()).device.type == "cuda"
    recorded = settings.cuda_graph and task.recordable and on_gpu
    return (RecordedGradients if recorded else Gradients)(task, network, settings, bf16=bf16)
