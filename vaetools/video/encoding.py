"""Which codec and pixel format a video is written with, and what that changes."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from vaetools.errors import OptionError, OutputError
from vaetools.video.colour import BT601, FULL, LIMITED, UNSPECIFIED, Colours, usual_matrix
from vaetools.video.matroska import display_size

if TYPE_CHECKING:
    import av

    from vaetools.video.reading import VideoInfo

QUALITY = 18
"""Default quality: H.264 at this constant rate factor is hardly distinguishable from its source."""

MPEG4_TICKS = 60000
"""Ticks per second of MPEG-4 Part 2, which has 16 bits for them; a multiple of usual frame rates."""

MUXERS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".avi": "avi",
    ".ts": "mpegts",
    ".mts": "mpegts",
    ".m2ts": "mpegts",
    ".flv": "flv",
    ".3gp": "3gp",
}
"""FFmpeg's muxer by the suffix of an output."""

FOURCCS = {
    "avc1": "libx264",
    "h264": "libx264",
    "x264": "libx264",
    "hvc1": "libx265",
    "hev1": "libx265",
    "hevc": "libx265",
    "h265": "libx265",
    "x265": "libx265",
    "vp90": "libvpx-vp9",
    "vp80": "libvpx",
    "mp4v": "mpeg4",
    "xvid": "mpeg4",
    "divx": "mpeg4",
    "fmp4": "mpeg4",
    "mjpg": "mjpeg",
    "ffv1": "ffv1",
    "apch": "prores_ks",
    "apcn": "prores_ks",
    "ap4h": "prores_ks",
    "png": "png",
    "rle": "qtrle",
    "hfyu": "huffyuv",
}
"""FFmpeg's encoder by the codes that `--fourcc` takes, in lower case."""

_ALPHA = {".mov": "ap4h", ".mkv": "ffv1", ".webm": "vp90"}
"""Codes of what keeps an alpha channel."""

_PROFILES = {"apcn": "standard", "apch": "hq", "ap4h": "4444"}
"""Profiles of ProRes."""

_FORMATS = {
    "libx264": ("yuv420p", "yuv444p", "yuv420p10le", "yuv444p10le"),
    "libx265": ("yuv420p", "yuv444p", "yuv420p10le", "yuv444p10le"),
    "libvpx-vp9": ("yuv420p", "yuv420p", "", ""),  # the library in PyAV is built for 8 bit
    "libvpx": ("yuv420p", "yuv420p", "", ""),
    "mpeg4": ("yuv420p", "", "", ""),
    "mjpeg": ("yuvj420p", "yuvj444p", "", ""),
    "ffv1": ("bgr0", "bgr0", "gbrp16le", "gbrp16le"),
    "prores_ks": ("yuv422p10le", "yuv422p10le", "yuv422p10le", "yuv422p10le"),
    "ap4h": ("yuv444p10le", "yuv444p10le", "yuv444p10le", "yuv444p10le"),
    "png": ("rgb24", "rgb24", "rgb48be", "rgb48be"),
    "qtrle": ("rgb24", "rgb24", "", ""),
    "huffyuv": ("rgb24", "rgb24", "", ""),
}
"""Pixel formats for 8 bit and even sides, 8 bit and odd sides, and the same for more than 8 bit.

By the encoder, or by a code of `FOURCCS` that is not as the others of its encoder.
"""

_ALPHA_FORMATS = {
    "libvpx-vp9": ("yuva420p", ""),
    "ffv1": ("bgra", "gbrap16le"),
    "ap4h": ("yuva444p10le", "yuva444p10le"),
    "png": ("rgba", "rgba64be"),
    "qtrle": ("argb", ""),
}
"""Pixel formats with alpha, for 8 bit and for more; by encoder or code as well."""

_FIXED_COLOURS = {"mjpeg": (BT601, FULL), "libvpx": (BT601, LIMITED)}
"""Matrix and range of codecs that are always the same."""

_HOLD_RANGE = frozenset({"libx264", "libx265", "libvpx-vp9"})
"""Encoders that write matrix and range into the frames; frames of others have limited range."""

