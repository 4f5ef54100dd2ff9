"""Settings of the tasks that are trained on crops of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from vaetools.errors import UsageError
from vaetools.training.data.image_pack import ImagePack
from vaetools.training.recipe import Count, HoldOut, NotNegative, Shrink

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor


@dataclass(frozen=True)
class CropSettings:
    """Keys of `[data]` in a recipe. A task's own settings set its defaults and its `cell`.

    Attributes:
        cell: sides of crops are multiples of this number of pixels.
        crop: side of a crop in pixels.
        late_crop: side after the share `late` of the training; a batch then has fewer crops.
        batch: number of crops of side `crop` in a batch.
        shrink: crops are taken up to this factor larger and then reduced.
        hold_out: every `hold_out`-th image is for validation.
    """

    cell: ClassVar[int]

    crop: int
    late_crop: int
    late: NotNegative
    batch: Count
    shrink: Shrink = 2.0
    hold_out: HoldOut = 24

    def __post_init__(self) -> None:
        """Raises `UsageError` for a side that the network does not take."""
        for name in ("crop", "late_crop"):
            side = getattr(self, name)
            if side < 1 or side % self.cell:
                raise UsageError(f"recipe: data.{name} = {side} is not a multiple of {self.cell}")

    def load(self, path: Path) -> ImagePack:
        """The images below a folder that are large enough. Raises `InputError` if there are none."""
        return ImagePack.for_crops(path, self.crop, self.late_crop, hold_out=self.hold_out)

    def draw(self, data: ImagePack, generator: torch.Generator, progress: float) -> Tensor:
        """A batch (B, 3, H, W) in [0, 1] at this share of the training."""
        size = self.late_crop if progress >= self.late else self.crop
        count = max(1, self.batch * self.crop**2 // size**2)
        return data.crops(count, size, generator, shrink=self.shrink)

    def held_size(self, held: ImagePack) -> int:
        """Side of the crops of held-out images."""
        return min(self.late_crop, held.largest // self.cell * self.cell)
