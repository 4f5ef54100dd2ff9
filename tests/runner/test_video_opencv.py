"""Videos without PyAV: OpenCV keeps what it can, and refuses what it can see and not keep."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.video_cases import EVEN, UNEVEN, YUV, write
from tests.paths import PLUGINS
from vaetools.errors import OptionError, UnsupportedImageError
from vaetools.hub import Hub
from vaetools.plugin.host import PluginHost
from vaetools.runner import Record

EXTRA = "pip install 'vaetools[video]'"


@pytest.fixture(autouse=True)
def _no_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("files", "process"):
        monkeypatch.setattr(f"vaetools.video.{module}.has_pyav", lambda: False)


@pytest.fixture
def hub(tiny_models: Path) -> Hub:
    host = PluginHost(builtin=False, installed=False, folders=[PLUGINS])
    return Hub(host, [tiny_models], device="cpu", threads=1)


def run(hub: Hub, source: Path, out: Path, **options: Any) -> Record:
    (record,) = hub.map("negative", source, out=out, **options).records
    return record


def clip(path: Path, **fields: Any) -> Path:
    return write(path, "libx264", YUV, EVEN, **fields)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "models")


def sizes(path: Path) -> list[tuple[int, ...]]:
    capture, found = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        found.append(read[1].shape)
    return found


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".webm"])
def test_plain_videos_are_converted(hub: Hub, tmp_path: Path, suffix: str, capfd: Any) -> None:
    record = run(hub, clip(tmp_path / "a.mp4"), tmp_path / f"b{suffix}")
    assert (record.status, record.message) == ("done", "")
    assert sizes(tmp_path / f"b{suffix}") == [(48, 64, 3)] * 6
    assert capfd.readouterr().err == ""
    assert files(tmp_path) == ["a.mp4", f"b{suffix}"]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "a.avi"])
def test_lost_sound_has_a_line_and_only_where_there_is_sound(
    hub: Hub, tmp_path: Path, name: str
) -> None:
    codec, pix_fmt, sound = {
        "a.webm": ("libvpx", YUV, "libopus"),
        "a.avi": ("mjpeg", "yuvj420p", "pcm_s16le"),
    }.get(name, ("libx264", YUV, "aac"))
    base = Fraction(1, 25)
    for track, said in (("", ""), (sound, f"sound is not kept; {EXTRA}")):
        source = write(tmp_path / name, codec, pix_fmt, [*range(6)], base=base, sound=track)
        record = run(hub, source, tmp_path / "b.mp4", on_exists="replace")
        assert record.status == "done", record.message
        assert said in record.message and (record.message == "") == (said == "")


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "fields", "said"),
    [
        ("a.mp4", "libx264", YUV, {"times": UNEVEN}, "the frame rate is not constant (frame "),
        ("a.mp4", "libx264", YUV, {"sample_aspect_ratio": Fraction(64, 45)}, "not square (64:45)"),
        ("a.mp4", "libx264", YUV, {"size": (96, 720)}, "colours of a video with 720 lines"),
        ("a.mov", "qtrle", "argb", {"channels": 4}, "an alpha channel or more than 8 bits"),
        ("a.mkv", "ffv1", "yuv420p10le", {}, "an alpha channel or more than 8 bits"),
        ("a.webm", "libvpx-vp9", "yuva420p", {"channels": 4}, "an alpha channel or more than 8"),
        ("a.mp4", "libx264", YUV, {"options": {"flags": "+ildct+ilme"}}, "all frames are the same"),
    ],
    ids=["rate", "aspect", "hd", "alpha", "10-bit", "webm-alpha", "interlaced"],
)
def test_what_is_seen_and_not_kept_is_refused(
    hub: Hub, tmp_path: Path, name: str, codec: str, pix_fmt: str, fields: Any, said: str
) -> None:
    times = fields.pop("times", EVEN)
    if codec == "libvpx-vp9":
        fields["options"] = {"auto-alt-ref": "0"}
    source = write(tmp_path / name, codec, pix_fmt, times, **fields)
    record = run(hub, source, tmp_path / "b.mp4")
    assert record.code == "E014" and said in record.message and EXTRA in record.message
    assert files(tmp_path) == [source.name]


def test_a_stream_never_gives_a_frame_that_was_not_decoded(hub: Hub, tmp_path: Path) -> None:
    source = clip(tmp_path / "a.mp4", options={"flags": "+ildct+ilme"})
    with pytest.raises(UnsupportedImageError, match="all frames are the same"):
        list(hub.stream("negative", source))


def test_odd_sides_are_refused_rather_than_cropped(hub: Hub, tmp_path: Path) -> None:
    """OpenCV writes even sides only: it would crop a row and a column silently."""
    source = tmp_path / "odd.avi"
    writer = cv2.VideoWriter(
        str(source), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), 25, (65, 49)
    )
    for _ in range(3):
        writer.write(np.full((49, 65, 3), 99, np.uint8))
    writer.release()
    record = run(hub, source, tmp_path / "out.mp4")
    assert "OpenCV would crop 65×49 to 64×48; pip install" in record.message


def test_codecs_that_cannot_be_written(hub: Hub, tmp_path: Path) -> None:
    source = clip(tmp_path / "a.mp4")
    with pytest.raises(OptionError, match=r"no usual codec for \.ogv; choose one with"):
        run(hub, source, tmp_path / "out.ogv")
    with pytest.raises(OptionError, match="is not four letters"):
        run(hub, source, tmp_path / "out.mp4", fourcc="h264x")
    record = run(hub, source, tmp_path / "out.mp4", fourcc="zzzz")
    assert record.code == "E070"
    assert "codec zzzz in a .mp4 file: OpenCV cannot write it" in record.message
    assert files(tmp_path) == [source.name]


def test_a_video_that_ends_early_is_damaged(hub: Hub, tmp_path: Path) -> None:
    writer = cv2.VideoWriter(
        str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 12.5, (64, 48)
    )
    for number in range(30):
        writer.write(np.full((48, 64, 3), 8 * number + 5, np.uint8))
    writer.release()
    half = tmp_path / "half.avi"
    half.write_bytes((tmp_path / "a.avi").read_bytes()[:6000])
    record = run(hub, half, tmp_path / "out.mp4")
    assert record.code == "E012" and "of 30 frames; --lenient" in record.message
    assert run(hub, half, tmp_path / "out.mp4", strict=False).status == "done"
    assert 0 < len(sizes(tmp_path / "out.mp4")) < 18


def test_names_with_colons(hub: Hub, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    source = Path("2024-05-01T10:00:00.mp4")
    clip(tmp_path / source)
    assert run(hub, source, Path("2024-05-01T11:00:00.mp4")).status == "done"
    assert len(sizes(tmp_path / "2024-05-01T11:00:00.mp4")) == 6
    assert len(list(hub.stream("negative", "2024-05-01T10:00:00.mp4"))) == 6
