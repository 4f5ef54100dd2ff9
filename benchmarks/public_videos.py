"""Checks of videos. FFmpeg makes the clips and says what is in the results."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
from public_tool import Check, Desk, Ended, collector, expect

if TYPE_CHECKING:
    from pathlib import Path

CHECKS: list[Check] = []
check = collector(CHECKS)

CLIP = "-f lavfi -i testsrc2=size=96x64:rate=25:duration=1"
X264 = "-c:v libx264 -pix_fmt yuv420p"
FF = ("ffmpeg", "ffprobe")


def kept_or_said(desk: Desk, line: str, out: str, pattern: str) -> Ended | None:
    """The end of a command; None if it refused, or a line matches `pattern`: both are right."""
    ended = desk.vaetools(line)
    if ended.refused():
        expect(not (desk / out).exists(), f"refused, and wrote {out}")
        return None
    expect(ended.code == 0, ended.err.strip())
    return None if re.search(pattern, ended.err) else ended


def rgb(path: Path, *, filters: str = "") -> np.ndarray:
    """Frames as FFmpeg shows them, (N, H, W, 3)."""
    size = stream(path)
    height, width = int(size["height"]), int(size["width"])
    words = ["ffmpeg", "-loglevel", "error", "-noautorotate", "-i", str(path), "-fps_mode"]
    words += ["passthrough", *(["-vf", filters] if filters else [])]
    words += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    data = subprocess.run(words, capture_output=True, check=True).stdout
    return np.frombuffer(data, np.uint8).reshape(-1, height, width, 3)


def stream(path: Path, kind: str = "v") -> dict[str, Any]:
    """What ffprobe says of the first stream of a kind; empty if there is none."""
    words = ["ffprobe", "-v", "error", "-select_streams", f"{kind}:0", "-show_streams"]
    found = subprocess.run(
        [*words, "-of", "json", str(path)], capture_output=True, text=True, check=True
    )
    streams = json.loads(found.stdout)["streams"]
    return dict(streams[0]) if streams else {}


def times(path: Path) -> list[float]:
    """Presentation times of the frames in seconds."""
    words = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "frame=pts_time"]
    found = subprocess.run(
        [*words, "-of", "csv=p=0", str(path)], capture_output=True, text=True, check=True
    )
    return sorted(float(line.strip(",")) for line in found.stdout.split() if line.strip(","))


INTERLACED = {
    "a": ("H.264", "-c:v libx264 -flags +ildct+ilme -pix_fmt yuv420p", "inter.mp4"),
    "b": ("MPEG-2", "-c:v mpeg2video -flags +ildct+ilme -q:v 2", "dvd.mpg"),
}


def interlaced_check(letter: str) -> None:
    title, codec, name = INTERLACED[letter]

    @check(f"F01{letter}", f"interlaced {title} keeps its brightness", *FF)
    def _(desk: Desk) -> None:
        source = "-f lavfi -i testsrc2=size=96x64:rate=50:duration=1 -vf interlace=scan=tff"
        desk.tool(f"ffmpeg {source} {codec} {name}")
        brightness_kept(desk, name)


for _letter in INTERLACED:
    interlaced_check(_letter)


def brightness_kept(desk: Desk, name: str) -> None:
    right = rgb(desk / name).mean()
    ended = desk.vaetools(f"run denoise {name} -o out.mp4 --sigma 0")
    if not ended.refused():
        expect(ended.code == 0, ended.err.strip())
        found = rgb(desk / "out.mp4").mean()
        expect(abs(found - right) < 6, f"mean {found:.1f} instead of {right:.1f}")


@check("F01c", "interlaced DV keeps its brightness", *FF)
def _(desk: Desk) -> None:
    source = "-f lavfi -i testsrc2=size=720x576:rate=50:duration=0.2 -vf interlace=scan=bff"
    desk.tool(f"ffmpeg {source} -c:v dvvideo -pix_fmt yuv420p dv.avi")
    brightness_kept(desk, "dv.avi")


@check("F01d", "hub.stream shows interlaced frames, or refuses them", *FF)
def _(desk: Desk) -> None:
    source = "-f lavfi -i testsrc2=size=96x64:rate=50:duration=1 -vf interlace=scan=tff"
    desk.tool(f"ffmpeg {source} {INTERLACED['a'][1]} inter.mp4")
    streamed(desk, "inter.mp4", rgb(desk / "inter.mp4").mean(), may_refuse=True)


def streamed(desk: Desk, name: str, right: float, *, may_refuse: bool = False) -> None:
    ended = desk.python(
        "import vaetools, numpy as np\n"
        "try:\n"
        f"    frames = list(vaetools.open(device='cpu').stream('denoise', {name!r}, sigma='0'))\n"
        "except vaetools.VaetoolsError as error:\n"
        "    print('refused', error)\n"
        "else:\n"
        "    print(len(frames), np.mean([f.mean() for f in frames]))\n"
    )
    words = ended.out.split()
    expect(words, ended.err[-300:])
    if words[0] != "refused" or not may_refuse:
        expect(words[0] != "refused", ended.out.strip())
        expect(abs(float(words[1]) - right) < 6, f"mean {words[1]} instead of {right:.1f}")


def variable(desk: Desk, name: str, codec: str, sound: str) -> list[float]:
    """A clip of 2 s at 30 and 2 s at 5 frames per second with sound; the times of its frames."""
    for part, rate, colour in (("a", 30, "red"), ("b", 5, "blue")):
        source = f"-f lavfi -i color={colour}:size=96x64:rate={rate}:duration=2"
        desk.tool(f"ffmpeg {source} {X264} -video_track_timescale 30000 {part}.mp4")
    (desk / "list.txt").write_text("file a.mp4\nfile b.mp4\n", encoding="ascii")
    desk.tool("ffmpeg -f concat -i list.txt -c copy joined.mp4")
    more = f"-f lavfi -i sine=duration=4 -fps_mode passthrough {codec} {sound}"
    desk.tool(f"ffmpeg -i joined.mp4 {more} -map 0:v -map 1:a {name}")
    return times(desk / name)


def times_kept(desk: Desk, name: str, out: str, right: list[float]) -> None:
    ended = kept_or_said(
        desk, f"run denoise {name} -o {out} --sigma 0", out, r"(?i)frame (rate|times)|variable"
    )
    if ended is not None:
        found = times(desk / out)
        expect(len(found) == len(right), f"{len(found)} of {len(right)} frames")
        away = np.abs(np.subtract(found, right)).max()
        expect(away < 0.02, f"frames up to {away:.2f} s off")


@check("F02a", "frames of variable rate keep their times (MP4)", *FF)
def _(desk: Desk) -> None:
    right = variable(desk, "vfr.mp4", X264, "-c:a aac")
    times_kept(desk, "vfr.mp4", "o.mp4", right)


@check("F02b", "frames of variable rate keep their times (WebM)", *FF)
def _(desk: Desk) -> None:
    right = variable(desk, "vfr.webm", "-c:v libvpx -b:v 1M", "-c:a libvorbis -ac 2 -strict -2")
    ended = desk.vaetools("run denoise vfr.webm -o o.webm --sigma 0")
    expect("E012" not in ended.err, f"false damage: {ended.err.strip()}")
    (desk / "o.webm").unlink(missing_ok=True)
    times_kept(desk, "vfr.webm", "o.webm", right)


LONG_SOUND = {
    "a": ("mkv", f"{X264} -c:a aac", "o.mkv"),
    "b": ("webm", "-c:v libvpx -b:v 1M -c:a libvorbis -ac 2 -strict -2", "o.webm"),
    "c": ("ts", f"{X264} -c:a aac", "o.mp4"),
}


def sound_check(letter: str) -> None:
    suffix, codecs, out = LONG_SOUND[letter]

    @check(f"F03{letter}", f"sound longer than the video is no damage (.{suffix})", *FF)
    def _(desk: Desk) -> None:
        name = f"longaudio.{suffix}"
        desk.tool(f"ffmpeg {CLIP} -f lavfi -i sine=duration=4 {codecs} {name}")
        desk.done(f"run denoise {name} -o {out} --sigma 0")
        expect(len(times(desk / out)) == 25, f"{len(times(desk / out))} of 25 frames")


for _letter in LONG_SOUND:
    sound_check(_letter)


@check("F03d", "a video that begins after its sound stays so", *FF)
def _(desk: Desk) -> None:
    desk.tool(f"ffmpeg {CLIP} {X264} plain.mp4")
    desk.tool(
        "ffmpeg -itsoffset 1 -i plain.mp4 -f lavfi -i sine=duration=2 -c:v copy -c:a aac offs.mp4"
    )
    right = times(desk / "offs.mp4")[0]
    assert right > 0.9
    ended = kept_or_said(
        desk, "run denoise offs.mp4 -o o.mp4 --sigma 0", "o.mp4", "(?i)begin|start"
    )
    if ended is not None:
        found = times(desk / "o.mp4")[0]
        expect(abs(found - right) < 0.06, f"begins at {found:.2f} s instead of {right:.2f}")


@check("F04", "the aspect ratio of anamorphic video stays", *FF)
def _(desk: Desk) -> None:
    desk.tool(f"ffmpeg {CLIP} -vf setsar=64/45 {X264} sar.mp4")
    ended = kept_or_said(
        desk, "run denoise sar.mp4 -o o.mp4 --sigma 0", "o.mp4", "(?i)aspect|pixels"
    )
    if ended is not None:
        found = stream(desk / "o.mp4").get("sample_aspect_ratio")
        expect(found == "64:45", f"aspect ratio {found}")


@check("F05a", "HDR stays HDR, or is refused", *FF)
def _(desk: Desk) -> None:
    tags = "-color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc"
    desk.tool(
        f"ffmpeg {CLIP} -c:v libx265 -pix_fmt yuv420p10le {tags} -x265-params log-level=error deep.mp4"
    )
    ended = kept_or_said(
        desk, "run denoise deep.mp4 -o o.mp4 --sigma 0", "o.mp4", r"(?i)hdr|10 bit|10-bit|bt2020"
    )
    if ended is not None:
        found = stream(desk / "o.mp4")
        transfer = found.get("color_transfer")
        expect(transfer == "smpte2084", f"transfer {transfer}")
        expect("10" in found["pix_fmt"], found["pix_fmt"])


@check("F05b", "transparency of a video stays, or is refused", *FF)
def _(desk: Desk) -> None:
    faded = "-vf format=argb,colorchannelmixer=aa=0.5"
    desk.tool(f"ffmpeg {CLIP} {faded} -c:v qtrle clear.mov")
    ended = kept_or_said(
        desk, "run denoise clear.mov -o o.mov --sigma 0", "o.mov", "(?i)alpha|transparen"
    )
    if ended is not None:
        found = stream(desk / "o.mov")["pix_fmt"]
        expect("a" in found.replace("gray", ""), f"pixels {found}")


HD = {"c": ("pure green", "0x00ff00"), "d": ("magenta", "0xff00ff")}


def hd_check(letter: str) -> None:
    title, colour = HD[letter]

    @check(f"F05{letter}", f"{title} of BT.709 is the same in the result", *FF)
    def _(desk: Desk) -> None:
        source = f"-f lavfi -i color={colour}:size=1280x720:rate=5:duration=0.4"
        tags = "-color_primaries bt709 -color_trc bt709 -colorspace bt709 -color_range tv"
        matrix = "-vf scale=out_color_matrix=bt709,format=yuv420p"
        desk.tool(f"ffmpeg {source} {matrix} -c:v libx264 {tags} hd.mp4")
        desk.done("run denoise hd.mp4 -o o.mp4 --sigma 0")
        shown = stream(desk / "o.mp4").get("color_space", "bt709")  # players' default for HD
        matrix = "bt709" if shown in ("bt709", "unknown") else shown
        read = f"scale=in_color_matrix={matrix}"
        right = rgb(desk / "hd.mp4", filters="scale=in_color_matrix=bt709").mean(axis=(0, 1, 2))
        found = rgb(desk / "o.mp4", filters=read).mean(axis=(0, 1, 2))
        expect(np.abs(found - right).max() < 6, f"{found.round()} instead of {right.round()}")


for _letter in HD:
    hd_check(_letter)

COLON = "2024-05-01T10:00:00.mp4"


def clip_called(desk: Desk, name: str) -> None:
    desk.tool(f"ffmpeg {CLIP} {X264} plain.mp4")
    shutil.copy(desk / "plain.mp4", desk / name)


@check("F06a", "a video with a colon in its name is read", *FF)
def _(desk: Desk) -> None:
    clip_called(desk, COLON)
    desk.done(f"run denoise {COLON} -o o.mp4 --sigma 0")
    expect(len(times(desk / "o.mp4")) == 25, "frames are missing")


@check("F06b", "a video with a colon in its name is written", *FF)
def _(desk: Desk) -> None:
    clip_called(desk, "in.mp4")
    desk.done(f"run denoise in.mp4 -o {COLON} --sigma 0")
    expect(len(times(desk / COLON)) == 25, "frames are missing")


@check("F06c", "hub.stream reads it", *FF)
def _(desk: Desk) -> None:
    clip_called(desk, COLON)
    streamed(desk, COLON, rgb(desk / COLON).mean())


@check("F18a", "sound of a camera's AVI comes along, or by the printed command", *FF)
def _(desk: Desk) -> None:
    desk.tool(f"ffmpeg {CLIP} -f lavfi -i sine=duration=1 -c:v mjpeg -c:a pcm_s16le cam.avi")
    ended = desk.done("run denoise cam.avi -o cam.mp4 --sigma 0")
    if stream(desk / "cam.mp4", "a"):
        return
    command = re.search(r"(ffmpeg .*)", ended.err)
    assert command is not None, "there is neither sound nor a command"
    words = command[1].strip("`'\" ")
    again = desk.run(["bash", "-c", words + " -nostdin"])
    expect(again.code == 0, f"{words}: {again.err[-200:]}")


@check("F18b", "there is no line about sound for a video that has none", *FF)
def _(desk: Desk) -> None:
    desk.tool(f"ffmpeg {CLIP} {X264} plain.mp4")
    said = desk.done("run denoise plain.mp4 -o o.mp4 --sigma 0").err
    expect("sound" not in said and "audio" not in said, said.strip())
