"""Sound, subtitles, chapters and metadata of a video: copied, or transcoded where they must be."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

from vaetools.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import av.container
    from av.audio.stream import AudioStream
    from av.packet import Packet
    from av.stream import Stream

_PCM_MOV = frozenset(
    f"pcm_{kind}"
    for kind in ("s16le", "s16be", "s24le", "s24be", "s32le", "f32le", "mulaw", "alaw")
)
SOUND = {
    "mp4": frozenset({"aac", "mp3", "ac3", "eac3", "opus", "alac", "flac"}),
    "mov": frozenset({"aac", "mp3", "ac3", "eac3", "alac"}) | _PCM_MOV,
    "webm": frozenset({"opus", "vorbis"}),
    "avi": frozenset({"mp3", "mp2", "ac3", "pcm_s16le", "pcm_u8", "pcm_s24le"}),
    "mpegts": frozenset({"aac", "mp3", "mp2", "ac3", "eac3"}),
    "flv": frozenset({"aac", "mp3"}),
    "3gp": frozenset({"aac", "amrnb", "amrwb", "amr_nb", "amr_wb"}),
}
"""Codecs that are copied, by FFmpeg's name of the container. Matroska takes all that FFmpeg does."""

SOUND_ENCODERS = {"webm": "libopus", "avi": "libmp3lame"}
"""Encoders for other sound; AAC elsewhere."""

LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""The usual layout of so many channels."""

TEXT = frozenset({"subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text"})
SUBTITLES = {"mp4": "mov_text", "mov": "mov_text", "webm": "webvtt", "matroska": "subrip"}
"""The codec for text that cannot be copied, by container; others take no subtitles."""

ASS_HEADER = (
    b"[Script Info]\r\nScriptType: v4.00+\r\nPlayResX: 384\r\nPlayResY: 288\r\n\r\n"
    b"[V4+ Styles]\r\nFormat: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, "
    b"OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, "
    b"Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding\r\n"
    b"Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1"
    b"\r\n\r\n[Events]\r\n"
    b"Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\r\n"
)
"""What FFmpeg's encoders of subtitles want to know before they are opened."""

_TECHNICAL = re.compile(
    r"major_brand|minor_version|compatible_brands|encoder|duration|rotate|vendor_id|software"
    r"|_statistics.*|bps|number_of_.*|alpha_mode|language|handler_name",
    re.IGNORECASE,
)
"""Metadata that describe the file and not what is in it."""

_PLACE = re.compile(r"location|gps|©xyz|\bxyz\b|loci", re.IGNORECASE)


def kept_metadata(metadata: Mapping[str, str], strip: str) -> dict[str, str]:
    """The metadata of a source that an output has, too.

    Args:
        metadata: Of a container or a stream.
        strip: `none`, `gps` (all but places), or `exif` and `all` (none).
    """
    if strip in ("exif", "all"):
        return {}
    kept = {key: value for key, value in metadata.items() if not _TECHNICAL.fullmatch(key)}
    return {k: v for k, v in kept.items() if not (strip == "gps" and _PLACE.search(k))}


def codec_name(stream: Any) -> str:
    """FFmpeg's name of a codec, not of one of its decoders; empty if there is no decoder."""
    return stream.codec_context.codec.canonical_name if stream.codec_context else ""


class Track(Protocol):
    """A stream of an output."""

    def packets(self, packet: Packet[Any] | None) -> Iterable[Packet[Any]]:
        """Packets of the output for one of the source, or for its end (None)."""


class Copied:
    """A stream whose packets are copied, or changed by a function if there is one."""

    def __init__(self, out: Stream, change: Callable[[bytes], bytes] | None = None) -> None:
        self._out = out
        self._change = change

    def packets(self, packet: Packet[Any] | None) -> Iterable[Packet[Any]]:
        """See `Track`."""
        if packet is None or packet.dts is None:
            return ()
        if self._change is not None:
            packet = _with_data(packet, self._change(bytes(packet)))
        if not packet.size and self._change is not None:  # nothing of it may be kept
            return ()
        packet.stream = self._out
        return (packet,)


def _with_data(packet: Packet[Any], data: bytes) -> Packet[Any]:
    import av

    made: Any = av.Packet(data)
    made.pts, made.dts, made.duration = packet.pts, packet.dts, packet.duration
    made.time_base, made.is_keyframe = packet.time_base, packet.is_keyframe
    return made  # type: ignore[no-any-return]


class Ignored:
    """A stream that is written in another way."""

    def packets(self, packet: Packet[Any] | None) -> Iterable[Packet[Any]]:
        """See `Track`."""
        del packet
        return ()


def _layouts(context: Any) -> Iterable[str]:
    """Layouts of channels for sound, the best first."""
    name, count = context.layout.name, context.layout.nb_channels
    if not name.endswith(" channels"):  # PCM often does not say which ones
        yield name
    if count in LAYOUTS:  # that of the speakers at the back for those at the sides
        yield LAYOUTS[count]
    yield from ("5.1", "stereo", "mono") if count > 6 else ("stereo", "mono")


