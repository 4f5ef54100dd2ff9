"""Writing videos with PyAV: what players and browsers expect, and nothing lost without a line."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from benchmarks.video_cases import EVEN, UNEVEN, YUV, read, same_hub, worst, write
from tests.image.described import XMP_PREFIX, xmp
from vaetools.errors import OptionError
from vaetools.image import Image, encode_image
from vaetools.runner import Record
from vaetools.video.places import streams_with_places
from vaetools.video.reading import VideoReader
from vaetools.video.tracks import plain_text

HUB = same_hub()


def run(source: Path, out: Path, **options: Any) -> Record:
    (record,) = HUB.map("same", source, out=out, **options).records
    return record


def done(source: Path, out: Path, **options: Any) -> Record:
    record = run(source, out, **options)
    assert record.status == "done", record.message
    return record


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("clips") / "clip.mp4", "libx264", YUV, EVEN, sound="aac")


def test_a_browser_plays_it(clip: Path, tmp_path: Path) -> None:
    """H.264 High, 4:2:0, 8 bit; AAC; the index at the front."""
    record = done(clip, tmp_path / "out.mp4")
    assert record.message == ""
    with av.open(str(tmp_path / "out.mp4")) as file:
        video, sound = file.streams
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", YUV)  # type: ignore[attr-defined]
        assert (video.profile, sound.codec_context.name) == ("High", "aac")
    data = (tmp_path / "out.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("name", ["o.mp4", "o.mov", "o.mkv", "o.webm", "o.ts", "o.flv"])
def test_frames_times_and_sound_are_kept_in_each_container(tmp_path: Path, name: str) -> None:
    """To the container's own precision: milliseconds, or ticks of 90 kHz."""
    source = write(
        tmp_path / "a.mkv", "libx264", YUV, [2 * t for t in UNEVEN], sound="aac", seconds=2
    )
    record = done(source, tmp_path / name)
    before, after = read(source), read(tmp_path / name)
    # These two know no time before 0, where this sound begins: sound and frames move.
    shift = before.times[0] - after.times[0] if name in ("o.ts", "o.flv") else 0.0
    assert np.allclose(before.times, np.array(after.times) + shift, atol=0.0011)
    assert worst(before, after) < 3
    assert abs(before.sound_seconds - after.sound_seconds) < 0.1
    assert ("aac to libopus" in record.message) == (name == "o.webm")


def test_untagged_colours_stay_untagged(clip: Path, tmp_path: Path) -> None:
    """Players guess the same for both; a tag would be a guess of ours."""
    done(clip, tmp_path / "out.mp4")
    colours = read(tmp_path / "out.mp4").info.colours
    assert (colours.primaries, colours.transfer, colours.matrix, colours.range) == (2, 2, 2, 0)


@pytest.mark.parametrize("matrix", [1, 5, 6, 9])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
def test_colours_survive_with_every_matrix(tmp_path: Path, matrix: int, full: bool) -> None:
    """Primary colours, as another reader converts them before and after."""
    source = tmp_path / "a.mkv"
    with av.open(str(source), "w") as file:
        track: Any = file.add_stream("ffv1", rate=25)
        track.width, track.height, track.pix_fmt = 64, 48, "yuv444p"
        track.codec_context.colorspace = matrix
        track.codec_context.color_range = 1 + full
        array = np.zeros((48, 64, 3), np.uint8)
        for number, colour in enumerate(
            [(13, 209, 185), (173, 0, 183), (250, 250, 250), (9, 9, 240)]
        ):
            array[:, 16 * number : 16 * number + 16] = colour
        frame = av.VideoFrame.from_ndarray(array, format="rgb24").reformat(
            format="yuv444p",
            src_color_range=2,
            dst_colorspace=5 if matrix == 6 else matrix,
            dst_color_range=1 + full,
        )
        frame.pts = 0
        file.mux(track.encode(frame))
        file.mux(track.encode(None))
    done(source, tmp_path / "b.mp4")
    after = read(tmp_path / "b.mp4")
    assert after.info.colours.matrix == matrix and after.info.colours.range == 1 + full
    for number, colour in enumerate([(13, 209, 185), (173, 0, 183), (250, 250, 250), (9, 9, 240)]):
        middle = after.pixels[0][8:40, 16 * number + 6 : 16 * number + 10, ::-1].mean(axis=(0, 1))
        assert np.abs(middle - colour).max() < 5


