"""Transforms in the workers of a real PyTorch `DataLoader`, and in pickles."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.augmentation.conftest import open_space
from vaetools.augmentation import (
    CodecSpace,
    DictTransform,
    JitterTransformer,
    LatentJitter,
    LatentMix,
    LatentSpace,
    LatentStyle,
    TensorTransform,
    copy_generator,
)
from vaetools.testing import write_tiny_vae

IMAGES = 6


class Copies:
    """A data set of one copy of each image; images 0 and 1 are the same."""

    def __init__(self, transform: DictTransform | TensorTransform) -> None:
        self.transform = transform
        values = [100, *range(100, 100 + IMAGES - 1)]
        self.images = [np.full((16, 16, 3), value, np.uint8) for value in values]

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, index: int) -> np.ndarray:
        image = self.images[index]
        if isinstance(self.transform, DictTransform):
            copy: np.ndarray = self.transform(image=image)["image"]
        else:
            copy = self.transform(image)
        return copy


def epochs(transform: Any, number: int = 2, *, seed: int = 0, **settings: Any) -> list[list[bytes]]:
    """The copies of every epoch, in order."""
    torch = pytest.importorskip("torch")
    loader = torch.utils.data.DataLoader(
        Copies(transform),
        batch_size=None,
        generator=torch.Generator().manual_seed(seed),
        **settings,
    )
    return [[np.asarray(copy).tobytes() for copy in loader] for _ in range(number)]


LOADERS: dict[str, dict[str, Any]] = {
    "no workers": {},
    "fork": {"num_workers": 2, "multiprocessing_context": "fork"},
    "spawn": {"num_workers": 2, "multiprocessing_context": "spawn"},
    "fork, persistent": {
        "num_workers": 2, "multiprocessing_context": "fork", "persistent_workers": True
    },
    "spawn, persistent": {
        "num_workers": 2, "multiprocessing_context": "spawn", "persistent_workers": True
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def jitter(tmp_path_factory: pytest.TempPathFactory) -> LatentJitter:
    folder = write_tiny_vae(tmp_path_factory.mktemp("loaders") / "tiny", deviation=0.05)
    return LatentJitter(open_space(folder), 1.0)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Python's, about threads
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * name.startswith("spawn")) for name in LOADERS],
)
def test_every_epoch_draws_anew_and_the_seeds_reproduce_it(jitter: LatentJitter, name: str) -> None:
    settings = LOADERS[name]
    first = epochs(DictTransform(jitter, seed=3), **settings)
    copies = [copy for epoch in first for copy in epoch]
    assert len(copies) == len({*copies}) == 2 * IMAGES
    # A spawned worker draws what a forked one does, and starts more slowly.
    settings = LOADERS[name.replace("spawn", "fork")]
    assert epochs(DictTransform(jitter, seed=3), **settings) == first
    assert not {*copies} & {*epochs(DictTransform(jitter, seed=4), 1, **settings)[0]}
    if settings:  # the loader's own seed counts in workers
        assert not {*copies} & {*epochs(DictTransform(jitter, seed=3), 1, seed=1, **settings)[0]}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_may_be_forked_from_a_process_that_used_the_model(tmp_path: Path) -> None:
    """With several threads, which a forked process does not have."""
    from vaetools.augmentation import latent_space
    from vaetools.model.registry import ModelRegistry
    from vaetools.model.runtime import Runtime

    write_tiny_vae(tmp_path / "tiny", deviation=0.05)
    model = ModelRegistry([tmp_path], lambda: Runtime("cpu", threads=4)).open("tiny-vae")
    transform = TensorTransform(LatentJitter(latent_space(model), 1.0))
    transform(np.zeros((512, 512, 3), np.uint8))
    (copies,) = epochs(transform, 1, **LOADERS["fork"])
    assert len({*copies}) == IMAGES


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_pools_of_forked_processes_draw_anew_in_every_epoch(jitter: LatentJitter) -> None:
    data = Copies(DictTransform(jitter, seed=3))
    context = multiprocessing.get_context("fork")
    copies = []
    for _ in range(3):
        with context.Pool(2) as pool:
            copies += [copy.tobytes() for copy in pool.map(data.__getitem__, range(2), chunksize=1)]
    assert len({*copies}) == 6  # the two images are equal, too
    before = DictTransform(jitter, seed=3)(image=data.images[0])["image"]
    assert before.tobytes() == data[0].tobytes()  # the parent draws as if it had not forked


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_that_gets_a_transform_with_every_task_draws_anew(jitter: LatentJitter) -> None:
    data = Copies(DictTransform(jitter, seed=3))
    data[0]
    with multiprocessing.get_context("fork").Pool(1) as pool:
        copies = [pool.apply(data.__getitem__, (0,)).tobytes() for _ in range(3)]
        data[0]  # counts here alone
        copies.append(pool.apply(data.__getitem__, (1,)).tobytes())
    assert len({*copies}) == 4


@pytest.mark.parametrize("context", ["spawn", "forkserver"])
@pytest.mark.slow
def test_other_loaders_draw_as_forked_ones(jitter: LatentJitter, context: str) -> None:
    settings = {"num_workers": 2, "multiprocessing_context": context}
    found = epochs(TensorTransform(jitter, seed=3), **settings)
    assert found == epochs(TensorTransform(jitter, seed=3), **LOADERS["fork"])
    assert not {*found[0]} & {*found[1]}


@pytest.mark.parametrize("kind", [DictTransform, TensorTransform])
def test_a_pickled_transform_goes_on_where_it_was(jitter: LatentJitter, kind: type) -> None:
    transform = kind(jitter, seed=5)
    data = Copies(transform)
    data[0]
    other = pickle.loads(pickle.dumps(data))
    assert [data[i].tobytes() for i in (0, 0, 1)] == [other[i].tobytes() for i in (0, 0, 1)]


def moves(space: LatentSpace) -> Iterator[LatentJitter | LatentMix | LatentStyle]:
    yield LatentJitter(space, 0.25, "all")
    yield LatentMix(space, 0.7)
    if space.model.manifest.latent.kind == "spatial":
        yield LatentStyle(space, 0.5)


@pytest.mark.parametrize("name", ["spatial", "vector", "codec"])
def test_pickled_moves_do_the_same(name: str, request: pytest.FixtureRequest) -> None:
    space: LatentSpace = request.getfixturevalue(name)
    if isinstance(space, CodecSpace):
        space = CodecSpace(space.model, 1)  # not the default
    draw = np.random.default_rng(0)
    image, other = draw.random((2, 8, 8, 3), np.float32)
    if name == "vector":
        image, other = (np.repeat(array[..., :1], 3, axis=2) for array in (image, other))

    def result(move: LatentJitter | LatentMix | LatentStyle) -> np.ndarray:
        rng = copy_generator(0, "a", 1)
        if isinstance(move, LatentJitter):
            return move(image, rng)
        if isinstance(move, LatentMix):
            return move(image, other, rng, labels=(0, 1)).image
        return move(image, other)

    for move in moves(space):
        again = pickle.loads(pickle.dumps(move))
        assert again.space is not space and again.space.model is not space.model
        assert np.array_equal(result(again), result(move))
        assert repr(again) == repr(move)


def test_in_joblib_with_processes(jitter: LatentJitter, tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    transform = DictTransform(jitter, seed=1)
    image = np.full((16, 16, 3), 120, np.uint8)
    jobs = [joblib.delayed(transform)(image=image, key="a", copy=n) for n in (1, 2, 1)]
    one, two, three = (done["image"] for done in joblib.Parallel(n_jobs=2)(jobs))
    assert np.array_equal(one, transform(image=image, key="a", copy=1)["image"])
    assert np.array_equal(one, three) and not np.array_equal(one, two)


def test_the_transformer_in_joblib(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    model = str(write_tiny_vae(tmp_path / "tiny"))
    samples = np.random.default_rng(0).integers(0, 256, (4, 12, 16, 3), np.uint8)
    whole = JitterTransformer(model, strength=1.0, white=255).fit(samples)
    parts = joblib.Parallel(n_jobs=2)(
        joblib.delayed(whole.transform)(part) for part in (samples[:2], samples[2:])
    )
    assert np.array_equal(np.concatenate(parts), whole.transform(samples))
