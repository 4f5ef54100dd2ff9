"""The batches of a training, on a GPU one step ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from vaetools.training.tasks import AnyTask, Data


class Batches:
    """Draws one batch after the other.

    On a GPU the next batch is cropped on a stream of its own, while the step for the previous one is
    still running. It is then drawn with the progress of that step.

    Attributes:
        generator: what random numbers for the next step come from.
    """

    def __init__(
        self, task: AnyTask, data: Data, generator: torch.Generator, device: torch.device
    ) -> None:
        self.task: AnyTask = task
        self.data: Data = data
        self.generator: torch.Generator = generator
        self.stream: torch.cuda.Stream | None = (
            torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        )
        self._next: Tensor | None = None
        self._state = generator.get_state()

    @property
    def state(self) -> Tensor:
        """State of the generator from which training goes on with the next batch."""
        return self.generator.get_state() if self._next is None else self._state

    def take(self, progress: float) -> Tensor:
        """A batch (B, C, H, W) in [0, 1]."""
        if self.stream is None:
            return self.task.batch(self.data, self.generator, progress)
        images = self._next if self._next is not None else self._draw(progress)
        current = torch.cuda.current_stream()
        current.wait_stream(self.stream)
        images.record_stream(current)
        self._next = None
        return images

    def prepare(self, progress: float) -> None:
        """Begin to draw the batch of the next step, once that of this step is in use."""
        if self.stream is not None:
            self._state = self.generator.get_state()
            self._next = self._draw(progress)

    def _draw(self, progress: float) -> Tensor:
        with torch.cuda.stream(self.stream):
            return self.task.batch(self.data, self.generator, progress)