@pytest.mark.parametrize(
    ("name", "fourcc", "matrix"),
    [
        ("o.avi", None, 5),
        ("o.mkv", "MJPG", 5),
        ("o.webm", "VP80", 5),
        ("o.avi", "XVID", 2),
        ("o.mp4", "mp4v", 2),
        ("whole.mp4", "mp4v", 1),
        ("o.mov", "apcn", 1),
    ],
)
@pytest.mark.parametrize("levels", [1, 2], ids=["limited", "full"])
def test_frames_have_the_colours_that_a_codec_can_say(
    tmp_path: Path, name: str, fourcc: str | None, matrix: int, levels: int
) -> None:
    """MJPEG and VP8 are BT.601 by definition; AVI has no tags; only some codecs hold a full range.

    FFmpeg writes the matrix to MP4 only with primaries and transfer function.
    """
    tags: dict[str, Any] = {"colorspace": 1, "color_range": levels}
    tags |= {"color_primaries": 1, "color_trc": 1} if name == "whole.mp4" else {}
    source = write(tmp_path / "a.mkv", "libx264", "yuv444p", EVEN, **tags)
    record = done(source, tmp_path / name, fourcc=fourcc)
    assert "primaries" not in record.message
    before, after = read(source), read(tmp_path / name)
    assert after.info.colours.matrix == matrix
    middle = [
        clip.pixels[0].astype(float)[8:40, 8:56].mean(axis=(0, 1)) for clip in (before, after)
    ]
    scale = 257 if after.pixels[0].dtype == np.uint16 else 1
    assert np.abs(middle[0] - middle[1] / scale).max() < 2


def test_tags_that_a_container_does_not_hold_are_named(tmp_path: Path) -> None:
    source = write(tmp_path / "a.mkv", "libx264", YUV, EVEN, color_primaries=9)
    said = "the primaries and the transfer function are not kept in .avi"
    assert said in done(source, tmp_path / "b.avi").message
    assert done(source, tmp_path / "b.mp4").message == ""


def test_untagged_videos_that_become_taller_have_the_matrix_of_their_new_height(
    tmp_path: Path,
) -> None:
    source = write(tmp_path / "a.mp4", "libx264", YUV, EVEN, size=(736, 48), rotation=90)
    done(source, tmp_path / "b.mp4")
    before, after = read(source), read(tmp_path / "b.mp4")
    assert (before.info.colours.matrix_used, after.info.colours.matrix_used) == (6, 1)
    assert after.info.colours.matrix == 2 and after.info.height == 736
    middle = [clip.pixels[0].astype(float).mean(axis=(0, 1)) for clip in (before, after)]
    assert np.abs(middle[0] - middle[1]).max() < 2


def test_rgb_becomes_tagged_bt709(tmp_path: Path) -> None:
    source = write(tmp_path / "a.mkv", "ffv1", "bgr0", EVEN)
    record = done(source, tmp_path / "b.mp4")
    colours = read(tmp_path / "b.mp4").info.colours
    assert (colours.primaries, colours.transfer, colours.matrix, colours.range) == (1, 1, 1, 1)
    assert "4:2:0, the source is bgr0" in record.message
    assert worst(read(source), read(tmp_path / "b.mp4")) < 2


@pytest.mark.parametrize(("name", "said"), [("o.mp4", "sides are odd (65×49)"), ("o.webm", "")])
def test_odd_sides_are_kept(tmp_path: Path, name: str, said: str) -> None:
    source = write(tmp_path / "a.mkv", "ffv1", YUV, EVEN, size=(65, 49))
    record = done(source, tmp_path / name)
    assert said in record.message and (record.width, record.height) == (65, 49)
    assert worst(read(source), read(tmp_path / name)) < 3


