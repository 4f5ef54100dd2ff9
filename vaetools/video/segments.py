"""Encoded segments on disk: a long video is written piece by piece, and resumed after the last one.

A segment is a file in a folder of its own: a line of JSON, then the packets. It begins with a key
frame and is encoded on its own, so that segments are joined without encoding them again. It gets its
name when it is complete; a damaged one counts as missing, with those after it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import zlib
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from vaetools.errors import OutputError, UnsupportedImageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vaetools.video.encoding import Encoding
    from vaetools.video.reading import VideoInfo

LENGTH = 48
"""Frames per segment: about two seconds, the usual distance of key frames on the web."""

MAX_BYTES = 64 * 2**20
"""A segment ends when its packets are larger, which happens with lossless codecs."""

MAX_HEAD = 2**20
"""Largest line of JSON in bytes."""

_EXTRA = "matroska_block_additional"
"""Side data of packets that hold the alpha channel in WebM."""


@dataclass(frozen=True)
class StoredPacket:
    """A packet of an encoder.

    Attributes:
        data: Its bytes.
        pts: Time in the encoder's time base.
        is_key: Whether it is a key frame.
        extra: Side data with an alpha channel; usually empty.
    """

    data: bytes
    pts: int
    is_key: bool
    extra: bytes = b""


class SegmentFolder:
    """The segments of one video.

    Args:
        folder: The folder, which is created.
        work: Identifies everything that determines the segments. Segments of other work are removed.

    Raises:
        OutputError: The folder cannot be used: a link, or not writable.
    """

    def __init__(self, folder: Path, work: str) -> None:
        self.folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid not in _own_ids(status):
                raise OutputError("is not a folder of this user", file=folder, remedy="remove it")
            if _read_small(folder / "work") != work.encode():
                self._clear()
                _write_new(folder / "work", work.encode())
            for part in folder.glob("*.part*"):
                part.unlink()
        except OSError as error:
            raise OutputError(
                f"cannot be written: {error.strerror or error}", file=folder
            ) from error
        self._heads = list(self._read_heads())

    def _clear(self) -> None:
        for path in self.folder.iterdir():
            if not path.name.startswith(".vaetools"):  # the lock
                path.unlink()

    @property
    def frames(self) -> int:
        """Number of frames in the segments that follow one another from frame 0."""
        return sum(len(head["times"]) for head in self._heads)

    @property
    def extradata(self) -> bytes:
        """The codec's header, which all segments share."""
        return bytes.fromhex(self._heads[0]["extradata"]) if self._heads else b""

    @property
    def times(self) -> list[tuple[int, int]]:
        """(pts, duration) of all frames."""
        return [(int(pts), int(length)) for head in self._heads for pts, length in head["times"]]

    def packets(self) -> Iterator[StoredPacket]:
        """The packets of all segments. Raises `OutputError` if one was changed since it was written."""
        for head in self._heads:
            found = _content(self.folder / _name(head["first"]))
            if found is None or found[0] != head:
                raise OutputError("a segment of the video was changed", file=self.folder)
            yield from _unpack(head, found[1])

    def add(
        self, times: list[tuple[int, int]], packets: list[StoredPacket], extradata: bytes
    ) -> None:
        """Add the next segment. Raises `OSError`, or `OutputError` if the codec's header differs."""
        if self._heads and extradata != self.extradata:
            raise OutputError("the encoder's header changed within the video", file=self.folder)
        payload = b"".join(packet.data + packet.extra for packet in packets)
        head = {
            "first": self.frames,
            "times": [list(time) for time in times],
            "extradata": extradata.hex(),
            "packets": [[len(p.data), len(p.extra), p.pts, p.is_key] for p in packets],
            "crc": zlib.crc32(payload),
        }
        line = json.dumps(head, separators=(",", ":")).encode()
        path = self.folder / _name(self.frames)
        part = path.with_suffix(".part")
        _write_new(part, line + b"\n" + payload)
        part.replace(path)
        self._heads.append(head)

    def remove(self) -> None:
        """Remove the folder."""
        with contextlib.suppress(OSError):
            shutil.rmtree(self.folder)

    def _read_heads(self) -> Iterator[dict[str, Any]]:
        frames, extradata = 0, None
        while (found := _content(self.folder / _name(frames))) is not None:
            head = found[0]
            if head["first"] != frames or extradata not in (None, head["extradata"]):
                return
            extradata = head["extradata"]
            frames += len(head["times"])
            yield head


def _own_ids(status: os.stat_result) -> set[int]:
    return {os.geteuid()} if hasattr(os, "geteuid") else {status.st_uid}


def _name(first: int) -> str:
    return f"{first:09}.segment"


