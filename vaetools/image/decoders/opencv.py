"""Decoding by OpenCV: fast, and 16 bit stays 16 bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def decode_cv2(data: bytes, size: tuple[int, int], dtype: type) -> NDArray[Any]:
    """Grey (H, W), BGR or BGRA.

    Args:
        data: the file.
        size: (width, height) in its header.
        dtype: of its samples.

    Raises:
        ValueError: OpenCV cannot decode it, or the result is something else.
    """
    import cv2

    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != dtype:
        raise ValueError("cv2 cannot decode it")
    return of_size(np.asarray(array), size)


def of_size(array: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """The array, if it has the (width, height) of the header; otherwise raises `ValueError`."""
    if array.shape[1::-1] != size:
        raise ValueError("its size is not that of the header")
    return array