def test_what_avi_cannot_hold_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "a.mkv", "libx264", YUV, UNEVEN)
    record = run(source, tmp_path / "b.avi")
    assert record.code == "E014" and "the frame rate is not constant" in record.message
    assert "write .mp4, .mkv or .webm" in record.message
    assert sorted(tmp_path.iterdir()) == [source]
    even = write(tmp_path / "even.mkv", "libx264", YUV, EVEN, sound="pcm_s16le")
    done(even, tmp_path / "b.avi")
    after = read(tmp_path / "b.avi")
    assert after.times == read(even).times and after.streams == ["mjpeg yuvj420p", "pcm_s16le"]


@pytest.mark.parametrize(
    ("name", "pix_fmt", "said"),
    [
        ("o.webm", "yuv420p10le", "10 bits per sample, which libvpx-vp9 in .webm does not keep"),
        ("o.avi", "yuv420p10le", "10 bits per sample, which mjpeg in .avi does not keep"),
        ("o.mp4", "yuva420p", "an alpha channel, which is not written to .mp4"),
        ("o.avi", "yuva420p", "an alpha channel, which is not written to .avi"),
        ("o.webm", "yuva420p10le", "an alpha channel of 10 bits per sample"),
    ],
)
def test_what_a_container_cannot_hold_is_refused_at_once(
    tmp_path: Path, name: str, pix_fmt: str, said: str
) -> None:
    source = write(tmp_path / "a.mkv", "ffv1", pix_fmt, EVEN, channels=3 + ("a" in pix_fmt))
    record = run(source, tmp_path / name)
    assert record.code == "E070" and said in record.message and "; write ." in record.message
    assert sorted(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("name", ["o.mov", "o.webm", "o.mkv"])
def test_alpha_is_kept(tmp_path: Path, name: str) -> None:
    source = write(tmp_path / "a.mov", "qtrle", "argb", EVEN, channels=4)
    done(source, tmp_path / name)
    before, after = read(source), read(tmp_path / name)
    scale = 257 if after.pixels[0].dtype == np.uint16 else 1
    for one, other in zip(before.pixels, after.pixels, strict=True):
        assert np.abs(one[..., 3] - other[..., 3] / scale).mean() < 1.5
        assert np.abs(one.astype(float) - other / scale).mean() < 3


@pytest.mark.parametrize(
    ("fourcc", "name", "codec"),
    [
        ("FFV1", "o.mkv", "ffv1 bgr0"),
        ("hvc1", "o.mp4", "hevc yuv420p"),
        ("mp4v", "o.mp4", "mpeg4 yuv420p"),
        ("apch", "o.mov", "prores yuv422p10le"),
        ("apcn", "o.mov", "prores yuv422p10le"),
        ("ap4h", "o.mov", "prores yuv444p12le"),
        ("MJPG", "o.avi", "mjpeg yuvj420p"),
    ],
)
def test_a_codec_may_be_chosen(
    clip: Path, tmp_path: Path, fourcc: str, name: str, codec: str
) -> None:
    done(clip, tmp_path / name, fourcc=fourcc)
    before, after = read(clip), read(tmp_path / name)
    assert after.streams[0] == codec
    # The sound begins 21 ms before 0, and Matroska knows no time before 0: both move.
    start = 0.021 if name.endswith(".mkv") else 0.0
    assert np.allclose(np.add(before.times, start), after.times, atol=0.001)


def test_codes_of_prores_are_its_profiles(clip: Path, tmp_path: Path) -> None:
    for code in ("apcn", "apch", "ap4h"):
        done(clip, tmp_path / f"{code}.mov", fourcc=code)
        with av.open(str(tmp_path / f"{code}.mov")) as file:
            assert file.streams.video[0].codec_context.codec_tag == code
    alpha = write(tmp_path / "a.mov", "qtrle", "argb", EVEN, channels=4)
    record = run(alpha, tmp_path / "b.mov", fourcc="apch")
    assert record.code == "E070" and "an alpha channel" in record.message
    full = write(tmp_path / "c.mkv", "ffv1", "yuv444p", EVEN)
    assert "4:2:2, the source is yuv444p" in done(full, tmp_path / "d.mov", fourcc="apch").message
    assert done(full, tmp_path / "e.mov", fourcc="ap4h").message == ""
    half = write(tmp_path / "f.mkv", "ffv1", "yuv422p", EVEN)
    assert done(half, tmp_path / "g.mov", fourcc="apch").message == ""


def test_codecs_and_containers_that_do_not_go_together(clip: Path, tmp_path: Path) -> None:
    for name, fourcc, said in [
        ("o.wmv", None, r"no video is written to \.wmv; write one of \.mp4"),
        ("o.mp4", "h264x", "is not four letters, such as avc1"),
        ("o.mp4", "zzzz", "fourcc='zzzz' is not known; codes: avc1,"),
    ]:
        with pytest.raises(OptionError, match=said):
            run(clip, tmp_path / name, fourcc=fourcc)
    record = run(clip, tmp_path / "o.webm", fourcc="avc1")
    assert record.code == "E004" and "is not written to .webm" in record.message
    assert list(tmp_path.iterdir()) == []


def test_quality(clip: Path, tmp_path: Path) -> None:
    sizes = []
    for quality in (10, 18, 40):
        record = done(clip, tmp_path / "o.mp4", video_quality=quality, on_exists="replace")
        sizes.append(record.bytes_out)
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > sizes[2]
    with pytest.raises(OptionError, match="video_quality=52 is not 0 … 51"):
        run(clip, tmp_path / "o.mp4", video_quality=52)


def described(path: Path, text_shown: bytes = b"<i>Good</i> morning") -> Path:
    """A Matroska file with two sound tracks, subtitles, chapters and metadata."""
    with av.open(str(path), "w") as file:
        track: Any = file.add_stream("libx264", rate=25)
        track.width, track.height, track.pix_fmt = 64, 48, YUV
        sounds: list[Any] = [file.add_stream("aac", rate=48000) for _ in range(2)]
        for sound, language in zip(sounds, ("deu", "fra"), strict=True):
            sound.codec_context.layout = "mono"
            sound.metadata["language"] = language
        text: Any = file.add_mux_stream("subrip")
        text.time_base = Fraction(1, 1000)
        text.metadata["language"] = "eng"
        file.metadata.update({"title": "A title", "location": "+52.5+13.4/", "comment": "seen"})
        file.set_chapters(
            [
                {"id": n, "start": 100 * n, "end": 100 * n + 100, "time_base": Fraction(1, 1000),
                 "metadata": {"title": f"Part {n}"}}
                for n in range(2)
            ]
        )  # fmt: skip
        for number in range(6):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 40 * number, np.uint8), "bgr24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            file.mux(track.encode(frame.reformat(format=YUV)))
        file.mux(track.encode(None))
        for sound in sounds:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), "s16", "mono")
            silence.sample_rate = 48000
            file.mux(sound.encode(silence))
            file.mux(sound.encode(None))
        packet: Any = av.Packet(text_shown)
        packet.pts = packet.dts = 100
        packet.duration, packet.time_base, packet.stream = 120, Fraction(1, 1000), text
        file.mux(packet)
    return path


