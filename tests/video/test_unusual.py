"""Writing videos with PyAV: containers and streams that are out of the ordinary."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from benchmarks.video_cases import EVEN, YUV, pattern, read, write
from tests.video.test_writing import done, run
from vaetools.video.timeline import Timeline


def test_empty_packets_end_nothing(tmp_path: Path) -> None:
    """A frame that repeats the one before has a packet without bytes, in Theora for example."""
    base = Fraction(1, 25)
    plain = write(tmp_path / "a.avi", "mjpeg", "yuvj420p", [*range(9)], base=base, sound="mp3")
    source = tmp_path / "b.mpg"
    with av.open(str(plain)) as origin, av.open(str(source), "w", format="nut") as file:
        tracks = [file.add_stream_from_template(s, opaque=True) for s in origin.streams]
        packets: Any = (p for p in origin.demux() if p.pts is not None)
        for number, packet in enumerate(packets):
            made: Any = av.Packet(0) if number in (8, 9, 12) else packet
            made.pts = made.dts = packet.pts
            made.time_base, made.stream = packet.time_base, tracks[packet.stream_index]
            file.mux(made)
    with av.open(str(source)) as file_in:
        sizes = [(p.stream.type, p.size) for p in file_in.demux() if p.pts is not None]
        assert {kind for kind, size in sizes if size == 0} == {"audio", "video"}
        file_in.seek(0)
        frames: Any = file_in.demux(video=0)
        shown = [float(p.pts * p.time_base) for p in frames if p.size]
    done(source, tmp_path / "c.webm")
    after = read(tmp_path / "c.webm")
    assert np.allclose(np.diff(after.times), np.diff(shown), atol=0.0011)
    assert after.sound_seconds > 0.8


@pytest.mark.parametrize(
    ("name", "fourcc"),
    [
        ("o.webm", None),
        ("o.mkv", None),
        ("o.mkv", "FFV1"),
        ("o.mkv", "MJPG"),
        ("o.avi", None),
        ("o.mov", "apch"),
        ("o.ts", None),
        ("o.flv", None),
    ],
)
@pytest.mark.parametrize("aspect", [Fraction(3, 2), Fraction(3, 4)], ids=str)
def test_the_aspect_of_samples_is_kept_in_each_container(
    tmp_path: Path, name: str, fourcc: str | None, aspect: Fraction
) -> None:
    source = write(tmp_path / "a.mp4", "libx264", YUV, EVEN, sample_aspect_ratio=aspect)
    done(source, tmp_path / name, fourcc=fourcc)
    with av.open(str(tmp_path / name)) as file:
        assert file.streams.video[0].sample_aspect_ratio == aspect
        assert "title" not in file.streams.video[0].metadata
    assert len(read(tmp_path / name).times) == 6


def test_a_transport_stream_of_one_frame_is_written_and_read(tmp_path: Path) -> None:
    """FFmpeg does not recognise so few packets by itself."""
    source = write(tmp_path / "a.mp4", "libx264", YUV, [0])
    done(source, tmp_path / "b.ts")
    done(tmp_path / "b.ts", tmp_path / "c.mp4")
    assert len(read(tmp_path / "c.mp4").times) == 1


def test_avi_repeats_frames_over_gaps(tmp_path: Path) -> None:
    times = [512 * number for number in (0, 1, 2, 7, 8, 60)]
    source = write(tmp_path / "a.mkv", "libx264", YUV, times)
    done(source, tmp_path / "b.avi")
    assert np.allclose(read(tmp_path / "b.avi").times, [n / 25 for n in (0, 1, 2, 7, 8, 60)])


def test_pyav_that_does_not_import_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write(tmp_path / "a.mp4", "libx264", YUV, EVEN)
    (tmp_path / "av").mkdir()
    (tmp_path / "av" / "__init__.py").write_text("raise ImportError('libavcodec.so.62: missing')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "av")
    record = run(clip, tmp_path / "o.mp4")
    assert record.code == "E061" and "av (av) cannot be used: libavcodec.so.62" in record.message


def test_sound_stays_with_the_frames_where_times_begin_anew(tmp_path: Path) -> None:
    """Parts that were put one behind the other, as with `cat`: both go on together."""
    base = Fraction(1, 25)
    part = write(tmp_path / "a.mpg", "mpeg2video", YUV, [*range(50)], base=base, sound="mp2",
                 seconds=2, bit_rate=400_000)  # fmt: skip
    source = tmp_path / "b.mpg"
    source.write_bytes(part.read_bytes() * 3)
    assert done(source, tmp_path / "o.mkv").message == ""
    times: dict[str, list[float]] = {"video": [], "audio": []}
    with av.open(str(tmp_path / "o.mkv")) as file:
        for packet in file.demux():
            if packet.pts is not None:
                times[packet.stream.type].append(float(packet.pts * packet.time_base))
    assert len(times["video"]) == 150
    for found in times.values():
        assert min(np.diff(found)) > 0.0 and max(np.diff(found)) < 0.15
        assert abs(found[-1] - found[0] - 6) < 0.2


def with_sound(path: Path, *layouts: str) -> Path:
    """A clip with AC-3, which has another layout of channels from part to part."""
    with av.open(str(path), "w") as file:
        video: Any = file.add_stream("mjpeg", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuvj420p"
        sound: Any = file.add_stream("ac3", rate=48000)
        sound.codec_context.layout = layouts[0]
        for number in range(25 * len(layouts)):
            frame = av.VideoFrame.from_ndarray(pattern(number), "bgr24").reformat(format="yuvj420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        at = 0
        for layout in layouts:
            encoder: Any = av.CodecContext.create("ac3", "w")
            encoder.format, encoder.layout, encoder.sample_rate = "fltp", layout, 48000
            encoder.bit_rate = 448_000
            for _ in range(31):
                silence = np.zeros((av.AudioLayout(layout).nb_channels, 1536), np.float32)
                part = av.AudioFrame.from_ndarray(silence, "fltp", layout)
                part.sample_rate, part.pts, part.time_base = 48000, at, Fraction(1, 48000)
                at += 1536
                for packet in encoder.encode(part):
                    packet.stream = sound
                    file.mux(packet)
    return path


@pytest.mark.parametrize(
    ("layout", "name", "said", "channels"),
    [
        ("5.1(side)", "o.webm", "ac3 to libopus, and from 5.1(side) to 5.1", 6),
        ("4.0", "o.webm", "ac3 to libopus, and from 4.0 to quad", 4),
        ("2.1", "o.webm", "ac3 to libopus, and from 2.1 to stereo", 2),
        ("stereo", "o.webm", "ac3 to libopus", 2),
        ("5.1(side)", "o.flv", "ac3 to aac", 6),
    ],
)
def test_sound_of_many_channels_becomes_what_the_encoder_takes(
    tmp_path: Path, layout: str, name: str, said: str, channels: int
) -> None:
    record = done(with_sound(tmp_path / "a.mkv", layout), tmp_path / name)
    assert f"sound was converted from {said}" in record.message
    with av.open(str(tmp_path / name)) as file:
        assert file.streams.audio[0].codec_context.layout.nb_channels == channels


def test_sound_may_change_its_format(tmp_path: Path) -> None:
    source = with_sound(tmp_path / "a.mkv", "stereo", "5.1(side)", "mono")
    done(source, tmp_path / "o.webm")
    assert abs(read(tmp_path / "o.webm").sound_seconds - 3 * 31 * 0.032) < 0.1


def test_sound_that_cannot_be_written_is_refused_before_the_first_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaetools.video.tracks._takes", lambda *_: False)
    monkeypatch.setattr("vaetools.video.process._write_frames", None)
    record = run(with_sound(tmp_path / "a.mkv", "stereo"), tmp_path / "o.webm")
    assert (
        record.code == "E070" and "sound (ac3, stereo) is not written as libopus" in record.message
    )


def test_a_fault_while_joining_costs_no_segments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "a.mkv", "libx264", YUV, EVEN)
    with monkeypatch.context() as patched:
        patched.setattr("vaetools.video.process.join", None)
        assert run(source, tmp_path / "o.mp4").status == "failed"
    assert len(list(tmp_path.glob(".o.mp4.resume/*.segment"))) == 1
    done(source, tmp_path / "o.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv", "o.mp4"]


def test_a_stream_without_packets_in_a_part_follows_the_others() -> None:
    def move(timeline: Timeline, kind: str, time: int) -> float:
        packet: Any = SimpleNamespace(
            dts=time, pts=time, duration=100, time_base=Fraction(1, 1000),
            stream_index=("video", "subtitle").index(kind), stream=SimpleNamespace(type=kind),
        )  # fmt: skip
        timeline.move(packet)
        return float(packet.pts)

    container: Any = SimpleNamespace(format=SimpleNamespace(name="mpegts"), streams=[])
    timeline = Timeline(container)
    parts = [move(timeline, "video", time) for _ in range(3) for time in range(0, 2000, 100)]
    assert parts == [*range(0, 6000, 100)]
    assert move(timeline, "subtitle", 1900) == 5900
    assert move(timeline, "video", 2900) == 6900  # a gap, and no new beginning
