"""What is done with a video, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from vaetools.video.stream import KeyedStep


class Position(Protocol):
    """Is informed of frames."""

    def start(self, total: int) -> None:
        """Processing begins; `total` is about the number of frames, 0 if unknown."""

    def advance(self) -> None:
        """A frame is finished."""

    def end(self) -> None:
        """All frames are finished."""


@dataclass(frozen=True)
class Conversion:
    """What to do with one video.

    Attributes:
        source: The video.
        out: Its output; only the name matters here.
        folder: Folder for segments and the finished file, on the same disk as `out`.
        step: Takes a frame and its number as a key, and returns a frame of the same shape and dtype.
        work: Identifies the operation, its options, its model, and the source.
        fourcc: Code of the codec; None for the usual one of the suffix.
        quality: Constant rate factor, 0–51; lower is better.
        strip: Metadata to leave out.
        strict: Refuse damaged videos.
        max_pixels: Largest width × height.
        threads: Number of frames processed at the same time.
    """

    source: Path
    out: Path
    folder: Path
    step: KeyedStep[np.ndarray]
    work: str
    fourcc: str | None
    quality: int
    strip: str
    strict: bool
    max_pixels: int
    threads: int


@dataclass(frozen=True)
class Converted:
    """A finished file.

    Attributes:
        path: The file, in the folder of the conversion.
        width: Width of the frames in pixels.
        height: Height of the frames in pixels.
        notes: What was changed or is not kept, one line each.
    """

    path: Path
    width: int
    height: int
    notes: tuple[str, ...]
