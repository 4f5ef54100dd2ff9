"""Arrays as inputs and as options, wherever an operation is called from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import pytest

import vaetools
from vaetools.errors import ImageValueError, InputError, OptionError, UsageError
from vaetools.image import Image, encode_image, format_of
from vaetools.testing import gradient

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vaetools.hub import Hub


def hole(height: int = 48, width: int = 64) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[20:23, 5 : width - 7] = True
    return mask


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_image(Image(pixels), format_of(path)))
    return path


@pytest.fixture
def expected(hub: Hub) -> np.ndarray:
    inpainter = vaetools.Inpainter(hub.registry.for_task("inpaint"))
    return inpainter.inpaint(Image(gradient()), hole()).image.pixels


@pytest.mark.parametrize(
    "convert",
    [
        lambda mask: mask,
        lambda mask: mask.astype(np.uint8),  # 0 and 1
        lambda mask: mask.astype(np.uint8) * 255,
        lambda mask: mask.astype(np.uint16) * 65535,
        lambda mask: mask.astype(np.float32),
        lambda mask: mask.astype(np.float64),
        lambda mask: mask[..., np.newaxis],
        lambda mask: PIL.Image.fromarray(mask.astype(np.uint8) * 255),
        PIL.Image.fromarray,  # mode 1
        lambda mask: lambda frame: mask,
    ],
    ids="bool 0/1 uint8 uint16 float32 float64 one-channel pillow-L pillow-1 function".split(),  # noqa: SIM905
)
def test_a_mask_may_be_an_array(
    hub: Hub, expected: np.ndarray, convert: Callable[[np.ndarray], Any]
) -> None:
    mask = convert(hole())
    assert np.array_equal(hub.inpaint(gradient(), mask), expected)
    assert np.array_equal(hub.inpaint(gradient(), mask=mask), expected)
    assert np.array_equal(hub.op("inpaint", mask=mask)(gradient()), expected)
    assert np.array_equal(hub.op("inpaint")(gradient(), mask), expected)
    assert np.array_equal(hub.op("inpaint")((gradient(), mask)), expected)
    assert np.array_equal(hub.chain(hub.op("inpaint", mask=mask))(gradient()), expected)


def test_a_mask_is_grown_and_inverted_like_a_file(hub: Hub, tmp_path: Path) -> None:
    place = save(tmp_path / "mask.png", np.where(hole(), np.uint8(0), np.uint8(255)))
    options: dict[str, Any] = {"mask_hole": "black", "grow": 2}
    by_file = hub.inpaint(gradient(), place, **options)
    assert np.array_equal(hub.inpaint(gradient(), ~hole(), **options), by_file)


def test_arrays_are_neither_changed_nor_kept(hub: Hub, expected: np.ndarray) -> None:
    image, mask = gradient(), hole()
    step = hub.op("inpaint", mask=mask)
    mask[:] = False
    assert np.array_equal(step(image), expected)
    assert np.array_equal(image, gradient())


@pytest.mark.parametrize(
    ("mask", "error", "match"),
    [
        (np.zeros((5, 7), bool), InputError, "the mask has 7 x 5 pixels, the image 64 x 48"),
        (np.zeros((48, 64, 3), np.uint8), OptionError, r"mask has shape \(48, 64, 3\)"),
        (np.zeros((48, 64), np.complex64), OptionError, "mask has dtype complex64"),
        (np.zeros((48, 64), object), OptionError, "mask has dtype object"),
        (np.full((48, 64), np.nan), OptionError, "mask contains NaN"),
        (np.full((48, 64), 2.0), OptionError, "mask has values from 2 to 2; expected 0 … 1"),
        (np.full((48, 64), -3), OptionError, "mask has dtype int64"),
        (np.zeros((0, 64), bool), OptionError, "mask has shape"),
        ("nowhere.png", OptionError, "there is no mask nowhere.png"),
        (PIL.Image.new("P", (64, 48)), ImageValueError, "mask is a Pillow image of mode P"),
        ([[1, 0]], OptionError, "mask=list is not"),
        (lambda frame: frame, OptionError, r"mask has shape \(48, 64, 3\)"),
    ],
)
def test_a_bad_mask_is_one_clear_error(
    hub: Hub, mask: Any, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match) as raised:
        hub.inpaint(gradient(), mask)
    assert "\n" not in str(raised.value)


def test_a_missing_mask_is_named_before_any_work(hub: Hub, tmp_path: Path) -> None:
    for call in (
        lambda: hub.inpaint(gradient()),  # type: ignore[call-overload]
        lambda: hub.op("inpaint")(gradient()),
        lambda: hub.map("inpaint", tmp_path, out=tmp_path / "out"),
        lambda: hub.chain("denoise", "inpaint")(gradient()),
    ):
        with pytest.raises(OptionError, match="mask is not given"):
            call()
    assert not (tmp_path / "out").exists()


def test_only_the_first_option_is_positional(hub: Hub) -> None:
    with pytest.raises(OptionError, match="compress takes one positional argument"):
        hub.op("compress")(gradient(), hole())
    with pytest.raises(UsageError, match="two positional arguments"):
        hub.denoise(gradient(), 20, 1.0)  # type: ignore[call-overload]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int64])
def test_a_noise_map_is_on_the_scale_of_pixels(hub: Hub, dtype: type, tmp_path: Path) -> None:
    noise = np.full((48, 64), 20, dtype)
    by_number = hub.denoise(gradient(), 20)
    assert not np.array_equal(by_number, gradient())
    assert np.array_equal(hub.denoise(gradient(), noise), by_number)
    assert np.array_equal(hub.denoise(gradient(), sigma=noise), by_number)
    place = save(tmp_path / "map.png", noise.astype(np.uint8))
    assert np.array_equal(hub.denoise(gradient(), place), by_number)
    half = noise.copy()
    half[:, :32] = 0
    result = hub.denoise(gradient(), half)
    assert np.array_equal(result[:, :24], gradient()[:, :24])


def test_bad_noise_maps(hub: Hub) -> None:
    with pytest.raises(OptionError, match="noise level 300 is not 0"):
        hub.denoise(gradient(), np.full((48, 64), 300.0))
    with pytest.raises(OptionError, match="noise level -1 is not 0"):
        hub.denoise(gradient(), np.full((48, 64), -1.0))
    with pytest.raises(OptionError, match="sigma contains NaN"):
        hub.denoise(gradient(), np.full((48, 64), np.nan))
    with pytest.raises(InputError, match="the noise map has 64 x 40 pixels"):
        hub.denoise(gradient(), np.zeros((40, 64)))


def test_a_region_of_interest_is_an_array(hub: Hub, tmp_path: Path) -> None:
    image = gradient(128, 192)
    mask = np.zeros((128, 192), np.uint8)
    mask[:64, :64] = 255
    by_file = hub.compress(image, roi=save(tmp_path / "roi.png", mask))
    assert hub.compress(image, roi=mask) == hub.compress(image, roi=mask > 0) == by_file
    assert len(by_file) < len(hub.compress(image))


def test_a_region_is_a_rectangle_of_numbers(hub: Hub) -> None:
    data = hub.compress(gradient(128, 192))
    whole = hub.decompress(data)
    part = whole[10:40, 20:100]
    for region in (
        (20, 10, 80, 30),
        [20, 10, 80, 30],
        np.array([20, 10, 80, 30]),
        "20,10,80,30",
        vaetools.Region(20, 10, 80, 30),
    ):
        assert np.array_equal(hub.decompress(data, region=region), part)  # type: ignore[arg-type]
    for region in ((1, 2, 3), (1, 2, 3.5, 4), "1,2,x,4", 7, ("a", 1, 1, 1)):
        with pytest.raises(OptionError, match="is not X,Y,WIDTH,HEIGHT"):
            hub.decompress(data, region=region)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="is not inside"):
        hub.decompress(data, region=(150, 0, 80, 30))


@pytest.mark.parametrize("name", ["denoise", "mask-dust"])
def test_a_last_axis_of_one_comes_back(hub: Hub, name: str) -> None:
    grey = gradient()[:, :, :1]
    result = hub.op(name)(grey)
    assert result.shape == grey.shape
    assert np.array_equal(result[..., 0], hub.op(name)(grey[..., 0]))
    both = hub.denoise(grey, 20, samples=1, uncertainty=True)
    assert both.image.shape == both.samples[0].shape == grey.shape


def test_paths_and_pillow_images_are_images(hub: Hub, tmp_path: Path) -> None:
    image = gradient()
    path = save(tmp_path / "a.png", image)
    expected = hub.denoise(image, 20)
    assert np.array_equal(hub.denoise(path, 20), expected)
    assert np.array_equal(hub.denoise(str(path), 20), expected)
    with PIL.Image.open(path) as opened:
        assert np.array_equal(hub.denoise(opened, 20), expected)
        rgb = hub.op("denoise", sigma=20, channel_order="rgb")(opened)
        assert np.array_equal(rgb[..., ::-1], expected)
    packed = tmp_path / "a.vae"
    packed.write_bytes(hub.compress(path))
    assert np.array_equal(hub.decompress(packed), hub.decompress(packed.read_bytes()))


def test_bad_images_are_one_clear_error(hub: Hub, tmp_path: Path) -> None:
    for item, match in (
        (tmp_path / "nowhere.png", "nowhere.png: cannot be read: No such file"),
        (PIL.Image.new("P", (8, 8)), r"image is a Pillow image of mode P.*convert\('RGB'\)"),
        (PIL.Image.new("CMYK", (8, 8)), "mode CMYK"),
        (np.zeros((8, 8, 2), np.uint8), "shape"),
        (np.zeros((8, 8), np.int32), "dtype int32"),
        (np.full((8, 8), np.nan, np.float32), "NaN"),
    ):
        with pytest.raises(InputError, match=match):
            hub.denoise(item)
    with pytest.raises(UsageError, match="not list"):
        hub.denoise([[0, 1]])  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="not a pair"):
        hub.op("inpaint")((gradient(), hole(), 3))  # type: ignore[arg-type]


def test_streams_take_masks_for_each_frame(hub: Hub) -> None:
    frames = [np.roll(gradient(), shift, axis=1) for shift in (0, 5, 9)]
    masks = [np.roll(hole(), shift, axis=0) for shift in (0, 1, 2)]
    expected = [hub.inpaint(f, m) for f, m in zip(frames, masks, strict=True)]
    by_pair = list(hub.stream("inpaint", zip(frames, masks, strict=True)))
    assert all(map(np.array_equal, by_pair, expected))
    of = {frame.tobytes(): mask for frame, mask in zip(frames, masks, strict=True)}
    found = hub.stream("inpaint", iter(frames), mask=lambda frame: of[frame.tobytes()])
    assert all(map(np.array_equal, found, expected))
    chain = hub.chain("inpaint", hub.op("compress", quality=50))
    packed = list(hub.stream(chain, zip(frames, masks, strict=True)))
    assert packed == [hub.compress(image, quality=50) for image in expected]


def test_functions_see_the_image_as_the_caller_has_it(hub: Hub) -> None:
    seen: list[np.ndarray] = []

    def mask(frame: np.ndarray) -> np.ndarray:
        seen.append(frame)
        return hole()

    rgb = np.ascontiguousarray(gradient()[..., ::-1])
    hub.op("inpaint", mask=mask, channel_order="rgb")(rgb)
    hub.op("inpaint", mask=mask)(gradient())
    assert np.array_equal(seen[0], rgb) and np.array_equal(seen[1], gradient())


def test_runs_take_arrays_and_know_them(hub: Hub, tmp_path: Path) -> None:
    save(tmp_path / "in/a.png", gradient())
    out = tmp_path / "out"
    assert hub.map("inpaint", tmp_path / "in", out=out, mask=hole()).counts["done"] == 1
    written = vaetools.imread(out / "a.png")
    assert np.array_equal(written, hub.inpaint(gradient(), hole()))
    assert hub.map("inpaint", tmp_path / "in", out=out, mask=hole()).counts["skipped"] == 1
    other = hub.map("inpaint", tmp_path / "in", out=out, mask=np.roll(hole(), 3, axis=0))
    assert other.counts["done"] == 1
    with pytest.raises(OptionError, match="mask is a function, which the journal of a run cannot"):
        hub.map("inpaint", tmp_path / "in", out=out, mask=lambda frame: hole())


def test_a_mask_is_given_once(hub: Hub, expected: np.ndarray) -> None:
    with pytest.raises(UsageError, match="inpaint: mask is given twice"):
        hub.inpaint(gradient(), hole(), mask=hole())  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="denoise: image is given twice"):
        hub.denoise(gradient(), image=gradient())  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="denoise needs an image"):
        hub.denoise(sigma=20)  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="decompress needs a file"):
        hub.decompress()  # type: ignore[call-arg]
    assert np.array_equal(hub.op("inpaint", mask=~hole())(gradient(), hole()), expected)


@pytest.mark.parametrize(
    ("value", "kind"), [([[1, 0]], "list"), (b"mask.png", "bytes"), (True, "True"), ({}, "dict")]
)
def test_what_a_map_may_be_is_said(hub: Hub, value: Any, kind: str) -> None:
    wanted = "an array, a path, a Pillow image or a function"
    with pytest.raises(OptionError, match=f"mask={kind} is not {wanted}"):
        hub.inpaint(gradient(), value)
    with pytest.raises(OptionError, match=f"sigma={kind} is not a number, text, {wanted}"):
        hub.denoise(gradient(), value)


@pytest.mark.parametrize("dtype", [">u2", "<u2", ">f4", np.float16])
def test_maps_of_any_byte_order(hub: Hub, expected: np.ndarray, dtype: Any) -> None:
    top = 1 if np.dtype(dtype).kind == "f" else 65535
    assert np.array_equal(hub.inpaint(gradient(), (hole() * top).astype(dtype)), expected)


def test_masks_next_to_an_image_are_found_by_its_path(
    hub: Hub, expected: np.ndarray, tmp_path: Path
) -> None:
    image = save(tmp_path / "in/a.png", gradient())
    white = hole().astype(np.uint8) * 255
    save(tmp_path / "in/a_mask.png", white)
    save(tmp_path / "masks/a.png", white)
    assert np.array_equal(hub.inpaint(image, "{stem}_mask.png"), expected)
    assert np.array_equal(hub.inpaint(image, tmp_path / "masks"), expected)
    assert np.array_equal(hub.inpaint(gradient(), tmp_path / "masks", key="a.jpg"), expected)
    chain = hub.chain(hub.op("inpaint", mask="{stem}_mask.png"), "compress", "decompress")
    assert chain(image).shape == expected.shape
    with pytest.raises(OptionError, match="masks is a folder, and the image has no name"):
        hub.inpaint(gradient(), tmp_path / "masks")


def test_a_function_gives_an_array(hub: Hub) -> None:
    for made in (None, "mask.png", 3):
        with pytest.raises(OptionError, match="the function for mask returned"):
            hub.inpaint(gradient(), lambda _, made=made: made)  # type: ignore[misc]


def test_words_of_an_option_are_not_files(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "auto/a.png", gradient())
    assert hub.map("denoise", "auto", out="out").counts["done"] == 1
    save(tmp_path / "auto/b.png", gradient())
    assert hub.map("denoise", "auto", out="out").counts == {
        **hub.map("denoise", "auto", out="other", dry_run=True).counts,
        "done": 1,
        "skipped": 1,
        "planned": 0,
    }


def test_pillow_images_that_cannot_be_taken(hub: Hub, tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", gradient())
    path.write_bytes(path.read_bytes()[:-600])
    with (
        PIL.Image.open(path) as opened,
        pytest.raises(InputError, match="image is a Pillow image that cannot be read: "),
    ):
        hub.denoise(opened)
    for mode, remedy in (("P", r"convert\('L'\)"), ("F", r"numpy\.asarray\(image\)")):
        with pytest.raises(InputError, match=rf"mask is a Pillow image of mode {mode}.*{remedy}"):
            hub.inpaint(gradient(), PIL.Image.new(mode, (64, 48)))
    with pytest.raises(InputError, match=r"mode I;.*numpy\.asarray\(image\)"):
        hub.denoise(PIL.Image.new("I", (64, 48)))


def test_errors_name_the_file(hub: Hub, tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", gradient())
    with pytest.raises(InputError, match=r"a\.png: the mask has 7 x 5 pixels"):
        hub.inpaint(path, np.zeros((5, 7), bool))
    packed = tmp_path / "a.vae"
    packed.write_bytes(hub.compress(gradient())[:40])
    with pytest.raises(vaetools.BitstreamError, match=r"a\.vae: is truncated"):
        hub.decompress(packed)
    with pytest.raises(InputError, match=r"^cannot be read: the path is empty"):
        hub.denoise("")
    packed.write_bytes(hub.compress(gradient()))
    with pytest.raises(InputError, match=r"a\.vae: .*decompress it first"):
        hub.denoise(packed)
