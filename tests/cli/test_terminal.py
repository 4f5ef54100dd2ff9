"""Nothing that comes from files, models, plugins and paths controls a terminal (a real pty)."""

from __future__ import annotations

import io
import os
import pty
import re
import sys
import threading
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TypeAlias

import pytest
from _pytest.mark import ParameterSet
from PIL import Image as PillowImage

from vaetools.cli import main
from vaetools.image import Image, encode_image
from vaetools.testing import gradient, write_tiny_vae
from vaetools.text import PrintableStream, printable

EVIL = "\x1b[31mRED\x1b]0;pwned\x07\x1b[2J\b\r\x9b31m\u202egnp"
"""Colours, the title of the window, a bell, a cleared screen, going back, C1, right to left."""

TOML = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in EVIL)
"""`EVIL` inside a TOML text."""

ESCAPES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")
"""Control characters but for line feeds and tabs."""

BAR = re.compile(r"\x1b\[(?:\?25[lh]|\d*[KA]|[\d;]*m)|\r")
"""What the progress bar writes: hide and show the cursor, colours, up a line, clear it."""

Terminal: TypeAlias = Callable[..., str]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Run a command on a terminal of its own; what arrives there, without carriage returns."""
    monkeypatch.setenv("TERM", "xterm")

    def call(*words: object) -> str:
        master, slave = pty.openpty()
        arrived = bytearray()

        def read() -> None:
            while True:
                try:
                    arrived.extend(os.read(master, 65536))
                except OSError:  # the other end is closed
                    return

        reader = threading.Thread(target=read)
        reader.start()
        with monkeypatch.context() as patch:
            with os.fdopen(slave, "w", encoding="utf-8", errors="surrogateescape") as stream:
                patch.setattr(sys, "stdout", stream)
                patch.setattr(sys, "stderr", stream)
                with pytest.raises(SystemExit):
                    main([str(word) for word in words])
            reader.join(timeout=30)
        os.close(master)
        text = arrived.decode("utf-8", "surrogateescape").replace("\r\n", "\n")
        assert text and "Traceback" not in text
        return text

    return call


def assert_harmless(text: str, *, named: bool = True) -> None:
    """No control characters, and what has them is there in its printable form."""
    assert ESCAPES.findall(text) == []
    assert not named or "pwned" in text


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an image and a damaged file, both of an evil name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / f"a{EVIL}.png").write_bytes(encode_image(Image(gradient()), "png"))
    (tmp_path / "in" / f"b{EVIL}.png").write_text("no image")
    return tmp_path


def chosen(cases: Iterable[str], quick: AbstractSet[str]) -> list[ParameterSet]:
    """All cases; those that are not quick are left to the slow tests."""
    return [pytest.param(n, marks=[] if n in quick else [pytest.mark.slow]) for n in cases]


GRAPH = f"""
file = "more.onnx"
sha256 = "{64 * "0"}"
bytes = 1
inputs = ["a"]
outputs = ["b"]
"""

MANIFESTS = {
    "version": ('version = "1"', f'version = "{TOML}"'),
    "task": ('"generate"', f'"{TOML}"'),
    "license": ('license = "Apache-2.0"', f'license = "{TOML}"'),
    "unknown key": ("format = 1", f'format = 1\n"{TOML}" = 1'),
    "unknown table": ("[size]", f'["{TOML}"]\n[size]'),
    "role": ("[graphs.encode]", f'[graphs."{TOML}"]\n{GRAPH}\n[graphs.encode]'),
    "file": ('file = "decode.onnx"', f'file = "{TOML}.onnx"'),
    "id": ('id = "tiny-vae"', f'id = "{TOML}"'),
}


@pytest.mark.parametrize("name", chosen(MANIFESTS, {"version", "unknown key", "id"}))
def test_manifests(name: str, terminal: Terminal, folder: Path) -> None:
    write_tiny_vae(folder / "models" / "tiny-vae")
    manifest = folder / "models" / "tiny-vae" / "model.toml"
    text = manifest.read_text()
    old, new = MANIFESTS[name]
    assert old in text
    manifest.write_text(text.replace(old, new, 1))
    shown = terminal("models", "list", "--models-dir", "models")
    shown += terminal("models", "show", "tiny-vae", "--models-dir", "models")
    words = ("reconstruct", "in", "-o", "out", "--model", "tiny-vae", "--models-dir", "models")
    shown += terminal(*words, "--dry-run")
    assert_harmless(BAR.sub("", shown))


def plugin(text: str) -> str:
    return f"""
import vaetools
from vaetools import hookimpl, option
from dataclasses import dataclass
class Fine(vaetools.ImageOperation):
    {text!r}
    name = "fine"
    @dataclass(frozen=True)
    class Options:
        x: int = option(1, help={text!r}, metavar={text!r})
    def apply(self, image):
        print({text!r})
        self.note({text!r})
        raise RuntimeError({text!r})
