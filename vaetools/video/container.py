"""Opening video files with FFmpeg's libraries (PyAV), and what their containers say.

Only single files of known containers are opened: playlists and network protocols are not.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from vaetools.errors import DamagedImageError, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import av
    import av.container
    from av.packet import Packet

FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,flv,asf,ogg,dv,mxf,nut,ivf,"
    "rm,wtv,h264,hevc,y4m,yuv4mpegpipe,gxf,vob"
)
"""FFmpeg's demuxers that read one file and nothing else."""

TRANSPORT = (".ts", ".mts", ".m2ts")
"""Suffixes of transport streams."""

HEADS = ((4, b"ftyp"), (4, b"moov"), (4, b"mdat"), (0, b"\x1aE\xdf\xa3"), (0, b"RIFF"), (0, b"FLV"))
"""(offset, bytes) with which video files begin."""


def open_container(path: Path) -> av.container.InputContainer:
    """Open a video file. Raises `UnreadableError` or, for the head of a video, `DamagedImageError`."""
    import av

    options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    # The protocol is named, or a colon in the file name would end one.
    open_as = partial(
        av.open,
        f"file:{os.path.abspath(path)}",  # noqa: PTH100
        options=options,
        metadata_errors="replace",
    )
    try:
        try:
            return open_as()
        except (av.EOFError, av.InvalidDataError, av.ArgumentError):
            if path.suffix.lower() not in TRANSPORT:
                raise
            return open_as(format="mpegts")  # FFmpeg does not recognise a few packets
    except FileNotFoundError:
        raise UnreadableError("does not exist", file=path) from None
    except PermissionError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}", file=path) from error
    except (av.FFmpegError, ValueError, OverflowError) as error:
        if _begins_like_a_video(path):
            raise DamagedImageError("the video is damaged or incomplete", file=path) from error
        raise UnreadableError("is not a video that FFmpeg can read", file=path) from error


def _begins_like_a_video(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError:
        return False
    return any(head[at:].startswith(magic) for at, magic in HEADS)


def scan(path: Path, *, strict: bool) -> tuple[int, str]:
    """Read all packets of a video without decoding them, which takes seconds.

    Returns:
        (the number of frames of the main video stream, or nearly so: some packets are not shown;
        what is damaged, or an empty string).

    Raises:
        DamagedImageError: `strict`, and the file is cut short or has packets that are.
        UnreadableError: As `open_container`.
    """
    count = 0
    problems: list[str] = []
    with open_container(path) as container:
        stream = main_stream(container)
        if is_cut_short(path, container):
            problems.append("the file ends too early")
        for packet in timed_packets(container, problems.append):
            count += packet.stream_index == stream.index and packet.size > 0
    problem = (*problems, "")[0]
    if problem and strict:
        of = f"of {stream.frames} " if stream.frames > count else ""
        raise DamagedImageError(
            f"{problem}, after {count} {of}frames",
            file=path,
            remedy="--lenient keeps these frames" if count else None,
        )
    return count, problem


def timed_packets(
    container: av.container.InputContainer, tell: Callable[[str], None]
) -> Iterator[Packet[Any]]:
    """The packets of pictures, sound and text, up to the end or to one that cannot be read.

    Args:
        container: A file that was just opened.
        tell: Called with what is damaged. It may raise.
    """
    packets = container.demux([s for s in container.streams if s.type in _TIMED])
    while True:
        try:
            packet = next(packets, None)
        except av_error():
            tell("a packet cannot be read")
            return
        if packet is None:
            return
        if packet.is_corrupt:
            tell(f"a packet of the {packet.stream.type} is damaged")
        yield packet


def damaged(problem: str, path: Path) -> DamagedImageError:
    """The error for a video of which a part can be kept."""
    return DamagedImageError(problem, file=path, remedy="--lenient keeps what can be decoded")


def av_error() -> type[Exception]:
    """FFmpeg's errors. PyAV is imported when it is needed, and not before."""
    import av

    return av.FFmpegError


_TIMED = ("video", "audio", "subtitle")


def main_stream(container: av.container.InputContainer) -> av.VideoStream:
    """The video stream that players show. Raises `UnreadableError` if there is none."""
    streams = main_streams(container)
    best: Any = container.streams.best("video")
    if not streams:
        raise UnreadableError("has no video in it")
    return best if best in streams else streams[0]


def main_streams(container: av.container.InputContainer) -> list[av.VideoStream]:
    """The video streams, without cover images."""
    from av.stream import Disposition

    covers = Disposition.attached_pic | Disposition.timed_thumbnails
    return [s for s in container.streams.video if s.codec_context and not s.disposition & covers]


_SEGMENT = b"\x18\x53\x80\x67"


def is_cut_short(path: Path, container: av.container.InputContainer) -> bool:
    """Whether bytes at the end are missing, as far as the container's own sizes tell."""
    size = path.stat().st_size
    kind = container.format.name
    if kind.startswith("mov"):
        ends = (e.pos + e.size for s in container.streams for e in s.index_entries)
        return max(ends, default=0) > size
    with path.open("rb") as file:
        if kind.startswith("matroska"):
            return _is_matroska_cut(file, size)
        head = file.read(8)
    if kind == "avi":
        return head[:4] == b"RIFF" and int.from_bytes(head[4:8], "little") + 8 > size
    return False


def _is_matroska_cut(file: BinaryIO, size: int) -> bool:
    """Whether an element of a Matroska file ends behind the file (RFC 8794, RFC 9559).

    The segment, and elements of unknown size in live recordings, are entered; others are skipped.
    """
    at = 0
    while at < size:
        file.seek(at)
        head = file.read(12)
        id_size = 9 - head[0].bit_length()
        if id_size > 4:  # no element: something behind the end
            return False
        first = head[id_size : id_size + 1]
        length = 9 - first[0].bit_length() if first else 9
        raw = head[id_size : id_size + length]
        if len(raw) < length:
            return True
        ones = (1 << (7 * length)) - 1
        value = int.from_bytes(raw, "big") & ones
        at += id_size + length
        if value != ones:
            if at + value > size:
                return True
            at += 0 if head[:id_size] == _SEGMENT else value
    return False
