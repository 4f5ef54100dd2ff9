"""What a GPU computes is what the CPU computes, within one level of 255.

Run with `-m gpu` on a machine with an NVIDIA driver; elsewhere these tests are skipped.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest

import vaetools
from vaetools.codec import Codec
from vaetools.codec.container import unpack
from vaetools.device_memory import watched
from vaetools.model import kinds, nvidia

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vaetools.hub import Hub

GPU = "cuda"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.xdist_group("gpu"),
    pytest.mark.skipif(any(nvidia.driver_faults()), reason="no NVIDIA driver answers"),
]

REPEATS = 5


@pytest.fixture(scope="module")
def gpu() -> Iterator[Hub]:
    """A hub on the GPU. A GPU that does not work is an error, and no reason to skip."""
    hub = vaetools.open(GPU, threads=1)
    yield hub
    hub.close()


@pytest.fixture(scope="module")
def photo(astronaut: np.ndarray) -> np.ndarray:
    """Sides that are no multiples of anything, (301, 397, 3) uint8."""
    return np.ascontiguousarray(astronaut[100:401, 80:477])


@pytest.fixture(scope="module")
def large(astronaut: np.ndarray) -> np.ndarray:
    """Several windows of each network, (1300, 1500, 3) uint8."""
    return np.ascontiguousarray(np.tile(astronaut, (3, 3, 1))[:1300, :1500])


def levels_apart(one: np.ndarray, other: np.ndarray) -> int:
    assert one.shape == other.shape
    assert one.dtype == other.dtype == np.uint8
    return int(np.abs(one.astype(int) - other).max())


def codec_of(hub: Hub) -> Codec:
    return Codec(hub.registry.for_task("compress"))


def scratched(image: np.ndarray) -> np.ndarray:
    """A mask with diagonal scratches."""
    height, width = image.shape[:2]
    rows, columns = np.ogrid[:height, :width]
    return np.asarray(((rows + columns) % 97 < 5) * 255, np.uint8)


def operations(hub: Hub, image: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """Operations that give an image."""
    return {
        "denoise": partial(hub.denoise, image, sigma=20),
        "inpaint": partial(hub.inpaint, image, mask=scratched(image)),
        "augment": lambda: hub.augment(image, n=1, seed=3)[0],
    }


@pytest.mark.parametrize("size", ["photo", "large"])
@pytest.mark.parametrize("written_on", ["cpu", "gpu"])
def test_files_of_either_device_are_decoded_by_both(
    codec_hub: Hub, gpu: Hub, request: pytest.FixtureRequest, size: str, written_on: str
) -> None:
    """All symbols are identical, because they are defined by integers; pixels are one level apart."""
    image = request.getfixturevalue(size)
    data = (codec_hub if written_on == "cpu" else gpu).compress(image, quality=75)
    container = unpack(data)
    found = []
    for codec in map(codec_of, (codec_hub, gpu)):
        levels = codec.levels_of(container)
        z = codec.hyper(container, levels)
        found.append((z, codec.symbols(container, codec.networks(levels), z)))
    for one, other in zip(*found, strict=True):
        assert np.array_equal(one, other)
    assert levels_apart(codec_hub.decompress(data), gpu.decompress(data)) <= 1


def test_files_of_both_devices_have_the_same_size(
    codec_hub: Hub, gpu: Hub, photo: np.ndarray
) -> None:
    one, other = (len(hub.compress(photo, quality=75)) for hub in (codec_hub, gpu))
    assert abs(one - other) <= one / 1000


@pytest.mark.parametrize("size", ["photo", "large"])
@pytest.mark.parametrize("name", ["denoise", "inpaint", "augment"])
def test_pixels_are_one_level_apart(
    codec_hub: Hub, gpu: Hub, request: pytest.FixtureRequest, name: str, size: str
) -> None:
    image = request.getfixturevalue(size)
    one, other = (operations(hub, image)[name]() for hub in (codec_hub, gpu))
    assert levels_apart(one, other) <= 1


@pytest.mark.parametrize("name", ["denoise", "inpaint", "augment"])
def test_repeats_are_one_level_apart(gpu: Hub, photo: np.ndarray, name: str) -> None:
    """A GPU may choose another algorithm each time; see docs/devices.md."""
    first, *others = (operations(gpu, photo)[name]() for _ in range(REPEATS))
    assert all(levels_apart(first, other) <= 1 for other in others)


def test_repeats_of_files_decode_to_the_same(gpu: Hub, photo: np.ndarray) -> None:
    data = gpu.compress(photo, quality=75)
    first, *others = (gpu.decompress(data) for _ in range(REPEATS))
    assert all(levels_apart(first, other) <= 1 for other in others)
    for _ in range(REPEATS - 1):
        again = gpu.compress(photo, quality=75)
        assert levels_apart(gpu.decompress(again), first) <= 2  # a symbol may fall either way


@pytest.mark.parametrize("megabytes", [256, 16])
def test_too_little_memory_costs_time_and_no_image(
    codec_hub: Hub, large: np.ndarray, monkeypatch: pytest.MonkeyPatch, megabytes: int
) -> None:
    """With less memory than a tile needs: smaller tiles, then the CPU."""
    hub = vaetools.open(GPU, threads=1)
    assert hub.runtime.device.kind == GPU  # proven, with all memory
    row = kinds.KINDS["cuda"]
    limit = {"gpu_mem_limit": str(megabytes << 20)}

    def limited(number: int, graph: bytes) -> dict[str, str]:
        return {**row.options(number, graph), **limit}

    changed = {**kinds.KINDS, "cuda": dataclasses.replace(row, options=limited)}
    monkeypatch.setattr(kinds, "KINDS", changed)
    monkeypatch.setattr("vaetools.model.devices.KINDS", changed)
    with watched() as shortages:
        found = hub.denoise(large, sigma=20)
    hub.close()
    assert shortages.remarks
    assert levels_apart(found, codec_hub.denoise(large, sigma=20)) <= 1


def test_every_node_is_on_the_gpu() -> None:
    """As in `test_fake`, with the real libraries."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.cuda.placement"], capture_output=True, text=True, check=True
    )
    for name, graph in json.loads(done.stdout.splitlines()[-1]).items():
        assert (name, graph["elsewhere"], graph["copies"]) == (name, [], [])
