"""`mask-dust`, `mask-scratch`, `mask-colour`: what they find in pictures whose damage is known."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from skimage import data

from vaetools.errors import OptionError
from vaetools.hub import Hub
from vaetools.image import Image, encode_image, read_image
from vaetools.plugin.host import PluginHost


@pytest.fixture(scope="module")
def hub() -> Hub:
    return Hub(PluginHost(installed=False), [], device="cpu")


def photo() -> np.ndarray:
    """(240, 320, 3) uint8 BGR: a scan, a little soft."""
    return cv2.GaussianBlur(data.coffee()[40:280, 60:380, ::-1], (0, 0), 1.0)


def overlap(found: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """(share of the truth that was found, share of what was found that is true)."""
    hit = ((found > 0) & truth).sum()
    return hit / truth.sum(), hit / max(1, (found > 0).sum())


def with_dust(value: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    plane = np.zeros((240, 320), np.uint8)
    for _ in range(40):
        centre = rng.integers(8, [312, 232]).tolist()
        cv2.circle(plane, centre, int(rng.integers(1, 4)), 1, -1)
    picture = photo()
    picture[plane > 0] = value
    return picture, plane > 0


@pytest.mark.parametrize(("value", "kind"), [(255, "bright"), (0, "dark"), (255, "both")])
def test_dust_is_found(hub: Hub, value: int, kind: str) -> None:
    picture, truth = with_dust(value)
    found = hub.mask_dust(picture, kind=kind)
    assert found.shape == truth.shape and set(np.unique(found)) == {0, 255}
    recall, precision = overlap(found, truth)
    assert recall > 0.8 and precision > 0.2
    other = hub.mask_dust(picture, kind={"bright": "dark", "dark": "bright"}.get(kind, kind))
    assert kind == "both" or overlap(other, truth)[0] < 0.2


def test_edges_and_clean_pictures_are_no_dust(hub: Hub) -> None:
    assert (hub.mask_dust(photo()) > 0).mean() < 0.025
    step = np.zeros((100, 100), np.uint8)
    step[:, 50:] = 200
    step[20:24, :50] = 255  # a bar, longer than any speck
    assert not hub.mask_dust(step).any()


def with_scratch(value: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    plane = np.zeros((240, 320), np.uint8)
    cv2.line(plane, (30, 10), (280, 200), 1, width)
    cv2.line(plane, (200, 5), (190, 235), 1, width)
    picture = photo()
    picture[plane > 0] = value
    return picture, plane > 0


@pytest.mark.parametrize("value", [255, 0])
@pytest.mark.parametrize("width", [1, 3])
def test_scratches_are_found(hub: Hub, value: int, width: int) -> None:
    picture, truth = with_scratch(value, width)
    recall, precision = overlap(hub.mask_scratch(picture, width=width), truth)
    assert recall > 0.6 and precision > truth.mean() * 5


def test_a_bright_scratch_among_texture_is_found(hub: Hub) -> None:
    """Detail at the least contrast is everywhere here, in all directions."""
    picture = np.ascontiguousarray(data.astronaut()[100:400, :400, ::-1])
    plane = np.zeros(picture.shape[:2], np.uint8)
    cv2.line(plane, (20, 280), (360, 15), 1, 2)
    cv2.line(plane, (30, 40), (330, 260), 1, 2)
    picture[plane > 0] = 255
    recall, precision = overlap(hub.mask_scratch(picture), plane > 0)
    assert recall > 0.6 and precision > 0.1


def test_lines_that_are_short_wide_or_faint_are_no_scratches(hub: Hub) -> None:
    plane = np.full((120, 120), 90, np.uint8)
    plane[20:22, 10:26] = 255
    plane[50:58, 5:115] = 255
    plane[90, 5:115] = 95
    assert not hub.mask_scratch(plane).any()
    assert hub.mask_scratch(plane, length=15)[20, 14:22].all()
    assert hub.mask_scratch(plane, width=9, length=81)[55, 30:90].all()
    assert hub.mask_scratch(plane, contrast=3)[90, 20:100].all()


def test_a_colour_is_found(hub: Hub) -> None:
    picture = photo()
    cv2.putText(picture, "12.8.99", (200, 220), cv2.FONT_HERSHEY_SIMPLEX, 1, (0, 200, 0), 3)
    truth = (picture == [0, 200, 0]).all(axis=2)
    recall, precision = overlap(hub.mask_colour(picture, colour="#00c800"), truth)
    assert recall == 1 and precision > 0.75
    exact = hub.mask_colour(picture, colour="00C800", tolerance=0.1)
    assert np.array_equal(exact > 0, truth)
    deep = picture.astype(np.uint16) * 257
    assert np.array_equal(hub.mask_colour(deep, colour="00C800", tolerance=0.1), exact)


@pytest.mark.parametrize(
    "colour",
    ["white", "#fff", "FFF", "#ffffff", "255,255,255", "255, 255, 255", "rgb(255,255,255)"],
)
def test_a_colour_is_written_in_many_ways(hub: Hub, colour: str) -> None:
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[4:8, 5:9] = 255
    found = hub.mask_colour(picture, colour=colour, tolerance=0.1)
    assert np.array_equal(found > 0, picture[..., 0] > 0)
    assert np.array_equal(hub.mask_color(picture, color=colour, tolerance=0.1), found)


@pytest.mark.parametrize(
    "colour", ["reddish", "#ff00", "#ff00zz", "##ff0000", "", "256,0,0", "1,2", "1,2,3,4", "#f"]
)
def test_a_colour_that_is_none_is_one_error(hub: Hub, colour: str) -> None:
    with pytest.raises(OptionError, match=f"colour='{re.escape(colour)}' is not a colour"):
        hub.op("mask-colour", colour=colour)
    with pytest.raises(OptionError, match=f"color='{re.escape(colour)}' is not a color"):
        hub.op("mask-color", color=colour)


def test_a_folder_of_pictures_becomes_one_of_masks(hub: Hub, tmp_path: Path) -> None:
    picture, _ = with_dust(255)
    for name, pixels in (("a.jpg", picture), ("sub/b.png", np.zeros((20, 30, 3), np.uint8))):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(Image(pixels), path.suffix[1:].replace("jpg", "jpeg")))
    result = hub.map("mask-dust", tmp_path / "in", out=tmp_path / "masks")
    notes: dict[str, Any] = {Path(r.file).name: r.message for r in result.records}
    assert result.exit_code == 0
    assert notes["a.jpg"] == "" and "the mask is black" in notes["b.png"]
    made = read_image(tmp_path / "masks" / "a.png")
    assert made.grey and made.depth == 8 and made.pixels.any()
    assert (tmp_path / "masks" / "sub" / "b.png").exists()
