"""Jitter, mixtures and styles in every kind of latent space."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.augmentation.conftest import DEVIATION
from vaetools.augmentation import (
    CodecSpace,
    LatentJitter,
    LatentMix,
    LatentSpace,
    LatentStyle,
    VaeSpace,
    copy_generator,
    latent_space,
)
from vaetools.codec.entropy import gaussian_table
from vaetools.errors import ImageValueError, ModelBrokenError, OptionError
from vaetools.image import Image
from vaetools.model.folder import Model
from vaetools.model.vae import Vae

DTYPES = {np.uint8: 255, np.uint16: 65535, np.float32: 1.0}


def rng(copy: int = 1) -> np.random.Generator:
    return copy_generator(0, "a.png", copy)


def blocks(image: np.ndarray) -> np.ndarray:
    """Means of 4 x 4 pixels, (H/4, W/4, 3)."""
    height, width = image.shape[0] // 4, image.shape[1] // 4
    cells = image[: 4 * height, : 4 * width].reshape(height, 4, width, 4, 3)
    return cells.mean(axis=(1, 3))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["spatial", "codec"])
def test_strength_0_is_the_identity(name: str, dtype: type, request: pytest.FixtureRequest) -> None:
    jitter = LatentJitter(request.getfixturevalue(name), 0.0, "all")
    draw = np.random.default_rng(1)
    for number in range(50):
        shape = (*draw.integers(1, 40, 2), *[(), (3,), (4,), (1,)][number % 4])
        array = (draw.random(shape) * DTYPES[dtype]).astype(dtype)
        image = Image.from_array(array)
        copy = image.with_rgb(jitter(image.to_rgb(), rng())).to_array().reshape(shape)
        assert copy.dtype == array.dtype and copy.tobytes() == array.tobytes()


def test_a_copy_keeps_what_the_model_does_not_see(
    spatial: LatentSpace, texture: np.ndarray
) -> None:
    copy = LatentJitter(spatial, 1.0)(texture, rng())
    change = copy - texture
    even = blocks(change).repeat(4, 0).repeat(4, 1)
    assert np.abs(change[: even.shape[0], : even.shape[1]] - even).max() < 1e-5
    assert np.abs(change).max() > DEVIATION
    # Passed through the model alone, the texture would be gone.
    assert copy.std() > 0.95 * texture.std()


@pytest.mark.parametrize("strength", [0.25, 1.0])
def test_the_strength_is_the_temperature(
    spatial: LatentSpace, vector: LatentSpace, strength: float
) -> None:
    grey = np.full((160, 160, 3), 0.5, np.float32)
    change = blocks(LatentJitter(spatial, strength)(grey, rng()) - grey)
    assert change.std() == pytest.approx(strength * DEVIATION, rel=0.05)
    small = np.full((8, 8, 3), 0.5, np.float32)
    copies = LatentJitter(vector, strength).copies(small, map(rng, range(1, 400)))
    quarters = np.array([copy[::4, ::4, 0] - 0.5 for copy in copies])
    assert quarters.std() == pytest.approx(strength * DEVIATION, rel=0.1)


def test_fine_levels_leave_the_coarse_latents(
    codec: LatentSpace, texture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []
    decode = codec.decode

    def noted(code: object, values: np.ndarray) -> np.ndarray:
        decoded.append(values)
        return decode(code, values)

    monkeypatch.setattr(codec, "decode", noted)
    mean = codec.encode(texture).mean
    for levels, moving in (("fine", ~codec.coarse), ("all", np.ones(12, bool))):
        decoded.clear()
        LatentJitter(codec, 1.0, levels)(texture, rng())
        moved = max(decoded, key=lambda values: np.abs(values - mean).max())
        assert ((moved != mean).any(axis=(0, 2, 3)) == moving).all()
    assert codec.coarse.any() and not codec.coarse.all()


def test_the_codec_draws_as_far_as_its_tables_reach(codec: CodecSpace, texture: np.ndarray) -> None:
    code = codec.encode(texture)
    assert code.deviation.shape == code.mean.shape and (code.deviation > 0).all()
    networks = codec.codec.networks(np.full((2, 2), codec.level, np.uint8))
    index = networks.index(networks.hyper(code.mean), (slice(0, 2), slice(0, 2)))
    step = codec.codec.tables.inverse_gain[codec.level][:, None, None]
    steps = code.deviation[0] / step
    for table in np.unique(index):
        (spread,) = np.unique(np.round(steps[index == table], 5))
        counted = codec.codec.tables.latent[table]
        symbols = np.arange(-counted.reach, counted.reach + 1)
        weights = counted.frequencies[: len(symbols)]
        assert spread == pytest.approx(np.sqrt(np.average(symbols**2, weights=weights)), rel=1e-4)


def test_the_spread_of_a_gaussian_table_is_its_scale(
    codec: CodecSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = CodecSpace(codec.model)
    tables = replace(space.codec.tables)
    tables.__dict__["latent"] = [gaussian_table(scale) for scale in (2.0, 9.0)]
    monkeypatch.setattr(type(space.codec), "tables", tables)
    # Rounding to whole numbers adds a variance of 1/12.
    assert space._spreads == pytest.approx(np.sqrt(np.array([2.0, 9.0]) ** 2 + 1 / 12), rel=1e-3)


def test_the_codec_decodes_as_the_codec_does(codec: CodecSpace, texture: np.ndarray) -> None:
    """At the highest rate, quantisation is the only difference."""
    image = Image.from_array(texture, channel_order="rgb")
    coder = codec.codec
    real = coder.decode(coder.encode(image, codec.level)).to_rgb()
    code = codec.encode(texture)
    ours = np.clip(codec.decode(code, code.mean), 0, 1)
    assert ours.shape == texture.shape
    assert np.abs(ours - real).mean() < 0.02 < np.abs(ours - ours.mean()).mean()


def test_large_images_are_moved_tile_by_tile(
    codec: CodecSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.random.default_rng(2).random((450, 300, 3)).astype(np.float32)
    in_tiles = LatentJitter(codec, 1.0)(image, rng())
    whole = CodecSpace(codec.model)
    monkeypatch.setattr(CodecSpace, "_tile", 100)
    assert np.abs(LatentJitter(whole, 1.0)(image, rng()) - in_tiles).max() < 1e-4


@pytest.mark.parametrize("name", ["spatial", "codec"])
def test_copies_depend_on_nothing_but_seed_name_and_number(
    name: str, texture: np.ndarray, request: pytest.FixtureRequest
) -> None:
    jitter = LatentJitter(request.getfixturevalue(name), 0.7)
    four = list(jitter.copies(texture, map(rng, (1, 2, 3, 4))))
    assert len({copy.tobytes() for copy in four}) == 4
    backwards = list(jitter.copies(texture, map(rng, (3, 2))))
    assert (backwards[0] == four[2]).all() and (backwards[1] == four[1]).all()
    others = [copy_generator(1, "a.png", 1), copy_generator(0, "b.png", 1)]
    assert all((jitter(texture, other) != four[0]).any() for other in others)


@pytest.mark.parametrize("name", ["spatial", "codec"])
def test_a_copy_is_in_range_and_the_image_stays(name: str, request: pytest.FixtureRequest) -> None:
    image = np.random.default_rng(3).integers(0, 2, (64, 64, 3)).astype(np.float32)
    before = image.copy()
    copy = LatentJitter(request.getfixturevalue(name), 1.0)(image, rng())
    assert copy.dtype == np.float32 and copy.min() >= 0 and copy.max() <= 1
    assert (image == before).all()


# --- mixtures and styles ---------------------------------------------------------------------------


def test_a_mixture_is_between_its_images(spatial: LatentSpace, texture: np.ndarray) -> None:
    other = texture[::-1].copy()
    shares = []
    for copy in range(1, 40):
        mixed = LatentMix(spatial)(texture, other, rng(copy), labels=("cat", "dog"))
        share = mixed.label["dog"]
        # This model is linear, and the rest is mixed in the same share.
        assert np.abs(mixed.image - (texture + share * (other - texture))).max() < 1e-5
        assert sum(mixed.label.values()) == pytest.approx(1)
        shares.append(share)
    assert 0 <= min(shares) < 0.05 and 0.3 < max(shares) <= 0.5


def test_a_mixture_within_a_class_keeps_its_label(codec: LatentSpace, texture: np.ndarray) -> None:
    mixed = LatentMix(codec, alpha=1.0)(texture, texture[:, ::-1].copy(), rng(), labels=(7, 7))
    assert mixed.label == {7: 1.0} and (mixed.image != texture).any()


def test_alpha_0_mixes_nothing(codec: LatentSpace, texture: np.ndarray) -> None:
    mixed = LatentMix(codec, alpha=0)(texture, 1 - texture, rng(), labels=("a", "b"))
    assert mixed.label == {"a": 1.0, "b": 0.0} and mixed.image.tobytes() == texture.tobytes()


def test_a_style_brings_its_statistics(spatial: LatentSpace, texture: np.ndarray) -> None:
    look = (0.5 + 0.1 * (texture - 0.5))[:48, :64].copy()
    styled = LatentStyle(spatial)(texture, look)
    found, wanted = (spatial.encode(p).mean.std(axis=(2, 3)) for p in (styled, look))
    assert found == pytest.approx(wanted, rel=0.05)
    half = LatentStyle(spatial, 0.5)(texture, look)
    assert np.abs(half - (texture + styled) / 2).max() < 1e-5
    assert LatentStyle(spatial, 0.0)(texture, look).tobytes() == texture.tobytes()
    assert np.abs(LatentStyle(spatial)(texture, texture) - texture).max() < 1e-5


def test_an_even_image_takes_a_style(spatial: LatentSpace, texture: np.ndarray) -> None:
    even = np.full((16, 16, 3), 0.25, np.float32)
    styled = LatentStyle(spatial)(even, texture)
    assert np.ptp(styled) < 0.2 and styled.mean() == pytest.approx(texture.mean(), abs=0.02)


# --- refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [-0.1, 1.01, float("nan")])
def test_a_strength_out_of_bounds(spatial: LatentSpace, strength: float) -> None:
    for kind in (LatentJitter, LatentStyle):
        with pytest.raises(OptionError, match=r"strength=.* is not 0 … 1"):
            kind(spatial, strength)


def test_other_bad_values(
    spatial: LatentSpace, vector: LatentSpace, codec: CodecSpace, texture: np.ndarray
) -> None:
    with pytest.raises(OptionError, match="levels='coarse' is not one of fine, all"):
        LatentJitter(spatial, 0.5, "coarse")
    for alpha in (-1, float("nan"), float("inf")):
        with pytest.raises(OptionError, match="alpha="):
            LatentMix(spatial, alpha)
    for level in (-1, 101):
        with pytest.raises(OptionError, match=r"is not 0 … 100"):
            CodecSpace(codec.model, level)
    with pytest.raises(OptionError, match="are a vector"):
        LatentStyle(vector)
    with pytest.raises(ImageValueError, match="two images of one size"):
        LatentMix(spatial)(texture, texture[1:], rng(), labels=(0, 0))
    for space in (spatial, codec):
        with pytest.raises(ImageValueError):
            LatentJitter(space)(texture * np.nan, rng())
    with pytest.raises(ImageValueError, match="8 x 8"):
        LatentJitter(vector)(texture, rng())


def test_models_without_a_spread_or_latents(spatial: VaeSpace) -> None:
    model = spatial.model
    point = replace(model.manifest, latent=replace(model.manifest.latent, distribution="point"))
    with pytest.raises(ModelBrokenError, match="plain autoencoder"):
        LatentJitter(Vae(point, model.folder, model.runtime))
    with pytest.raises(ModelBrokenError, match="neither a VAE nor a codec"):
        latent_space(Model(model.manifest, model.folder, model.runtime))


@pytest.mark.parametrize("name", ["spatial", "codec"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("grey", [False, True])
def test_copies_of_images_are_those_of_their_floats(
    name: str, dtype: type, grey: bool, request: pytest.FixtureRequest
) -> None:
    """With uint8 pixels in the graph as well; tiles, padding, alpha and metadata included."""
    jitter = LatentJitter(request.getfixturevalue(name), 0.8, "all")
    white = 1.0 if dtype == np.float32 else np.iinfo(dtype).max
    drawn = np.random.default_rng(2).random((70, 150) if grey else (70, 150, 3))
    pixels = (white * drawn).astype(dtype)
    image = Image(pixels, alpha=pixels[:, :, *([] if grey else [0])].copy(), icc=b"profile")
    found = [*jitter.copies_of(image, [rng(1), rng(2)])]
    expected = [image.with_rgb(rgb) for rgb in jitter.copies(image.to_rgb(), [rng(1), rng(2)])]
    assert len(found) == 2
    for one, other in zip(found, expected, strict=True):
        assert one.same_as(other)
        assert not np.array_equal(one.pixels, pixels)
    still = LatentJitter(jitter.space, 0.0)
    assert next(still.copies_of(image, [rng()])).same_as(image)