_HOLD_COLOURS = frozenset({"libx264", "libx265", "prores_ks"})
"""Encoders that write matrix, primaries and transfer function into the frames."""

_LIKE_BT709, _LIKE_BT709_CURVES = (1, UNSPECIFIED, 5, 6), (1, UNSPECIFIED, 6, 14, 15)
"""Tags that players treat as they do BT.709 or none."""

_LUMA = 64
"""Columns and rows for which those of chroma are compared."""

_HAVE_ASPECT = frozenset({"libx264", "libx265", "mpeg4"})
"""Encoders that write the sample aspect ratio into the frames."""


@dataclass(frozen=True)
class Encoding:
    """How a video is written.

    Attributes:
        suffix: Suffix of the file, in lower case.
        codec: FFmpeg's name of the encoder.
        pix_fmt: FFmpeg's name of the pixel format.
        colours: What frames are converted to, and tagged with.
        options: Options of the encoder.
        tag: Code of the codec in the container; empty for the usual one.
        notes: What is not kept, one line each.
    """

    suffix: str
    codec: str
    pix_fmt: str
    colours: Colours = field(default_factory=Colours)
    options: dict[str, str] = field(default_factory=dict)
    tag: str = ""
    notes: tuple[str, ...] = ()

    @property
    def muxer(self) -> str:
        """FFmpeg's name of the container."""
        return MUXERS[self.suffix]

    @property
    def is_constant_rate(self) -> bool:
        """Whether the container holds no frame times."""
        return self.muxer == "avi"

    def display_size(self, info: VideoInfo) -> tuple[int, int] | None:
        """The size that Matroska must hold because the codec has no sample aspect ratio."""
        if info.aspect == 1 or self.muxer not in ("matroska", "webm") or self.codec in _HAVE_ASPECT:
            return None
        return display_size(info.width, info.height, info.aspect)

    def time_base(self, info: VideoInfo) -> Fraction:
        """Unit of the encoder's frame times, in seconds."""
        if self.is_constant_rate:
            return 1 / info.rate.limit_denominator(65535)
        if self.codec == "mpeg4" and info.time_base.denominator > MPEG4_TICKS:
            return Fraction(1, MPEG4_TICKS)
        return info.time_base


def check_output(suffix: str, fourcc: str | None) -> None:
    """Raise `OptionError` for a container or a codec that cannot be written."""
    if suffix.lower() not in MUXERS:
        raise OptionError(
            f"no video is written to {suffix or 'a file without a suffix'}",
            remedy=f"write one of {' '.join(MUXERS)}",
        )
    if fourcc is None:
        return
    if len(fourcc.strip()) not in (3, 4) or not fourcc.isascii():
        raise OptionError(f"fourcc={fourcc!r} is not four letters, such as avc1")
    if fourcc.strip().lower() not in FOURCCS:
        known = ", ".join(code for code in FOURCCS)
        raise OptionError(f"fourcc={fourcc!r} is not known", remedy=f"codes: {known}")


def choose(suffix: str, fourcc: str | None, quality: int, info: VideoInfo) -> Encoding:
    """The encoding of a video with these frames, in a file with this suffix.

    Raises:
        OptionError: Nothing is known about the suffix or the code.
        OutputError: The container or the codec cannot hold frames of this kind.
    """
    suffix = suffix.lower()
    check_output(suffix, fourcc)
    code = fourcc.strip().lower() if fourcc else _usual(suffix, info)
    codec = FOURCCS[code]
    pix_fmt = _pixel_format(code, suffix, info)
    _check_pair(codec, suffix, fourcc)
    colours = _colours(codec, suffix, info)
    notes = _notes(codec, pix_fmt, colours, suffix, info)
    encoding = Encoding(suffix, codec, pix_fmt, colours, notes=notes)
    encoding = replace(encoding, tag=_tag(code, encoding.muxer))
    return replace(encoding, options=_options(encoding, code, quality, info))


def _tag(code: str, muxer: str) -> str:
    """The code in the container, where another than FFmpeg's is asked for or better."""
    if FOURCCS[code] == "libx265" and muxer in ("mp4", "mov", "3gp"):
        return "hev1" if code == "hev1" else "hvc1"  # Apple's players know no other than hvc1
    return code.upper() if code in ("xvid", "divx") and muxer == "avi" else ""


