"""`vaetools eval`: files that cannot be compared are named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from vaetools.cli import main
from vaetools.image import Image, encode_image
from vaetools.testing import gradient


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    for name in ("a.png", "b.png"):
        (one / name).write_bytes(encode_image(Image(gradient()), "png"))
    shutil.copytree(one, other)
    return one, other


def told(capsys: pytest.CaptureFixture[str], *words: Path) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["eval", *map(str, words)])
    assert not caught.value.code
    return capsys.readouterr().err


def test_files_without_a_partner_are_named(
    capsys: pytest.CaptureFixture[str], folders: tuple[Path, Path]
) -> None:
    assert told(capsys, *folders) == ""
    one, other = folders
    (other / "b.png").rename(other / "c.png")
    assert told(capsys, *folders) == f"without a partner: {one / 'b.png'}, {other / 'c.png'}\n"


def test_a_compressed_copy_does_not_take_the_place_of_its_original(
    capsys: pytest.CaptureFixture[str], folders: tuple[Path, Path]
) -> None:
    one, _ = folders
    (one / "a.png.vae").write_bytes(b"")  # could not be read
    assert told(capsys, *folders) == f"without a partner: {one / 'a.png.vae'}\n"


def test_only_some_of_many_are_named(
    capsys: pytest.CaptureFixture[str], folders: tuple[Path, Path]
) -> None:
    for number in range(25):
        (folders[1] / f"new{number:02}.png").write_bytes(b"")
    assert told(capsys, *folders).endswith("new19.png and 5 more\n")
