"""Video files, read and written by OpenCV."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from vaetools.errors import (
    ImageValueError,
    OptionError,
    OutputError,
    TooLargeError,
    UnreadableError,
    UnsupportedImageError,
    UsageError,
)
from vaetools.video.stream import frames_of, open_capture

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
"""Suffixes of files that are read as videos."""


def video_among(inputs: Sequence[str | Path]) -> Path | None:
    """The video file, if it is the only input; None if no input is a video.

    Raises:
        UsageError: There is a video among several inputs.
    """
    videos = [Path(i) for i in inputs if Path(i).suffix.lower() in VIDEO_SUFFIXES]
    videos = [path for path in videos if path.is_file()]
    if videos and len(inputs) > 1:
        raise UsageError(
            "a video must be the only input", file=videos[0], remedy="leave out the other inputs"
        )
    return videos[0] if videos else None


class VideoReader:
    """The frames of a video file; an iterable and a context manager.

    Frames are (H, W, 3) uint8 BGR.

    Args:
        path: The file.
        max_pixels: Largest width × height.

    Attributes:
        width: Width in pixels.
        height: Height in pixels.
        fps: Frames per second.
        frames: Number of frames according to the file; 0 if it does not say.

    Raises:
        UnreadableError: The file does not exist or is not a video.
        TooLargeError: The frames are larger than `max_pixels`.
        UnsupportedImageError: The file has no frame rate.
    """

    def __init__(self, path: Path, *, max_pixels: int) -> None:
        import cv2

        self._capture = open_capture(path)
        self.width: int = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height: int = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.fps: float = self._capture.get(cv2.CAP_PROP_FPS)
        self.frames: int = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        try:
            self._check(max_pixels)
        except BaseException:
            self.close()
            raise

    def _check(self, max_pixels: int) -> None:
        if self.width * self.height > max_pixels:
            raise TooLargeError(
                f"{self.width} × {self.height} pixels are over the limit of {max_pixels:,}",
                remedy="raise it with --max-pixels",
            )
        if not self.fps > 0:
            raise UnsupportedImageError("the video has no frame rate")

    def __iter__(self) -> Iterator[np.ndarray]:
        return frames_of(self._capture)

    def close(self) -> None:
        """Close the file."""
        self._capture.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class VideoWriter:
    """Writes frames to a video file; a context manager.

    Args:
        path: The file; its suffix determines the container.
        fourcc: Four letters that name the codec, or None for the usual one of the suffix.
        fps: Frames per second.
        size: (width, height) in pixels.

    Raises:
        OptionError: No such codec, or no usual one.
        OutputError: OpenCV cannot write this codec to such a file, or not in this size.
    """

    def __init__(
        self, path: Path, fourcc: str | None, *, fps: float, size: tuple[int, int]
    ) -> None:
        self.path = path
        self._size = size
        self._fps = fps
        self._written = 0
        self._fourcc = fourcc_of(path, fourcc)
        self._check_codec()
        self._writer = self._open()

    def write(self, frame: np.ndarray) -> None:
        """Add a frame, (H, W, 3) uint8 BGR. Raises `ImageValueError` if it has another size."""
        size = frame.shape[1::-1]
        if size != self._size:  # OpenCV would skip it silently
            raise ImageValueError(
                f"a frame of {size[0]}×{size[1]} pixels in a video of "
                f"{self._size[0]}×{self._size[1]}"
            )
        self._writer.write(frame)
        self._written += 1

    def finish(self) -> None:
        """Close the file and check that it is complete: OpenCV does not report a full disk.

        Raises:
            OutputError: The file cannot be read, or more than a second of it is missing.
        """
        import cv2

        self.close()
        try:
            capture = open_capture(self.path)
        except UnreadableError:
            raise self._incomplete() from None
        frames = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        capture.release()
        is_exact = self.path.suffix.lower() in FOURCC  # an estimate in other containers
        if is_exact and frames < self._written - self._fps:
            raise self._incomplete()

    def _incomplete(self) -> OutputError:
        return OutputError("the video was not written completely", remedy="is the disk full?")

    def close(self) -> None:
        """Close the file, complete or not."""
        self._writer.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> Any:
        import cv2

        code = cv2.VideoWriter.fourcc(*self._fourcc)
        return cv2.VideoWriter(str(self.path), code, self._fps, self._size)

    def _check_codec(self) -> None:
        """Write one frame and read it back: OpenCV crops some sizes silently."""
        import cv2

        width, height = self._size
        level = cv2.utils.logging.setLogLevel(0)  # the error below says the same in one line
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
        success, frame = capture.read()
        capture.release()
        if not success:
            raise self._error("cannot write it")
        if frame.shape[:2] != (height, width):
            cropped = f"{frame.shape[1]}×{frame.shape[0]}"
            raise self._error(f"would crop {width}×{height} to {cropped}")

    def _error(self, problem: str) -> OutputError:
        return OutputError(
            f"codec {self._fourcc} in a {self.path.suffix} file: OpenCV {problem}",
            remedy="let FFmpeg read and write it, and pipe the frames through vaetools run --raw",
        )


def fourcc_of(path: Path, wanted: str | None) -> str:
    """The codec for a file: `wanted`, or the usual one of its suffix.

    Raises:
        OptionError: `wanted` is not four ASCII letters, or the suffix has no usual codec.
    """
    code = wanted or FOURCC.get(path.suffix.lower(), "")
    if not code:
        raise OptionError(
            f"no usual codec for {path.suffix or 'a file without a suffix'}",
            remedy=f"choose one with vaetools run --fourcc, or write one of {' '.join(FOURCC)}",
        )
    if len(code) != 4 or not code.isascii():
        raise OptionError(f"fourcc={code!r} is not four letters, such as mp4v")
    return code


def note_on_sound(source: Path, out: Path) -> str:
    """A note that OpenCV does not keep the sound, with the command that adds it to the output."""
    mixed = out.with_name(f"{out.stem}-with-sound{out.suffix}")
    words = ["ffmpeg", "-i", str(out), "-i", str(source)]
    words += ["-map", "0:v", "-map", "1:a?", "-c", "copy", str(mixed)]
    return f"sound is not kept; {shlex.join(words)}"
