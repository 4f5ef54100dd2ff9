"""A network in torch, from any library -> a model that is ready to be written."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vaetools.errors import ModelBrokenError, UsageError
from vaetools.model.spec import LatentSpec, SelfTest, SizeSpec
from vaetools.tiling import ceil_div
from vaetools.training.export.foreign import complaint
from vaetools.training.export.graphs import GraphPlan, check_finite
from vaetools.training.export.model_plan import ModelPlan
from vaetools.training.export.network import Geometry, image_spec
from vaetools.training.export.tiling import tiling_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vaetools.training.export.network import Network

SIDES = (64, 128, 256, 512)
"""Image sides that are tried, in this order."""

COARSEST = 64
"""Largest step between valid sizes, in latents, that is tried."""


def plan_model(network: Network) -> ModelPlan:
    """Measure the network and plan its graphs.

    Raises:
        UsageError: it does not accept such images, or returns something else.
        ModelBrokenError: weights or results are not finite.
    """
    for module in (network.encode, network.decode):
        check_finite(module)
        module.eval().float()
    with torch.no_grad():
        geometry = measure(network)
        graphs = graphs_of(network, geometry)
    return ModelPlan(
        summary=network.summary,
        graphs=graphs,
        image=image_spec(network.channels),
        size=SizeSpec(geometry.multiple_of, geometry.minimum, network.size or ()),
        tiling=tiling_of(network, geometry),
        latent=LatentSpec(
            kind="spatial" if geometry.spatial else "vector",
            channels=geometry.latents,
            downscale=geometry.downscale,
            distribution="gaussian" if geometry.gaussian else "point",
            scale=network.scale,
            shift=network.shift,
            prior=network.prior or ("normal" if geometry.gaussian else "none"),
        ),
        likelihood=network.likelihood,
        selftest=SelfTest(height=geometry.height, width=geometry.width),
    )


def measure(network: Network) -> Geometry:
    """Find the sizes that the network accepts. Raises the errors of `plan_model`."""
    height, width = network.size or _first_size(network)
    mean, gaussian = _encoded(network, height, width)
    latents = mean.shape[1]
    if mean.ndim == 2:
        if network.size is None:
            raise UsageError(
                "latents are vectors, so the network takes images of one size only",
                remedy="give the size with --size HEIGHTxWIDTH",
            )
        _check_round_trip(network, height, width, 0)
        return Geometry(False, gaussian, latents, 1, 1, 1, height, width)
    down = height // mean.shape[2]
    _check_round_trip(network, height, width, down)
    if network.size is not None:
        return Geometry(True, gaussian, latents, down, down, down, height, width)
    step, smallest = _step(network, height, down), height
    for side in range(step, height, step):
        if _takes(network, side, side, down):
            smallest = side
            break
    return Geometry(True, gaussian, latents, down, step, smallest, height, width)


def _first_size(network: Network) -> tuple[int, int]:
    """Height and width of an image that the network accepts; they differ, so that swapping them
    shows."""
    for side in SIDES:
        with contextlib.suppress(UsageError):
            _encoded(network, side, side + side // 2)
            return side, side + side // 2
    _encoded(network, SIDES[0], SIDES[0] + SIDES[0] // 2)  # raises with the reason
    raise UsageError("the network accepts none of the sizes tried", remedy="give one with --size")


def _step(network: Network, height: int, down: int) -> int:
    """The smallest step between valid sides. Other sides are padded, and the result is cropped."""
    factor = 1
    while factor <= COARSEST:
        step = down * factor
        start = ceil_div(height, step) * step
        if all(_takes(network, start + k * step, start, down) for k in (0, 1, 2, 3)):
            return step
        factor *= 2
    raise UsageError(
        f"the network reproduces images of {height} pixels, but no regular series of other sizes",
        remedy="give one size with --size HEIGHTxWIDTH",
    )


def _takes(network: Network, height: int, width: int, down: int) -> bool:
    try:
        _check_round_trip(network, height, width, down)
    except UsageError:
        return False
    return True


def _encoded(network: Network, height: int, width: int) -> tuple[Tensor, bool]:
    """(mean, whether there is a logvar) of an image of this size."""
    remedy = None if network.size else "if it takes one size only, give it: --size HEIGHTxWIDTH"
    with complaint(
        f"encode fails on {network.channels} x {height} x {width} images", remedy=remedy
    ):
        out = network.encode(torch.full((1, network.channels, height, width), 0.5))
    outputs = out if isinstance(out, tuple) else (out,)
    if not all(isinstance(value, Tensor) for value in outputs) or len(outputs) > 2:
        raise UsageError("encode must return mean, or (mean, logvar)")
    mean = outputs[0]
    if any(value.shape != mean.shape for value in outputs) or mean.ndim not in (2, 4):
        shapes = ", ".join(str(tuple(value.shape)) for value in outputs)
        raise UsageError(f"latents of shape {shapes} are neither (N, C) nor (N, C, h, w)")
    if not all(torch.isfinite(value).all() for value in outputs):
        raise ModelBrokenError("encode returns values that are not finite")
    return mean, len(outputs) == 2


def _check_round_trip(network: Network, height: int, width: int, down: int) -> None:
    """Raise `UsageError` unless the output has the size of the image; `down` is 0 for vectors."""
    mean, _ = _encoded(network, height, width)
    if down and tuple(mean.shape[2:]) != (height / down, width / down):
        raise UsageError(
            f"{mean.shape[2]} x {mean.shape[3]} latents for {height} x {width} pixels: "
            "not one for each square of one size"
        )
    with complaint(f"decode fails on latents of shape {tuple(mean.shape)}"):
        decoded = network.decode(mean)
    outputs = decoded if isinstance(decoded, tuple) else (decoded,)
    wanted = 2 if network.likelihood.kind == "bernoulli" else 1
    if len(outputs) != wanted or not all(isinstance(value, Tensor) for value in outputs):
        expected = "(image, logits)" if wanted == 2 else "image"
        raise UsageError(
            f"with likelihood {network.likelihood.kind!r} decode must return {expected}"
        )
    shape = (1, network.channels, height, width)
    for value in outputs:
        if tuple(value.shape) != shape:
            raise UsageError(
                f"decode returns shape {tuple(value.shape)} for images of shape {shape}"
            )
        if not torch.isfinite(value).all():
            raise ModelBrokenError("decode returns values that are not finite")


def graphs_of(network: Network, geometry: Geometry) -> dict[str, GraphPlan]:
    """Both graphs, for any batch size, and for any image size if the network allows it."""
    step, smallest = geometry.multiple_of, geometry.minimum
    sizes = [(2, geometry.height, geometry.width)]
    image_dims, latent_dims = {0: "batch"}, {0: "batch"}
    if network.size is None:
        sizes += [(3, geometry.height + step, geometry.width + 2 * step), (1, smallest, smallest)]
        image_dims |= {2: "height", 3: "width"}
        latent_dims |= {2: "latent_height", 3: "latent_width"}
    else:
        sizes += [(3, geometry.height, geometry.width)]
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(n, network.channels, h, w, generator=generator) for n, h, w in sizes]
    latents = [_latent(network, image, generator) for image in images]
    bernoulli = network.likelihood.kind == "bernoulli"
    return {
        "encode": GraphPlan(
            network.encode,
            {"image": images[0]},
            ["mean", "logvar"] if geometry.gaussian else ["mean"],
            {"image": image_dims},
            unseen=_named("image", images[1:]),
        ),
        "decode": GraphPlan(
            network.decode,
            {"latent": latents[0]},
            ["image", "logits"] if bernoulli else ["image"],
            {"latent": latent_dims},
            unseen=_named("latent", latents[1:]),
        ),
    }


def _latent(network: Network, image: Tensor, generator: torch.Generator) -> Tensor:
    """A latent such as the decoder was trained on: a sample of the prior, or the code of an image."""
    out = network.encode(image)
    mean: Tensor = out[0] if isinstance(out, tuple) else out
    if isinstance(out, tuple) and network.prior != "none":
        return torch.randn(mean.shape, generator=generator)
    return mean.contiguous()


def _named(name: str, values: list[Tensor]) -> list[Mapping[str, Tensor]]:
    return [{name: value} for value in values]
