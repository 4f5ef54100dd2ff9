"""What tasks that learn from crops of pictures have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from vaetools.errors import UsageError
from vaetools.training.data.pictures import PicturePack
from vaetools.training.recipe import at_least

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
    late: float
    batch: int
    shrink: float = 2.0
    hold_out: int = 24

    def __post_init__(self) -> None:
        """Raises `UsageError` for a value out of range."""
        least = self.cell
        at_least("data", self, crop=least, late_crop=least, late=0, batch=1, shrink=1, hold_out=2)
        if self.crop % least or self.late_crop % least:
            raise UsageError(f"recipe: [data]: crop and late_crop are multiples of {least}")

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
