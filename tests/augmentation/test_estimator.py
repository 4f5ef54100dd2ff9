"""The protocol of scikit-learn, alone and with the real package."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from vaetools.augmentation import JitterTransformer
from vaetools.errors import ImageValueError, ModelNotFoundError, OptionError
from vaetools.testing import write_tiny_grey_vae, write_tiny_vae


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_grey_vae(tmp_path_factory.mktemp("grey") / "model"))


@pytest.fixture
def digits() -> np.ndarray:
    """(20, 64) float64 in 0 … 16, as scikit-learn's digits."""
    return np.random.default_rng(0).integers(0, 17, (20, 64)).astype(float)


def jitter_of(grey: str, **changed: object) -> JitterTransformer:
    return JitterTransformer(grey, shape=(8, 8), white=16.0, **changed)


def test_each_sample_becomes_one_copy(grey: str, digits: np.ndarray) -> None:
    before = digits.copy()
    copies = jitter_of(grey, strength=1.0).fit_transform(digits)
    assert copies.shape == digits.shape and copies.dtype == digits.dtype
    assert (copies != digits).any(axis=1).all() and copies.min() >= 0 and copies.max() <= 16
    assert (digits == before).all()


def test_a_copy_depends_on_its_sample_and_the_parameters_alone(
    grey: str, digits: np.ndarray
) -> None:
    jitter = jitter_of(grey).fit(digits)
    copies = jitter.transform(digits)
    assert (jitter.transform(digits[::-1]) == copies[::-1]).all()
    assert (jitter_of(grey).transform(digits[3:4]) == copies[3:4]).all()
    assert (jitter_of(grey, random_state=1).transform(digits) != copies).any()


@pytest.mark.parametrize("white", [1.0, 16.0, 255.0, 3.7])
def test_strength_0_is_the_identity(grey: str, white: float) -> None:
    jitter = JitterTransformer(grey, strength=0.0, shape=(8, 8), white=white)
    samples = np.random.default_rng(0).random((100, 64)) * white
    assert jitter.fit_transform(samples).tobytes() == samples.tobytes()
    whole = samples.astype(np.uint8)
    assert jitter.transform(whole).tobytes() == whole.tobytes()


def test_bools_are_rounded_as_integers_are(grey: str) -> None:
    bits = np.random.default_rng(0).random((20, 64)) < 0.3
    jitter = JitterTransformer(grey, strength=0.1, shape=(8, 8))
    copies = jitter.fit_transform(bits)
    assert copies.dtype == bool
    assert (copies == np.rint(jitter.transform(bits.astype(float))).astype(bool)).all()
    assert (copies == bits).mean() > 0.9


def test_images_with_sides_need_no_shape(tmp_path: Path) -> None:
    model = str(write_tiny_vae(tmp_path / "colour"))
    for shape in ((3, 12, 16), (3, 12, 16, 3)):
        samples = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        copies = JitterTransformer(model, strength=1.0, white=255).fit_transform(samples)
        assert copies.shape == shape and copies.dtype == np.uint8 and (copies != samples).any()


def test_the_protocol(grey: str, digits: np.ndarray) -> None:
    jitter = jitter_of(grey, strength=0.25)
    params = jitter.get_params()
    assert params["strength"] == 0.25 and params["shape"] == (8, 8)
    twin = JitterTransformer(**params)
    assert twin.get_params() == params
    assert jitter.set_params(strength=0.75, random_state=9) is jitter
    assert (jitter.strength, jitter.random_state, twin.strength) == (0.75, 9, 0.25)
    assert twin.fit(digits, y=None) is twin and twin.n_features_in_ == 64
    again = pickle.loads(pickle.dumps(twin))
    assert (again.transform(digits) == twin.transform(digits)).all()


def test_bad_values(grey: str, digits: np.ndarray) -> None:
    with pytest.raises(OptionError, match="there is no parameter 'power'"):
        jitter_of(grey).set_params(power=1)
    with pytest.raises(OptionError, match="strength=2"):
        jitter_of(grey, strength=2).fit(digits)
    with pytest.raises(OptionError, match="white=0"):
        jitter_of(grey).set_params(white=0).fit(digits)
    assert jitter_of(grey).fit_transform(digits[:0]).shape == (0, 64)
    for samples in (digits[:, :60], digits[0], np.zeros((4, 64, 2))):
        with pytest.raises(ImageValueError):
            jitter_of(grey).fit(samples)
    with pytest.raises(ImageValueError, match="shape="):
        JitterTransformer(grey).fit(digits)
    with pytest.raises(ImageValueError, match="outside 0 … 1"):
        jitter_of(grey).transform(digits * 2)
    with pytest.raises(ModelNotFoundError, match="no-such-model"):
        JitterTransformer("no-such-model").fit(np.zeros((1, 8, 8)))


def test_with_scikit_learn(grey: str, digits: np.ndarray) -> None:
    base = pytest.importorskip("sklearn.base")
    pipeline = pytest.importorskip("sklearn.pipeline")
    linear = pytest.importorskip("sklearn.linear_model")
    selection = pytest.importorskip("sklearn.model_selection")
    jitter = jitter_of(grey)
    clone = base.clone(jitter)
    assert clone is not jitter and clone.get_params() == jitter.get_params()
    steps = pipeline.make_pipeline(jitter, linear.RidgeClassifier())
    search = selection.GridSearchCV(steps, {"jittertransformer__strength": [0.0, 1.0]}, cv=2)
    search.fit(digits, np.arange(20) % 2)
    assert len(search.cv_results_["params"]) == 2
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