@hookimpl
def register_operations(): return [Fine]
"""


@pytest.mark.parametrize(
    "words",
    ["--help", "fine --help", "plugins", "nope", "fine in -o out", "fine in -o out --debug"],
)
def test_plugins(words: str, terminal: Terminal, folder: Path) -> None:
    (folder / "plugins").mkdir()
    (folder / "plugins" / "fine.py").write_text(plugin(EVIL))
    (folder / "plugins" / "broken.py").write_text(f"raise RuntimeError({EVIL!r})")
    (folder / "plugins" / "named.py").write_text(plugin("x").replace('"fine"', repr(EVIL)))
    os.chdir(folder)
    if "--debug" in words:
        (folder / "in" / f"b{EVIL}.png").unlink()
        words = words.replace(" --debug", "")
    shown = terminal("--plugins-dir", "plugins", *words.split())
    assert_harmless(BAR.sub("", shown))


NAMES = {
    "run": ["denoise", "in", "-o", "out", "--sigma", "5"],
    "dry run": ["denoise", "in", "-o", "out", "--sigma", "5", "--dry-run"],
    "json": ["denoise", "in", "-o", "out", "--sigma", "5", "--json"],
    "info": ["info", f"in/a{EVIL}.png", f"in/b{EVIL}.png"],
    "eval": ["eval", "in", "in"],
    "missing input": ["denoise", "nothing\x1b]0;pwned\x07", "-o", "out"],
    "output": ["denoise", "in", "-o", f"out{EVIL}/x", "--sigma", "5"],
    "command": [EVIL],
    "option": ["denoise", f"--{EVIL}", "in", "-o", "out"],
    "value": ["denoise", "in", "-o", "out", "--sigma", EVIL],
    "device": ["denoise", "in", "-o", "out", "--device", EVIL],
    "model": ["models", "show", EVIL],
    "mask": ["inpaint", "in", "-o", "out", "--mask", f"none{EVIL}"],
    "mask pattern": ["inpaint", "in", "-o", "out", "--mask", f"{{stem}}{EVIL}.png"],
    "chain": ["run", f"denoise,{EVIL}", "in", "-o", "out"],
    "config": ["denoise", "in", "-o", "out", "--config", f"none{EVIL}"],
    "report": ["denoise", "in", "-o", "out", "--sigma", "5", "--report", f"none{EVIL}/x.html"],
    "train": ["train", EVIL, "--data", "in"],
    "explain": ["explain", EVIL],
    "plugins folder": ["--plugins-dir", f"none{EVIL}", "plugins"],
}


@pytest.mark.parametrize(
    "name", chosen(NAMES, {"run", "dry run", "info", "command", "option", "model", "config"})
)
def test_names(name: str, terminal: Terminal, folder: Path) -> None:
    assert_harmless(BAR.sub("", terminal(*NAMES[name])))


@pytest.mark.parametrize(
    "text",
    [f'"{TOML}" = 1', f'device = "{TOML}"', f'["{TOML}"]\na = 1', f'[denoise]\nsigma = "{TOML}"'],
    ids=["key", "value", "table", "option"],
)
def test_config_files(text: str, terminal: Terminal, folder: Path) -> None:
    (folder / "c.toml").write_text(text)
    assert_harmless(BAR.sub("", terminal("denoise", "in", "-o", "out", "--config", "c.toml")))


@pytest.mark.slow
def test_metadata(terminal: Terminal, folder: Path) -> None:
    exif = PillowImage.Exif()
    exif[270] = exif[305] = EVIL.encode("latin-1", "replace").decode("latin-1")
    profile = bytes(128) + EVIL.encode()
    PillowImage.new("RGB", (40, 40)).save(folder / "e.jpg", exif=exif, icc_profile=profile)
    shown = terminal("info", "e.jpg") + terminal("compress", "e.jpg", "-o", "e.vae")
    shown += terminal("info", "e.vae") + terminal("denoise", "e.jpg", "-o", "o.jpg")
    assert_harmless(BAR.sub("", shown), named=False)


def test_the_progress_bar_and_the_report(terminal: Terminal, folder: Path) -> None:
    shown = terminal("denoise", "in", "-o", "out", "--sigma", "5", "--report", "r.html")
    assert "\x1b[?25l" in shown, "there is no bar"
    assert_harmless(BAR.sub("", shown))
    assert_harmless((folder / "r.html").read_text())


def test_what_the_filter_does() -> None:
    below = io.StringIO()
    stream = PrintableStream(below)
    assert stream.write(f"a\tb\n{EVIL}\nä × 日本\n") == len(f"a\tb\n{EVIL}\nä × 日本\n")
    shown = printable(EVIL.replace("\x1b[31m", ""))
    assert below.getvalue() == f"a\tb\n{shown}\nä × 日本\n"
    stream.writelines(["\udcff", "\x1b", "[0m"])
    assert below.getvalue().endswith("\\udcff\\x1b[0m")
    assert not stream.isatty()
