"""Raw video: frames one after the other without a container, as FFmpeg pipes them.

ffmpeg -i in.mp4 -f rawvideo -pix_fmt bgr24 -      writes WIDTH × HEIGHT × 3 bytes per frame
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from vaetools.errors import DamagedImageError, OptionError
from vaetools.video.files import frame_filter
from vaetools.video.stream import DEPTH, stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vaetools.image import ChannelOrder
    from vaetools.operation import Operation

FORMATS: dict[str, tuple[int, type[np.unsignedinteger], ChannelOrder]] = {
    "bgr24": (3, np.uint8, "bgr"),
    "rgb24": (3, np.uint8, "rgb"),
    "bgra": (4, np.uint8, "bgr"),
    "rgba": (4, np.uint8, "rgb"),
    "gray": (1, np.uint8, "bgr"),
    "bgr48le": (3, np.uint16, "bgr"),
    "rgb48le": (3, np.uint16, "rgb"),
    "gray16le": (1, np.uint16, "bgr"),
}
"""FFmpeg's names of pixel formats -> (channels, type of a sample, channel order)."""


@dataclass(frozen=True)
class RawVideo:
    """What raw frames look like.

    Attributes:
        format: FFmpeg's name of the pixel format, a key of `FORMATS`.
    """

    width: int
    height: int
    format: str

    @property
    def channel_order(self) -> ChannelOrder:
        return FORMATS[self.format][2]

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W) or (H, W, C), as arrays of such frames have it."""
        channels = FORMATS[self.format][0]
        return (self.height, self.width) if channels == 1 else (self.height, self.width, channels)

    @property
    def stored(self) -> np.dtype[np.unsignedinteger]:
        """The type of a sample in the file: 16 bit have the low byte first."""
        return np.dtype(FORMATS[self.format][1]).newbyteorder("<")

    @property
    def nbytes(self) -> int:
        """Bytes of one frame."""
        return self.width * self.height * FORMATS[self.format][0] * self.stored.itemsize

    def frames(self, file: BinaryIO) -> Iterator[np.ndarray]:
        """Frames of a buffered pipe or file, to its end.

        Raises:
            DamagedImageError: it ends within a frame.
        """
        number = 0
        while data := file.read(self.nbytes):
            if len(data) < self.nbytes:
                raise DamagedImageError(
                    f"ends within frame {number}: {len(data):,} of {self.nbytes:,} bytes",
                    remedy="are size and pixel format those of the frames?",
                )
            frame = np.frombuffer(data, self.stored).reshape(self.shape)
            yield frame.astype(FORMATS[self.format][1])
            number += 1

    def pack(self, frame: np.ndarray) -> bytes:
        """The bytes of a frame as `frames` gives it."""
        return frame.astype(self.stored).tobytes()


def parse_raw(text: str) -> RawVideo:
    """`1280x720:bgr24` -> its parts. Raises `OptionError`."""
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4}):(\w+)", text)
    if match is None or match[3] not in FORMATS:
        raise OptionError(
            f"raw={text!r} is not WIDTHxHEIGHT:FORMAT", remedy=f"formats: {', '.join(FORMATS)}"
        )
    return RawVideo(int(match[1]), int(match[2]), match[3])


def pipe(
    operation: Operation,
    raw: RawVideo,
    source: BinaryIO,
    sink: BinaryIO,
    *,
    depth: int = DEPTH,
    threads: int = 1,
) -> int:
    """Frames of `source` through `operation` into `sink`, in the same format; returns how many.

    Raises:
        UsageError: the operation does not give one image for an image.
        DamagedImageError: the source ends within a frame; whole frames have been written.
        Further what a frame raises; `OSError` when nobody reads the sink any more.
    """
    step = frame_filter(operation, raw.channel_order)
    count = 0
    for result in stream(step, raw.frames(source), depth=depth, threads=threads):
        sink.write(raw.pack(result))
        sink.flush()  # whoever reads may be showing it
        count += 1
    return count
