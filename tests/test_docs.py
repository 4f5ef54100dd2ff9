"""The code in docs/plugins.md, docs/embed.md and docs/config.md runs.

Small stand-ins have the names of the operations that the pages use: what is tested here are the pages
and not the models.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from skimage import data
from vaetools_plugins.compress import Compress
from vaetools_plugins.denoise import Denoise

import vaetools
from tests.paths import PLUGINS, ROOT
from vaetools.cli import main
from vaetools.cli.flags import common_flags
from vaetools.hub import Hub
from vaetools.kit import check_plugin
from vaetools.operation import option_specs
from vaetools.plugin.host import PluginHost
from vaetools.testing import gradient

DOCS = ROOT / "docs"

STAND_INS = """
from dataclasses import dataclass
import numpy as np
import vaetools

class Denoise(vaetools.ImageOperation):
    "Stand for the real one."
    name = "denoise"
    @dataclass(frozen=True)
    class Options:
        sigma: np.ndarray | str | float = "auto"
        strength: float = 1.0
    def apply(self, image):
        return image * (1 - self.options.strength / 4)

class Compress(vaetools.Operation):
    "Stand for the real one."
    name = "compress"
    @dataclass(frozen=True)
    class Options:
        quality: float = 75.0
    def outputs(self, source):
        return (source.with_name(source.name + ".vae"),)
    def process(self, item):
        return item.pixels.tobytes()

