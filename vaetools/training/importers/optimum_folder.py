"""The VAE of a diffusion pipeline exported by `optimum-cli export onnx`. Needs no torch.

    vae_encoder/model.onnx   sample [−1, 1] -> latent_parameters: mean and logvar in one tensor
    vae_decoder/model.onnx   latent_sample -> sample [−1, 1]
    vae_…/config.json        the class and the scale of the latents

Nodes are added that convert ranges, split mean and logvar, and rename the tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx.compose
from onnx import TensorProto, helper, numpy_helper

from vaetools.errors import ModelBrokenError
from vaetools.graphcheck import check_graph
from vaetools.model.runtime import Runtime
from vaetools.model.spec import (
    LatentSpec,
    LikelihoodSpec,
    SelfTest,
    SizeSpec,
    TilingSpec,
)
from vaetools.training.export.folder import OnnxPlan
from vaetools.training.export.model_plan import ModelPlan
from vaetools.training.export.network import image_spec
from vaetools.training.importers.json_config import LOGVAR_RANGE, read_diffusers_config
from vaetools.training.importers.weights import check_file

if TYPE_CHECKING:
    from vaetools.model.session import Session

CLASSES = ("AutoencoderKL",)

SCALE = 0.18215
"""`scaling_factor` where the config names none, as in diffusers."""

Shape = list[str | int | None]
Tensors = dict[str, int]

OLDEST_OPSET = 13

CELLS = (2, 6, 9), (3, 7, 5), (1, 1, 1)
"""Batch, rows and columns of latents on which parity is measured."""


@dataclass(frozen=True)
class Facts:
    """Facts from the config.

    Attributes:
        channels, latents: of images and of the latent.
        down: pixels per side of a latent.
        mean, std: (1, latents, 1, 1) float32; they normalise channels of the latent.
    """

    channels: int
    latents: int
    down: int
    scale: float
    shift: float
    mean: np.ndarray
    std: np.ndarray


def read(source: str) -> ModelPlan:
    """The folder of an export.

    Raises:
        UsageError: no such folder or files.
        ModelBrokenError: another class, or graphs that are not as above.
    """
    encoder, decoder = (Path(source) / name for name in ("vae_encoder", "vae_decoder"))
    facts = _facts(decoder)
    image, latent = {"sample": facts.channels}, {"latent_sample": facts.latents}
    both = {"latent_parameters": 2 * facts.latents}
    graphs = {
        "encode": _encode(_load(encoder / "model.onnx", image, both), facts),
        "decode": _decode(_load(decoder / "model.onnx", latent, image), facts),
    }
    down = facts.down
    _check_sizes(graphs["encode"], 1, down, encoder)
    _check_sizes(graphs["decode"], down, 1, decoder)
    return ModelPlan(
        summary="AutoencoderKL of diffusers, exported by optimum",
        graphs=graphs,
        image=image_spec(facts.channels),
        size=SizeSpec(down, down),
        tiling=TilingSpec("never", reason="GroupNorm: global statistics"),
        latent=LatentSpec(
            "spatial", facts.latents, down, scale=facts.scale, shift=facts.shift, prior="none"
        ),
        likelihood=LikelihoodSpec(),
        selftest=SelfTest(height=CELLS[0][1] * down, width=CELLS[0][2] * down),
    )


def _facts(folder: Path) -> Facts:
    config = read_diffusers_config(folder, CLASSES)
    try:
        latents = int(config["latent_channels"])
        mean, std = (
            np.broadcast_to(np.array(config.get(key) or [neutral], np.float32), latents)
            for key, neutral in (("latents_mean", 0.0), ("latents_std", 1.0))
        )
        return Facts(
            channels=int(config["in_channels"]),
            latents=latents,
            down=2 ** (len(config["block_out_channels"]) - 1),
            scale=float(config.get("scaling_factor") or SCALE),
            shift=float(config.get("shift_factor") or 0.0),
            mean=mean.reshape(1, -1, 1, 1),
            std=std.reshape(1, -1, 1, 1),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelBrokenError(
            f"is not a config of AutoencoderKL: {type(error).__name__}: {error}",
            file=folder / "config.json",
        ) from None


def _load(path: Path, takes: Tensors, gives: Tensors) -> onnx.ModelProto:
    """A graph with these inputs and outputs (name -> channels). Raises as `read`."""
    check_file(path)
    data = path.read_bytes()
    check_graph(
        data, str(path), inputs=list(takes), outputs=list(gives), channels={**takes, **gives}
    )
    model = onnx.load_from_string(data)
    problem = _problem(model)
    if problem:
        raise ModelBrokenError(problem, file=path)
    return model


def _problem(model: onnx.ModelProto) -> str | None:
    """Why a valid graph cannot be imported, or None."""
    for value in (*model.graph.input, *model.graph.output):
        sizes = [d.dim_value for d in value.type.tensor_type.shape.dim]
        if len(sizes) != 4 or sizes[0] or sizes[2] or sizes[3]:
            return f"{value.name!r} has the fixed shape {sizes}; export it with dynamic axes"
    opset = max(o.version for o in model.opset_import)
    if opset < OLDEST_OPSET:
        return f"opset {opset} is older than {OLDEST_OPSET}; export it for a newer one"
    return None


def _encode(source: onnx.ModelProto, facts: Facts) -> OnnxPlan:
    """image -> mean, logvar."""
    latents = facts.latents
    build = Surgery(source, ["batch", facts.channels, "height", "width"])
    value = build.add("Mul", "image", _scalar(2))
    build.add("Sub", value, _scalar(1), to="source/sample")
    both = "source/latent_parameters"
    build.add("Split", both, np.array([latents, latents]), to=("raw_mean", "raw_logvar"), axis=1)
    centred = build.add("Sub", "raw_mean", facts.mean)
    build.add("Div", centred, facts.std, to="mean")
    clipped = build.add("Clip", "raw_logvar", *(_scalar(x) for x in LOGVAR_RANGE))
    build.add("Sub", clipped, 2 * np.log(facts.std), to="logvar")
    cells: Shape = ["batch", latents, f"height//{facts.down}", f"width//{facts.down}"]
    model = build.finish("image", {"mean": cells, "logvar": cells})
    session = _session(source)

    def reference(image: np.ndarray) -> list[np.ndarray]:
        (both,) = session(2 * image - 1)
        mean, logvar = np.split(both, 2, axis=1)
        logvar = np.clip(logvar, *LOGVAR_RANGE) - 2 * np.log(facts.std)
        return [(mean - facts.mean) / facts.std, logvar]

    rng = np.random.default_rng(0)
    shapes = [(n, facts.channels, facts.down * h, facts.down * w) for n, h, w in CELLS]
    return OnnxPlan(model, reference, [[rng.random(s, dtype=np.float32)] for s in shapes])


def _decode(source: onnx.ModelProto, facts: Facts) -> OnnxPlan:
    """latent -> image."""
    latents = facts.latents
    build = Surgery(source, ["batch", latents, "latent_height", "latent_width"])
    value = build.add("Mul", "latent", facts.std)
    build.add("Add", value, facts.mean, to="source/latent_sample")
    half = build.add("Mul", "source/sample", _scalar(0.5))
    build.add("Add", half, _scalar(0.5), to="image")
    down = facts.down
    pixels: Shape = ["batch", facts.channels, f"{down}*latent_height", f"{down}*latent_width"]
    model = build.finish("latent", {"image": pixels})
    session = _session(source)

    def reference(latent: np.ndarray) -> list[np.ndarray]:
        (image,) = session(latent * facts.std + facts.mean)
        return [(image + 1) / 2]

    rng = np.random.default_rng(0)
    shapes = [(n, latents, h, w) for n, h, w in CELLS]
    return OnnxPlan(model, reference, [[rng.standard_normal(s, dtype=np.float32)] for s in shapes])


def _check_sizes(plan: OnnxPlan, out: int, into: int, folder: Path) -> None:
    """Raise `ModelBrokenError` where `into` elements in do not give `out` elements out."""
    example = plan.examples[0]
    found = plan.expected(example)[0].shape[2:]
    expected = tuple(side // into * out for side in example[0].shape[2:])
    if found != expected:
        raise ModelBrokenError(
            f"returns {found[0]} x {found[1]} pixels or latents, but the config implies "
            f"{expected[0]} x {expected[1]}",
            file=folder,
        )


class Surgery:
    """Adds nodes before and after a graph, whose own names all get the prefix `source/`.

    Args:
        source: is copied.
        shape: of the new input.
    """

    def __init__(self, source: onnx.ModelProto, shape: Shape) -> None:
        self._model = onnx.compose.add_prefix(source, "source/")
        self._shape = shape
        self._before: list[onnx.NodeProto] = []
        self._after: list[onnx.NodeProto] = []
        self._count = 0

    def add(
        self,
        kind: str,
        *inputs: str | np.ndarray,
        to: str | tuple[str, ...] = "",
        **attributes: Any,
    ) -> str:
        """A node; arrays become constants. Gives the name of its (first) output.

        Nodes that lead to the source's input come before it, all others after it.
        """
        names = [name if isinstance(name, str) else self._constant(name) for name in inputs]
        outputs = (to,) if isinstance(to, str) else to
        outputs = tuple(name or self._name() for name in outputs)
        node = helper.make_node(kind, names, outputs, name=self._name(), **attributes)
        self._after.append(node)
        if outputs[0] == self._model.graph.input[0].name:
            self._before, self._after = self._after, []
        return outputs[0]

    def finish(self, takes: str, gives: dict[str, Shape]) -> onnx.ModelProto:
        """The whole graph."""
        graph = self._model.graph
        nodes = [*self._before, *graph.node, *self._after]
        for field in (graph.node, graph.input, graph.output, graph.value_info):
            del field[:]
        graph.node.extend(nodes)
        graph.input.append(helper.make_tensor_value_info(takes, TensorProto.FLOAT, self._shape))
        for name, shape in gives.items():
            value = helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            graph.output.append(value)
        return self._model

    def _constant(self, array: np.ndarray) -> str:
        name = self._name()
        self._model.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def _name(self) -> str:
        self._count += 1
        return f"vaetools/{self._count}"


def _scalar(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def _session(model: onnx.ModelProto) -> Session:
    """The graph as it came."""
    return Runtime("cpu").session(model.SerializeToString, key="source", name="source")