@pytest.mark.parametrize(
    ("name", "codec"), [("o.mkv", "subrip"), ("o.mp4", "mov_text"), ("o.webm", "webvtt")]
)
def test_tracks_chapters_and_metadata_are_kept(tmp_path: Path, name: str, codec: str) -> None:
    done(described(tmp_path / "a.mkv"), tmp_path / name)
    with av.open(str(tmp_path / name)) as file:
        kinds = [
            (s.type, s.metadata.get("language", s.metadata.get("LANGUAGE"))) for s in file.streams
        ]
        assert kinds[1:4] == [("audio", "deu"), ("audio", "fra"), ("subtitle", "eng")]
        assert file.streams[3].codec_context.name in (codec, "srt")
        tags = {key.lower(): value for key, value in file.metadata.items()}
        assert tags["title"] == "A title" and tags["location"].startswith("+52.5")
        titles = [chapter["metadata"]["title"] for chapter in file.chapters()]
        assert titles == ["Part 0", "Part 1"]
        texts = [bytes(p) for p in file.demux(file.streams[3]) if p.size > 2]
        assert [plain_text(codec, text) for text in texts] == ["Good morning"]


@pytest.mark.parametrize("name", ["o.mp4", "o.mkv"])
def test_cover_images_are_kept(tmp_path: Path, name: str) -> None:
    source = tmp_path / "a.mp4"
    plain = write(tmp_path / "b.mp4", "libx264", YUV, EVEN)
    with av.open(str(plain)) as origin, av.open(str(source), "w") as file:
        track: Any = file.add_stream_from_template(origin.streams.video[0], opaque=True)
        cover: Any = file.add_mux_stream("mjpeg", width=16, height=16)
        cover.disposition = Disposition.attached_pic
        for packet in origin.demux(video=0):
            if packet.dts is not None:
                packet.stream = track
                file.mux(packet)
        cover_file = encode_image(Image(np.zeros((16, 16, 3), np.uint8)), "jpeg")
        packet_of_place = XMP_PREFIX + xmp("<exif:GPSLatitude>+a place+</exif:GPSLatitude>")
        size = (len(packet_of_place) + 2).to_bytes(2, "big")
        image: Any = av.Packet(
            cover_file[:20] + b"\xff\xe1" + size + packet_of_place + cover_file[20:]
        )
        image.pts = image.dts = 0
        image.stream, image.time_base, image.is_keyframe = cover, Fraction(1, 1000), True
        file.mux(image)
    assert done(source, tmp_path / name).message == ""
    with av.open(str(tmp_path / name)) as file_out:
        covers = [s for s in file_out.streams.video if s.disposition & Disposition.attached_pic]
        assert [s.codec_context.name for s in covers] == ["mjpeg"]
    assert len(read(tmp_path / name).times) == 6
    done(source, tmp_path / f"gps-{name}", strip="gps")
    for path, has_place in ((tmp_path / name, True), (tmp_path / f"gps-{name}", False)):
        assert (b"+a place+" in path.read_bytes()) == has_place
        with av.open(str(path)) as file_out:
            assert len(file_out.streams) == 2
    assert done(source, tmp_path / f"all-{name}", strip="all").message == ""
    with av.open(str(tmp_path / f"all-{name}")) as file_out:
        assert len(file_out.streams) == 1


