"""Reading videos with PyAV: whole, upright, only files, within limits."""

from __future__ import annotations

import io
import itertools
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from benchmarks.video_cases import EVEN, YUV, pattern, read, same_hub, write
from vaetools.errors import (
    DamagedImageError,
    TooLargeError,
    UnreadableError,
    UnsupportedImageError,
)
from vaetools.video import stream
from vaetools.video.container import open_container, scan
from vaetools.video.reading import VideoReader

MANY = [512 * number for number in range(30)]


def frames(path: Path, **options: Any) -> list[np.ndarray]:
    with VideoReader(path, **{"max_pixels": 10**6, **options}) as video:
        return list(video)


def remux(source: Path, out: Path, **rotation: Any) -> Path:
    """Copy the video of a file; `rotation` as `set_display_rotation` takes it."""
    with av.open(str(source)) as origin, av.open(str(out), "w") as target:
        track: Any = target.add_stream_from_template(origin.streams.video[0], opaque=True)
        if rotation:
            track.set_display_rotation(**rotation)
        for packet in origin.demux(video=0):
            if packet.dts is not None:
                packet.stream = track
                target.mux(packet)
    return out


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("clips") / "clip.mp4", "libx264", YUV, MANY)


def test_frames_are_those_that_were_written(clip: Path) -> None:
    found = frames(clip)
    assert len(found) == 30 and found[0].shape == (48, 64, 3) and found[0].dtype == np.uint8
    for number in (0, 7, 29):
        assert np.abs(found[number].astype(int) - pattern(number)).mean() < 2


def test_names_with_colons_are_files(clip: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(clip, "2024-05-01T10:00:00.mp4")
    assert len(frames(Path("2024-05-01T10:00:00.mp4"))) == 30
    found = list(stream(lambda item, *, key: key, "2024-05-01T10:00:00.mp4"))
    assert found == [str(number) for number in range(30)]


def test_playlists_are_not_followed(clip: Path, tmp_path: Path) -> None:
    shutil.copy(clip, tmp_path / "private.mp4")
    for text in (
        "ffconcat version 1.0\nfile private.mp4\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nprivate.mp4\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
    ):
        list_file = tmp_path / "list.mp4"
        list_file.write_text(text)
        with pytest.raises(UnreadableError, match="is not a video that FFmpeg can read"):
            frames(list_file)


def test_what_is_missing_or_no_video(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="does not exist"):
        frames(tmp_path / "none.mp4")
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(UnreadableError, match="is not a video"):
        frames(tmp_path / "empty.mp4")
    with av.open(str(tmp_path / "sound.mp4"), "w") as out:
        track: Any = out.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), "s16", "mono")
        frame.sample_rate = 48000
        track.codec_context.layout = "mono"
        out.mux(track.encode(frame))
        out.mux(track.encode(None))
    with pytest.raises(UnreadableError, match="has no video in it"):
        frames(tmp_path / "sound.mp4")


