"""What the trainer needs to know about a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch
    from torch import Tensor, nn

    from vaetools.model.folder import Model
    from vaetools.training.recipe import Recipe


class Data(Protocol):
    """Training images in memory."""

    def __len__(self) -> int: ...

    @property
    def summary(self) -> str:
        """A few words, such as the number of images; runs store it to recognise their data."""

    def to(self, device: torch.device) -> Self: ...

    def split(self, every: int) -> tuple[Self, Self]:
        """(training, validation): every `every`-th image is for validation."""


N = TypeVar("N", bound="nn.Module")
D = TypeVar("D", bound=Data)


class Task(ABC, Generic[N, D]):
    """A network of type `N`, and how it is trained on data of type `D`.

    Attributes:
        recipe: the recipe that describes the task.
        network: the network to train.
        slow: prefixes of the parameters that get a tenth of the learning rate.
        hold_out: every `hold_out`-th image is for validation.
        phases: ends of the phases, as shares of the training. In each phase the learning rate schedule
            and the moving average of the weights start again.
        exports_with_data: whether `export` needs the training data.
        recordable: whether the loss is `loss_of`, which does no work on the host, so that a GPU can
            record it; see `vaetools.training.run.gradients`.
        splits: whether the loss is `loss_of`, and about the mean of the losses of the batch's parts; see
            `vaetools.training.run.parts`.
    """

    network: N
    slow: tuple[str, ...] = ()
    hold_out: int = 24
    phases: tuple[float, ...] = (1.0,)
    exports_with_data: bool = False
    recordable: bool = False
    splits: bool = False

    def __init__(self, recipe: Recipe) -> None:
        """Raises `UsageError` if the recipe has tables or keys that are not those of the task."""
        self.recipe = recipe

    @abstractmethod
    def load(self, path: Path) -> D:
        """Read the training data below `path`. Raises `InputError` if there is none."""

    def start(self, data: D, generator: torch.Generator) -> None:
        """Initialise the network from the data, before the first step."""

    def enter(self, phase: int) -> None:
        """Begin the phase with this index, or resume it."""

    @abstractmethod
    def batch(self, data: D, generator: torch.Generator, progress: float) -> Tensor:
        """Images (B, C, H, W) in [0, 1] for one step; `progress` runs from 0 to 1."""

    def draws(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        """What `loss_of` takes besides the images, on their device: random numbers from the host."""
        del images, generator
        return ()

    def loss_of(self, images: Tensor, *drawn: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a task that is `recordable` or `splits`.

        Its shapes depend on those of its inputs only.
        """
        raise NotImplementedError

    def loss(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """(scalar loss, figures to log) of a batch."""
        return self.loss_of(images, *self.draws(images, generator))

    @abstractmethod
    def validate(self, network: N, data: D) -> dict[str, float]:
        """Figures of `network` on held-out data, with the same images and noise at every call.

        They include `held_loss`, which early stopping minimises.
        """

    def show(self, network: N, data: D) -> Mapping[str, Tensor]:
        """A few held-out images and what `network` makes of them, the same images at every call.

        It takes no random numbers from torch's own generators: a run must not depend on its sheets.

        Returns:
            Rows of a sheet by their labels: (B, C, H, W) with C = 1 or 3, in about [0, 1]. Empty for
            a task without sheets.
        """
        del network, data
        return {}

    @abstractmethod
    def export(self, data: D | None, folder: Path) -> tuple[Model, Mapping[str, float]]:
        """Write the network as a model folder; see `vaetools.training.export.folder.write_model`.

        Raises:
            UsageError: the export needs the training data, and `data` is None.
        """


AnyTask = Task[Any, Any]
"""A task whose network and data types are not known statically."""