@vaetools.hookimpl
def register_operations(): return [Denoise, Compress]
"""


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text()
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    assert found
    return [re.sub(rf"^{indent}", "", code, flags=re.MULTILINE) for indent, code in found]


@pytest.fixture
def _embedded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder with what the page names, and stand-ins for its operations."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vaetools.plugin.host.BUILTIN", ())
    monkeypatch.setenv("VAETOOLS_PLUGINS_DIR", str(tmp_path / "plugins"))
    Path("plugins").mkdir()
    Path("plugins/stand_ins.py").write_text(STAND_INS)
    Path("photos").mkdir()
    cv2.imwrite("photo.png", gradient())
    cv2.imwrite("photos/a.png", gradient())
    writer = cv2.VideoWriter("clip.avi", cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for _ in range(3):
        writer.write(gradient())
    writer.release()


def test_the_stand_ins_have_options_of_the_real_ones(tmp_path: Path) -> None:
    (tmp_path / "stand_ins.py").write_text(STAND_INS)
    host = PluginHost(builtin=False, installed=False, folders=[tmp_path])
    for real in (Denoise, Compress):
        names = {spec.name for spec in option_specs(real.Options)}
        assert {s.name for s in option_specs(host.operations[real.name].Options)} <= names


@pytest.mark.usefixtures("_embedded")
def test_the_python_of_embed() -> None:
    names: dict[str, Any] = {}
    for code in blocks("embed.md", "python"):
        exec(compile(code, "embed.md", "exec"), names)
    assert names["clean"].shape == gradient().shape
    assert isinstance(names["data"], bytes)
    assert Path("packed/a.png.vae").exists() and Path("last.png").exists()
    assert len(names["sink"].getvalue()) == 2 * 64 * 48 * 3


@pytest.mark.usefixtures("_embedded")
def test_the_page_on_videos() -> None:
    names: dict[str, Any] = {}
    Path("clip.avi").rename("clip.mp4")
    for code in blocks("video.md", "python"):
        exec(compile(code, "video.md", "exec"), names)
    assert names["frame"].shape == gradient().shape
    (code,) = (code for code in blocks("video.md", "sh") if "run denoise" in code)
    Path("clips").mkdir()
    Path("clip.mp4").rename("clips/clip.mp4")
    Path("clip.mp4").write_bytes(Path("clips/clip.mp4").read_bytes())
    for line in code.splitlines():
        if line.startswith("vaetools "):
            with pytest.raises(SystemExit) as caught:
                main([*shlex.split(line)[1:], "--on-exists", "replace"])
            assert not caught.value.code
    assert Path("clean/clip.mp4").exists()


def test_the_python_of_the_readme_and_of_compress(
    codec_hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the shipped models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(vars(vaetools), "open", lambda: codec_hub)
    Path("photos").mkdir()
    photo = data.astronaut()[:96, 180:308, ::-1].copy()
    for name in ("photo.png", "photos/a.png"):
        cv2.imwrite(name, photo)
    mask = np.zeros(photo.shape[:2], bool)
    mask[20:23, 10:30] = True
    names: dict[str, Any] = {"mask": mask}
    for page in ("../README.md", "compress.md"):
        for code in blocks(page, "python"):
            exec(compile(code, page, "exec"), names)
    assert names["back"].shape == names["clean"].shape == names["rough"].shape == photo.shape
    assert np.array_equal(names["whole"][~mask], photo[~mask])
    assert len(names["restored"].samples) == 2
    assert names["part"].shape == (24, 32, 3)
    assert Path("packed/a.png.vae").exists()


@pytest.mark.usefixtures("_embedded")
def test_the_commands_of_embed(capsys: pytest.CaptureFixture[str]) -> None:
    (pipeline,) = blocks("embed.md", "toml")
    Path("pipeline.toml").write_text(pipeline)
    lines = [line for code in blocks("embed.md", "sh") for line in code.splitlines()]
    commands = [shlex.split(line) for line in lines if line.startswith("vaetools ")]
    assert len(commands) > 5
    for words in commands:
        with pytest.raises(SystemExit) as caught:
            main(words[1:])
        assert not caught.value.code, (words, capsys.readouterr().err)
    assert Path("packed-b/a.png.vae").read_bytes() == Path("packed-a/a.png.vae").read_bytes()
    assert cv2.VideoCapture("clean.mp4").get(cv2.CAP_PROP_FRAME_COUNT) == 3


@pytest.mark.usefixtures("_embedded")
def test_the_commands_of_config(capsys: pytest.CaptureFixture[str]) -> None:
    (config,) = blocks("config.md", "toml")
    Path("my.toml").write_text(config)
    (code,) = blocks("config.md", "sh")
    for line in code.splitlines():
        with pytest.raises(SystemExit) as caught:
            main(shlex.split(line)[1:])
        assert not caught.value.code, (line, capsys.readouterr().err)
    assert Path("both/a.png.vae").read_bytes() != Path("packed/a.png.vae").read_bytes()
    assert "both/a.png.vae" in Path("report.html").read_text(encoding="utf-8")


def test_the_page_names_every_key_of_a_config() -> None:
    text = (DOCS / "config.md").read_text().split("or underscores: ")[1].split(". Flags")[0]
    named = [name.replace("-", "_") for name in re.findall(r"`([\w-]+)`", text)]
    assert named == list(common_flags())


@pytest.mark.usefixtures("_embedded")
def test_the_pipe_of_embed() -> None:
    """The command in the middle, with frames of the size that it says."""
    text = (DOCS / "embed.md").read_text().split("<!-- ffmpeg -->")[1]
    command = re.search(r"\| (vaetools run .*?) \\$", text, re.MULTILINE)[1]
    frames = np.random.default_rng(0).integers(0, 256, (1, 720, 1280, 3), np.uint8)
    path = Path("plugins/stand_ins.py").resolve().parent
    code = (
        "import sys, vaetools.plugin.host; vaetools.plugin.host.BUILTIN = ()\n"
        "from vaetools.cli import main; main(sys.argv[2:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *shlex.split(command)],
        input=frames.tobytes(), capture_output=True, check=True,
        env={**os.environ, "VAETOOLS_PLUGINS_DIR": str(path)},
    )  # fmt: skip
    assert len(done.stdout) == frames.nbytes


def test_the_plugins_of_plugins(tmp_path: Path) -> None:
    """Each whole plugin on the page keeps the promises that the check knows."""
    plugins = [code for code in blocks("plugins.md", "python") if "@hookimpl" in code]
    assert len(plugins) >= 2
    for number, code in enumerate(plugins):
        path = tmp_path / f"plugin{number}.py"
        path.write_text(code)
        findings = check_plugin(path)
        assert {finding.state for finding in findings} == {"ok"}, findings


def test_the_first_plugin_is_the_file_that_it_names() -> None:
    file = (PLUGINS / "grain.py").read_text()
    assert file.split('"""\n\n', 1)[1] == blocks("plugins.md", "python")[0]


@pytest.mark.slow
def test_the_tests_of_plugins(tmp_path: Path) -> None:
    plugin, *others = blocks("plugins.md", "python")
    (conftest,) = (code for code in others if "pytest_plugins" in code)
    (test,) = (code for code in others if "def test_" in code)
    for name, code in [("my_plugin", plugin), ("conftest", conftest), ("test_it", test)]:
        (tmp_path / f"{name}.py").write_text(code)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout


def test_the_entry_point_of_plugins() -> None:
    (code,) = blocks("plugins.md", "toml")
    assert tomllib.loads(code) == {
        "project": {"entry-points": {"vaetools": {"grain": "vaetools_grain"}}}
    }