def test_the_limit_of_pixels_holds_before_a_frame_is_decoded(clip: Path) -> None:
    with pytest.raises(TooLargeError, match="64 × 48 pixels are over the limit of 3,000"):
        frames(clip, max_pixels=3000)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx264", YUV),
        ("a.mkv", "libx264", YUV),
        ("a.webm", "libvpx", YUV),
        ("a.avi", "mjpeg", "yuvj420p"),
        ("a.mov", "qtrle", "rgb24"),
    ],
)
def test_a_file_that_is_cut_short_is_damaged(
    tmp_path: Path, name: str, codec: str, pix_fmt: str
) -> None:
    base, options = Fraction(1, 25), {"movflags": "faststart"}
    clip = write(tmp_path / name, codec, pix_fmt, [*range(30)], base=base)
    if clip.suffix in (".mp4", ".mov"):  # with the index at the front, or nothing could be read
        with av.open(str(clip)) as origin:
            front = tmp_path / f"front{clip.suffix}"
            with av.open(str(front), "w", container_options=options) as target:
                track = target.add_stream_from_template(origin.streams.video[0], opaque=True)
                for packet in origin.demux(video=0):
                    if packet.dts is not None:
                        packet.stream = track
                        target.mux(packet)
        clip = front
    whole = clip.read_bytes()
    assert scan(clip, strict=True) == (30, "")
    clip.write_bytes(whole[: len(whole) * 9 // 10])
    with pytest.raises(DamagedImageError, match="frames; --lenient keeps these frames"):
        scan(clip, strict=True)
    with pytest.raises(DamagedImageError, match="ends too early"):
        list(stream(lambda frame, key: frame, clip))
    assert scan(clip, strict=False)[1] != "" and 0 < len(frames(clip, strict=False)) < 30


def test_live_recordings_without_sizes_are_whole_or_cut(clip: Path, tmp_path: Path) -> None:
    """What a browser records, or FFmpeg writes to a pipe."""
    live = tmp_path / "live.mkv"
    with (
        av.open(str(clip)) as origin,
        live.open("wb") as file,
        av.open(OneWay(file), "w", format="matroska") as target,
    ):
        track = target.add_stream_from_template(origin.streams.video[0], opaque=True)
        for packet in origin.demux(video=0):
            if packet.dts is not None:
                packet.stream = track
                target.mux(packet)
    assert scan(live, strict=True) == (30, "")
    whole = live.read_bytes()
    live.write_bytes(whole[:-100])
    with pytest.raises(DamagedImageError, match="the file ends too early"):
        scan(live, strict=True)


class OneWay(io.RawIOBase):
    """A file that cannot seek, as a pipe."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return int(self._file.write(data))


def test_a_head_without_a_body_is_damaged(clip: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clip.read_bytes()[:600])  # the index is at the end
    with pytest.raises(DamagedImageError, match="damaged or incomplete"):
        frames(cut)


def test_bits_that_no_decoder_understands_are_damage(clip: Path, tmp_path: Path) -> None:
    data = bytearray(clip.read_bytes())
    at = data.index(b"mdat") + 700
    data[at : at + 400] = bytes(400)
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(data)
    with pytest.raises(DamagedImageError, match=r"at frame .*--lenient"):
        frames(bad)
    assert len(frames(bad, strict=False)) > 5


@pytest.mark.parametrize(
    ("turn", "upright"),
    [
        ({"degrees": 90}, np.rot90),
        ({"degrees": 180}, lambda a: np.rot90(a, 2)),
        ({"degrees": -90}, lambda a: np.rot90(a, -1)),
        ({"degrees": 0, "hflip": True}, lambda a: a[:, ::-1]),
        ({"degrees": 0, "vflip": True}, lambda a: a[::-1]),
    ],
    ids=["90", "180", "270", "mirrored", "upside-down"],
)
def test_frames_are_turned_upright(clip: Path, tmp_path: Path, turn: Any, upright: Any) -> None:
    turned = remux(clip, tmp_path / "turned.mp4", **turn)
    assert np.array_equal(frames(turned)[3], upright(frames(clip)[3]))


def test_other_angles_are_refused(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedImageError, match="not a multiple of 90°"):
        frames(remux(clip, tmp_path / "turned.mp4", degrees=30))


def test_an_opaque_alpha_channel_is_none(tmp_path: Path) -> None:
    clip = write(tmp_path / "a.mov", "qtrle", "argb", EVEN)
    assert {frame.shape for frame in frames(clip)} == {(48, 64, 3)}
    clip = write(tmp_path / "b.mov", "qtrle", "argb", EVEN, channels=4)
    (found,) = {frame.shape for frame in frames(clip)}
    assert found == (48, 64, 4)
    assert np.array_equal(frames(clip)[2], pattern(2, channels=4))


def test_alpha_of_webm_is_read(tmp_path: Path) -> None:
    options = {"auto-alt-ref": "0", "crf": "4", "b": "0"}
    clip = write(
        tmp_path / "a.webm",
        "libvpx-vp9",
        "yuva420p",
        [0, 40, 80],
        base=Fraction(1, 1000),
        channels=4,
        options=options,
        bit_rate=0,
    )
    found = frames(clip)
    assert len(found) == 3
    assert np.abs(found[1][..., 3].astype(int) - pattern(1, channels=4)[..., 3]).mean() < 3


def test_more_than_8_bits_are_uint16(tmp_path: Path) -> None:
    clip = write(tmp_path / "a.mkv", "ffv1", "gbrp10le", EVEN)
    (frame, *_) = frames(clip)
    assert frame.dtype == np.uint16
    assert np.abs(frame / 257 - pattern(0)).max() < 0.6


def test_frames_are_counted_and_not_guessed_from_the_duration(tmp_path: Path) -> None:
    for name in ("a.mkv", "a.mp4", "a.ts"):
        clip = write(tmp_path / name, "libx264", YUV, EVEN, sound="aac", seconds=4)
        assert scan(clip, strict=True) == (6, "") and len(frames(clip)) == 6


def test_transport_streams_begin_at_zero(tmp_path: Path) -> None:
    """FFmpeg and other tools start them at 1.4 s or later, which means nothing."""
    clip = write(tmp_path / "a.ts", "libx264", YUV, MANY, options={"bf": "0"})
    times = read(clip).times
    assert times[0] == 0 and np.allclose(np.diff(times), 0.04, atol=1e-4)


def test_a_frame_of_another_size_is_refused(tmp_path: Path) -> None:
    """Two recordings in one raw stream, as some cameras write them."""
    parts = []
    for size in ((64, 48), (96, 64)):
        context: Any = av.CodecContext.create("libx264", "w")
        context.width, context.height = size
        context.pix_fmt, context.time_base = YUV, Fraction(1, 25)
        frame = av.VideoFrame.from_ndarray(pattern(0, size), "bgr24").reformat(format=YUV)
        parts += [bytes(p) for p in [*context.encode(frame), *context.encode(None)]]
    path = tmp_path / "two.ts"
    with av.open(str(path), "w") as out:
        track: Any = out.add_mux_stream("h264", width=64, height=48)
        track.time_base = Fraction(1, 90000)
        for number, part in enumerate(parts):
            packet: Any = av.Packet(part)
            packet.pts = packet.dts = number * 3600
            packet.time_base, packet.stream, packet.is_keyframe = track.time_base, track, True
            out.mux(packet)
    with pytest.raises(UnsupportedImageError, match="frame 1 has 96×64 pixels in a video of 64×48"):
        frames(path)


def test_damage_that_a_run_refuses_is_refused_by_a_stream(tmp_path: Path) -> None:
    """Where two transport streams meet, FFmpeg takes a packet for damaged, and decodes it."""
    part = write(tmp_path / "a.ts", "libx264", YUV, MANY, sound="aac")
    source = tmp_path / "b.ts"
    source.write_bytes(part.read_bytes() * 2)
    for refusing in (lambda: scan(source, strict=True), lambda: frames(source)):
        with pytest.raises(DamagedImageError, match="a packet of the video is damaged"):
            refusing()
    with VideoReader(source, max_pixels=10**6, strict=False) as video:
        assert len(list(video)) == 60
        assert video.notes == ["damaged: a packet of the video is damaged"]


class Failing:
    """A file of which 20 packets can be read, and then the disk fails."""

    def __init__(self, path: Path) -> None:
        self._container = open_container(path)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def __enter__(self) -> Failing:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def demux(self, *streams: Any) -> Any:
        yield from itertools.islice(self._container.demux(*streams), 20)
        raise av.OSError(5, "Input/output error")


@pytest.mark.parametrize("part", ["reading", "joining"])
def test_a_disk_that_fails_makes_no_short_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    clip = write(tmp_path / "a.mp4", "libx264", YUV, MANY, sound="aac", seconds=3)
    monkeypatch.setattr(f"vaetools.video.{part}.open_container", Failing)
    (record,) = same_hub().map("same", clip, out=tmp_path / "b.mp4").records
    assert record.code == "E012" and "a packet cannot be read" in record.message
    (record,) = same_hub().map("same", clip, out=tmp_path / "b.mp4", strict=False).records
    assert record.status == "done" and "damaged: a packet cannot be read" in record.message


def test_a_file_that_becomes_shorter_makes_no_short_video(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaetools.video.process.scan", lambda *_, strict: (31, ""))
    (record,) = same_hub().map("same", clip, out=tmp_path / "b.mp4").records
    assert record.code == "E012" and "only 30 of 31 frames could be read again" in record.message
