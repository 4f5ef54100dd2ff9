"""Training goes on from a model folder: what comes back is what was exported."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tomli_w
import torch
import vaetools_models

from tests.training.tiny import read, restore_recipe, trainer, write_photos
from vaetools.cli import main
from vaetools.errors import ModelAlteredError, UsageError
from vaetools.model.manifest import manifest_table, read_manifest
from vaetools.training.export import codec as export_codec
from vaetools.training.export import denoiser as export_denoise
from vaetools.training.export import inpainter as export_inpaint
from vaetools.training.export.folder import apart
from vaetools.training.export.recover import _Source, model_weights
from vaetools.training.networks.restoration.denoiser import Denoiser
from vaetools.training.networks.restoration.network import RestoreConfig
from vaetools.training.recipe import read_recipe
from vaetools.training.run.growth import grow
from vaetools.training.run.starting import starting_weights
from vaetools.training.tasks import open_task

SHIPPED = Path(vaetools_models.__file__).parent

pytestmark = pytest.mark.usefixtures("no_curves")


def recovered(name: str) -> torch.nn.Module:
    network = open_task(read_recipe(name)).network.eval()
    network.load_state_dict(model_weights(SHIPPED / name, network))
    return network


@pytest.mark.parametrize(
    ("name", "plans"),
    [
        ("photo-codec", export_codec.plans),
        ("photo-denoise", lambda network: export_denoise.graphs(network).plans(samples=True)),
        ("photo-inpaint", lambda network: export_inpaint.graphs(network).plans(samples=True)),
    ],
)
def test_networks_compute_what_the_shipped_graphs_compute(name, plans) -> None:
    folder = SHIPPED / name
    graphs = read_manifest(folder).graphs
    for role, plan in plans(recovered(name)).items():
        session = onnxruntime.InferenceSession(str(folder / graphs[role].file))
        for case in plan.cases():
            found = session.run(None, dict(zip(plan.inputs, case, strict=True)))
            for name, ours, theirs in zip(plan.outputs, plan.expected(case), found, strict=True):
                tolerance = 0 if plan.exact else 1e-4 * max(1.0, np.abs(theirs).max())
                assert apart(name, theirs, ours) <= tolerance, (role, name)


def test_the_ladders_of_the_codec_give_its_tables_back() -> None:
    codec = recovered("photo-codec")
    position = torch.linspace(0, codec.config.rates - 1, export_codec.LEVELS)[:, None, None]
    with np.load(SHIPPED / "photo-codec" / "tables.npz") as tables, torch.no_grad():
        for name, log in (("gain", codec.log_gain), ("inverse_gain", codec.log_inverse_gain)):
            levels = codec.at_latents(log, position).exp()[:, :, 0, 0]
            np.testing.assert_allclose(levels, tables[name], rtol=1e-4)
        offset = codec.at_latents(codec.index_offset, position)[:, :, 0, 0] / codec.config.log_step
        assert np.abs(offset.numpy() - tables["index_offset"]).max() < 1


def test_the_prior_of_hyper_latents_costs_what_the_counts_say() -> None:
    codec = recovered("photo-codec")
    with np.load(SHIPPED / "photo-codec" / "tables.npz") as tables:
        share = tables["hyper_frequencies"] / tables["hyper_frequencies"].sum(2, keepdims=True)
    entropy = -(share * np.log2(np.maximum(share, 1e-12))).sum(2).mean(1)
    limit = codec.config.hyper_limit
    values = torch.arange(-limit, limit + 1).float()[None, None, :, None]
    for rate in range(codec.config.rates):
        with torch.no_grad():
            bits = codec.hyper_prior.bits(
                values.expand(1, codec.config.hyper, -1, 1), torch.full((1, 1, 1), float(rate))
            )
        crossed = (share[rate] * bits[0, :, :, 0].numpy()).sum(1).mean()
        assert entropy[rate] <= crossed < 1.25 * entropy[rate] + 0.1


def test_a_run_starts_from_a_model_where_the_run_behind_it_ended(trained_denoiser) -> None:
    task = open_task(trained_denoiser.trainer.task.recipe)
    fresh = {name: value.clone() for name, value in task.network.state_dict().items()}
    folder = trained_denoiser.model.folder
    weights = starting_weights(folder, task.network, torch.device("cpu"))
    for name, value in trained_denoiser.trainer.average.network.state_dict().items():
        expected = fresh[name] if name.startswith("posterior.") else value
        torch.testing.assert_close(weights[name], expected, rtol=0, atol=0)
    task.network.load_state_dict(weights)  # nothing but weights


@pytest.fixture
def command(tmp_path, capsys):
    """Calls `train` with a recipe for the network of `photo-denoise`; (exit code, what it printed)."""
    photos = write_photos(tmp_path, ("astronaut", "coffee", "chelsea", "rocket"), 96, 96)
    network = {
        "widths = [8, 12, 16]": "",
        "latents = 4": "",
        "ladder = 12": "",
    }  # as large as usual
    text = restore_recipe("denoise", steps=2)
    for line, instead in network.items():
        text = text.replace(line, instead)
    read(text, tmp_path)

    def call(start: Path) -> tuple[int, str]:
        words = ["train", tmp_path / "recipe.toml", "--data", photos, "--run", tmp_path / "run"]
        with pytest.raises(SystemExit) as end:
            main([*map(str, words), "--from", str(start), "--device", "cpu", "--threads", "1"])
        printed = capsys.readouterr()
        return end.value.code, printed.out + printed.err

    return call


def test_the_command_goes_on_from_a_model(command) -> None:
    code, printed = command(SHIPPED / "photo-denoise")
    assert code == 0, printed


def test_the_command_refuses_what_it_cannot_go_on_from(command, tmp_path) -> None:
    code, printed = command(SHIPPED / "photo-inpaint")
    assert code == 2
    assert "is a model for inpaint, not for denoise" in printed
    code, printed = command(tmp_path)
    assert code == 2
    assert "neither a run nor a model" in printed


@pytest.mark.parametrize(
    "recipe", ["photo-codec", "photo-denoise", "photo-inpaint", "small-photos"]
)
@pytest.mark.parametrize("model", ["photo-codec", "photo-denoise", "photo-inpaint", "mnist-mlp"])
def test_every_other_kind_of_model_is_refused(recipe, model) -> None:
    network = open_task(read_recipe(recipe)).network
    if recipe == model:
        return
    with pytest.raises(UsageError, match=r"is a model for|cannot be started from a model"):
        model_weights(SHIPPED / model, network)


@pytest.fixture
def copied(tmp_path) -> Path:
    return Path(shutil.copytree(SHIPPED / "photo-denoise", tmp_path / "model"))


def test_altered_models_are_refused(copied) -> None:
    graph = copied / "denoise.onnx"
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(data)
    network = open_task(read_recipe("photo-denoise")).network
    with pytest.raises(ModelAlteredError):
        model_weights(copied, network)


def test_a_model_that_lacks_a_graph_is_refused(copied) -> None:
    manifest = read_manifest(copied)
    graphs = {role: spec for role, spec in manifest.graphs.items() if role != "noise_level"}
    values = {role: v for role, v in manifest.selftest.values.items() if role in graphs}
    less = replace(manifest, graphs=graphs, selftest=replace(manifest.selftest, values=values))
    (copied / "model.toml").write_text(tomli_w.dumps(manifest_table(less)))
    with pytest.raises(UsageError, match="this model has no noise_level"):
        model_weights(copied, open_task(read_recipe("photo-denoise")).network)


def test_a_deeper_restorer_begins_with_what_the_model_knew() -> None:
    torch.manual_seed(0)
    large = Denoiser(RestoreConfig(blocks=2)).eval()
    grow(large, model_weights(SHIPPED / "photo-denoise", large))
    image, sigma = torch.rand(1, 3, 48, 40), torch.full((1, 1, 48, 40), 0.1)
    small = recovered("photo-denoise")
    with torch.no_grad():
        ours, theirs = (n.mean(n.condition(image, sigma))[0] for n in (large, small))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_codec_comes_back_from_an_export_of_today(trained_codec) -> None:
    """The shipped model may be older than the exporter."""
    model, codec = trained_codec.model, trained_codec.trainer.average.network
    source = _Source(model)
    for role in ("analysis", "hyper_analysis", "hyper_mean", "context_mean", "synthesis"):
        part = getattr(codec, role).state_dict()
        found = source.layers(role)
        assert found.keys() == part.keys()
        assert all(torch.equal(found[name], value) for name, value in part.items())


def test_a_model_of_another_size_is_refused(tmp_path) -> None:
    photos = write_photos(tmp_path, ("astronaut", "coffee"), 96, 96)
    recipe = read(restore_recipe("denoise", steps=2), tmp_path)
    task = open_task(recipe)
    weights = starting_weights(SHIPPED / "photo-denoise", task.network, torch.device("cpu"))
    with pytest.raises(UsageError, match="cannot start from these weights"):
        trainer(recipe, photos, tmp_path / "run", weights=weights)
