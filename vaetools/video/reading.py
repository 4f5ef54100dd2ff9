"""Reading video files with FFmpeg's libraries (PyAV): frames with their times, upright, progressive."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Self

from vaetools.errors import (
    DamagedImageError,
    TooLargeError,
    UnsupportedImageError,
)
from vaetools.video.colour import Colours, Converter, Layout, colours_of, layout_of
from vaetools.video.container import (
    av_error,
    damaged,
    is_cut_short,
    main_stream,
    open_container,
    timed_packets,
)
from vaetools.video.geometry import orientation_of
from vaetools.video.hdr import side_data_not_kept, static_hdr
from vaetools.video.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import av
    import av.container
    import av.video
    import numpy as np
    from av.packet import Packet


@dataclass(frozen=True)
class Frame:
    """A frame with its time.

    Attributes:
        pixels: (H, W, 3) or (H, W, 4) BGR(A); uint8, or uint16 for more than 8 bits per sample.
        pts: Time in units of the video's time base.
        duration: Duration in the same units; 0 if the file does not say.
    """

    pixels: np.ndarray
    pts: int
    duration: int


@dataclass(frozen=True)
class VideoInfo:
    """What a video is, as far as its frames must keep it.

    Attributes:
        width: Width of the upright frames in pixels.
        height: Height of the upright frames in pixels.
        layout: The pixel format of the file.
        colours: Colour tags.
        aspect: Sample aspect ratio, width : height of a pixel.
        time_base: Unit of frame times in seconds.
        rate: Usual frame rate, as FFmpeg guesses it.
        hdr: Static HDR metadata as parameters of x265 and x264, such as `max-cll`.
    """

    width: int
    height: int
    layout: Layout
    colours: Colours
    aspect: Fraction
    time_base: Fraction
    rate: Fraction
    hdr: dict[str, str]


class VideoReader:
    """The frames of a video file, upright and progressive; an iterable and a context manager.

    Args:
        path: The file.
        max_pixels: Largest width × height.
        strict: Refuse damaged videos, instead of giving the frames that can be decoded.

    Attributes:
        info: What the frames are.
        frames: Number of frames according to the container, for a progress display only; 0 if it
            does not say.
        packets: Number of packets with pictures that were read so far.
        side_data: Names of what frames have beside their pixels, and an output has not.
        notes: What was changed, one line each. Complete when all frames were read.

    Raises:
        UnreadableError: The file does not exist or is not a video.
        DamagedImageError: The file is damaged, or has no frames.
        TooLargeError: The frames are larger than `max_pixels`.
        UnsupportedImageError: A feature that cannot be kept.
    """

    def __init__(
        self, path: Path, *, max_pixels: int, strict: bool = True, _reading_alpha: bool = False
    ) -> None:
        self._reading_alpha = _reading_alpha
        self.path = path
        self.notes: list[str] = []
        self._max_pixels = max_pixels
        self._strict = strict
        self.packets = 0
        self.side_data: dict[str, None] = {}
        self._last: int | None = None
        self._deinterlacer: _Deinterlacer | None = None
        self.container: av.container.InputContainer = open_container(path)
        try:
            self.stream: av.video.VideoStream = main_stream(self.container)
            self._check_whole()
            self._check_size(self.stream.codec_context.width, self.stream.codec_context.height)
            self._decoder = self._open_decoder()
            self._frames = self._decoded()
            self._first = self._first_frame()
            self._describe(self._first)
        except BaseException:
            self.close()
            raise

    def _check_whole(self) -> None:
        if self._strict and is_cut_short(self.path, self.container):
            raise DamagedImageError("the file ends too early", file=self.path)

    def _first_frame(self) -> av.VideoFrame:
        frame = next(self._frames, None)
        if frame is None:
            raise DamagedImageError("no frame of the video can be decoded", file=self.path)
        return frame

    def _describe(self, frame: av.VideoFrame) -> None:
        layout = layout_of(frame.format)
        if layout.has_alpha and _is_opaque(frame) and self._is_opaque():
            layout = replace(layout, has_alpha=False)
        orientation = orientation_of(frame)
        height, width = orientation.shape((frame.height, frame.width))
        aspect = Fraction(self.stream.sample_aspect_ratio or 1)
        base = self.stream.time_base or Fraction(1, 1000)
        rate = self.stream.guessed_rate or self.stream.average_rate or Fraction(25)
        self._orientation = orientation
        self.frames: int = self.stream.frames
        self.info: VideoInfo = VideoInfo(
            width=width,
            height=height,
            layout=layout,
            colours=colours_of(frame, layout),
            aspect=1 / aspect if orientation.swaps_sides else aspect,
            time_base=base,
            rate=rate if rate > 0 else Fraction(25),
            hdr=static_hdr(frame),
        )
        self._converter = Converter(self.info.colours)

    def _is_opaque(self) -> bool:
        """Whether all frames are opaque: formats with alpha are often used for videos without."""
        if self._reading_alpha:
            return False
        with VideoReader(
            self.path, max_pixels=self._max_pixels, strict=self._strict, _reading_alpha=True
        ) as other:
            return all(_is_opaque(frame) for frame in other._frames)

    def read(self, skip: int = 0) -> Iterator[Frame]:
        """All frames but the first `skip`, once. Raises as the class does."""
        for number, frame in enumerate(self._from_first()):
            if number >= skip:
                yield self._frame(frame, number)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (frame.pixels for frame in self.read())

    def _from_first(self) -> Iterator[av.VideoFrame]:
        first, self._first = self._first, None  # type: ignore[assignment]
        if first is not None:
            yield first
            del first
        yield from self._frames

    def _frame(self, frame: av.VideoFrame, number: int) -> Frame:
        layout = layout_of(frame.format)
        wanted = self.info.layout
        height, width = self._orientation.shape((frame.height, frame.width))
        if (width, height) != (self.info.width, self.info.height):
            raise UnsupportedImageError(
                f"frame {number} has {width}×{height} pixels in a video of "
                f"{self.info.width}×{self.info.height}",
                file=self.path,
            )
        if (layout.bits > 8 and wanted.bits <= 8) or (layout.is_rgb != wanted.is_rgb):
            raise UnsupportedImageError(
                f"the pixel format changes to {layout.name} at frame {number}", file=self.path
            )
        pixels = self._orientation.apply(self._converter.to_array(frame, layout, wanted.array))
        return Frame(pixels, frame.pts or 0, max(0, frame.duration or 0))

    def _decoded(self) -> Iterator[av.VideoFrame]:
        """Decoded, progressive frames with increasing times, in units of the stream's time base."""
        for frame in self._progressive():
            self._check_size(frame.width, frame.height)
            self._set_time(frame)
            yield frame

    def _set_time(self, frame: av.VideoFrame) -> None:
        """Times that are missing or do not increase follow from those before."""
        base = self.stream.time_base
        if frame.time_base and base and frame.time_base != base:
            ratio = frame.time_base / base
            pts, duration = frame.pts, frame.duration
            frame.time_base = base
            frame.pts = None if pts is None else round(pts * ratio)
            frame.duration = round((duration or 0) * ratio)
        pts = frame.pts if frame.pts is not None else frame.dts
        if self._last is not None and (pts is None or pts <= self._last):
            pts = self._last + max(1, frame.duration or 0)
        frame.pts = self._last = 0 if pts is None else pts

    def _progressive(self) -> Iterator[av.VideoFrame]:
        for frame in self._packets_decoded():
            if self._deinterlacer is None and frame.interlaced_frame:
                self._deinterlacer = _Deinterlacer(frame)
                self.notes.append("interlaced frames were deinterlaced")
            if self._deinterlacer is None:
                yield frame
            else:
                yield from self._deinterlacer.push(frame)
        if self._deinterlacer is not None:
            yield from self._deinterlacer.push(None)

    def _packets_decoded(self) -> Iterator[av.VideoFrame]:
        number = 0
        for packet in self._packets():
            try:
                frames = self._decoder.decode(packet)
            except EOFError:  # flushed twice
                return
            except av_error() as error:
                if self._strict:
                    raise self._damaged(number) from error
                continue
            for frame in frames:
                if frame.is_corrupt and self._strict:
                    raise self._damaged(number)
                number += 1
                self.side_data.update(dict.fromkeys(side_data_not_kept(frame)))
                yield frame

    def _packets(self) -> Iterator[Packet[Any] | None]:
        """All packets of the stream on the timeline of the file, then None."""
        timeline = Timeline(self.container)
        for packet in timed_packets(self.container, self._tell_damage):
            timeline.move(packet)
            # An empty packet repeats the last frame (Theora); it ends a decoder.
            if packet.stream_index == self.stream.index and packet.size:
                self.packets += 1
                yield packet
        yield None

    def _tell_damage(self, problem: str) -> None:
        if self._strict:
            raise damaged(f"{problem}, after {self.packets} frames", self.path)
        note = f"damaged: {problem}"
        if note not in self.notes:
            self.notes.append(note)

    def _damaged(self, number: int) -> DamagedImageError:
        return damaged(f"the video is damaged or ends too early, at frame {number}", self.path)

    def _open_decoder(self) -> Any:
        import av

        context: Any = self.stream.codec_context
        name = {"vp9": "libvpx-vp9", "vp8": "libvpx"}.get(context.name)
        if name and self.stream.metadata.get("alpha_mode", self.stream.metadata.get("ALPHA_MODE")):
            data = context.extradata
            context = av.CodecContext.create(name, "r")  # FFmpeg's own decoder ignores the alpha
            context.extradata = data
            return context
        context.thread_type = "AUTO"
        options = {"max_pixels": str(self._max_pixels)}
        context.options = options | ({"err_detect": "explode"} if self._strict else {})
        return context

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self._max_pixels:
            raise TooLargeError(
                f"{width} × {height} pixels are over the limit of {self._max_pixels:,}",
                file=self.path,
                remedy="raise it with --max-pixels",
            )

    def close(self) -> None:
        """Close the file."""
        self.container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_opaque(frame: av.VideoFrame) -> bool:
    """Whether the alpha channel of a frame has its largest value everywhere."""
    alpha = frame.reformat(format="rgba64le", threads=1).to_ndarray()[..., 3]
    return bool((alpha >= 0xFF00).all())


class _Deinterlacer:
    """FFmpeg's bwdif: one progressive frame for each frame; progressive ones pass unchanged."""

    def __init__(self, frame: av.VideoFrame) -> None:
        from av.filter import Graph

        self._graph = Graph()
        buffer = self._graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=frame.time_base,
        )
        bwdif = self._graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
        self._graph.link_nodes(buffer, bwdif, self._graph.add("buffersink")).configure()

    def push(self, frame: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
        import av

        self._graph.vpush(frame)
        ready: deque[av.VideoFrame] = deque()
        while True:
            try:
                ready.append(self._graph.vpull())
            except (av.BlockingIOError, av.EOFError):
                break
        yield from ready
