"""Chains of a codec's graphs: the same numbers as graph by graph, with less work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.codec.miniature import MODEL, open_codec
from vaetools.errors import ModelBrokenError
from vaetools.graphcheck.estimate import Estimator
from vaetools.model.checked import chained_graph
from vaetools.model.folder import Model
from vaetools.model.fused import chains
from vaetools.model.fused.builder import Builder, weights_of
from vaetools.model.fused.chains import Chain, chain_graph, chain_of
from vaetools.model.fused.context import separable
from vaetools.model.fused.phases import GRID, PHASES, Packing, groups, phase_at
from vaetools.model.manifest import read_manifest
from vaetools.model.registry import shipped_folder
from vaetools.model.runtime import Runtime
from vaetools.testing import TINY

if TYPE_CHECKING:
    from pathlib import Path

    from vaetools.codec import Codec

ROLES = [
    Chain("encode", limit=15),
    Chain("quantise"),
    Chain("quantise", part=True, wide=True, inward=True, restore=True),
    Chain("decode", wide=True),
]


def run(data: bytes, *values: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs by name, in order."""
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    found = session.run(None, dict(zip(names, values, strict=True)))
    return {output.name: array for output, array in zip(session.get_outputs(), found, strict=True)}


@pytest.fixture
def codec() -> Codec:
    return open_codec()


@pytest.fixture
def coded(codec: Codec) -> list[np.ndarray]:
    """Inputs of `quantise` for 6 x 5 cells."""
    rng = np.random.default_rng(1)
    channels = codec.tables.gain.shape[1]
    y = 4 * rng.standard_normal((1, channels, 24, 20), np.float32)
    z = codec.networks(np.full((6, 5), 60, np.uint8)).hyper(y).astype(np.int32)
    gains = codec.tables.gain[60], codec.tables.inverse_gain[60]
    return [y, z, *(gain[None, :, None, None] for gain in gains)]


@pytest.mark.parametrize("chain", ROLES, ids=lambda chain: chain.role)
def test_a_chain_has_a_role_of_its_own(chain: Chain) -> None:
    assert chain_of(chain.role) == chain


@pytest.mark.parametrize("role", ["codec.", "codec.encode+x", "codec.other", "codec.encode+limitx"])
def test_other_chains_are_refused(role: str) -> None:
    with pytest.raises(ModelBrokenError, match="there is no chain"):
        chain_of(role)


def test_graphs_are_no_chains() -> None:
    assert chain_of("encode") is None


@pytest.mark.parametrize("latents", [1, 2, 6, 8, 13, 320])
def test_groups_have_the_places_of_their_phases(latents: int) -> None:
    channel = 0
    for count, places in groups("interleaved", latents):
        assert len(set(places)) == PHASES
        for number in range(channel, channel + count):
            assert [phase_at(number, y, x, latents) for y, x in places] == [*range(PHASES)]
        channel += count
    assert channel == latents
    assert groups("grid", latents) == [(latents, [*GRID])]


@pytest.mark.parametrize("context", ["interleaved", "grid"])
@pytest.mark.parametrize("latents", [1, 6, 12])
def test_packed_latents_are_those_of_each_phase(context: str, latents: int) -> None:
    identity = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 20]> g (float[a] x) => (float[a] y) { y = Identity(x) }'
    )
    builder = Builder({"identity": identity})
    shape = (1, latents, "height", "width")
    packing = Packing(builder, context, latents)
    parts = packing.packed(builder.input("x", np.float32, shape))
    builder.output("again", packing.unpacked(parts), np.float32, shape)
    for number, part in enumerate(parts):
        builder.output(f"phase {number}", part, np.float32, (1, latents, "h", "w"))
    x = np.arange(latents * 48, dtype=np.float32).reshape(1, latents, 6, 8)
    again, *found = run(builder.finished(), x).values()
    np.testing.assert_array_equal(again, x)
    for number, part in enumerate(found):
        channel = 0
        for count, places in groups(context, latents):
            row, column = places[number]
            here = slice(channel, channel + count)
            np.testing.assert_array_equal(part[:, here], x[:, here, row::2, column::2])
            channel += count


