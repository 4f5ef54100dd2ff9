"""Pickled models are the same ones in another process, or an error."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from vaetools.errors import ManifestError, ModelAlteredError
from vaetools.model import runtime
from vaetools.model.folder import Model
from vaetools.model.registry import ModelRegistry
from vaetools.model.runtime import Runtime
from vaetools.model.vae import Vae
from vaetools.testing import TINY, write_tiny_vae


def model_in(folder: Path) -> Model:
    return ModelRegistry([folder], lambda: Runtime("cpu", threads=3)).open(TINY)


def test_a_model_without_a_number_of_threads_takes_that_of_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_tiny_vae(tmp_path / TINY)
    model = ModelRegistry([folder], lambda: Runtime("cpu")).open(TINY)
    data = pickle.dumps(model)
    monkeypatch.setattr(runtime, "usable_cores", lambda: 7)
    assert pickle.loads(data).threads == 7


def test_a_model_comes_back_with_device_and_threads(tmp_path: Path) -> None:
    model = model_in(write_tiny_vae(tmp_path / TINY))
    again = pickle.loads(pickle.dumps(model))
    assert type(again) is Vae and again is not model
    assert (again.id, str(again.device), again.threads) == (TINY, "cpu", 3)
    image = np.random.default_rng(0).random((8, 8, 3), np.float32)
    assert isinstance(model, Vae)
    assert np.array_equal(again.encode(image).mean, model.encode(image).mean)


def test_unpickling_twice_opens_one_model(tmp_path: Path) -> None:
    data = pickle.dumps(model_in(write_tiny_vae(tmp_path / TINY)))
    assert pickle.loads(data) is pickle.loads(data)


def test_relative_folders_are_found_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_tiny_vae(tmp_path / TINY).parent)
    manifest = model_in(tmp_path).manifest
    data = pickle.dumps(Model(manifest, Path(TINY), Runtime("cpu", threads=1)))
    monkeypatch.chdir("/")
    assert pickle.loads(data).folder == tmp_path / TINY


def test_another_model_in_the_folder_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_vae(tmp_path / TINY)
    data = pickle.dumps(model_in(folder))
    write_tiny_vae(folder, deviation=0.5)
    with pytest.raises(ModelAlteredError, match="not the pickled one"):
        pickle.loads(data)
    (folder / "model.toml").unlink()
    with pytest.raises(ManifestError):
        pickle.loads(data)