def _usual(suffix: str, info: VideoInfo) -> str:
    """The code of what a container is usually written with. Raises `OutputError` without any."""
    wide = info.layout.bits > 8
    if info.layout.has_alpha:
        if suffix not in _ALPHA:
            raise OutputError(
                f"the video has an alpha channel, which is not written to {suffix}",
                remedy="write .mov (ProRes 4444), .webm (VP9, 8 bit) or .mkv (FFV1)",
            )
        return _ALPHA[suffix]
    if suffix == ".webm":
        return "vp90"
    if suffix == ".avi":
        return "mjpg"
    return "hvc1" if wide else "avc1"


def _check_pair(codec: str, suffix: str, fourcc: str | None) -> None:
    """Raise `OptionError` if the container does not take the codec."""
    import av

    with av.open(io.BytesIO(), "w", format=MUXERS[suffix]) as container:
        try:
            container.add_mux_stream(codec)
        except ValueError:
            raise OptionError(
                f"fourcc={fourcc!r} is not written to {suffix}", remedy="write .mkv or .mov"
            ) from None


def _pixel_format(code: str, suffix: str, info: VideoInfo) -> str:
    """Raises `OutputError` if the codec has none that keeps the frames."""
    wide, codec = info.layout.bits > 8, FOURCCS[code]
    if info.layout.has_alpha:
        found = (_ALPHA_FORMATS.get(code) or _ALPHA_FORMATS.get(codec, ("", "")))[wide]
        problem = "an alpha channel" + (f" of {info.layout.bits} bits per sample" if wide else "")
    else:
        odd = bool((info.width | info.height) & 1)
        found = (_FORMATS.get(code) or _FORMATS[codec])[2 * wide + odd]
        kinds = [f"{info.layout.bits} bits per sample"] * wide
        kinds += [f"odd sides ({info.width}×{info.height})"] * odd
        problem = " and ".join(kinds)
    if not found:
        raise OutputError(
            f"the video has {problem}, which {codec} in {suffix} does not keep",
            remedy=f"write {_remedy(info)}",
        )
    return found


def _remedy(info: VideoInfo) -> str:
    """Containers that keep such frames."""
    if info.layout.has_alpha:
        return ".mov or .mkv"
    return ".mp4, .mov or .mkv" if info.layout.bits > 8 else ".mp4, .mkv or .webm"


def _colours(codec: str, suffix: str, info: VideoInfo) -> Colours:
    """Colours that the codec and the container can hold, as close to those of the source as can be."""
    colours = info.colours
    if codec in _FIXED_COLOURS:
        matrix, levels = _FIXED_COLOURS[codec]
        colours = replace(
            colours, matrix=matrix, matrix_used=matrix, range=levels, range_used=levels
        )
    elif codec not in _HOLD_RANGE:
        colours = replace(colours, range=min(colours.range, LIMITED), range_used=LIMITED)
    if not _hold_tags(codec, MUXERS[suffix], colours):
        is_known = codec in _FIXED_COLOURS or codec in _HOLD_RANGE
        matrix = colours.matrix if is_known else UNSPECIFIED
        colours = replace(colours, primaries=UNSPECIFIED, transfer=UNSPECIFIED, matrix=matrix)
    if colours.matrix == UNSPECIFIED:
        colours = replace(colours, matrix_used=usual_matrix(info.height))
    return colours


def _hold_tags(codec: str, muxer: str, colours: Colours) -> bool:
    """Whether all tags have a place in the frames or in the container."""
    if codec in _HOLD_COLOURS or muxer in ("matroska", "webm"):
        return True
    # FFmpeg writes all of them to MP4 and QuickTime, or none.
    tags = (colours.primaries, colours.transfer, colours.matrix)
    return muxer in ("mp4", "mov") and UNSPECIFIED not in tags