def test_subtitles_with_positions_are_places(tmp_path: Path) -> None:
    """As drones write them."""
    source = described(tmp_path / "a.mkv", b"[latitude: 52.5] [longitude: 13.4]")
    for strip, count in (("none", 1), ("gps", 0), ("all", 0)):
        record = done(source, tmp_path / f"{strip}.mkv", strip=strip)
        with av.open(str(tmp_path / f"{strip}.mkv")) as file:
            assert len(file.streams.subtitles) == count
        assert ("not kept: 1 × subtitles with positions" in record.message) == (count == 0)


def test_positions_are_numbers_behind_their_names(tmp_path: Path) -> None:
    texts = {
        b"GPS(13.3777,52.5163,34)": True,
        b"[latitude : 52.5] [longtitude: 13.4]": True,
        b"+52.5163+013.3777/": True,
        b"Has anyone seen my GPS? (laughs)": False,
        b"She left home: 7 o'clock": False,
    }
    for number, (text, is_place) in enumerate(texts.items()):
        source = described(tmp_path / f"{number}.mkv", text)
        assert bool(streams_with_places(source)) == is_place, text


def test_side_data_that_is_not_kept_is_named(tmp_path: Path) -> None:
    source = tmp_path / "a.mkv"
    plain = write(tmp_path / "plain.mkv", "libx264", YUV, EVEN)
    with av.open(str(plain)) as origin, av.open(str(source), "w") as file:
        track: Any = file.add_stream_from_template(origin.streams.video[0], opaque=True)
        track.metadata["stereo_mode"] = "left_right"
        for packet in origin.demux(video=0):
            if packet.dts is not None:
                packet.stream = track
                file.mux(packet)
    assert "not kept: stereo 3D" in done(source, tmp_path / "b.mp4").message
    assert done(source, tmp_path / "b.mkv").message == ""
    with VideoReader(tmp_path / "b.mkv", max_pixels=10**6) as video:
        list(video)
        assert list(video.side_data) == ["stereo 3D"]