def test_what_is_left_out_of_the_context_was_zero(
    codec: Codec, coded: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The context taken apart gives what the whole graph gives."""
    chain, manifest = Chain("quantise", restore=True), codec.model.manifest
    model = onnx.load(MODEL / "context_mean.onnx")
    assert separable(model) is not None
    sparse = run(chain_graph(chain, manifest, codec.model.graph_bytes), *coded)
    monkeypatch.setattr(chains, "separable", lambda _: None)
    dense = run(chain_graph(chain, manifest, codec.model.graph_bytes), *coded)
    assert sparse["restored"].std() > 1
    np.testing.assert_array_equal(sparse["symbols"], dense["symbols"])
    np.testing.assert_allclose(sparse["restored"], dense["restored"], rtol=1e-4, atol=1e-4)


def test_a_context_taken_apart_takes_less_than_half_of_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the three passes of the shipped codec; other graphs stay as they are."""
    shipped = shipped_folder()
    assert shipped is not None
    folder = shipped / "photo-codec"
    model = Model(read_manifest(folder), folder, Runtime("cpu", threads=1))
    latents, rate = (1, 320, 32, 48), (1, 320, 1, 1)
    shapes = {"latents": latents, "hyper": (1, 64, 8, 12), "gain": rate, "step": rate}

    def steps() -> int:
        data = chain_graph(Chain("quantise"), model.manifest, model.graph_bytes)
        return Estimator(data, {"latent_height": 16, "latent_width": 16}).of(shapes).steps

    sparse = steps()
    monkeypatch.setattr(chains, "separable", lambda _: None)
    weights = weights_of(onnx.load(folder / "context_mean.onnx"))
    passes = 3 * 32 * 48 * sum(array.size for array in weights.values() if array.ndim == 4)
    assert steps() - sparse > 0.5 * passes


@pytest.mark.parametrize("change", ["kernel", "readers", "last", "weights"])
def test_a_context_of_another_structure_is_not_taken_apart(change: str) -> None:
    model = onnx.load(MODEL / "context_mean.onnx")
    graph = model.graph
    if change == "kernel":
        (entry,) = (node for node in graph.node if "known" in node.input)
        (pads,) = (a for a in entry.attribute if a.name == "pads")
        pads.ints[:] = [2, 2, 0, 0]
    elif change == "readers":
        graph.node.append(onnx.helper.make_node("Relu", ["known"], ["unused"]))
    elif change == "last":
        graph.node[-1].op_type = "Sub"
    else:
        (entry,) = (node for node in graph.node if "known" in node.input)
        entry.input[1] = "computed"
    assert separable(model) is None


def test_one_graph_codes_what_the_single_ones_do(codec: Codec) -> None:
    rng = np.random.default_rng(2)
    image = rng.random((1, 3, 128, 192), np.float32)
    channels = codec.tables.gain.shape[1]
    units = [
        getattr(codec.tables, name)[40].reshape(1, channels, 1, 1)
        for name in ("gain", "inverse_gain")
    ]
    graph = codec.model.graph(Chain("encode", limit=codec.tables.hyper_limit).role)
    z, r, largest = graph(image, *units)
    (y,) = codec.model.graph("analysis")(image)
    networks = codec.networks(np.full((2, 3), 40, np.uint8))
    np.testing.assert_array_equal(z, networks.hyper(y))
    np.testing.assert_array_equal(r[0], networks.symbols(y, z, (slice(0, 2), slice(0, 3))))
    assert r.dtype == np.int16 and largest == np.abs(r).max()


@pytest.mark.parametrize("wide", [False, True])
def test_whole_images_are_decoded_in_batches(codec: Codec, wide: bool) -> None:
    """Of any size and rate: on devices that want few calls."""
    rng = np.random.default_rng(3)
    channels = codec.tables.gain.shape[1]
    chain = Chain("decode", wide=wide)
    manifest, load = codec.model.manifest, codec.model.graph_bytes
    alone = chained_graph(chain, manifest, load)
    together = chained_graph(chain, manifest, load, batched=True)
    ports = {port.name: port for port in onnx.load_from_string(together).graph.input}
    assert {port.type.tensor_type.shape.dim[0].dim_param for port in ports.values()} == {"batch"}
    calls = []
    for level in (20, 60):
        symbols = rng.integers(-3, 4, (1, channels, 8, 12)).astype(np.int32 if wide else np.int16)
        hyper = rng.integers(-2, 3, (1, codec.tables.hyper_frequencies.shape[1], 2, 3))
        kind = helper.tensor_dtype_to_np_dtype(ports["hyper"].type.tensor_type.elem_type)
        step = codec.tables.inverse_gain[level].reshape(1, channels, 1, 1)
        rate = codec.tables.rate[level].reshape(1, 1, 1, 1)
        calls.append([symbols, hyper.astype(kind), step, rate])
    both = run(together, *(np.concatenate(values) for values in zip(*calls, strict=True)))
    for place, call in enumerate(calls):
        for name, value in run(alone, *call).items():
            np.testing.assert_allclose(both[name][place], value[0], atol=1e-6)


def test_symbols_that_int16_cannot_hold_are_int32(codec: Codec) -> None:
    channels = codec.tables.gain.shape[1]
    y = np.zeros((1, channels, 8, 12), np.float32)
    y[0, 1, 2, 3] = 1e6
    networks = codec.networks(np.full((2, 3), 100, np.uint8))
    z = np.zeros((1, codec.tables.hyper_frequencies.shape[1], 2, 3), np.float32)
    whole = slice(0, 2), slice(0, 3)
    r = networks.symbols(y, z, whole)
    assert r.dtype == np.int32
    assert r[1, 2, 3] == pytest.approx(1e6 * codec.tables.gain[100, 1], rel=1e-3)
    pixels = networks.pixels(r, z, whole, as_bytes=False)
    narrow = networks.pixels(np.zeros_like(r, np.int16), z, whole, as_bytes=False)
    assert np.abs(pixels - narrow).max() > 1


def test_latents_that_are_not_finite_are_an_error(codec: Codec) -> None:
    y = np.zeros((1, codec.tables.gain.shape[1], 4, 4), np.float32)
    y[0, 0, 0, 0] = np.nan
    z = np.zeros((1, codec.tables.hyper_frequencies.shape[1], 1, 1), np.float32)
    with pytest.raises(ModelBrokenError, match="not finite"):
        codec.networks(np.zeros((1, 1), np.uint8)).symbols(y, z, (slice(0, 1), slice(0, 1)))


def test_a_model_without_a_codec_has_no_chains(tiny_models: Path) -> None:
    folder = tiny_models / TINY
    model = Model(read_manifest(folder), folder, Runtime("cpu", threads=1))
    with pytest.raises(ModelBrokenError, match="has no graph for 'synthesis'"):
        model.graph("codec.decode")


def test_graphs_of_one_model_may_have_different_opsets() -> None:
    text = (
        '<ir_version: 9, opset_import: ["": {}]> g (float[a] x) => (float[a] y) {{ y = Relu(x) }}'
    )
    old, new = (onnx.parser.parse_model(text.format(opset)) for opset in (14, 20))
    builder = Builder({"old": old, "new": new})
    assert builder.opset == 20
    value = builder.input("x", np.float32, ("n",))
    (value,) = builder.include("new", *builder.include("old", value))
    builder.output("y", value, np.float32, ("n",))
    found = run(builder.finished(), np.array([-1, 2], np.float32))
    assert found["y"].tolist() == [0, 2]


def test_graphs_of_an_old_opset_are_converted() -> None:
    text = '<ir_version: 7, opset_import: ["": 11]> g (float[a] x) => (float[a] y) { y = Relu(x) }'
    builder = Builder({"old": onnx.parser.parse_model(text)})
    (value,) = builder.include("old", builder.input("x", np.float32, (1, 1, "h", "w")))
    builder.output("y", builder.reduce("ReduceMax", value), np.float32, (1,))
    found = run(builder.finished(), np.array([[[[-1, 2]]]], np.float32))
    assert found["y"].tolist() == [2]
