"""Images for a model: files in, tensors of one shape at a time out; a bad file costs one line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from vaetools.errors import ImageValueError, LibraryError, VaetoolsError
from vaetools.image import Image, read_image
from vaetools.image.idx import is_idx, read_idx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from vaetools.model.vae import Vae

WINDOW = 256
"""Side, in pixels, of the central part of each image that a model of any size is shown: figures of
images compare only where they come from about as many pixels."""

AT_ONCE = 256
"""Most images or latents in one call of a graph."""

SAMPLES_AT_ONCE = 2**20
"""Most samples (pixels × channels) of images in one call of a graph."""


@dataclass(frozen=True)
class InputImage:
    """One image, ready for the model.

    Attributes:
        name: the file, with a number in brackets for an image inside an IDX file.
        rgb: (H, W, 3) float32 in [0, 1]: the image, or its central window.
        tensor: (1, C, H', W') as the graphs take it, padded.
    """

    name: str
    rgb: np.ndarray
    tensor: np.ndarray


class ImageSource:
    """The images of some files: all, or a random choice where there are more than `limit`.

    Args:
        model: images are checked against what it takes.
        files: images, and IDX files, whose images count one by one.
        limit: most images.
        rng: draws the choice.
        resize: scale images to the size of a model that knows one only; otherwise they fail.
        failed: told of each file that cannot be used; the rest goes on.
    """

    def __init__(
        self,
        model: Vae,
        files: Sequence[Path],
        *,
        limit: int,
        rng: np.random.Generator,
        resize: bool = False,
        failed: Callable[[VaetoolsError], object],
    ) -> None:
        self._model, self._resize, self._failed = model, resize, failed
        self._idx: dict[Path, np.ndarray] = {}
        places = [place for file in files for place in self._places(file)]
        self.found: int = len(places)
        if self.found > limit:
            chosen = np.sort(rng.choice(self.found, limit, replace=False))
            places = [places[i] for i in chosen]
        self._chosen = places

    def __len__(self) -> int:
        return len(self._chosen)

    def __iter__(self) -> Iterator[InputImage]:
        for file, number in self._chosen:
            try:
                yield self._input(file, number)
            except LibraryError:
                raise  # no other file would fare better
            except VaetoolsError as error:
                self._failed(error.about(file))

    def batches(self) -> Iterator[list[InputImage]]:
        """Neighbours whose tensors have one shape, as many as fit into one call."""
        most = calls_at_once(self._model)
        batch: list[InputImage] = []
        for original in self:
            same = not batch or batch[0].tensor.shape == original.tensor.shape
            room = min(most, SAMPLES_AT_ONCE // original.tensor.size)
            if batch and not (same and len(batch) < room):
                yield batch
                batch = []
            batch.append(original)
        if batch:
            yield batch

    def _places(self, file: Path) -> list[tuple[Path, int | None]]:
        """(file, number inside it); none for an IDX file that cannot be used."""
        if not is_idx(file):
            return [(file, None)]
        try:
            self._idx[file] = read_idx(file)
            self._input(file, 0)  # all have one size: the first speaks for them
        except VaetoolsError as error:
            self._failed(error.about(file))
            return []
        return [(file, number) for number in range(len(self._idx[file]))]

    def _input(self, file: Path, number: int | None) -> InputImage:
        image = read_image(file) if number is None else Image(self._idx[file][number])
        name = str(file) if number is None else f"{file}[{number}]"
        rgb = fitted(self._model, image, resize=self._resize)
        return InputImage(name, rgb, self._model.tensor(rgb))


def read_input(model: Vae, file: Path, *, resize: bool = False) -> InputImage:
    """One image. Raises what reading it raises, and `ImageValueError` where it does not fit."""
    try:
        rgb = fitted(model, read_image(file), resize=resize)
        return InputImage(str(file), rgb, model.tensor(rgb))
    except VaetoolsError as error:
        error.about(file)
        raise


def fitted(model: Vae, image: Image, *, resize: bool) -> np.ndarray:
    """The image in a size that the model takes: float32 RGB (H, W, 3) in [0, 1].

    Raises:
        ImageValueError: the model knows one size, this is another, and `resize` is off.
    """
    import cv2

    size = model.manifest.size.fixed
    if not size:
        return replace(image, pixels=central(image.pixels, WINDOW)).to_rgb()
    if size == (image.height, image.width):
        return image.to_rgb()
    if not resize:
        raise ImageValueError(
            f"model {model.id} takes {size[0]} x {size[1]} pixels only, "
            f"not {image.height} x {image.width}",
            remedy="scale it first, or give --resize",
        )
    scaled = cv2.resize(image.to_rgb(), (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return np.clip(scaled, 0, 1)


def central(pixels: np.ndarray, side: int) -> np.ndarray:
    """The middle of (H, W, ...), at most `side` × `side`."""
    top, left = (max(0, length - side) // 2 for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def calls_at_once(model: Vae) -> int:
    """How many images one call of the graphs takes: 1 where a graph was exported for one only."""

    def count() -> int:
        batches = [model.graph(role).input_shapes[0][:1] for role in ("encode", "decode")]
        fixed = [size for batch in batches for size in batch if isinstance(size, int) and size > 0]
        return fixed[0] if fixed else AT_ONCE

    return model.once("inspection.at_once", count)


def decode_all(model: Vae, latents: np.ndarray) -> Iterator[np.ndarray]:
    """Images (N, C, H, W) of latents (N, channels, ...), not clipped, some at a time."""
    pixels = model.manifest.latent.downscale**2 * np.prod(latents.shape[2:], dtype=int)
    fixed = model.manifest.size.fixed
    size = 3 * int(np.prod(fixed) if fixed else pixels)
    step = max(1, min(calls_at_once(model), SAMPLES_AT_ONCE // size))
    for first in range(0, len(latents), step):
        yield model.decode_batch(latents[first : first + step])[0]
