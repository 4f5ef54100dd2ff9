"""Hubs, steps and chains in other processes."""

from __future__ import annotations

import copy
import functools
import importlib
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

import vaetools
from vaetools.testing import gradient

if TYPE_CHECKING:
    from pathlib import Path

    from vaetools.hub import Hub
    from vaetools.operation.step import Step


def test_steps_and_chains_pickle(hub: Hub) -> None:
    mask = np.zeros((48, 64), bool)
    mask[20:23] = True
    for step in (
        hub.op("denoise", sigma=20, channel_order="rgb"),
        hub.op("inpaint", mask=mask),
        hub.chain(hub.op("inpaint", mask=mask), "denoise"),
    ):
        copied: Step[np.ndarray] = pickle.loads(pickle.dumps(step))
        assert np.array_equal(copied(gradient()), step(gradient()))
        assert copied.channel_order == step.channel_order
        assert repr(copied) == repr(step)


def test_models_are_opened_once_in_a_process(hub: Hub) -> None:
    one, two = (pickle.loads(pickle.dumps(hub)) for _ in range(2))
    assert one.registry is two.registry is not hub.registry
    step, other = (pickle.loads(pickle.dumps(hub.op("denoise", sigma=s))) for s in (5, 6))
    assert step.operation.model is other.operation.model


def test_a_pickle_opens_no_graph(hub: Hub) -> None:
    copied = pickle.loads(pickle.dumps(hub))
    copied.close()
    step = pickle.loads(pickle.dumps(hub.op("denoise", sigma=20)))
    assert not copied.runtime._sessions
    step(gradient())
    assert copied.runtime._sessions


def test_options_of_a_call_survive(hub: Hub) -> None:
    operation = hub.op("inpaint").operation.with_map(np.ones((48, 64), bool)).limited(5000)
    copied = pickle.loads(pickle.dumps(operation))
    assert copied.max_pixels == 5000 and copied.options.mask.all()


def test_drop_in_plugins_pickle(models: Path, tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/invert_drop_in.py").write_text(
        "import vaetools\n"
        "class Invert(vaetools.ImageOperation):\n"
        "    '''Invert.'''\n"
        "    name = 'invert'\n"
        "    def apply(self, image):\n"
        "        return 1 - image\n"
        "@vaetools.hookimpl\n"
        "def register_operations():\n"
        "    return [Invert]\n"
    )
    hub = vaetools.open("cpu", models_dirs=[models], plugins_dirs=[tmp_path / "plugins"])
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert np.array_equal(pool.submit(hub.op("invert"), gradient()).result(), 255 - gradient())


def test_modules_that_are_registered_pickle(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "darker_module.py").write_text(
        "import vaetools\n"
        "class Darker(vaetools.ImageOperation):\n"
        "    '''Darker.'''\n"
        "    name = 'darker'\n"
        "    def apply(self, image):\n"
        "        return image / 2\n"
        "@vaetools.hookimpl\n"
        "def register_operations():\n"
        "    return [Darker]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    hub = vaetools.open("cpu", models_dirs=[models])
    hub.register(importlib.import_module("darker_module"))
    copied = pickle.loads(pickle.dumps(hub))
    assert copied.find("darker") is hub.find("darker")
    step = pickle.loads(pickle.dumps(hub.op("darker")))
    assert np.array_equal(step(gradient()), hub.darker(gradient()))


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_steps_work_in_other_processes(hub: Hub, method: str) -> None:
    step = hub.op("denoise", sigma=20)
    expected = step(gradient())  # opens sessions, whose threads a fork does not copy
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
        for found in pool.map(step, [gradient()] * 3, timeout=100):
            assert np.array_equal(found, expected)


def test_methods_pickle(hub: Hub) -> None:
    compress = pickle.loads(pickle.dumps(hub.compress))
    assert compress(gradient()) == hub.compress(gradient())
    coarse = pickle.loads(pickle.dumps(functools.partial(hub.compress, quality=0)))
    assert coarse(gradient()) == hub.compress(gradient(), quality=0)
    assert hub.compress == hub.compress and hub.compress.__self__ is hub  # type: ignore[attr-defined]


def test_a_pickle_has_the_array_that_the_step_was_made_with(hub: Hub) -> None:
    mask = np.zeros((48, 64), bool)
    mask[20:23] = True
    for step in (hub.op("inpaint", mask=mask), hub.op("inpaint")):
        operation = step.operation if step.operation.options.mask is not None else None
        made = step.operation.with_map(mask) if operation is None else operation
        expected = made.options.mask.copy()
        mask[0] = True
        copied = pickle.loads(pickle.dumps(made))
        assert np.array_equal(copied.options.mask, expected)
        mask[0] = False


def test_copies_work(hub: Hub) -> None:
    step = hub.op("denoise", sigma=20)
    expected = step(gradient())
    for copied in (copy.copy(step), copy.deepcopy(step), copy.deepcopy(hub.chain(step))):
        assert np.array_equal(copied(gradient()), expected)
    assert np.array_equal(copy.deepcopy(hub).denoise(gradient(), 20), expected)
