"""`vaetools desktop`, with the programs of a desktop where they are installed."""

from __future__ import annotations

import configparser
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vaetools
import vaetools.desktop.registration as module
from tests.codec.miniature import GOLDEN, STREAMS
from vaetools.cli import main
from vaetools.desktop import install, thumbnail, uninstall
from vaetools.errors import NotAVaeFileError, OutputError, UsageError
from vaetools.hub import Hub
from vaetools.image.metadata.icc import profile_of_cicp
from vaetools.testing import gradient

VIEWER = "applications/vaetools-view.desktop"

needs_mime_database = pytest.mark.skipif(
    shutil.which("update-mime-database") is None, reason="needs shared-mime-info"
)


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user's data folder with a blank in its name."""
    folder = tmp_path / "data home"
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))
    return folder


@pytest.fixture
def no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda _: None)


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.mark.usefixtures("no_programs")
def test_installing_and_removing_can_be_repeated(data: Path) -> None:
    first = [*install()]
    assert [line.partition(" ")[0] for line in first] == ["wrote"] * 3 + ["not"] * 2
    assert files(data) == [
        "applications/vaetools-view.desktop",
        "mime/packages/vaetools.xml",
        "thumbnailers/vaetools.thumbnailer",
    ]
    assert [line.partition(" ")[0] for line in install()] == ["unchanged"] * 3
    (data / "mime/packages/vaetools.xml").write_text("older")
    again = [line.partition(" ")[0] for line in install()]
    assert again == ["wrote", *["unchanged"] * 2, *["not"] * 2]
    removed = [line.partition(" ")[0] for line in uninstall()]
    assert removed == ["removed"] * 3 + ["not"] * 2
    assert files(data) == []
    assert {line.partition("/")[0] for line in uninstall()} == {"not there "}


