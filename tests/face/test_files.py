"""`imread` and `imwrite`: bad input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import vaetools
from tests.image import described
from vaetools.codec.info import read_info
from vaetools.errors import HeaderLimitError, InputError, OptionError, UsageError
from vaetools.image import Cicp
from vaetools.image.metadata.icc import profile_of_cicp
from vaetools.shared_hub import _Shared
from vaetools.testing import gradient

if TYPE_CHECKING:
    from pathlib import Path

    from vaetools.hub import Hub


@pytest.fixture(autouse=True)
def _tiny_models(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Shared, "hub", hub)


def test_vae_files_obey_the_limit_of_pixels(tmp_path: Path) -> None:
    vaetools.imwrite(tmp_path / "a.vae", gradient())
    assert vaetools.imread(tmp_path / "a.vae", max_pixels=48 * 64).shape == (48, 64, 3)
    with pytest.raises(HeaderLimitError, match=r"a\.vae: "):
        vaetools.imread(tmp_path / "a.vae", max_pixels=48 * 64 - 1)


@pytest.mark.parametrize("suffix", ["jpg", "vae"])
@pytest.mark.parametrize("quality", [float("nan"), float("inf"), -1, 101, "75", True])
def test_a_bad_quality_is_one_error(tmp_path: Path, suffix: str, quality: Any) -> None:
    with pytest.raises(OptionError, match=r"quality=.* is not 0 … 100"):
        vaetools.imwrite(tmp_path / f"a.{suffix}", gradient(), quality=quality)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("path", [None, 5, b"a.png", gradient()], ids=lambda p: type(p).__name__)
def test_what_is_not_a_path_is_one_error(path: Any) -> None:
    with pytest.raises(UsageError, match=r"a path is a str or a pathlib.Path, not"):
        vaetools.imread(path)
    with pytest.raises(UsageError, match=r"a path is a str or a pathlib.Path, not"):
        vaetools.imwrite(path, gradient())


def test_errors_name_the_vae_file(tmp_path: Path) -> None:
    vaetools.imwrite(tmp_path / "a.vae", gradient())
    cut = tmp_path / "cut.vae"
    cut.write_bytes((tmp_path / "a.vae").read_bytes()[:40])
    with pytest.raises(vaetools.BitstreamError, match=r"cut\.vae: is truncated"):
        vaetools.imread(cut)
    with pytest.raises(InputError, match=r"^cannot be read: the path is empty"):
        vaetools.imread("")
    for call in (vaetools.imread, lambda path: vaetools.imwrite(path, gradient())):
        with pytest.raises(UsageError, match=r"'a\\x00\.png' contains a null byte"):
            call("a\0.png")


def test_a_vae_file_has_the_metadata_of_the_image(tmp_path: Path) -> None:
    exif = described.exif_with()
    image = vaetools.Image(gradient(), exif=exif, icc=profile_of_cicp(Cicp(12, 13), grey=False))
    vaetools.imwrite(tmp_path / "a.vae", image)
    with (tmp_path / "a.vae").open("rb") as file:
        metadata = read_info(file).metadata
    assert metadata.icc == image.icc
    assert metadata.exif is not None and b"note of the maker" in metadata.exif