def _notes(
    codec: str, pix_fmt: str, colours: Colours, suffix: str, info: VideoInfo
) -> tuple[str, ...]:
    notes = []
    sampling, source = _sampling(pix_fmt), _sampling(info.layout.name)
    if not info.layout.is_grey and (sampling[0] < source[0] or sampling[1] < source[1]):
        name = "4:2:0" if sampling[1] < _LUMA else "4:2:2"
        notes.append(
            f"colour is written at half the resolution ({name}, the source is {info.layout.name}); "
            "vaetools run --fourcc FFV1 to .mkv keeps it"
        )
    if info.layout.bits > 10 and "10le" in pix_fmt:
        notes.append(f"samples are written with 10 bits (the source has {info.layout.bits})")
    if (info.width | info.height) & 1 and codec == "libx264":
        notes.append(
            f"sides are odd ({info.width}×{info.height}): written as H.264 4:4:4, "
            "which some browsers do not play; .webm plays in all"
        )
    tags = info.colours
    lost = colours.primaries != tags.primaries and tags.primaries not in _LIKE_BT709
    if lost or (colours.transfer != tags.transfer and tags.transfer not in _LIKE_BT709_CURVES):
        notes.append(f"the primaries and the transfer function are not kept in {suffix}")
    if info.hdr and codec not in ("libx264", "libx265"):
        notes.append(f"the HDR metadata {', '.join(info.hdr)} are not kept in {suffix}")
    return tuple(notes)


def _sampling(pix_fmt: str) -> tuple[int, int]:
    """(columns, rows) of chroma for `_LUMA` of each."""
    import av

    layout = av.VideoFormat(pix_fmt)
    return layout.chroma_width(_LUMA), layout.chroma_height(_LUMA)


def _options(encoding: Encoding, code: str, quality: int, info: VideoInfo) -> dict[str, str]:
    codec = encoding.codec
    if codec == "libx264":
        values = {
            "mastering-display" if k == "master-display" else "cll": v for k, v in info.hdr.items()
        }
        parameters = {"x264-params": ":".join(f"{k}={v}" for k, v in values.items())}
        return {"crf": str(quality), "preset": "medium", "bf": "0"} | (parameters if values else {})
    if codec == "libx265":
        values = {"log-level": "none", "open-gop": "0", "bframes": "0", **info.hdr}
        if info.colours.transfer == 16:
            values |= {"hdr10": "1", "repeat-headers": "1"}
        joined = ":".join(f"{key}={value}" for key, value in values.items())
        return {"crf": str(quality), "preset": "medium", "x265-params": joined}
    if codec in ("libvpx-vp9", "libvpx"):
        # VP9's scale ends at 63; both give about the same quality.
        options = {"crf": str(min(63, round(quality * 63 / 51))), "b": "0", "deadline": "good"}
        # Frames that are not shown have packets of their own, and do not go with an alpha channel.
        return options | {"cpu-used": "4", "auto-alt-ref": "0"}
    if codec in ("mjpeg", "mpeg4"):
        return {"qscale": str(max(2, round(quality / 6)))}
    if codec == "prores_ks":
        return {"profile": _PROFILES[code], "vendor": "apl0"}
    return {}


def configure(context: av.VideoCodecContext, encoding: Encoding, info: VideoInfo) -> None:
    """Set up an encoder that is not open yet."""
    from av.codec.context import Flags

    context.width, context.height = info.width, info.height
    context.pix_fmt = encoding.pix_fmt
    context.time_base, context.framerate = encoding.time_base(info), info.rate
    context.sample_aspect_ratio = info.aspect
    is_rgb = encoding.pix_fmt.startswith(("bgr", "rgb", "gbr", "argb"))
    colours = encoding.colours
    context.colorspace = 0 if is_rgb else colours.matrix
    context.color_range = 2 if is_rgb else colours.range
    context.color_primaries, context.color_trc = colours.primaries, colours.transfer
    options: dict[str, Any] = dict(encoding.options)
    if "qscale" in options:
        context.flags |= Flags.qscale
        context.global_quality = int(options.pop("qscale")) * 118  # FF_QP2LAMBDA
    if encoding.muxer not in ("avi", "mpegts"):
        context.flags |= Flags.global_header
    if encoding.tag:
        context.codec_tag = encoding.tag
    context.options = options
    context.thread_count = 0
