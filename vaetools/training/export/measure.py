"""A network in torch, whatever library it comes from -> the parts of a model folder."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vaetools.errors import ModelBrokenError, UsageError
from vaetools.model.spec import ImageSpec, LatentSpec, LikelihoodSpec, SelfTest, SizeSpec
from vaetools.training.export.graphs import GraphPlan, check_finite
from vaetools.training.export.model_plan import Parts
from vaetools.training.export.tiling import tiling_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SIDES = (64, 128, 256, 512)
"""Pictures that are tried until the network takes one."""

COARSEST = 64
"""Largest step, in latents, between sizes that a network may take."""


@dataclass(frozen=True)
class Network:
    """Two modules, and what cannot be measured about them.

    Attributes:
        encode: image (N, channels, H, W) float32 in [0, 1] -> mean, or (mean, logvar).
        decode: latent -> image in [0, 1], or (image, logits) where the likelihood is Bernoulli.
        channels: 3 (RGB) or 1 (grey).
        size: (height, width) of a network that takes one size only.
        prior: `normal` or `none`; None is `normal` where there is a logvar.
        scale, shift: outside the graphs latents are (z − shift) · scale.
    """

    encode: nn.Module
    decode: nn.Module
    channels: int = 3
    size: tuple[int, int] | None = None
    likelihood: LikelihoodSpec = field(default_factory=LikelihoodSpec)
    prior: str | None = None
    scale: float = 1.0
    shift: float = 0.0
    summary: str = ""


@dataclass(frozen=True)
class Geometry:
    """What a network does to sizes: measured.

    Attributes:
        spatial: latents are (N, latents, h, w), not (N, latents).
        gaussian: `encode` gives logvar as well.
        latents: channels of the latent.
        downscale: pixels per side of a latent; 1 without space.
        multiple_of, minimum: of the sides of pictures that come back in their own size.
        height, width: a good example.
    """

    spatial: bool
    gaussian: bool
    latents: int
    downscale: int
    multiple_of: int
    minimum: int
    height: int
    width: int


def parts(network: Network) -> Parts:
    """Measure the network and plan its graphs.

    Raises:
        UsageError: it does not take such images, or does not give them back.
        ModelBrokenError: weights or results are not finite.
    """
    for module in (network.encode, network.decode):
        check_finite(module)
        module.eval().float()
    with torch.no_grad():
        geometry = measure(network)
        plans = plans_of(network, geometry)
    return Parts(
        summary=network.summary,
        plans=plans,
        image=ImageSpec(channels=network.channels),
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
    """Try sizes. Raises as `parts` does."""
    height, width = network.size or _first_size(network)
    mean, gaussian = _encoded(network, height, width)
    latents = mean.shape[1]
    if mean.ndim == 2:
        if network.size is None:
            raise UsageError(
                "latents are vectors, so the network takes pictures of one size",
                remedy="name it with --size HEIGHTxWIDTH",
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
    """Height and width of a picture that the network takes; they differ, so that none is mistaken
    for the other."""
    for side in SIDES:
        with contextlib.suppress(UsageError):
            _encoded(network, side, side + side // 2)
            return side, side + side // 2
    _encoded(network, SIDES[0], SIDES[0] + SIDES[0] // 2)  # says why
    raise UsageError("the network takes no size that was tried", remedy="name one with --size")


def _step(network: Network, height: int, down: int) -> int:
    """The smallest step in which sides may grow. Sides off it are padded, and cropped after."""
    factor = 1
    while factor <= COARSEST:
        step = down * factor
        start = math.ceil(height / step) * step
        if all(_takes(network, start + k * step, start, down) for k in (0, 1, 2, 3)):
            return step
        factor *= 2
    raise UsageError(
        f"pictures of {height} pixels come back in their own size, but no regular other sizes do",
        remedy="name one size with --size HEIGHTxWIDTH",
    )


def _takes(network: Network, height: int, width: int, down: int) -> bool:
    try:
        _check_round_trip(network, height, width, down)
    except UsageError:
        return False
    return True


def _encoded(network: Network, height: int, width: int) -> tuple[Tensor, bool]:
    """(mean, whether there is a logvar) of a picture of that size."""
    remedy = None if network.size else "if it takes one size only, name it: --size HEIGHTxWIDTH"
    with _complaint(f"encode does not take {network.channels} x {height} x {width} images", remedy):
        out = network.encode(torch.full((1, network.channels, height, width), 0.5))
    outputs = out if isinstance(out, tuple) else (out,)
    if not all(isinstance(value, Tensor) for value in outputs) or len(outputs) > 2:
        raise UsageError("encode must give mean, or (mean, logvar)")
    mean = outputs[0]
    if any(value.shape != mean.shape for value in outputs) or mean.ndim not in (2, 4):
        shapes = ", ".join(str(tuple(value.shape)) for value in outputs)
        raise UsageError(f"latents of shape {shapes} are neither (N, C) nor (N, C, h, w)")
    if not all(torch.isfinite(value).all() for value in outputs):
        raise ModelBrokenError("encode gives values that are not finite")
    return mean, len(outputs) == 2


def _check_round_trip(network: Network, height: int, width: int, down: int) -> None:
    """Raise `UsageError` unless a picture comes back in its size; `down` is 0 without space."""
    mean, _ = _encoded(network, height, width)
    if down and tuple(mean.shape[2:]) != (height / down, width / down):
        raise UsageError(
            f"{mean.shape[2]} x {mean.shape[3]} latents for {height} x {width} pixels: "
            "not one for each square of the same size"
        )
    with _complaint(f"decode does not take latents of shape {tuple(mean.shape)}"):
        decoded = network.decode(mean)
    outputs = decoded if isinstance(decoded, tuple) else (decoded,)
    wanted = 2 if network.likelihood.kind == "bernoulli" else 1
    if len(outputs) != wanted or not all(isinstance(value, Tensor) for value in outputs):
        gives = "(image, logits)" if wanted == 2 else "image"
        raise UsageError(f"with likelihood {network.likelihood.kind!r} decode must give {gives}")
    shape = (1, network.channels, height, width)
    for value in outputs:
        if tuple(value.shape) != shape:
            raise UsageError(f"decode gives shape {tuple(value.shape)} for images of shape {shape}")
        if not torch.isfinite(value).all():
            raise ModelBrokenError("decode gives values that are not finite")


@contextlib.contextmanager
def _complaint(problem: str, remedy: str | None = None) -> Iterator[None]:
    """What goes wrong inside a stranger's network, as one line."""
    try:
        yield
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise UsageError(f"{problem}: {type(error).__name__}: {said}", remedy=remedy) from error


def plans_of(network: Network, geometry: Geometry) -> dict[str, GraphPlan]:
    """Both graphs, with batches of any size, and with pictures of any size where it can."""
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
    """A latent as the decoder knows them: from the prior, or of an image where there is none."""
    out = network.encode(image)
    if isinstance(out, tuple) and network.prior != "none":
        return torch.randn(out[0].shape, generator=generator)
    return (out[0] if isinstance(out, tuple) else out).contiguous()


def _named(name: str, values: list[Tensor]) -> list[Mapping[str, Tensor]]:
    return [{name: value} for value in values]
