"""A flag on the command line that would have no effect is an error, and nothing is done."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import cv2
import pytest

from tests.paths import PLUGINS
from vaetools.cli import main
from vaetools.image import Image, encode_image
from vaetools.testing import gradient

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., str]:
    """The one line on stderr of a command that is refused with code 2, without any output."""
    monkeypatch.setenv("VAETOOLS_PLUGINS_DIR", str(PLUGINS))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO()))
    Path("a.png").write_bytes(encode_image(Image(gradient()), "png"))
    writer = cv2.VideoWriter("clip.avi", cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    writer.write(gradient())
    writer.release()
    Path("negative.toml").write_text('[[step]]\nop = "negative"\nmodel = "x"\n')
    before = set(Path().iterdir())

    def call(*words: str) -> str:
        with pytest.raises(SystemExit) as caught:
            main([*words])
        out, err = capsys.readouterr()
        assert (caught.value.code, out) == (2, "")
        assert set(Path().iterdir()) == before
        (line,) = err.splitlines()
        return line

    return call


FLAGS = {
    "--include": ["*.png"],
    "--exclude": ["*.png"],
    "--on-exists": ["skip"],
    "--force": [],
    "--resume": [],
    "--shard": ["1/2"],
    "--dry-run": [],
    "--max-pixels": ["100"],
    "--strict": [],
    "--frames": ["first"],
    "--strip": ["all"],
    "--json": [],
    "--to": ["png"],
    "--quality-out": ["80"],
    "--fourcc": ["mp4v"],
    "--video-quality": ["20"],
    "--report": ["page.html"],
}


@pytest.mark.parametrize("flag", FLAGS)
def test_raw_frames(refused: Callable[..., str], flag: str) -> None:
    words = ["run", "negative", "-", "-o", "-", "--raw", "6x4:bgr24"]
    line = refused(*words, flag, *FLAGS[flag])
    assert line == f"E002 {flag} has no effect on raw frames; leave it out"


@pytest.mark.parametrize("command", [["negative"], ["run", "negative"], ["run", "dust,negative"]])
@pytest.mark.parametrize("flag", ["--frames", "--to", "--quality-out"])
def test_a_video(refused: Callable[..., str], command: list[str], flag: str) -> None:
    line = refused(*command, "clip.avi", "-o", "out.mp4", flag, *FLAGS[flag])
    assert line == f"E002 {flag} has no effect on a video; leave it out"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run negative a.png -o out --fourcc mp4v", "--fourcc has no effect on images"),
        ("run negative a.png -o out --video-quality 9", "--video-quality has no effect on images"),
        ("negative a.png -o out --force --on-exists skip", "--force and --on-exists skip exclude"),
        ("negative a.png -o out --on-exists error --force", "--force and --on-exists error exclu"),
        ("negative a.png -o out --force --resume", "--force and --resume exclude each other"),
        ("export a.pt --from taesd --to out --data x", "--data has no effect with --from taesd"),
        ("export run --to out --prior none", "--prior has no effect with a training run"),
        ("export a.pt --from taesd --to out --size 8x8", "--size has no effect with --from taesd"),
        ("negative a.png -o out --model x", "E002 no such option"),
        ("run negative.toml a.png -o out", "negative uses no model"),
        ("compress a.png -o out --roi-drop 20", "E004 roi_drop does nothing without roi"),
        ("plugins --json new x", "--json has no effect on 'plugins new' in this place"),
        ("inspect mnist-conv --limit 3", "--limit has no effect on an inspection without --data"),
        ("inspect mnist-conv --samples 3", "--samples has no effect on an inspection without --d"),
        ("inspect mnist-conv --resize", "--resize has no effect on an inspection without --data"),
    ],
)
def test_other_commands(refused: Callable[..., str], words: str, said: str) -> None:
    assert said in refused(*words.split())


def test_what_agrees_is_accepted(refused: object, capsys: pytest.CaptureFixture[str]) -> None:
    """Flags that say the same twice, and defaults of a config file that do not apply."""
    Path("my.toml").write_text('on_exists = "skip"\nresume = true\n')
    for more in (["--on-exists", "replace"], ["--no-resume"], ["--config", "my.toml"]):
        with pytest.raises(SystemExit) as caught:
            main(["negative", "a.png", "-o", "out", "--force", *more])
        assert not caught.value.code, capsys.readouterr().err
