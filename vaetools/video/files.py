"""Video files: what can be read and written, and operations that fit between."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from vaetools.errors import (
    ImageValueError,
    OptionError,
    OutputError,
    UnreadableError,
    UsageError,
)
from vaetools.image import SUFFIXES
from vaetools.operation.step import Step
from vaetools.video.stream import open_capture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.image import ChannelOrder
    from vaetools.operation import Operation
    from vaetools.video.stream import Keyed

FOURCC = {
    ".mp4": "mp4v",
    ".m4v": "mp4v",
    ".mov": "mp4v",
    ".mkv": "mp4v",
    ".avi": "MJPG",
    ".webm": "VP80",
}
"""Codecs that every build of opencv-python can write, by the suffix of the file."""

VIDEO_SUFFIXES = frozenset(
    {*FOURCC, ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".ogv", ".3gp"}
)
"""Files of these names are videos."""


def video_among(inputs: Sequence[str | Path]) -> Path | None:
    """The video file that is the input. Raises `UsageError` if it is not the only one."""
    videos = [Path(i) for i in inputs if Path(i).suffix.lower() in VIDEO_SUFFIXES]
    videos = [path for path in videos if path.is_file()]
    if videos and len(inputs) > 1:
        raise UsageError(
            "is a video, which is worked on alone", file=videos[0], remedy="leave out other inputs"
        )
    return videos[0] if videos else None


def frame_filter(operation: Operation, channel_order: ChannelOrder = "bgr") -> Keyed:
    """The operation as a step that gives, for a frame, one of the same shape and dtype.

    Raises:
        UsageError: it does not take an image, or gives something else or several of them.
        While it goes on, `ImageValueError`: a frame of another shape or dtype.
    """
    step: Step[np.ndarray] = Step(operation, channel_order)
    is_filter = operation.takes == "image"
    if is_filter:
        outputs = operation.outputs(PurePosixPath("frame.png"))
        is_filter = len(outputs) == 1 and outputs[0].suffix.lower() in SUFFIXES
    if not is_filter:
        raise UsageError(f"{operation.name} does not give one picture for each frame of a video")

    def apply(item: Any, *, key: str) -> np.ndarray:
        result = step(item, key=key)
        if result.shape != item.shape or result.dtype != item.dtype:
            raise ImageValueError(
                f"{operation.name} made {result.dtype} of shape {result.shape} of {item.dtype} of "
                f"{item.shape}, and the frames of a video keep their size"
            )
        return result

    return apply


class VideoFile:
    """A video file that is being written; a context manager, as a file is.

    Args:
        path: its suffix says the container.
        fourcc: four letters that name the codec, or None for the usual one.
        fps: frames per second.
        size: (width, height).

    Raises:
        OptionError: no codec of that name, or no usual one.
        OutputError: OpenCV cannot write this codec into such a file, or only in another size.
    """

    def __init__(
        self, path: Path, fourcc: str | None, *, fps: float, size: tuple[int, int]
    ) -> None:
        self.path = path
        self._size = size
        self._fps = fps
        self._written = 0
        self._code = fourcc_of(path, fourcc)
        self._prove()
        self._writer = self._open()

    def write(self, frame: np.ndarray) -> None:
        """Add a frame, (H, W, 3) uint8 BGR. Raises `ImageValueError`: it has another size."""
        size = frame.shape[1::-1]
        if size != self._size:  # OpenCV would leave it out without a word
            raise ImageValueError(f"a frame of {size} pixels does not fit a video of {self._size}")
        self._writer.write(frame)
        self._written += 1

    def finish(self) -> None:
        """Close it and see whether it is whole: OpenCV does not say when the disk was full.

        Raises:
            OutputError: it cannot be read, or more than a second of it is not there.
        """
        import cv2

        self.close()
        try:
            capture = open_capture(self.path)
        except UnreadableError:
            raise self._cut_short() from None
        frames = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        capture.release()
        is_counted = self.path.suffix.lower() in FOURCC  # other containers only estimate
        if is_counted and frames < self._written - self._fps:
            raise self._cut_short()

    def _cut_short(self) -> OutputError:
        return OutputError("the video did not reach the disk whole", remedy="is the disk full?")

    def close(self) -> None:
        self._writer.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> Any:
        import cv2

        code = cv2.VideoWriter.fourcc(*self._code)
        return cv2.VideoWriter(str(self.path), code, self._fps, self._size)

    def _prove(self) -> None:
        """Write one frame and read it: writers open for sizes that they then cut, and say nothing."""
        import cv2

        width, height = self._size
        level = cv2.utils.logging.setLogLevel(0)  # what it has to say is said below, in one line
        try:
            trial = self._open()
            trial.write(np.zeros((height, width, 3), np.uint8))
            trial.release()
        finally:
            cv2.utils.logging.setLogLevel(level)
        try:
            capture = open_capture(self.path)
        except UnreadableError:
            raise self._error("cannot write it") from None
        is_there, frame = capture.read()
        capture.release()
        if not is_there:
            raise self._error("cannot write it")
        if frame.shape[:2] != (height, width):
            cut = f"{frame.shape[1]}×{frame.shape[0]}"
            raise self._error(f"would cut {width}×{height} to {cut}")

    def _error(self, problem: str) -> OutputError:
        return OutputError(
            f"codec {self._code} in a {self.path.suffix} file: OpenCV {problem}",
            remedy="let ffmpeg read and write it, with --raw",
        )


def fourcc_of(path: Path, wanted: str | None) -> str:
    """The codec for a file: the wanted one, else the usual one. Raises `OptionError`."""
    code = wanted or FOURCC.get(path.suffix.lower(), "")
    if not code:
        raise OptionError(
            f"no usual codec for {path.suffix or 'a file without a suffix'}",
            remedy=f"name one with --fourcc, or write one of {' '.join(FOURCC)}",
        )
    if len(code) != 4 or not code.isascii():
        raise OptionError(f"fourcc={code!r} is not four letters, such as mp4v")
    return code
