"""The output file: encoded segments joined, with sound, subtitles and metadata of the source."""

from __future__ import annotations

import io
import os
from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from vaetools.video.container import (
    damaged,
    main_stream,
    main_streams,
    open_container,
    timed_packets,
)
from vaetools.video.encoding import configure
from vaetools.video.matroska import ROOM, write_display_size
from vaetools.video.places import streams_with_places, without_place
from vaetools.video.timeline import Timeline
from vaetools.video.tracks import (
    SOUND,
    SUBTITLES,
    TEXT,
    Copied,
    Ignored,
    TextSubtitles,
    TranscodedSound,
    codec_name,
    kept_metadata,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import av
    import av.container
    from av.packet import Packet

    from vaetools.video.encoding import Encoding
    from vaetools.video.reading import VideoInfo
    from vaetools.video.segments import SegmentFolder, StoredPacket
    from vaetools.video.tracks import Track


def join(
    store: SegmentFolder,
    out: Path,
    encoding: Encoding,
    info: VideoInfo,
    *,
    source: Path,
    strip: str,
    strict: bool,
) -> list[str]:
    """Write the video of a complete set of segments.

    Args:
        store: The segments.
        out: A file that exists, and is written.
        encoding: Of the segments.
        info: What the frames are.
        source: The video that they were made from.
        strip: Metadata to leave out, see `kept_metadata`.
        strict: Refuse damage of its other streams, instead of copying what can be read.

    Returns:
        What is not kept, one line each.

    Raises:
        OSError, av.FFmpegError: The file cannot be written.
        DamagedImageError: `strict`, and the source is damaged.
    """
    import av

    with open_container(source) as origin:
        options = _muxer_options(encoding, origin.metadata)
        path = f"file:{os.path.abspath(out)}"  # noqa: PTH100
        with av.open(path, "w", format=encoding.muxer, container_options=options) as target:
            writer = _Writer(origin, target, source, strip=strip, strict=strict)
            video: Any = target.add_stream(encoding.codec, rate=info.rate)
            configure(video.codec_context, encoding, info)
            video.time_base = encoding.time_base(info)
            writer.describe(video, main_stream(origin))
            size = encoding.display_size(info)
            if size:
                video.metadata["title"] = video.metadata.get("title", "") + ROOM
            writer.add_streams(encoding.muxer)
            target.metadata.update(kept_metadata(origin.metadata, strip))
            start = Timeline(origin).start
            chapters = [_chapter(chapter, start, strip) for chapter in origin.chapters()]
            if chapters:
                target.set_chapters(chapters)
            target.start_encoding()
            writer.mux(_video_packets(store, video))
        if size:
            write_display_size(out, size)
        tags = kept_metadata(origin.metadata, strip)
        languages = [s.metadata.get("language") for s in origin.streams.audio]
    return writer.notes + _lost(tags, languages, has_chapters=bool(chapters), out=out)


def check_tracks(source: Path, encoding: Encoding, *, strip: str) -> None:
    """Open the encoders for the other streams of a video, before hours of work on its frames.

    Raises:
        OutputError: An encoder does not take what there is.
    """
    import av

    with (
        open_container(source) as origin,
        av.open(io.BytesIO(), "w", format=encoding.muxer) as target,
    ):
        _Writer(origin, target, source, strip=strip, strict=False).add_streams(encoding.muxer)


def _muxer_options(encoding: Encoding, metadata: dict[str, str]) -> dict[str, str]:
    if encoding.is_constant_rate:  # sound that begins before 0 would move the frames off their grid
        return {"avoid_negative_ts": "disabled"}
    if encoding.muxer not in ("mp4", "mov", "3gp"):
        return {}
    own_keys = any("." in key for key in metadata)  # such as com.apple.quicktime.make
    flags = "+faststart+use_metadata_tags" if own_keys else "+faststart"
    return {"movflags": flags}


def _chapter(chapter: Any, shift: Fraction, strip: str) -> Any:
    base = chapter["time_base"] or Fraction(1, 1000)
    offset = round(shift / base)
    times = {"start": chapter["start"] - offset, "end": chapter["end"] - offset}
    return {**chapter, **times, "metadata": kept_metadata(chapter["metadata"], strip)}


def _lost(
    tags: dict[str, str], languages: list[str | None], *, has_chapters: bool, out: Path
) -> list[str]:
    """Which metadata the container did not take."""
    with open_container(out) as written:
        found = {key.lower() for key in written.metadata}
        found |= {key.lower() for stream in written.streams for key in stream.metadata}
        lost = sorted(key for key in tags if key.lower() not in found)
        if has_chapters and not written.chapters():
            lost.append("chapters")
        named = {s.metadata.get("language") for s in written.streams.audio}
        if any(language not in (None, "und", *named) for language in languages):
            lost.append("languages")
    return [f"metadata that {out.suffix} does not hold: {', '.join(lost)}"] if lost else []


def _video_packets(store: SegmentFolder, stream: av.VideoStream) -> Iterator[Packet[Any]]:
    """The packets of all segments. No frame depends on a later one: each is decoded when shown."""
    times, base = store.times, stream.codec_context.time_base
    ends = [pts for pts, _ in times[1:]]
    last, length = times[-1]
    mean = round((last - times[0][0]) / (len(times) - 1)) if len(times) > 1 else 1
    ends.append(last + (length or max(1, mean)))
    end_of = {pts: end for (pts, _), end in zip(times, ends, strict=True)}
    for stored in store.packets():
        packet = _packet(stored)
        packet.pts = packet.dts = stored.pts
        packet.duration = end_of[stored.pts] - stored.pts
        packet.time_base, packet.stream = base, stream
        yield packet


def _packet(stored: StoredPacket) -> Any:
    import av
    from av.packet import PacketSideData, packet_sidedata_type_from_literal

    packet = av.Packet(stored.data)
    packet.is_keyframe = stored.is_key
    if stored.extra:
        kind = packet_sidedata_type_from_literal("matroska_block_additional")
        extra: Any = PacketSideData(kind, len(stored.extra))  # type: ignore[call-arg]
        extra.update(stored.extra)
        packet.set_sidedata(extra)
    return packet


class _Writer:
    """Copies the streams of a source that are not the video."""

    def __init__(
        self,
        origin: av.container.InputContainer,
        target: av.container.OutputContainer,
        source: Path,
        *,
        strip: str,
        strict: bool,
    ) -> None:
        self._source = source
        self._strict = strict
        self.notes: list[str] = []
        self._origin = origin
        self._target = target
        self._strip = strip
        self._tracks: dict[int, Track] = {}
        self._last: dict[int, int] = {}
        self._covers: set[int] = set()

    def describe(self, out: Any, source: Any) -> None:
        """Give a stream the language, title and role of another."""
        out.metadata.update(kept_metadata(source.metadata, self._strip))
        language = source.metadata.get("language")
        if language:
            out.metadata["language"] = language
        out.disposition = source.disposition

    def add_streams(self, muxer: str) -> None:
        """Add all streams that the container takes; note the others."""
        lost: Counter[str] = Counter()
        main = main_stream(self._origin)
        placed = streams_with_places(self._source) if self._strip != "none" else set()
        for stream in self._origin.streams:
            if stream.index == main.index:
                continue
            if stream.index in placed:
                lost["subtitles with positions"] += 1
                continue
            try:
                track = self._track(stream, muxer)
            except ValueError:  # FFmpeg does not write this codec to this container
                track = None
            if track is not None:
                self._tracks[stream.index] = track
            elif not self._is_kept_otherwise(stream, muxer):
                lost[_kind(stream)] += 1
        self.notes += [f"not kept: {count} × {kind}" for kind, count in lost.items()]

    def _is_kept_otherwise(self, stream: Any, muxer: str) -> bool:
        """Attachments have no packets; a track of a time code is written for its metadata."""
        if stream.type == "attachment":
            return muxer == "matroska"
        if stream.type != "data":
            return False
        if stream.name == "bin_data" and self._origin.chapters():  # their titles, in MP4
            return True
        return "timecode" in stream.metadata and muxer in ("mp4", "mov")

    def _track(self, stream: Any, muxer: str) -> Track | None:
        """The track of a stream; None if the container does not take it."""
        name = codec_name(stream)
        if stream.type == "audio" and name:
            return self._sound(stream, name, muxer)
        if stream.type == "subtitle" and name and muxer in SUBTITLES:
            return self._subtitles(stream, name, muxer)
        is_cover = stream.type == "video" and stream not in main_streams(self._origin)
        if is_cover and self._strip in ("exif", "all"):
            return Ignored()
        if is_cover and muxer in ("mp4", "mov"):
            self._covers.add(stream.index)
            return self._copied(stream, without_place if self._strip == "gps" else None)
        if is_cover and muxer == "matroska":
            return self._attached(stream, name)
        if stream.type == "attachment" and muxer == "matroska":
            self._target.add_stream_from_template(stream)
        return None

    def _attached(self, stream: Any, name: str) -> Track:
        """A cover image is a file in Matroska."""
        suffix = {"mjpeg": "jpg"}.get(name, name)
        with open_container(self._source) as other:
            packets = other.demux(other.streams[stream.index])
            data = next((bytes(packet) for packet in packets if packet.size), b"")
        data = without_place(data) if self._strip == "gps" else data
        if not data:
            return Ignored()
        mime = f"image/{'jpeg' if suffix == 'jpg' else suffix}"
        self._target.add_attachment(f"cover.{suffix}", mime, data)
        return Ignored()

    def _sound(self, stream: Any, name: str, muxer: str) -> Track:
        if name in SOUND.get(muxer, {name}):
            try:
                return self._copied(stream)
            except ValueError:
                pass
        track = TranscodedSound(self._target, stream)
        self.describe(self._target.streams[-1], stream)
        self.notes.append(f"sound was converted {track.change}")
        return track

    def _subtitles(self, stream: Any, name: str, muxer: str) -> Track | None:
        if name == SUBTITLES[muxer] or (muxer == "matroska" and name != "mov_text"):
            return self._copied(stream)
        if name not in TEXT:
            return None
        track = TextSubtitles(self._target, stream)
        self.describe(self._target.streams[-1], stream)
        return track

    def _copied(self, stream: Any, change: Callable[[bytes], bytes] | None = None) -> Track:
        out = self._target.add_stream_from_template(stream, opaque=True)
        self.describe(out, stream)
        return Copied(out, change)

    def mux(self, video: Iterator[Packet[Any]]) -> None:
        """Write all packets, in the order of their times."""
        waiting = next(video, None)
        for packet in self._others():
            while waiting is not None and _time(waiting) <= _time(packet):
                self._target.mux_one(waiting)
                waiting = next(video, None)
            self._mux_other(packet)
        while waiting is not None:
            self._target.mux_one(waiting)
            waiting = next(video, None)

    def _mux_other(self, packet: Packet[Any]) -> None:
        """Write a packet; its decoding time is moved if it does not increase, as in worn files."""
        _rescale(packet, packet.stream.time_base)
        last = self._last.get(packet.stream.index)
        if last is not None and packet.dts is not None and packet.dts <= last:
            packet.dts = last + 1
            packet.pts = max(packet.pts or 0, packet.dts)
        if packet.dts is not None:
            self._last[packet.stream.index] = packet.dts
        self._target.mux_one(packet)

    def _others(self) -> Iterator[Packet[Any]]:
        timeline = Timeline(self._origin)
        for packet in timed_packets(self._origin, self._tell_damage):
            timeline.move(packet)
            track = self._tracks.get(packet.stream_index)
            if track is None:
                continue
            if packet.dts is None and packet.pts is None:
                if packet.stream_index in self._covers and packet.size:  # an image without a time
                    packet.pts = packet.dts = 0
                    packet.time_base = Fraction(1, 1000)
                    yield from track.packets(packet)
                continue
            packet.dts = packet.pts if packet.dts is None else packet.dts
            yield from track.packets(packet)
        for track in self._tracks.values():
            yield from track.packets(None)

    def _tell_damage(self, problem: str) -> None:
        if self._strict:
            raise damaged(problem, self._source)
        note = f"damaged: {problem}"
        if note not in self.notes:
            self.notes.append(note)


def _rescale(packet: Any, base: Fraction) -> None:
    ratio = packet.time_base / base
    for name in ("pts", "dts", "duration"):
        value = getattr(packet, name)
        if value is not None:
            setattr(packet, name, round(value * ratio))
    packet.time_base = base


def _time(packet: Packet[Any]) -> Fraction:
    return (packet.dts or 0) * packet.time_base


def _kind(stream: Any) -> str:
    name = codec_name(stream) or stream.name or ""
    kind = {"subtitle": "subtitles", "audio": "sound"}.get(stream.type, f"{stream.type} stream")
    return f"{kind} ({name})" if name else kind
