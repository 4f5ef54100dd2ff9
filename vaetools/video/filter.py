"""Operations that can be applied to the frames of a video."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from vaetools.errors import ImageValueError, UsageError
from vaetools.image import SUFFIXES
from vaetools.operation import outputs_of
from vaetools.operation.step import Step

if TYPE_CHECKING:
    import numpy as np

    from vaetools.image import ChannelOrder
    from vaetools.operation import Operation
    from vaetools.video.stream import KeyedStep


def frame_filter(
    operation: Operation, channel_order: ChannelOrder = "bgr"
) -> KeyedStep[np.ndarray]:
    """The operation as a step that keeps the shape and dtype of frames.

    The step raises `ImageValueError` for a result of another shape or dtype.

    Args:
        operation: Takes an image and returns one.
        channel_order: Channel order of the frames, `bgr` or `rgb`.

    Raises:
        UsageError: The operation does not return exactly one image for an image.
    """
    step: Step[np.ndarray] = Step(operation, channel_order)
    is_filter = operation.takes == "image"
    if is_filter:
        outputs = outputs_of(operation, PurePosixPath("frame.png"))
        is_filter = len(outputs) == 1 and outputs[0].suffix.lower() in SUFFIXES
    if not is_filter:
        raise UsageError(f"{operation.name} does not return one image for each frame of a video")

    def apply(item: Any, *, key: str) -> np.ndarray:
        result = step(item, key=key)
        if result.shape != item.shape or result.dtype != item.dtype:
            raise ImageValueError(
                f"{operation.name} returned {result.dtype} of shape {result.shape} for a frame of "
                f"{item.dtype} and shape {item.shape}; the frames of a video must keep their size"
            )
        return result

    return apply
