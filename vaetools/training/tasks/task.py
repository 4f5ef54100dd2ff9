"""What a trainer needs to know of a task, and nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch
    from torch import Tensor, nn

    from vaetools.model.vae import Model
    from vaetools.training.recipe import Recipe


class Data(Protocol):
    """Training images in memory."""

    def __len__(self) -> int: ...

    @property
    def summary(self) -> str:
        """What it is, in a few words."""

    def to(self, device: torch.device) -> Self: ...

    def split(self, every: int) -> tuple[Self, Self]:
        """(training, validation): each `every`-th image is for validation."""


class Task(ABC):
    """A network and what it should learn.

    Attributes:
        network: what is trained.
        slow: prefixes of the parameters that learn at a tenth of the rate.
        hold_out: each so many-th image is for validation.
        phases: ends of its phases, as shares of the training. With each, the learning rate's
            schedule and the moving average of the weights begin anew.
        exports_with_data: whether `export` needs the training data.
    """

    network: nn.Module
    slow: tuple[str, ...] = ()
    hold_out: int = 24
    phases: tuple[float, ...] = (1.0,)
    exports_with_data: bool = False

    @abstractmethod
    def __init__(self, recipe: Recipe) -> None:
        """Raises `UsageError` for tables of the recipe that do not fit."""

    @abstractmethod
    def load(self, path: Path) -> Any:
        """The training data below `path`, a `Data`. Raises `InputError` where there is none."""

    def start(self, data: Any, generator: torch.Generator) -> None:  # noqa: B027 - most begin at random
        """Initialise the network from the data, once, before the first step."""

    def enter(self, phase: int) -> None:  # noqa: B027 - most have one phase
        """The phase of this number begins, or goes on after an interruption."""

    @abstractmethod
    def batch(self, data: Any, generator: torch.Generator, progress: float) -> Tensor:
        """Images (B, C, H, W) in [0, 1] for one step; `progress` runs from 0 to 1."""

    @abstractmethod
    def loss(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """(scalar loss, figures to log) of a batch."""

    @abstractmethod
    def validate(self, network: nn.Module, data: Any) -> dict[str, float]:
        """Figures of `network` on held-out data, the same images and the same noise at every call.

        `held_loss` is among them: early stopping watches it, lower is better.
        """

    @abstractmethod
    def export(
        self, data: Any | None, folder: Path, recipe: Recipe
    ) -> tuple[Model, Mapping[str, float]]:
        """Write the network as a model folder; see `vaetools.training.export.graphs.write_model`.

        Raises:
            UsageError: it needs the training data, and `data` is None.
        """
