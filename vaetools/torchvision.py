"""Augmentation as a transform of torchvision v2:

    from torchvision.transforms import v2
    from vaetools.torchvision import JitterTransform

    transform = v2.Compose([v2.RandomHorizontalFlip(), JitterTransform(LatentJitter(model))])
    image, boxes, mask = transform(image, boxes, mask)

Random numbers come from PyTorch's generator, as in all transforms of torchvision: `torch.manual_seed`
reproduces them, and every worker of a `DataLoader` draws its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import PIL.Image
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import is_pure_tensor

from vaetools.augmentation import TensorTransform
from vaetools.errors import ImageValueError

if TYPE_CHECKING:
    from vaetools.augmentation import LatentJitter

MAX_DRAW = 2**62


class JitterTransform(v2.Transform):  # type: ignore[misc]
    """One copy of each image of a sample; see `LatentJitter`.

    Images are `tv_tensors.Image`, Pillow images of mode L, RGB or RGBA, or, as torchvision's rule is,
    the first plain tensor of a sample without these: (…, C, H, W) with C = 1, 3 or 4, uint8 or float32
    in [0, 1], on any device. Only the look of an image changes, nothing moves: boxes, masks, keypoints,
    labels and all else are returned as the same objects. The images of a batch get the same random
    numbers, and so do several images of a sample.

    Copies have no gradient. To transform with a probability, use `v2.RandomApply([…], p=0.5)`.

    Args:
        jitter: makes the copies.
    """

    _transformed_types: ClassVar[Any] = (tv_tensors.Image, PIL.Image.Image, is_pure_tensor)

    def __init__(self, jitter: LatentJitter) -> None:
        super().__init__()
        self.adapter: TensorTransform = TensorTransform(jitter)

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        """Raise `ImageValueError` for a video, whose frames would flicker."""
        if any(isinstance(value, tv_tensors.Video) for value in flat_inputs):
            raise ImageValueError("a video is not an image", remedy="transform its frames")

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:  # noqa: ARG002
        """The random number of a sample."""
        return {"draw": int(torch.randint(MAX_DRAW, ()))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """One copy. Raises `ImageValueError` for what is not an image."""
        if isinstance(inpt, PIL.Image.Image):
            return self.adapter(inpt, key="", copy=params["draw"])
        images = inpt.as_subclass(torch.Tensor)
        if images.ndim > 3:
            flat = images.reshape(-1, *images.shape[-3:])
            copies = [self.adapter(image, key="", copy=params["draw"]) for image in flat]
            copy = torch.stack(copies).reshape(images.shape) if copies else images
        else:
            copy = self.adapter(images, key="", copy=params["draw"])
        return tv_tensors.wrap(copy, like=inpt)

    def extra_repr(self) -> str:
        return repr(self.adapter.jitter)
