"""A step: an operation as a callable on images, for loops and pipelines."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, cast

import numpy as np

from vaetools.errors import BitstreamError, InputError, UsageError
from vaetools.image import Image, most_bytes, pillow_array, read_file
from vaetools.libraries import library_errors
from vaetools.operation.base import Compound
from vaetools.operation.results import results_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import PIL.Image
    from numpy.typing import NDArray

    from vaetools.image import ChannelOrder
    from vaetools.operation.base import Operation

ImageLike: TypeAlias = "NDArray[Any] | str | Path | PIL.Image.Image | Image"
"""An image: an array, the path of a file, a Pillow image, or an `Image` with its metadata."""

FileLike: TypeAlias = "bytes | bytearray | memoryview | str | Path"
"""A file: its bytes, or its path."""

MapLike: TypeAlias = (
    "NDArray[Any] | str | Path | PIL.Image.Image | Callable[[NDArray[Any]], NDArray[Any]]"
)
"""One value per pixel: an array (H, W), a path, a Pillow image, or a function of the image."""

R_co = TypeVar("R_co", covariant=True)
"""What a step returns."""


class Step(Generic[R_co]):
    """An operation with its model and options: a callable for loops and pipelines.

    An image is an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8, uint16 or float32 in [0, 1];
    the same dtype, shape and channel order come back, as a new array. A path, a Pillow image or an
    `Image` is accepted in place of an array; an array comes back, in the step's channel order.

    Operations that take nothing are called without an image and return a list with the result of each
    item that they make; `generate` gives uint8, (H, W, 3), or (H, W) for greyscale models.

    Steps are safe to call from several threads, and can be pickled: `DataLoader` workers, joblib and
    Ray open their own model.

    Args:
        operation: as a hub makes it.
        channel_order: `bgr` as in OpenCV, or `rgb`; of arrays that come in and go out.

    Raises:
        UsageError: another channel order.
    """

    def __init__(self, operation: Operation, channel_order: ChannelOrder = "bgr") -> None:
        if channel_order not in ("bgr", "rgb"):
            raise UsageError(f"channel_order={channel_order!r} is not bgr or rgb")
        self.operation = operation
        self.channel_order: ChannelOrder = channel_order

    @library_errors()
    def __call__(
        self,
        item: ImageLike | FileLike | tuple[ImageLike, MapLike] | None = None,
        values: MapLike | None = None,
        *,
        key: str = "",
    ) -> R_co:
        """Apply to one image, or to the bytes of a file.

        Args:
            item: the image or file; or a pair (image, values). Nothing for operations that take none.
            values: the operation's first option, if that is an array: the mask for `inpaint`, the
                noise level for `denoise`.
            key: name of the image, which seeds operations that draw random numbers.

        Raises:
            UsageError: an item of the wrong kind. OptionError: an option that does not fit.
            InputError: the file or the array is not a valid image. ModelError: the model fails.
        """
        if isinstance(item, tuple):
            item, values = _pair(item, values)
        operation = self.operation if values is None else self.operation.with_map(values)
        operation.check_complete()
        if operation.takes == "nothing":
            return cast("R_co", self._made(operation, item, key))
        source = Path(item) if isinstance(item, str | Path) else None
        bound = operation.on(key, source)
        bound.channel_order = self.channel_order
        try:
            return cast("R_co", self._applied(bound, item))
        except (InputError, BitstreamError) as error:
            if source is not None and item:
                error.about(source)
            raise

    def _applied(self, bound: Operation, item: object) -> Any:
        if bound.takes == "file":
            return self._result(bound, bound.process(self._file(bound, item)), keep_axis=False)
        image, keep_axis = self._image(bound, item)
        return self._result(bound, bound.process(image), keep_axis=keep_axis)

    def _image(self, operation: Operation, item: object) -> tuple[Image, bool]:
        """The image, and whether results have a third axis as (H, W, 1) has."""
        if isinstance(item, np.ndarray):
            image = Image.from_array(item, channel_order=self.channel_order)
            return image, item.ndim == 3 and item.shape[2] == 1
        if isinstance(item, str | Path):
            return operation.read_image(item, keep_encoded=operation.wants_encoded), False
        if isinstance(item, Image):
            return item, False
        pixels = pillow_array(item)
        if pixels is None:
            kinds = "a numpy array, a path or a Pillow image"
            raise UsageError(f"{operation.name} takes {kinds}, not {type(item).__name__}")
        return Image.from_array(pixels, channel_order="rgb"), False

    def _file(self, operation: Operation, item: object) -> bytes:
        if isinstance(item, str | Path):
            most = most_bytes(operation.max_pixels)
            return read_file(item, check_head=operation.check_head, most=most)
        if not isinstance(item, bytes | bytearray | memoryview):
            raise UsageError(
                f"{operation.name} takes the bytes of a file or a path, not {type(item).__name__}"
            )
        return bytes(item)

    def _made(self, operation: Operation, item: object, key: str) -> list[Any]:
        """All items of an operation that takes nothing, the same as `map` writes."""
        if item is not None or key:
            raise UsageError(f"{operation.name} takes no image and no key: its items have names")
        names = [PurePosixPath(name) for name in operation.items()]
        made = (operation.on(str(name)).process(name) for name in names)
        return [self._result(operation, result, keep_axis=False) for result in made]

    def _result(self, operation: Operation, result: Any, *, keep_axis: bool) -> Any:
        def to_array(image: Image) -> np.ndarray:
            array = image.to_array(channel_order=self.channel_order)
            return array[..., np.newaxis] if keep_axis and array.ndim == 2 else array

        results = results_of(operation, result)
        if isinstance(result, Compound):
            return result.with_arrays(to_array)
        arrays = [to_array(one) if isinstance(one, Image) else one for one in results]
        return arrays[0] if isinstance(result, Image | bytes) else arrays

    def __repr__(self) -> str:
        return f"Step({self.operation!r}, {self.channel_order})"


def _pair(item: tuple[Any, ...], values: object) -> tuple[Any, Any]:
    if len(item) != 2 or values is not None:
        raise UsageError(f"a tuple of {len(item)} is not a pair (image, values)")
    return item[0], item[1]
