"""Jitter with the calling conventions of Albumentations and torchvision, neither of which is imported.

Pixels are RGB, as in both libraries. By default every call draws new noise. The draw is a function of

- `seed` of the transform,
- the pixels of the image,
- the number of calls of this transform before this one, counted in each process,
- in a worker of a PyTorch `DataLoader`, the seed that the loader gave to that worker, and
- in any other forked process, how many its parent had forked before.

A loader draws new seeds for its workers in every epoch, and persistent workers keep counting. So
every epoch gets new copies with any number of workers, forked or spawned, and a run is reproduced by
the same `seed`, the same `torch.manual_seed` (or the same state of the loader's `generator`) and the
same number of workers. In other pools of forked processes every process draws other copies, also in
pools that are made anew. A transform that was pickled continues from the count at which it was; all
that one process unpickles of it count together, as a pool pickles it anew for every task. Spawned
processes, joblib and Ray have no such numbers, and two processes may draw the same. Name the copy
there: with `key` and `copy` the draw depends on these two and `seed` alone, see `copy_generator`.

Transforms can be pickled. The model is opened when the unpickled transform is first used.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.errors import ImageValueError
from vaetools.image import Image
from vaetools.seeding import seeded_generator

if TYPE_CHECKING:
    from vaetools.augmentation.latent import LatentJitter


class _Transform:
    """The common part of both conventions.

    Args:
        jitter: makes the copies.
        seed: another seed gives other copies.
    """

    def __init__(self, jitter: LatentJitter, *, seed: int = 0) -> None:
        self.jitter = jitter
        self.seed = seed
        self._calls = _Calls()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.jitter!r}, seed={self.seed})"

    def _copy(self, array: np.ndarray, key: str | None = None, copy: int | None = None) -> Any:
        """A copy of (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), with the same shape and dtype."""
        image = Image.from_array(array, channel_order="rgb")
        name = hashlib.sha256(image.pixels.tobytes()).hexdigest() if key is None else key
        draw = (self._calls.next(), *_process_seed()) if copy is None else (copy,)
        moved = next(self.jitter.copies_of(image, [seeded_generator(self.seed, name, *draw)]))
        return moved.to_array(channel_order="rgb").reshape(array.shape)


class _Calls:
    """Counts the calls of a transform.

    A copy of the transform in the same process counts on its own. Copies that come from another
    process count together.
    """

    def __init__(self, count: int = 0, name: bytes = b"") -> None:
        self._name = name or os.urandom(8)
        self._count = count
        self._lock = threading.Lock()

    def next(self) -> int:
        """The number of this call, from 1."""
        with self._lock:
            self._count += 1
            return self._count

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled_calls, (self._name, self._count, os.getpid(), _MODULE)

    def at_least(self, count: int) -> _Calls:
        """This one, after `count` calls or more."""
        with self._lock:
            self._count = max(self._count, count)
        return self


_MODULE = os.urandom(8)
"""Tells this process, and those forked from it, from all others."""

_from_elsewhere: dict[bytes, _Calls] = {}
"""The calls of transforms that came from other processes, by name."""


def _unpickled_calls(name: bytes, count: int, process: int, module: bytes) -> _Calls:
    if (process, module) == (os.getpid(), _MODULE):
        return _Calls(count)
    return _from_elsewhere.setdefault(name, _Calls(name=name)).at_least(count)


class _Forks:
    """Numbers forked processes."""

    count = 0
    """Processes that this one, and those that it was forked from, have forked."""

    own: tuple[int, ...] = ()
    """The number of this process and those of the processes that it was forked from, from 1."""

    @classmethod
    def before(cls) -> None:
        cls.count += 1

    @classmethod
    def in_child(cls) -> None:
        cls.own = (*cls.own, cls.count)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_Forks.before, after_in_child=_Forks.in_child)


def _process_seed() -> tuple[int, ...]:
    """The seed of this worker of a PyTorch loader; else the number of this process, if forked."""
    data = sys.modules.get("torch.utils.data")  # imported in every worker
    worker = data.get_worker_info() if data else None
    return (worker.seed,) if worker else _Forks.own


class DictTransform(_Transform):
    """Called with keywords, as transforms of Albumentations are.

    Only the look of the image changes, nothing moves. Masks, boxes, keypoints and all other targets
    are returned as the same objects.

        transform = DictTransform(LatentJitter(model), seed=0)
        result = transform(image=rgb, mask=mask)  # {"image": …, "mask": mask}
        compose = A.Compose([A.Lambda(image=transform.on_image)])

    Args:
        jitter: makes the copies.
        seed: another seed gives other copies.
    """

    def __call__(
        self,
        *,
        image: np.ndarray,
        key: str | None = None,
        copy: int | None = None,
        **targets: Any,
    ) -> dict[str, Any]:
        """One copy of the image.

        Args:
            image: RGB, grey or RGBA: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); uint8, uint16, or
                float32 in [0, 1].
            key: name of the image, such as its path in the data set; its pixels by default.
            copy: number of the copy, from 1; a new draw by default.
            targets: anything else.

        Returns:
            `targets`, and under `image` the copy with the same shape and dtype.

        Raises:
            ImageValueError: the array is not an image, or the model does not accept its size.
        """
        return {**targets, "image": self._copy(image, key, copy)}

    def on_image(self, image: np.ndarray, **_: Any) -> np.ndarray:
        """One copy of the image, for `albumentations.Lambda`, whose other arguments are ignored.

        Raises:
            ImageValueError: as for a call.
        """
        copy: np.ndarray = self._copy(image)
        return copy


class TensorTransform(_Transform):
    """Called with an image and its targets, as transforms of torchvision v2 are.

    Images are tensors (C, H, W) with C = 1, 3 or 4, uint8 or float32 in [0, 1], on any device;
    Pillow images of mode L, RGB or RGBA; or arrays (H, W, C) as for `DictTransform`. The copy is of
    the same kind.

        transform = TensorTransform(LatentJitter(model), seed=0)
        copy = transform(image)
        copy, boxes = transform(image, boxes)  # targets are returned as the same objects

    Args:
        jitter: makes the copies.
        seed: another seed gives other copies.
    """

    def __call__(
        self, image: Any, *targets: Any, key: str | None = None, copy: int | None = None
    ) -> Any:
        """One copy of the image, in a tuple with the targets if there are any.

        Args:
            image: tensor, Pillow image or array.
            targets: anything else.
            key: name of the image, such as its path in the data set; its pixels by default.
            copy: number of the copy, from 1; a new draw by default.

        Raises:
            ImageValueError: not such an image, or the model does not accept its size.
        """
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
                remedy="transform the images of a batch one by one",
            )
        moved = self._copy(np.ascontiguousarray(planes.transpose(1, 2, 0)), key, copy)
        return tensor.new_tensor(moved.transpose(2, 0, 1).copy())

    def _on_pillow(self, image: Any, key: str | None, copy: int | None) -> Any:
        from PIL import Image as PillowImage

        if image.mode not in ("L", "RGB", "RGBA"):
            raise ImageValueError(
                f"image of mode {image.mode}", remedy='convert it: image.convert("RGB")'
            )
        return PillowImage.fromarray(self._copy(np.asarray(image), key, copy))