def test_mp3_is_copied_from_avi(tmp_path: Path) -> None:
    base = Fraction(1, 25)
    source = write(tmp_path / "a.avi", "mjpeg", "yuvj420p", [*range(6)], base=base, sound="mp3")
    assert done(source, tmp_path / "b.mp4").message == ""
    before, after = read(source), read(tmp_path / "b.mp4")
    assert after.streams[1] == before.streams[1] and after.sound[:20] == before.sound[:20]


def test_more_than_10_bits_have_a_line(tmp_path: Path) -> None:
    source = write(tmp_path / "a.mkv", "ffv1", "yuv420p12le", EVEN)
    message = done(source, tmp_path / "b.mp4").message
    assert message == f"{source}: samples are written with 10 bits (the source has 12)"
    assert done(source, tmp_path / "b.mkv", fourcc="FFV1").message == ""
    assert worst(read(source), read(tmp_path / "b.mkv")) < 0.05


def test_metadata_may_be_stripped(tmp_path: Path) -> None:
    source = described(tmp_path / "a.mkv")
    done(source, tmp_path / "gps.mkv", strip="gps")
    done(source, tmp_path / "all.mkv", strip="all")
    with av.open(str(tmp_path / "gps.mkv")) as file:
        tags = {key.lower() for key in file.metadata}
        assert {"title", "comment"} <= tags and "location" not in tags
    with av.open(str(tmp_path / "all.mkv")) as file:
        assert {key.lower() for key in file.metadata} <= {"encoder"}
        assert [chapter["metadata"] for chapter in file.chapters()] == [{}, {}]
        assert [s.metadata.get("language") for s in file.streams if s.type == "audio"] == [
            "deu",
            "fra",
        ]


def test_what_is_not_kept_has_a_line(tmp_path: Path) -> None:
    record = done(described(tmp_path / "a.mkv"), tmp_path / "o.ts")
    assert "not kept: 1 × subtitles (" in record.message
    said = "metadata that .ts does not hold: comment, location, title, chapters"
    assert said in record.message.lower()
    flv = done(tmp_path / "a.mkv", tmp_path / "o.flv").message
    assert flv.endswith("does not hold: chapters, languages")


def test_titles_of_chapters_in_mp4_are_no_data_stream(tmp_path: Path) -> None:
    done(described(tmp_path / "a.mkv"), tmp_path / "b.mp4")
    assert done(tmp_path / "b.mp4", tmp_path / "c.mp4").message == ""


def test_names_with_colons_are_written(clip: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    record = done(clip, Path("2024-05-01T11:00:00.mp4"))
    assert record.bytes_out == (tmp_path / "2024-05-01T11:00:00.mp4").stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["2024-05-01T11:00:00.mp4"]


def test_text_of_subtitles() -> None:
    assert plain_text("subrip", b"<b>Hi</b> <you>\n") == "Hi"
    assert plain_text("mov_text", struct.pack(">H", 2) + b"Hi\0\0") == "Hi"
    assert plain_text("ass", rb"0,0,Default,,0,0,0,,{\i1}Hi,\Nthere{\i0}") == "Hi,\nthere"
