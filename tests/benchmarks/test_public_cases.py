"""The script of public cases: its checks can fail, and its samples are what they say."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from tests.benchmarks.scripts import benchmark_script


def test_every_check_has_a_name_of_its_own() -> None:
    with benchmark_script("public_cases") as script:
        modules = (script.public_videos, script.public_metadata, script.public_images)
        names = [check.name for module in modules for check in module.CHECKS]
    assert len(names) == len(set(names)) == 53
    assert len({name[:3] for name in names}) == 19


def test_thumbnails_and_sizes_of_the_samples_are_found(tmp_path: Path) -> None:
    with benchmark_script("public_tool") as tool:
        red = tool.red_square()
        block = tool.exif_block(
            orientation=6, thumbnail=tool.encoded(red[::2, ::2]), size=(160, 120)
        )
        path = tool.save(tmp_path / "a.jpg", red, exif=block)
        with PIL.Image.open(path) as image:
            exif = image.getexif()
            assert (exif[271], exif[274], exif.get_ifd(0x8769)[40962]) == ("Canon", 6, 160)
        thumbnail = tool.thumbnail_of(path)
        assert thumbnail.shape == (80, 60, 3) and tool.red_pixels(thumbnail) > 10
        assert tool.thumbnail_of(tool.save(tmp_path / "b.jpg", red)) is None


def test_grey_profiles_of_the_samples_are_profiles(tmp_path: Path) -> None:
    with benchmark_script("public_metadata") as script:
        plane = np.full((4, 4), 128, np.uint8)
        PIL.Image.fromarray(plane).save(tmp_path / "a.png", icc_profile=script.grey_profile())
        profile = PIL.ImageCms.ImageCmsProfile(io.BytesIO(script.grey_profile()))
        assert profile.profile.xcolor_space.strip() == "GRAY"
        assert script.shown_mean(tmp_path / "a.png") == pytest.approx(188, abs=2)  # linear light
        assert script.srgb_of("linear")[0] == pytest.approx(202, abs=2)


@pytest.mark.slow
def test_a_check_is_right_or_wrong(tmp_path: Path) -> None:
    with benchmark_script("public_tool") as tool, benchmark_script("public_images") as script:
        (labels,) = (check for check in script.CHECKS if check.name == "F14d")
        assert tool.judged(labels, tmp_path / "F14d") == ("right", "")
        wrong = tool.Check("X", "never", lambda desk: tool.expect(False, "seen"))
        assert tool.judged(wrong, tmp_path / "X") == ("WRONG", "seen")
        lacking = tool.Check("Y", "never", lambda desk: None, ("no-such-program",))
        assert tool.judged(lacking, tmp_path / "Y")[0] == "skipped"