def test_the_command_says_what_it_did(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("install", "uninstall"):
        with pytest.raises(SystemExit) as caught:
            main(["desktop", word])
        assert not caught.value.code
    out = capsys.readouterr().out
    assert f"wrote {data}/mime/packages/vaetools.xml\n" in out
    assert f"removed {data}/mime/packages/vaetools.xml\n" in out


@pytest.mark.usefixtures("no_programs")
def test_the_viewer_takes_all_selected_files(data: Path) -> None:
    [*install()]
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(data / VIEWER)
    entry = parser["Desktop Entry"]
    assert entry["Type"] == "Application" and entry["Terminal"] == "false"
    assert entry["MimeType"] == "image/x-vae;"
    words = shlex.split(entry["Exec"])
    assert words == [sys.executable, "-P", "-m", "vaetools", "view", "--keep-going", "%F"]
    if shutil.which("desktop-file-validate"):
        subprocess.run(["desktop-file-validate", data / VIEWER], check=True)


@pytest.mark.usefixtures("no_programs")
def test_a_relative_data_home_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As the specification says."""
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert next(install()) == f"wrote {tmp_path}/.local/share/mime/packages/vaetools.xml"


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_other_desktops_are_refused(
    data: Path, monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    monkeypatch.setattr(module.sys, "platform", platform)
    for call in (install, uninstall):
        with pytest.raises(UsageError, match=f"not for {platform}"):
            next(call())
    assert not data.exists()


@pytest.mark.usefixtures("no_programs")
def test_a_folder_that_cannot_be_written_is_one_line(data: Path) -> None:
    data.write_text("a file")
    with pytest.raises(OutputError, match=r"vaetools\.xml: cannot be written: Not a directory$"):
        next(install())


@needs_mime_database
def test_desktops_know_the_type_by_content_and_name(data: Path, tmp_path: Path) -> None:
    assert f"ran update-mime-database {data}/mime" in [*install()]
    unnamed, empty = tmp_path / "unnamed", tmp_path / "empty.VAE"
    shutil.copy(STREAMS / "grey.vae", unnamed)
    empty.write_bytes(b"")
    environment = {**os.environ, "XDG_DATA_HOME": str(data), "XDG_CURRENT_DESKTOP": "GNOME"}
    for program in ("gio info -a standard::content-type", "xdg-mime query filetype"):
        if shutil.which("gio") is None or shutil.which(program.split()[0]) is None:
            continue  # xdg-mime asks gio
        for path in (unnamed, empty, STREAMS / "grey.vae"):
            asked = [*program.split(), path]
            done = subprocess.run(
                asked, capture_output=True, text=True, check=True, env=environment
            )
            assert ("image/x-vae" in done.stdout) == (path != empty), done
    assert (data / "mime/image/x-vae.xml").exists()
    [*uninstall()]
    assert not (data / "mime/image/x-vae.xml").exists()


@pytest.mark.slow
def test_the_thumbnailer_runs_as_a_desktop_runs_it(data: Path, tmp_path: Path) -> None:
    """Fields of the entry are filled in, and the line is split as a shell does."""
    [*install()]
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str
    parser.read(data / "thumbnailers/vaetools.thumbnailer")
    entry = parser["Thumbnailer Entry"]
    assert entry["MimeType"] == "image/x-vae;"
    assert shutil.which(entry["TryExec"]) == sys.executable
    source, target = tmp_path / "a b.vae", tmp_path / "out.png"
    shutil.copy(STREAMS / "grey.vae", source)
    fields = {"%i": str(source), "%o": str(target), "%s": "32", "%%": "%"}
    words = [fields.get(word, word) for word in shlex.split(entry["Exec"])]
    environment = {**os.environ, "VAETOOLS_MODELS": str(GOLDEN)}
    subprocess.run(words, check=True, env=environment)
    with Image.open(target) as small:
        assert max(small.size) == 32


@pytest.mark.parametrize("name", ["thumbnailers/vaetools.thumbnailer", VIEWER])
def test_the_path_of_python_is_quoted(
    data: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    program = '/opt/100% "my" $x/bin/python'
    monkeypatch.setattr(module.sys, "executable", program)
    [*install()]
    text = (data / name).read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("Exec="))
    unescaped = line[5:].replace("\\\\", "\\").replace("%%", "%")  # as GLib reads a value
    word = unescaped.partition(" -P -m ")[0]  # -P: nothing is loaded from the current folder
    shown = subprocess.run(
        ["sh", "-c", f"printf %s {word}"], capture_output=True, text=True, check=True
    )
    assert shown.stdout == program


@pytest.mark.parametrize("name", ["alpha", "float", "grey-deep", "one-pixel", "stored"])
def test_every_kind_of_file_has_a_thumbnail(name: str, mini_hub: Hub, tmp_path: Path) -> None:
    thumbnail(STREAMS / f"{name}.vae", tmp_path / "out.png", 24, mini_hub)
    whole = vaetools.imread(STREAMS / f"{name}.vae")
    with Image.open(tmp_path / "out.png") as small:
        assert max(small.size) == min(24, *[max(whole.shape[:2])])
        assert ("A" in small.mode) == (whole.ndim == 3 and whole.shape[2] == 4)
        mean = np.asarray(small.convert("L")).mean() / 255
    top = 1.0 if whole.dtype == np.float32 else np.iinfo(whole.dtype).max
    assert abs(mean - (whole[..., :3] if whole.ndim == 3 else whole).mean() / top) < 0.15


def test_a_thumbnail_is_in_srgb(mini_hub: Hub, tmp_path: Path) -> None:
    profile = profile_of_cicp(vaetools.image.Cicp(12, 13), grey=False)  # Display P3
    assert profile is not None
    image = vaetools.Image(np.full((64, 64, 3), (40, 60, 200), np.uint8), icc=profile)
    vaetools.imwrite(tmp_path / "a.vae", image)
    thumbnail(tmp_path / "a.vae", tmp_path / "out.png", 8, mini_hub)
    decoded = Image.fromarray(vaetools.imread(tmp_path / "a.vae", channel_order="rgb"))
    decoded.thumbnail((8, 8))
    with Image.open(tmp_path / "out.png") as small:
        assert "icc_profile" not in small.info
        red, expected = (np.asarray(x)[..., 0].mean() for x in (small, decoded))
    assert red > expected + 5  # the same colour has more red in the smaller space


def test_a_file_that_is_cut_short_has_a_thumbnail_of_its_preview(
    mini_hub: Hub, tmp_path: Path
) -> None:
    vaetools.imwrite(tmp_path / "a.vae", gradient())
    whole = (tmp_path / "a.vae").read_bytes()
    (tmp_path / "cut.vae").write_bytes(whole[:-1])
    thumbnail(tmp_path / "cut.vae", tmp_path / "out.png", 32, mini_hub)
    with Image.open(tmp_path / "out.png") as small:
        assert small.size == (32, 24)


def test_what_has_no_thumbnail_is_one_line(
    flipped: Path, mini_hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "no.vae").write_bytes(b"\x89PNG")
    with pytest.raises(NotAVaeFileError, match=r"no\.vae: is not a \.vae file"):
        thumbnail(tmp_path / "no.vae", tmp_path / "out.png", 32, mini_hub)
    with pytest.raises(vaetools.BitstreamError, match=r"flipped\.vae: "):
        thumbnail(flipped, tmp_path / "out.png", 32, mini_hub)
    with pytest.raises(OutputError, match="cannot be written"):
        thumbnail(STREAMS / "grey.vae", flipped / "out.png", 32, mini_hub)
    for size in ("0", "5000", "big"):
        with pytest.raises(SystemExit) as caught:
            main(["desktop", "thumbnail", str(flipped), str(tmp_path / "out.png"), size])
        assert caught.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 3
    assert not (tmp_path / "out.png").exists()
