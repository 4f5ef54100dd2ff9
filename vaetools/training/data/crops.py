"""What tasks that learn from crops of pictures have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from vaetools.errors import UsageError
from vaetools.training.data.pictures import PicturePack
from vaetools.training.recipe import Count, HoldOut, NotNegative, Shrink

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor


@dataclass(frozen=True)
class CropSettings:
    """Keys of `[data]` in a recipe. A task's own settings set its defaults and its `cell`.

    Attributes:
        cell: sides of crops are multiples of so many pixels.
        crop: side of a crop in pixels.
        late_crop: that from the share `late` of the training on; there are fewer of them in a batch.
        batch: crops of `crop` pixels in a batch.
        shrink: crops are taken up to so many times larger, and reduced.
        hold_out: each so many-th picture is for validation.
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

    def load(self, path: Path) -> PicturePack:
        """The pictures below a folder that are large enough. Raises `InputError` if there are none."""
        return PicturePack.for_crops(path, self.crop, self.late_crop)

    def draw(self, data: PicturePack, generator: torch.Generator, progress: float) -> Tensor:
        """A batch (B, 3, H, W) in [0, 1] for this share of the training."""
        size = self.late_crop if progress >= self.late else self.crop
        count = max(1, self.batch * self.crop**2 // size**2)
        return data.crops(count, size, generator, shrink=self.shrink)

    def held_size(self, held: PicturePack) -> int:
        """Side of crops of the pictures that are held out."""
        return min(self.late_crop, held.largest // self.cell * self.cell)
