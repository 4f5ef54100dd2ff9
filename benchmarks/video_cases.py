"""What a video keeps on its way through an operation: ten cases, made, converted and compared.

    python benchmarks/video_cases.py

Needs the extra `video`; no FFmpeg program. The operation returns each frame as it is.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np

import vaetools
from vaetools.hub import Hub
from vaetools.plugin.host import PluginHost
from vaetools.video import open_video

if TYPE_CHECKING:
    from collections.abc import Callable

    from vaetools.runner import Record

SIZE = (64, 48)
TICKS = 12800
"""Ticks per second of most clips."""


class Same(vaetools.Operation):
    """Return the image as it is."""

    name = "same"

    def process(self, item: vaetools.Image) -> vaetools.Image:
        return item


class Plugin:
    """Registers the operation."""

    @vaetools.hookimpl
    def register_operations(self) -> list[type[vaetools.Operation]]:
        return [Same]


def same_hub() -> Hub:
    """A hub with one operation and no models."""
    host = PluginHost(builtin=False, installed=False)
    hub = Hub(host, [], device="cpu", threads=1)
    hub.register(Plugin())
    return hub


def pattern(number: int, size: tuple[int, int] = SIZE, channels: int = 3) -> np.ndarray:
    """A smooth coloured frame that differs from the others, (H, W, C) uint8 BGR(A)."""
    x, y = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    planes = [40 + 150 * x, 60 + 120 * y, np.full_like(x, 80 + 12 * (number % 10)), 255 * x]
    return np.stack(planes[:channels], axis=2).round().astype(np.uint8)


def write(
    path: Path,
    codec: str,
    pix_fmt: str,
    times: list[int],
    *,
    base: Fraction = Fraction(1, TICKS),
    size: tuple[int, int] = SIZE,
    channels: int = 3,
    sound: str = "",
    seconds: float = 1.0,
    rotation: int = 0,
    options: dict[str, str] | None = None,
    **fields: Any,
) -> Path:
    """Write a clip with frames at these times; `fields` are those of the codec's context."""
    with av.open(str(path), "w") as out:
        fast = {"preset": "ultrafast"} if codec.startswith("libx26") else {}
        stream: Any = out.add_stream(codec, rate=25, options=fast | (options or {}))
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.codec_context.time_base = stream.time_base = base
        for name, value in fields.items():
            setattr(stream.codec_context, name, value)
        if rotation:
            stream.set_display_rotation(rotation)
        track: Any = out.add_stream(sound, rate=48000) if sound else None
        if track is not None:
            track.codec_context.layout = "mono"
        for number, time in enumerate(times):
            array = pattern(number, size, channels)
            frame = av.VideoFrame.from_ndarray(array, format="bgra" if channels == 4 else "bgr24")
            matrix = 1 if fields.get("colorspace", 2) == 1 else 5
            frame = frame.reformat(format=pix_fmt, dst_colorspace=matrix, src_color_range=2)
            frame.pts, frame.time_base = time, base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if track is not None:
            _write_sound(out, track, seconds)
    return path


