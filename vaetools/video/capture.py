"""OpenCV's captures: cameras, URLs, and video files where PyAV is missing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from vaetools.errors import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import cv2
    import numpy as np


def file_name(source: str | Path) -> str:
    """A path as OpenCV reads it right: FFmpeg takes what is before a colon for a protocol."""
    text = str(source)
    is_file = "://" not in text and (isinstance(source, Path) or os.path.lexists(text))
    return os.path.abspath(text) if is_file else text  # noqa: PTH100


def open_capture(source: str | Path | int) -> cv2.VideoCapture:
    """Open a video file, a URL or a camera with OpenCV. Raises `UnreadableError`."""
    import cv2

    capture = cv2.VideoCapture(source if isinstance(source, int) else file_name(source))
    if capture.isOpened():
        return capture
    if isinstance(source, int):
        raise UnreadableError(f"camera {source} cannot be opened")
    is_missing = "://" not in str(source) and not Path(source).exists()
    problem = "does not exist" if is_missing else "is not a video that OpenCV can read"
    raise UnreadableError(problem, file=source)


def frames_of(capture: cv2.VideoCapture) -> Iterator[np.ndarray]:
    """The frames of an open capture, (H, W, 3) uint8 BGR, until it returns none."""
    while True:
        success, frame = capture.read()
        if not success:
            return
        yield frame
