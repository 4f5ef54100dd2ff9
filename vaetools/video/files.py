"""Video files, read by PyAV, or by OpenCV where it is missing."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from vaetools.video.names import has_pyav

if TYPE_CHECKING:
    from pathlib import Path

    from vaetools.video.opencv import OpenCVReader
    from vaetools.video.reading import VideoReader


def open_video(path: Path, *, max_pixels: int, strict: bool = True) -> VideoReader | OpenCVReader:
    """The frames of a video file; an iterable and a context manager.

    Args:
        path: The file.
        max_pixels: Largest width × height.
        strict: Refuse damaged videos, instead of giving the frames that can be decoded.

    Raises:
        UnreadableError: The file does not exist or is not a video.
        DamagedImageError: The file is damaged.
        TooLargeError: The frames are larger than `max_pixels`.
        UnsupportedImageError: A feature that would be lost.
    """
    if has_pyav():
        from vaetools.video.reading import VideoReader

        return VideoReader(path, max_pixels=max_pixels, strict=strict)
    from vaetools.video.opencv import OpenCVReader

    return OpenCVReader(path, max_pixels=max_pixels, strict=strict)


def check_output(suffix: str, fourcc: str | None) -> None:
    """Raise `OptionError` for a container or a codec that cannot be written."""
    if has_pyav():
        from vaetools.video.encoding import check_output as check

        check(suffix, fourcc)
    else:
        from vaetools.video.opencv import fourcc_of

        fourcc_of(suffix, fourcc)


def writable_name(name: str) -> str:
    """The name of a video's output: its own, or one with `.mp4` if its container is not written."""
    from vaetools.video.encoding import MUXERS
    from vaetools.video.opencv import FOURCC

    path = PurePosixPath(name)
    known = MUXERS if has_pyav() else FOURCC
    return name if path.suffix.lower() in known else str(path.with_suffix(".mp4"))