def _write_sound(out: Any, track: Any, seconds: float) -> None:
    count = round(48000 * seconds)
    tone = (8000 * np.sin(np.arange(count) * 2 * np.pi * 440 / 48000)).astype(np.int16)
    for at in range(0, count, 1024):
        frame = av.AudioFrame.from_ndarray(tone[None, at : at + 1024], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, at, Fraction(1, 48000)
        out.mux(track.encode(frame))
    out.mux(track.encode(None))


@dataclass(frozen=True)
class Clip:
    """What a file is, as FFmpeg's libraries read it."""

    times: list[float]
    pixels: list[np.ndarray]
    info: Any
    streams: list[str]
    sound: list[bytes]
    sound_seconds: float


def read(path: Path) -> Clip:
    """Read frames and sound of a file."""
    with open_video(path, max_pixels=10**8) as video:
        frames: Any = list(video.read())  # type: ignore[union-attr]
        info: Any = video.info  # type: ignore[union-attr]
    with av.open(f"file:{path}") as file:
        names = [
            f"{s.codec_context.name} {getattr(s, 'pix_fmt', '')}".strip() for s in file.streams
        ]
        packets = [p for p in file.demux(audio=0) if p.size] if file.streams.audio else []
        seconds = sum(float((p.duration or 0) * p.time_base) for p in packets)
    base = info.time_base
    return Clip(
        [float(frame.pts * base) for frame in frames],
        [frame.pixels for frame in frames],
        info,
        names,
        [bytes(packet) for packet in packets],
        seconds,
    )


def worst(one: Clip, other: Clip) -> float:
    """The largest mean difference of two frames, on the 0–255 scale."""
    scale = 257 if one.pixels[0].dtype == np.uint16 else 1
    pairs = zip(one.pixels, other.pixels, strict=True)
    return max(float(np.abs(a.astype(float) - b).mean()) / scale for a, b in pairs)


def times_off(one: Clip, other: Clip) -> float:
    """The largest difference of frame times in milliseconds."""
    return max(1000 * abs(a - b) for a, b in zip(one.times, other.times, strict=True))


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
        name: What must be kept.
        make: Writes the clip.
        source: Name of the clip.
        out: Name of the output.
        check: Takes the clip, the output and the record; returns whether it is kept, and a figure.
        refused: Part of the line, if the case must be refused.
    """

    name: str
    make: Callable[[Path], Path]
    source: str
    out: str
    check: Callable[[Clip, Clip, Record], tuple[bool, str]] | None = None
    refused: str = ""


EVEN = [512 * number for number in range(6)]
UNEVEN = [0, 512, 1024, 5000, 5512, 12800]
YUV = "yuv420p"
PQ = {"color_primaries": 9, "color_trc": 16, "colorspace": 9, "color_range": 1}
HD = {"color_primaries": 1, "color_trc": 1, "colorspace": 1, "color_range": 1}
MASTERING = "master-display=G(8500,39850)B(6550,2300)R(35400,14600)WP(15635,16450)L(10000000,50)"


def _frames(a: Clip, b: Clip, _: Record) -> tuple[bool, str]:
    off, pixels = times_off(a, b), worst(a, b)
    return off < 1 and pixels < 3, f"times differ by {off:.2f} ms, pixels by {pixels:.2f}"


def _aspect(a: Clip, b: Clip, _: Record) -> tuple[bool, str]:
    return a.info.aspect == b.info.aspect != 1, f"{a.info.aspect} and {b.info.aspect}"


def _tags(a: Clip, b: Clip, _: Record) -> tuple[bool, str]:
    pixels = worst(a, b)
    return a.info.colours == b.info.colours and pixels < 2, f"equal, pixels differ by {pixels:.2f}"


def _aac(a: Clip, b: Clip, _: Record) -> tuple[bool, str]:
    return a.sound == b.sound, f"{len(b.sound)} packets, {'equal' if a.sound == b.sound else 'not'}"


def _pcm(a: Clip, b: Clip, record: Record) -> tuple[bool, str]:
    kept = "aac" in b.streams and abs(a.sound_seconds - b.sound_seconds) < 0.05
    return (
        kept and "pcm_s16le to aac" in record.message,
        f"{b.sound_seconds:.2f} s as AAC, with a line",
    )


def _upright(a: Clip, b: Clip, record: Record) -> tuple[bool, str]:
    size = f"{record.width}×{record.height}"
    return size == f"{SIZE[1]}×{SIZE[0]}" and worst(a, b) < 3, f"{size}, upright"


def _interlaced(a: Clip, b: Clip, record: Record) -> tuple[bool, str]:
    kept = worst(a, b) < 3 and "deinterlaced" in record.message
    return kept, f"mean {b.pixels[0].mean():.0f} and {a.pixels[0].mean():.0f}, with a line"


def _hdr(a: Clip, b: Clip, _: Record) -> tuple[bool, str]:
    equal = (a.info.colours, a.info.hdr) == (b.info.colours, b.info.hdr) and bool(b.info.hdr)
    depth = b.info.layout.bits
    return equal and depth == 10 and worst(
        a, b
    ) < 2, f"{b.streams[0]}, tags and mastering data equal"


def _alpha(a: Clip, b: Clip, _: Record) -> tuple[bool, str]:
    alpha = worst(*(_only_alpha(clip) for clip in (a, b)))
    return b.info.layout.has_alpha and alpha < 1, f"{b.streams[0]}, alpha differs by {alpha:.2f}"


def _only_alpha(clip: Clip) -> Clip:
    def scaled(pixels: np.ndarray) -> np.ndarray:
        return pixels[..., 3] / (257 if pixels.dtype == np.uint16 else 1)

    return Clip(clip.times, [scaled(p) for p in clip.pixels], clip.info, [], [], 0)


def _chroma(a: Clip, b: Clip, record: Record) -> tuple[bool, str]:
    return "4:2:0" in record.message and worst(a, b) < 3, "written as 4:2:0, with a line"


CASES = (
    Case(
        "variable frame rate",
        lambda p: write(p, "libx264", YUV, UNEVEN, sound="aac"),
        "a.mp4",
        "b.mp4",
        _frames,
    ),
    Case(
        "offset of the first frame",
        lambda p: write(p, "libx264", YUV, [12800 + t for t in EVEN], sound="aac", seconds=2),
        "a.mp4",
        "b.mp4",
        _frames,
    ),
    Case(
        "sample aspect ratio",
        lambda p: write(p, "libx264", YUV, EVEN, sample_aspect_ratio=Fraction(64, 45)),
        "a.mp4",
        "b.mp4",
        _aspect,
    ),
    Case(
        "colour tags (BT.709)",
        lambda p: write(p, "libx264", YUV, EVEN[:2], size=(1280, 720), **HD),
        "a.mp4",
        "b.mp4",
        _tags,
    ),
    Case(
        "sound, AAC",
        lambda p: write(p, "libx264", YUV, EVEN, sound="aac"),
        "a.mp4",
        "b.mp4",
        _aac,
    ),
    Case(
        "sound, PCM",
        lambda p: write(
            p, "mjpeg", "yuvj420p", [*range(6)], base=Fraction(1, 25), sound="pcm_s16le"
        ),
        "a.avi",
        "b.mp4",
        _pcm,
    ),
    Case(
        "rotation",
        lambda p: write(p, "libx264", YUV, EVEN, rotation=90),
        "a.mp4",
        "b.mp4",
        _upright,
    ),
    Case(
        "interlaced",
        lambda p: write(p, "libx264", YUV, EVEN, options={"flags": "+ildct+ilme"}),
        "a.mp4",
        "b.mp4",
        _interlaced,
    ),
    Case(
        "HDR, 10 bit",
        lambda p: write(
            p,
            "libx265",
            "yuv420p10le",
            EVEN,
            options={"x265-params": f"log-level=none:hdr10=1:{MASTERING}:max-cll=1000,400"},
            **PQ,
        ),
        "a.mp4",
        "b.mp4",
        _hdr,
    ),
    Case(
        "alpha",
        lambda p: write(p, "qtrle", "argb", EVEN, channels=4),
        "a.mov",
        "b.mov",
        _alpha,
    ),
    Case(
        "alpha, to .mp4",
        lambda p: write(p, "qtrle", "argb", EVEN, channels=4),
        "a.mov",
        "b.mp4",
        refused="has an alpha channel, which is not written to .mp4",
    ),
    Case(
        "4:2:2",
        lambda p: write(p, "libx264", "yuv422p", EVEN),
        "a.mp4",
        "b.mp4",
        _chroma,
    ),
)


def outcome(case: Case, folder: Path, hub: Hub) -> tuple[str, str]:
    """(`kept`, `refused` or `LOST`, evidence) of a case; files go to an empty folder."""
    source, out = case.make(folder / case.source), folder / case.out
    (record,) = hub.map("same", source, out=out, strict=True).records
    if case.check is None:
        is_refused = record.status == "failed" and case.refused in record.message
        return ("refused" if is_refused and not out.exists() else "LOST"), case.refused
    if record.status != "done":
        return "LOST", record.message
    kept, evidence = case.check(read(source), read(out), record)
    return ("kept" if kept else "LOST"), evidence


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    hub = same_hub()
    print("| case | outcome | evidence |\n|---|---|---|")
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            kept, evidence = outcome(case, Path(folder), hub)
        print(f"| {case.name} | {kept} | {evidence} |")


if __name__ == "__main__":
    main()
