"""Augmentation as one of kornia's:

    import kornia.augmentation as K
    from vaetools.kornia import JitterAugmentation

    augment = K.AugmentationSequential(
        K.RandomHorizontalFlip(), JitterAugmentation(LatentJitter(model), p=0.5),
        data_keys=["input", "mask"],
    )

Random numbers come from PyTorch's generator, as in all of kornia, and are kept: a call with
`params=augment._params` makes the same copies again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from kornia.augmentation import IntensityAugmentationBase2D

from vaetools.augmentation import TensorTransform

if TYPE_CHECKING:
    from vaetools.augmentation import LatentJitter

MAX_DRAW = 2**62


class JitterAugmentation(IntensityAugmentationBase2D):  # type: ignore[misc]
    """One copy of each image of a batch; see `LatentJitter`.

    Images are tensors (B, C, H, W) with C = 1, 3 or 4, float32 in [0, 1], on any device. Only the look
    of an image changes, nothing moves: masks, boxes, keypoints and classes are returned as they are,
    and the matrix of the transformation is the identity. The model runs on the CPU or on CUDA as the
    jitter was opened. Copies have no gradient.

    Args:
        jitter: makes the copies.
        p: probability for each image.
        same_on_batch: the same random numbers for all images of a batch.
        keepdim: whether (C, H, W) stays (C, H, W).
    """

    def __init__(
        self,
        jitter: LatentJitter,
        p: float = 0.5,
        same_on_batch: bool = False,
        keepdim: bool = False,
    ) -> None:
        super().__init__(p=p, same_on_batch=same_on_batch, p_batch=1.0, keepdim=keepdim)
        self.adapter: TensorTransform = TensorTransform(jitter)

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, torch.Tensor]:
        """The random number of each image, `draw` (B,)."""
        count = batch_shape[0]
        if self.same_on_batch:
            return {"draw": torch.randint(MAX_DRAW, (1,)).expand(count)}
        return {"draw": torch.randint(MAX_DRAW, (count,))}

    def apply_transform(
        self,
        input: torch.Tensor,  # noqa: A002 - kornia's name
        params: dict[str, torch.Tensor],
        flags: dict[str, Any],  # noqa: ARG002
        transform: torch.Tensor | None = None,  # noqa: ARG002
    ) -> torch.Tensor:
        """Copies of the images that are to be transformed; kornia takes no others from here.

        Raises:
            ImageValueError: not an image, or the model does not accept its size.
        """
        chosen = params["batch_prob"] > 0.5
        copies = [
            self.adapter(image, key="", copy=int(draw)) if wanted else image
            for image, draw, wanted in zip(input, params["draw"], chosen, strict=True)
        ]
        return torch.stack(copies) if copies else input

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.adapter.jitter!r}, p={self.p})"