def _takes(codec: Any, layout: str, rate: int) -> bool:
    """Whether an encoder can be opened for a layout."""
    import av

    context: Any = av.CodecContext.create(codec.name, "w")
    context.format, context.layout, context.sample_rate = codec.audio_formats[0], layout, rate
    context.bit_rate = _bit_rate(layout)
    try:
        context.open()
    except (av.FFmpegError, ValueError):
        return False
    return True


def _bit_rate(layout: str) -> int:
    import av

    return 96_000 * av.AudioLayout(layout).nb_channels


class TranscodedSound:
    """A stream of sound that is decoded and encoded again.

    Attributes:
        change: What that changes, in words.

    Raises:
        OutputError: The encoder of the container does not take such sound.
    """

    def __init__(self, container: av.container.OutputContainer, source: AudioStream) -> None:
        import av

        codec = av.Codec(SOUND_ENCODERS.get(container.format.name, "aac"), "w")
        context: Any = source.codec_context
        rates = codec.audio_rates or (context.sample_rate,)
        rate = context.sample_rate if context.sample_rate in rates else max(rates, key=_preference)
        before = context.layout.name
        layout = next((name for name in _layouts(context) if _takes(codec, name, rate)), None)
        if layout is None:
            raise OutputError(
                f"sound ({codec_name(source)}, {before}) is not written as {codec.name}"
            )
        out: Any = container.add_stream(codec.name, rate=rate)
        out.codec_context.layout = layout
        out.codec_context.bit_rate = _bit_rate(layout)
        out.codec_context.time_base = Fraction(1, rate)
        self.change = f"from {codec_name(source)} to {codec.name}"
        if layout != before and not before.endswith(" channels"):
            self.change += f", and from {before} to {layout}"
        self._out = out
        self._source = context
        self._format: tuple[Any, ...] = ()
        self._converter: Any = None
        self._resampler: Any = None

    def packets(self, packet: Packet[Any] | None) -> Iterable[Packet[Any]]:
        """See `Track`. What cannot be decoded is left out."""
        import av

        if packet is not None and not packet.size:  # it would end the decoder
            return []
        try:
            frames = self._source.decode(packet)
        except (av.FFmpegError, EOFError):
            frames = []
        found = [p for frame in frames for p in self._encoded(frame)]
        if packet is None:
            found += self._encoded(None)
            found += self._out.encode(None)
        return found

    def _encoded(self, frame: Any) -> list[Packet[Any]]:
        context = self._out.codec_context
        if self._resampler is None:
            if frame is None:
                return []
            if not context.is_open:
                context.open()
            self._resampler = self._made(frame_size=context.frame_size or None)
        parts = [p for part in self._converted(frame) for p in self._resampler.resample(part)]
        parts += self._resampler.resample(None) if frame is None else []
        return [packet for part in parts if part for packet in self._out.encode(part)]

    def _converted(self, frame: Any) -> list[Any]:
        """The frame as the encoder wants it; its format may change within a recording."""
        found = frame and (frame.format.name, frame.layout.name, frame.sample_rate)
        left: list[Any] = []
        if found != self._format:
            left = self._converter.resample(None) if self._converter else []
            self._converter, self._format = self._made(), found
        left += self._converter.resample(frame) if frame else []
        return [part for part in left if part]  # a resampler without work passes None on

    def _made(self, **options: Any) -> Any:
        import av

        context = self._out.codec_context
        return av.AudioResampler(
            format=context.format, layout=context.layout, rate=context.sample_rate, **options
        )


def _preference(rate: int) -> tuple[bool, int]:
    return rate == 48000, rate


class TextSubtitles:
    """Subtitles as text in the container's own codec, without styles."""

    def __init__(self, container: av.container.OutputContainer, source: Stream) -> None:
        self._codec = SUBTITLES[container.format.name]
        self._source = codec_name(source)
        out: Any = container.add_stream(self._codec)
        out.codec_context.subtitle_header = ASS_HEADER
        out.time_base = source.time_base
        self._out = out

    def packets(self, packet: Packet[Any] | None) -> Iterable[Packet[Any]]:
        """See `Track`."""
        import av

        if packet is None or packet.pts is None or not packet.size:
            return ()
        text = plain_text(self._source, bytes(packet))
        data = text.encode()
        if self._codec == "mov_text":
            data = len(data[:65535]).to_bytes(2, "big") + data[:65535]
        made: Any = av.Packet(data)
        made.pts = made.dts = packet.pts
        made.duration, made.time_base, made.stream = packet.duration, packet.time_base, self._out
        made.is_keyframe = True
        return (made,)


def plain_text(codec: str, data: bytes) -> str:
    """The text of one subtitle, without styles."""
    if codec == "mov_text":
        size = int.from_bytes(data[:2], "big")
        return data[2 : 2 + size].decode(errors="replace")
    text = data.decode(errors="replace")
    if codec in ("ass", "ssa"):
        text = re.sub(r"\{[^}]*\}", "", text.split(",", 8)[-1])
        return text.replace(r"\N", "\n").replace(r"\n", "\n").strip()
    return re.sub(r"</?[a-zA-Z][^>]*>", "", text).strip()
