"""Masks beside pictures: found by name, read as grey, and refused in one line when they do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

import vaetools
from vaetools.errors import InputError, OptionError, TooLargeError
from vaetools.image import SUFFIXES, Image, encode_image

PICTURE = Image(np.zeros((5, 7, 3), np.uint8))


def write(path, pixels, alpha=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_image(Image(pixels, alpha), "png"))


def grey(value, dtype=np.uint8):
    return np.full((5, 7), value, dtype)


def test_one_file_is_the_mask_of_every_picture(tmp_path):
    write(tmp_path / "mask.png", grey(255))
    masks = vaetools.Masks(tmp_path / "mask.png")
    for key in ("a.jpg", "deep/b.png", ""):
        assert masks.find(key) == tmp_path / "mask.png"


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_a_folder_has_masks_by_the_names_of_the_pictures(tmp_path, suffix):
    (tmp_path / "deep").mkdir()
    for place in ("a", "deep/a"):
        (tmp_path / f"{place}{suffix}").write_bytes(b"")
    (tmp_path / "a.txt").write_bytes(b"")
    masks = vaetools.Masks(tmp_path)
    assert masks.find("a.jpg") == tmp_path / f"a{suffix}"
    assert masks.find("deep/a.png") == tmp_path / f"deep/a{suffix}"
    with pytest.raises(InputError, match="no mask called b"):
        masks.find("b.png")
    with pytest.raises(InputError, match=r"no mask called a in .*elsewhere"):
        masks.find("elsewhere/a.png")


def test_suffixes_of_masks_may_be_in_capitals(tmp_path):
    write(tmp_path / "a.PNG", grey(255))
    assert vaetools.Masks(tmp_path).find("a.jpg").samefile(tmp_path / "a.PNG")
    write(tmp_path / "a.tif", grey(0))
    with pytest.raises(InputError, match="several masks"):
        vaetools.Masks(tmp_path).find("a.jpg")


def test_two_masks_for_one_picture_are_refused(tmp_path):
    for name in ("a.png", "a.tif"):
        write(tmp_path / name, grey(0))
    with pytest.raises(InputError, match="several masks called a in"):
        vaetools.Masks(tmp_path).find("a.jpg")


def test_a_place_that_is_not_there_is_refused_at_once(tmp_path):
    with pytest.raises(OptionError, match="there is no mask"):
        vaetools.Masks(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("pixels", "alpha", "expected"),
    [
        (grey(0), None, 0),
        (grey(255), None, 1),
        (grey(51), None, 0.2),
        (grey(13107, np.uint16), None, 0.2),
        (grey(255), grey(0), 1),  # alpha says nothing
        (np.dstack([grey(0), grey(0), grey(255)]), None, 0.299),  # red
        (np.dstack([grey(255)] * 3), None, 1),
    ],
)
def test_black_is_0_and_white_is_1(tmp_path, pixels, alpha, expected):
    write(tmp_path / "mask.png", pixels, alpha)
    found = vaetools.Masks(tmp_path / "mask.png").read("a.jpg", PICTURE)
    assert (found.shape, found.dtype) == ((5, 7), np.float32)
    assert found.max() <= 1
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_mask_has_the_size_of_its_picture(tmp_path):
    write(tmp_path / "mask.png", np.zeros((7, 5), np.uint8))
    with pytest.raises(InputError, match=r"mask\.png has 5 x 7 pixels, the image 7 x 5"):
        vaetools.Masks(tmp_path / "mask.png").read("a.jpg", PICTURE)


def test_a_mask_has_the_limit_of_pictures(tmp_path):
    write(tmp_path / "mask.png", grey(0))
    with pytest.raises(TooLargeError):
        vaetools.Masks(tmp_path / "mask.png").read("a.jpg", PICTURE, max_pixels=34)


def test_the_fingerprint_is_that_of_the_content(tmp_path):
    write(tmp_path / "one.png", grey(0))
    write(tmp_path / "other.png", grey(0))
    one, other = (vaetools.Masks(tmp_path / f"{name}.png") for name in ("one", "other"))
    assert one.fingerprint == other.fingerprint
    write(tmp_path / "other.png", grey(255))
    assert one.fingerprint != other.fingerprint


def test_endless_files_are_no_masks():
    masks = vaetools.Masks(Path("/dev/zero"))
    with pytest.raises(InputError, match="not a regular file"):
        _ = masks.fingerprint
    with pytest.raises(InputError, match="not a regular file"):
        masks.read("a.jpg", PICTURE)


def test_a_folder_has_no_fingerprint_of_its_own(tmp_path):
    masks = vaetools.Masks(tmp_path)
    assert masks.is_per_image and vaetools.Masks("{stem}.png").is_per_image
    before = masks.fingerprint
    write(tmp_path / "a.png", grey(0))  # counts for the image a alone: see test_further_files
    assert masks.fingerprint == before
    assert not vaetools.Masks(tmp_path / "a.png").is_per_image
    assert not vaetools.Masks(grey(0)).is_per_image


def test_a_pattern_is_counted_from_the_picture(tmp_path):
    write(tmp_path / "deep" / "a_mask.png", grey(255))
    masks = vaetools.Masks(Path("{stem}_mask.png"))
    source = tmp_path / "deep" / "a.jpg"
    assert masks.find("a.jpg", source) == tmp_path / "deep" / "a_mask.png"
    assert masks.read("a.jpg", PICTURE, source=source).all()
    with pytest.raises(InputError, match=r"there is no mask .*b_mask\.png"):
        masks.find("b.jpg", tmp_path / "deep" / "b.jpg")
    with pytest.raises(OptionError, match="relative to the file of an image"):
        masks.find("a.jpg")
    write(tmp_path / "deep" / "a" / "mask.png", grey(255))
    inside = vaetools.Masks(Path("{stem}/mask.png"))
    assert inside.find("a.jpg", source) == tmp_path / "deep" / "a" / "mask.png"
    up = vaetools.Masks(Path("../deep/{stem}_mask.png"))
    assert up.find("a.jpg", tmp_path / "deep" / "a.jpg").samefile(tmp_path / "deep" / "a_mask.png")


@pytest.mark.parametrize(
    ("pattern", "glob"),
    [
        ("{stem}_mask.png", "*_mask.png"),
        ("masks/{stem}.png", "*masks/*.png"),
        ("../masks/{stem}.png", ""),
        ("/masks/{stem}.png", ""),
    ],
)
def test_masks_of_a_pattern_can_be_told_from_pictures(pattern, glob):
    assert vaetools.Masks(Path(pattern)).glob == glob
    assert vaetools.Masks(Path(pattern)).fingerprint == pattern


def test_transparency_and_labels_count_in_files(tmp_path):
    hole = np.zeros((5, 7), bool)
    hole[1:3, 2:5] = True
    paint = np.where(hole, np.uint8(255), np.uint8(0))
    write(tmp_path / "black.png", grey(0), paint)
    write(tmp_path / "labels.png", hole.astype(np.uint8))
    for name in ("black", "labels"):
        masks = vaetools.Masks(tmp_path / f"{name}.png")
        assert np.array_equal(masks.read("a.jpg", PICTURE), hole)
        assert np.array_equal(masks.read_hole("a.jpg", PICTURE), hole)
    write(tmp_path / "classes.png", hole + grey(1))
    masks = vaetools.Masks(tmp_path / "classes.png")
    for read in (masks.read, masks.read_hole):
        with pytest.raises(InputError, match=r"the mask .*classes\.png has the levels 1, 2 of 255"):
            read("a.jpg", PICTURE)


def test_maps_of_a_quantity_are_no_labels(tmp_path):
    write(tmp_path / "map.png", np.resize(np.array([0, 1, 2], np.uint8), (5, 7)))
    masks = vaetools.Masks(tmp_path / "map.png", name="sigma", white=255)
    assert np.unique(masks.read("a.jpg", PICTURE)).tolist() == [0, 1, 2]
    write(tmp_path / "map.png", grey(20), np.resize(grey([0, 255, 0, 0, 0, 0, 0]), (5, 7)))
    assert np.unique(masks.read("a.jpg", PICTURE)).tolist() == [0, 20]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_are_turned_as_images_are(tmp_path, orientation):
    hole = np.zeros((5, 7), np.uint8)
    hole[0, 0:3] = 255
    exif = PIL.Image.Exif()
    exif[274] = orientation
    stored = hole if orientation < 5 else np.ascontiguousarray(hole.T)
    PIL.Image.fromarray(stored).save(tmp_path / "mask.png", exif=exif)
    shown = np.asarray(PIL.ImageOps.exif_transpose(PIL.Image.open(tmp_path / "mask.png")))
    found = vaetools.Masks(tmp_path / "mask.png").read_hole("a.jpg", PICTURE)
    assert np.array_equal(found, shown > 0)


def test_a_mask_that_lies_on_its_side_is_refused_with_the_remedy(tmp_path):
    write(tmp_path / "mask.png", np.zeros((7, 5), np.uint8))
    with pytest.raises(InputError) as raised:
        vaetools.Masks(tmp_path / "mask.png").read_hole("a.jpg", PICTURE)
    assert "rotate it" in raised.value.line
    write(tmp_path / "mask.png", np.zeros((7, 6), np.uint8))
    with pytest.raises(InputError) as raised:
        vaetools.Masks(tmp_path / "mask.png").read_hole("a.jpg", PICTURE)
    assert "rotate" not in raised.value.line
