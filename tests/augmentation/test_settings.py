"""Moves as plain data: the same move comes back, and what does not fit is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vaetools
from tests.codec.miniature import MODEL as MINIATURE
from tests.profiles import examples
from vaetools.augmentation import LatentMix, LatentStyle
from vaetools.augmentation.settings import Move
from vaetools.errors import ModelError, OptionError
from vaetools.model.registry import ModelRegistry
from vaetools.model.runtime import Runtime
from vaetools.testing import TINY, write_tiny_vae

SHARES = st.floats(0, 1)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> ModelRegistry:
    """A VAE and the miniature codec."""
    tiny = write_tiny_vae(tmp_path_factory.mktemp("models") / "tiny", deviation=0.05)
    return ModelRegistry([tiny, MINIATURE], lambda: Runtime("cpu", threads=1))


def moves(registry: ModelRegistry) -> st.SearchStrategy[Move]:
    spaces = [vaetools.latent_space(registry.open(name)) for name in registry.ids()]
    codec = next(space.model for space in spaces if isinstance(space, vaetools.CodecSpace))
    levels = vaetools.CodecSpace(codec).level
    at_levels = st.integers(0, levels).map(lambda level: vaetools.CodecSpace(codec, level))
    space = st.sampled_from(spaces) | at_levels
    return st.one_of(
        st.builds(vaetools.LatentJitter, space, SHARES, st.sampled_from(["fine", "all"])),
        st.builds(vaetools.LatentMix, space, st.floats(0, 10)),
        st.builds(vaetools.LatentStyle, space, SHARES),
    )


def applied(move: Move, image: np.ndarray) -> np.ndarray:
    if isinstance(move, LatentStyle):
        return move(image, image[::-1].copy())
    rng = np.random.default_rng(0)
    if isinstance(move, LatentMix):
        return move(image, image[::-1].copy(), rng, labels=(0, 1)).image
    return move(image, rng)


@settings(max_examples=examples(25))
@given(data=st.data())
def test_a_move_comes_back_from_json_as_it_was(registry: ModelRegistry, data: Any) -> None:
    move = data.draw(moves(registry))
    found = vaetools.move_settings(move)
    again = vaetools.open_move(json.loads(json.dumps(found)), registry)
    assert type(again) is type(move) and vaetools.move_settings(again) == found
    image = np.random.default_rng(1).random((16, 24, 3), np.float32)
    np.testing.assert_array_equal(applied(again, image), applied(move, image))


def test_what_is_missing_is_as_the_class_has_it(registry: ModelRegistry) -> None:
    made = vaetools.open_move({"kind": "LatentJitter", "model": TINY}, registry)
    assert isinstance(made, vaetools.LatentJitter)
    assert (made.strength, made.levels) == (0.5, "fine")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "Blur"}, "kind='Blur' is not one of LatentJitter"),
        ({"kind": ["LatentMix"]}, "is not one of"),
        ({"alpha": 1.0}, "unknown key LatentJitter.alpha"),
        ({"strength": 2.0}, "strength=2.0 is not 0 … 1"),
        ({"levels": "some"}, "levels = 'some' is not one of fine, all"),
        ({"model_sha256": "0" * 64}, "not 0000000000000000"),
        ({"model": 3}, "LatentJitter.model = 3 is not a string"),
        ({"level": 1}, "is not a codec"),
    ],
)
def test_what_does_not_fit_is_refused(
    registry: ModelRegistry, change: dict[str, Any], message: str
) -> None:
    found = {"kind": "LatentJitter", "model": TINY, "strength": 0.5, **change}
    with pytest.raises(OptionError, match=message):
        vaetools.open_move(found, registry)


def test_a_model_that_is_not_there(registry: ModelRegistry, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        vaetools.open_move({"kind": "LatentMix", "model": "nowhere"}, registry)
