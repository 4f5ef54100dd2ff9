"""Hand-made models of which everything is known: linear, so each figure has a closed form."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from vaetools.model.manifest import FILE_NAME, manifest_table
from vaetools.model.registry import ModelRegistry
from vaetools.model.runtime import Runtime
from vaetools.model.spec import GraphSpec, ImageSpec, LatentSpec, LikelihoodSpec, Manifest, SizeSpec
from vaetools.model.vae import Vae


@dataclass(frozen=True)
class Linear:
    """A VAE of grey images of `size`, D pixels, with C latents.

    mean = encode @ x + offset; deviation fixed; image = decode @ z + centre. With likelihood
    `bernoulli` the latter are logits.

    Attributes:
        encode: (C, D). offset: (C,). deviation: (C,), or None for a plain autoencoder.
        decode: (D, C). centre: (D,).
    """

    encode: np.ndarray
    offset: np.ndarray
    deviation: np.ndarray | None
    decode: np.ndarray
    centre: np.ndarray
    size: tuple[int, int]
    likelihood: str = "gaussian"
    noise: float = 0.1
    prior: str = "normal"

    def means(self, images: np.ndarray) -> np.ndarray:
        """(N, C) of images (N, 1, H, W)."""
        return images.reshape(len(images), -1) @ self.encode.T + self.offset

    def kl(self, images: np.ndarray) -> np.ndarray:
        """(N, C) nats."""
        variance = self.deviation**2
        return 0.5 * (self.means(images) ** 2 + variance - 1 - np.log(variance))

    def write(self, folder: Path, name: str = "linear") -> Path:
        folder.mkdir(parents=True)
        latents = self.decode.shape[1]
        points = self.deviation is None
        bernoulli = self.likelihood == "bernoulli"
        encode = _graph(
            [
                ("Flatten", ["image"], ["flat"]),
                ("MatMul", ["flat", "encode"], ["product"]),
                ("Add", ["product", "offset"], ["mean"]),
                *([] if points else [("Mul", ["mean", "zero"], ["nothing"])]),
                *([] if points else [("Add", ["nothing", "log_variance"], ["logvar"])]),
            ],
            {"image": (1, *self.size)},
            {"mean": (latents,), **({} if points else {"logvar": (latents,)})},
            {
                "encode": self.encode.T,
                "offset": self.offset,
                "zero": np.zeros(1),
                "log_variance": np.zeros(1) if points else 2 * np.log(self.deviation),
            },
        )
        last = "logits" if bernoulli else "image"
        decode = _graph(
            [
                ("MatMul", ["latent", "decode"], ["product"]),
                ("Add", ["product", "centre"], ["flat"]),
                ("Reshape", ["flat", "shape"], [last]),
                *([("Sigmoid", ["logits"], ["image"])] if bernoulli else []),
            ],
            {"latent": (latents,)},
            {"image": (1, *self.size), **({"logits": (1, *self.size)} if bernoulli else {})},
            {
                "decode": self.decode.T,
                "centre": self.centre,
                "shape": np.array([-1, 1, *self.size]),
            },
        )
        manifest = Manifest(
            format=1,
            id=name,
            version="1",
            license="Apache-2.0",
            tasks=("reconstruct",),
            graphs={
                "encode": _save(folder, "encode", encode),
                "decode": _save(folder, "decode", decode),
            },
            image=ImageSpec(channels=1),
            size=SizeSpec(fixed=self.size),
            latent=LatentSpec(
                "vector",
                latents,
                distribution="point" if points else "gaussian",
                prior=self.prior,
            ),
            likelihood=LikelihoodSpec(self.likelihood, self.noise),
        )
        text = tomli_w.dumps(manifest_table(manifest))
        (folder / FILE_NAME).write_text(text, encoding="utf-8")
        return folder


def _graph(nodes: list[tuple], inputs: dict, outputs: dict, constants: dict) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    def value(name: str, shape: tuple[int, ...]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])

    def constant(name: str, array: np.ndarray) -> Any:
        kind = np.int64 if name == "shape" else np.float32
        return numpy_helper.from_array(np.ascontiguousarray(array, kind), name)

    return helper.make_graph(
        [helper.make_node(*node) for node in nodes],
        "graph",
        [value(*item) for item in inputs.items()],
        [value(*item) for item in outputs.items()],
        [constant(*item) for item in constants.items()],
    )


def _save(folder: Path, role: str, graph: Any) -> GraphSpec:
    from onnx import helper

    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data = model.SerializeToString()
    (folder / f"{role}.onnx").write_bytes(data)
    return GraphSpec(
        f"{role}.onnx",
        hashlib.sha256(data).hexdigest(),
        len(data),
        tuple(i.name for i in graph.input),
        tuple(o.name for o in graph.output),
    )


def orthogonal(
    *,
    size: tuple[int, int] = (6, 4),
    scales: tuple[float, ...] = (0.3, 0.15, 0.0),
    noise: float = 0.05,
    **others: Any,
) -> Linear:
    """Probabilistic PCA: latent j moves the image by `scales[j]` along its own direction of length 1.

    Its encoder is the exact posterior, so the ELBO is log p(x), and 0.5 is the mean picture. A scale
    of 0 is a latent that nothing depends on: its posterior is the prior.
    """
    pixels = size[0] * size[1]
    basis = np.linalg.qr(np.random.default_rng(5).standard_normal((pixels, len(scales))))[0]
    weights = basis * np.array(scales)
    variance = noise**2 / (np.array(scales) ** 2 + noise**2)
    encode = (weights * variance / noise**2).T
    centre = np.full(pixels, 0.5)
    values = {
        "encode": encode,
        "offset": -encode @ centre,
        "deviation": np.sqrt(variance),
        "decode": weights,
        "centre": centre,
        "size": size,
        "noise": noise,
    }
    return Linear(**{**values, **others})


def draws(model: Linear, count: int, seed: int = 0) -> np.ndarray:
    """(count, 1, H, W) pictures from a Gaussian model, clipped to [0, 1]."""
    rng = np.random.default_rng(seed)
    latents = rng.standard_normal((count, model.decode.shape[1]))
    images = latents @ model.decode.T + model.centre
    images += model.noise * rng.standard_normal(images.shape)
    return np.clip(images, 0, 1).reshape(count, 1, *model.size).astype(np.float32)


def opened(folder: Path) -> Vae:
    registry = ModelRegistry([folder], lambda: Runtime("cpu", threads=1))
    model = registry.open(registry.ids()[0])
    assert isinstance(model, Vae)
    return model
