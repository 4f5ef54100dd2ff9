"""Video files without PyAV, read and written by OpenCV.

OpenCV keeps pixels, size and a constant frame rate. What else it can see is refused.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from vaetools.errors import (
    DamagedImageError,
    ImageValueError,
    OptionError,
    OutputError,
    TooLargeError,
    UnreadableError,
    UnsupportedImageError,
)
from vaetools.video.capture import file_name, frames_of, open_capture
from vaetools.video.names import EXTRA

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HD_LINES = 720

FOURCC = {
    ".mp4": "mp4v",
    ".m4v": "mp4v",
    ".mov": "mp4v",
    ".mkv": "mp4v",
    ".avi": "MJPG",
    ".webm": "VP80",
}
"""Codecs that every build of opencv-python can write, by the suffix of the file."""

PIXEL_FORMATS = frozenset(
    {b"I420", b"IYUV", b"YV12", b"Y42B", b"444P", b"Y800", b"YUY2", b"UYVY", b"NV12", b"NV21"}
    | {b"BGR\x00", b"RGB\x00", b"BGR\x18", b"RGB\x18", b"\x00\x00\x00\x00"}
)
"""Codes of pixel formats with 8 bits per sample and no alpha channel; zero is an unknown one."""

ALPHA_MODE = b"\x53\xc0\x81\x01"
SOUND_CODES = (
    b"A_AAC",
    b"A_OPUS",
    b"A_VORBIS",
    b"A_MPEG",
    b"A_AC3",
    b"A_EAC3",
    b"A_FLAC",
    b"A_PCM",
)
"""Codes of sound in Matroska."""


class OpenCVReader:
    """The frames of a video file; an iterable and a context manager.

    Frames are (H, W, 3) uint8 BGR, upright.

    Args:
        path: The file.
        max_pixels: Largest width × height.
        strict: Refuse a video that ends over a second earlier than it says.
        to_file: Refuse also what OpenCV cannot write again: frame times, aspect, bit depth, alpha, and
            the colours of high definition.

    Attributes:
        width: Width in pixels.
        height: Height in pixels.
        fps: Frames per second.
        frames: Number of frames according to the file; 0 if it does not say.

    Raises:
        UnreadableError: The file does not exist or is not a video.
        TooLargeError: The frames are larger than `max_pixels`.
        UnsupportedImageError: A feature that would be lost.
    """

    def __init__(
        self, path: Path, *, max_pixels: int, strict: bool = True, to_file: bool = False
    ) -> None:
        import cv2

        self._path = path
        self._strict = strict
        self._to_file = to_file
        self._capture = open_capture(path)
        self.width: int = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height: int = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.fps: float = self._capture.get(cv2.CAP_PROP_FPS)
        self.frames: int = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        try:
            self._check(max_pixels)
            if to_file:
                self._check_kept()
        except BaseException:
            self.close()
            raise

    def _check(self, max_pixels: int) -> None:
        if self.width * self.height > max_pixels:
            raise TooLargeError(
                f"{self.width} × {self.height} pixels are over the limit of {max_pixels:,}",
                file=self._path,
                remedy="raise it with --max-pixels",
            )
        if self._to_file and not self.fps > 0:
            raise self._unsupported("the video has no frame rate")

    def _check_kept(self) -> None:
        """Raise `UnsupportedImageError` for what is visible before the first frame."""
        import cv2

        number, base = (
            self._capture.get(which) for which in (cv2.CAP_PROP_SAR_NUM, cv2.CAP_PROP_SAR_DEN)
        )
        if number > 0 and base > 0 and number != base:
            raise self._unsupported(f"pixels are not square ({number:.0f}:{base:.0f})")
        code = int(self._capture.get(cv2.CAP_PROP_CODEC_PIXEL_FORMAT)) & 0xFFFFFFFF
        if code.to_bytes(4, "little") not in PIXEL_FORMATS or _has_alpha_mode(self._path):
            raise self._unsupported("the video has an alpha channel or more than 8 bits per sample")
        if self.height >= HD_LINES:
            raise self._unsupported(f"colours of a video with {self.height} lines (BT.709)")

    def _unsupported(self, problem: str) -> UnsupportedImageError:
        return UnsupportedImageError(
            f"{problem}: OpenCV does not keep this",
            file=self._path,
            remedy=f"{EXTRA} brings FFmpeg, which does",
        )

    def __iter__(self) -> Iterator[np.ndarray]:
        import cv2

        began, number = 0.0, 0
        first: np.ndarray | None = None
        is_still = True
        for number, frame in enumerate(frames_of(self._capture), start=1):
            at = self._capture.get(cv2.CAP_PROP_POS_MSEC)
            if first is None:
                began, first = at, frame.copy()
            if self._to_file and abs((at - began) * self.fps / 1000 - (number - 1)) > 0.5:
                raise self._unsupported(f"the frame rate is not constant (frame {number - 1})")
            is_still = is_still and bool((frame == first).all())
            yield frame
        # OpenCV does not convert interlaced frames: it returns the same memory again and again.
        if first is not None and is_still and (number > 1 or not first.any()):
            raise self._unsupported("all frames are the same, as if they were not decoded")
        if self._strict and (number == 0 or self.frames - number > max(self.fps, 1)):
            raise DamagedImageError(
                f"ends after {number} of {self.frames} frames",
                file=self._path,
                remedy="--lenient keeps these frames" if number else None,
            )

    def close(self) -> None:
        """Close the file."""
        self._capture.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _has_alpha_mode(path: Path) -> bool:
    """Whether a Matroska file says that its VP8 or VP9 frames have an alpha channel."""
    return ALPHA_MODE in _ends_of(path)


def has_sound(path: Path) -> bool:
    """Whether a file of a usual container has a sound track; False if it cannot be seen."""
    data = _ends_of(path)
    if data[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
        return b"hdlr" in data and b"soun" in data
    if data.startswith(b"\x1aE\xdf\xa3"):
        return any(code in data for code in SOUND_CODES)
    return data.startswith(b"RIFF") and b"auds" in data


def _ends_of(path: Path, size: int = 2**20) -> bytes:
    """The first and the last bytes of a file, where containers describe their tracks."""
    with path.open("rb") as file:
        head = file.read(size)
        file.seek(max(len(head), path.stat().st_size - size))
        return head + file.read(size)


class OpenCVWriter:
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
        self._fourcc = fourcc_of(path.suffix, fourcc)
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
        with _no_library_lines():
            return cv2.VideoWriter(file_name(self.path), code, self._fps, self._size)

    def _check_codec(self) -> None:
        """Write one frame and read it back: OpenCV crops some sizes silently."""

        width, height = self._size
        trial = self._open()
        trial.write(np.zeros((height, width, 3), np.uint8))
        trial.release()
        try:
            with _no_library_lines():
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
            remedy=f"{EXTRA} brings FFmpeg, which writes more",
        )


@contextlib.contextmanager
def _no_library_lines() -> Iterator[None]:
    """Hide what C code prints on stderr: OpenCV warns of codes that it then writes well."""
    with open(os.devnull, "wb") as nothing:  # noqa: PTH123
        try:
            stderr = os.dup(2)
        except OSError:  # closed
            yield
            return
        try:
            os.dup2(nothing.fileno(), 2)
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def fourcc_of(suffix: str, wanted: str | None) -> str:
    """The codec for a file with a suffix: `wanted`, or the usual one.

    Raises:
        OptionError: `wanted` is not four ASCII letters, or the suffix has no usual codec.
    """
    code = wanted or FOURCC.get(suffix.lower(), "")
    if not code:
        raise OptionError(
            f"no usual codec for {suffix or 'a file without a suffix'}",
            remedy=f"choose one with vaetools run --fourcc, or write one of {' '.join(FOURCC)}",
        )
    if len(code) != 4 or not code.isascii():
        raise OptionError(f"fourcc={code!r} is not four letters, such as mp4v")
    return code


SOUND_NOTE = f"sound is not kept; {EXTRA} brings FFmpeg, which keeps it"