def _write_new(path: Path, data: bytes) -> None:
    """Write a file that does not exist, through to the disk. Raises `OSError`."""
    path.unlink(missing_ok=True)
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _open_regular(path: Path) -> int:
    """A file descriptor; no link is followed and no FIFO is waited for. Raises `OSError`."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(path, flags | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise FileNotFoundError(path)
    return handle


def _read_small(path: Path) -> bytes | None:
    try:
        with os.fdopen(_open_regular(path), "rb") as file:
            return file.read(4096)
    except OSError:
        return None


def _content(path: Path) -> tuple[dict[str, Any], bytes] | None:
    """(head, payload) of a segment; None if it is missing or damaged."""
    try:
        with os.fdopen(_open_regular(path), "rb") as file:
            head = json.loads(file.readline(MAX_HEAD))
            payload = file.read()
        sizes = [size for packet in head["packets"] for size in packet[:2]]
        first_is_key = bool(head["packets"][0][3])
        is_whole = (
            min(sizes) >= 0 and sum(sizes) == len(payload) and zlib.crc32(payload) == head["crc"]
        )
        times = [(int(pts), int(length)) for pts, length in head["times"]]
        bytes.fromhex(head["extradata"])
    except (OSError, ValueError, TypeError, KeyError, IndexError, RecursionError):
        return None
    return (head, payload) if is_whole and first_is_key and times else None


def _unpack(head: dict[str, Any], payload: bytes) -> Iterator[StoredPacket]:
    at = 0
    for size, extra, pts, is_key in head["packets"]:
        data = payload[at : at + size]
        at += size
        yield StoredPacket(data, pts, is_key, payload[at : at + extra])
        at += extra


class SegmentEncoder:
    """Encodes frames into segments.

    Args:
        store: Takes the segments.
        encoding: How to encode.
        info: What the frames are.
    """

    def __init__(self, store: SegmentFolder, encoding: Encoding, info: VideoInfo) -> None:
        self._store = store
        self.pix_fmt: str = encoding.pix_fmt
        self._encoding = encoding
        self._info = info
        self._base = encoding.time_base(info)
        self._size = 0
        self._times: list[tuple[int, int]] = []
        self._packets: list[StoredPacket] = []
        self._context: Any = None
        self._extradata = b""

    def write(self, frame: Any, pts: int, duration: int) -> None:
        """Add a frame of PyAV in the encoder's pixel format.

        Raises:
            UnsupportedImageError: The container has a constant frame rate, and the video has not.
            OutputError: The encoder does not do what it should.
            OSError, av.FFmpegError: It cannot be written.
        """
        pts, duration = self._ticks(pts, duration)
        if self._context is None:
            self._open()
        frame.pts, frame.duration, frame.time_base = pts, duration, self._base
        self._times.append((pts, duration))
        self._keep(self._context.encode(frame))
        if len(self._times) == LENGTH or self._size > MAX_BYTES:
            self.finish()

    def _ticks(self, pts: int, duration: int) -> tuple[int, int]:
        """A time and a duration in the encoder's time base."""
        ratio = self._info.time_base / self._base
        number = self._store.frames + len(self._times)
        if not self._encoding.is_constant_rate:
            return round(pts * ratio), round(duration * ratio)
        nearest, last = round(pts * ratio), self._last
        if abs(pts * ratio - nearest) <= Fraction(1, 8) and nearest > last:
            return nearest, 1  # the muxer repeats frames over gaps
        if abs(pts * ratio - number) > Fraction(1, 2) or number <= last:
            raise UnsupportedImageError(
                f"the frame rate is not constant, or the video does not begin at 0 (frame {number}), "
                f"which {self._encoding.suffix} cannot hold",
                remedy="write .mp4, .mkv or .webm",
            )
        return number, 1

    @property
    def _last(self) -> int:
        times = self._times or self._store.times[-1:]
        return times[-1][0] if times else -1

    def finish(self) -> None:
        """Store the frames since the last segment as one. Raises as `write` does."""
        if self._context is None:
            return
        self._keep(self._context.encode(None))
        if [packet.pts for packet in self._packets] != [pts for pts, _ in self._times]:
            raise OutputError(f"{self._encoding.codec} did not return one packet for each frame")
        self._store.add(self._times, self._packets, self._extradata)
        self._context, self._times, self._packets, self._size = None, [], [], 0

    def interrupt(self) -> None:
        """Store what there is, if it is whole: the frame in work may be lost."""
        with contextlib.suppress(Exception):
            self.finish()

    def _open(self) -> None:
        import av

        from vaetools.video.encoding import configure

        self._context = av.CodecContext.create(self._encoding.codec, "w")
        configure(self._context, self._encoding, self._info)
        self._context.open()
        self._extradata = bytes(self._context.extradata or b"")

    def _keep(self, packets: list[Any]) -> None:
        for packet in packets:
            extra = bytes(packet.get_sidedata(_EXTRA)) if packet.has_sidedata(_EXTRA) else b""
            data = bytes(packet)
            self._size += len(data)
            self._packets.append(StoredPacket(data, packet.pts, bool(packet.is_keyframe), extra))
