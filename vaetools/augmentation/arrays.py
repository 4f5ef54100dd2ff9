"""Jitter as Albumentations and torchvision call their transforms.

Neither is imported. Pixels are RGB, as both have it. Each call draws anew: the draw depends on the
seed, on the pixels and on how many calls there were before, so that workers of a loader that begin
with the same seed do not draw the same for different pictures. With `key` and `copy` it depends on
these and the seed alone; see `copy_generator`.
"""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.augmentation.latent import copy_generator
from vaetools.errors import ImageValueError
from vaetools.image import Image

if TYPE_CHECKING:
    from vaetools.augmentation.latent import LatentJitter


class _Transform:
    """What both conventions share.

    Args:
        jitter: what to do.
        seed: another seed, other copies.
    """

    def __init__(self, jitter: LatentJitter, *, seed: int = 0) -> None:
        self.jitter = jitter
        self.seed = seed
        self._calls = itertools.count(1)  # safe to share between threads, as a number is not

    def _copy(self, array: np.ndarray, key: str | None = None, copy: int | None = None) -> Any:
        """A copy of (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), of the same shape and dtype."""
        image = Image.from_array(array, channel_order="rgb")
        name = hashlib.sha256(image.pixels.tobytes()).hexdigest() if key is None else key
        number = next(self._calls) if copy is None else copy
        moved = self.jitter(image.to_rgb(), copy_generator(self.seed, name, number))
        return image.with_rgb(moved).to_array(channel_order="rgb").reshape(array.shape)


class DictTransform(_Transform):
    """Called with names, as transforms of Albumentations are: `transform(image=…, mask=…)["image"]`.

    Only the looks of the picture change, nothing moves: masks, boxes, key points and whatever else is
    given come back as the same objects. Inside a `Compose` of Albumentations it goes through `Lambda`:
    `A.Lambda(image=transform.on_image)`.
    """

    def __call__(
        self,
        *,
        image: np.ndarray,
        key: str | None = None,
        copy: int | None = None,
        **targets: Any,
    ) -> dict[str, Any]:
        """The picture's copy under `image`, and `targets` untouched.

        Args:
            image: RGB, uint8, uint16 or float32 in [0, 1].
            key, copy: what the picture is called and which of its copies this is.

        Raises:
            ImageValueError: a picture that the model does not take.
        """
        return {**targets, "image": self._copy(image, key, copy)}

    def on_image(self, image: np.ndarray, **_: Any) -> np.ndarray:
        """The picture's copy alone; further arguments are what `Lambda` passes. Raises as a call."""
        copy: np.ndarray = self._copy(image)
        return copy


class TensorTransform(_Transform):
    """Called with a picture and its targets, as transforms of torchvision v2 are.

    `transform(image)` gives the copy, `transform(image, boxes, …)` a tuple of the copy and the targets,
    which are the same objects. Pictures are tensors (C, H, W) with C = 1, 3 or 4, uint8 or float32 in
    [0, 1], on any device; Pillow pictures in the modes L, RGB and RGBA; or arrays (H, W, C). The same
    kind comes back.
    """

    def __call__(
        self, image: Any, *targets: Any, key: str | None = None, copy: int | None = None
    ) -> Any:
        """Raises `ImageValueError` for a picture that is none of these, or that the model refuses."""
        if hasattr(image, "new_tensor"):
            result = self._on_tensor(image, key, copy)
        elif hasattr(image, "mode"):
            result = self._on_pillow(image, key, copy)
        else:
            result = self._copy(image, key, copy)
        return (result, *targets) if targets else result

    def _on_tensor(self, tensor: Any, key: str | None, copy: int | None) -> Any:
        planes = tensor.detach().cpu().numpy()
        if planes.ndim != 3 or planes.shape[0] not in (1, 3, 4):
            raise ImageValueError(
                f"shape {planes.shape} is not (1, H, W), (3, H, W) or (4, H, W)",
                remedy="transform the pictures of a batch one by one",
            )
        moved = self._copy(np.ascontiguousarray(planes.transpose(1, 2, 0)), key, copy)
        return tensor.new_tensor(moved.transpose(2, 0, 1).copy())

    def _on_pillow(self, picture: Any, key: str | None, copy: int | None) -> Any:
        from PIL import Image as PillowImage

        if picture.mode not in ("L", "RGB", "RGBA"):
            raise ImageValueError(
                f"a picture of the mode {picture.mode}", remedy='convert it: image.convert("RGB")'
            )
        return PillowImage.fromarray(self._copy(np.asarray(picture), key, copy))
