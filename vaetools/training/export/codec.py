"""A trained photo codec -> model folder: seven graphs and the tables."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaetools.codec.container import CELL, DOWNSCALE
from vaetools.codec.entropy import TOTAL, Table, frequencies_of, gaussian_table
from vaetools.errors import ModelBrokenError
from vaetools.model.spec import (
    CodecReach,
    CodecSpec,
    ImageSpec,
    LatentSpec,
    Manifest,
    RefineSpec,
    SelfTest,
    SizeSpec,
    TilingSpec,
)
from vaetools.training.export.context import context_plans, context_radii
from vaetools.training.export.folder import npz, write_model
from vaetools.training.export.graphs import GraphPlan
from vaetools.training.export.tiling import receptive_radius
from vaetools.training.networks.codec.gradient import SynthesisGradient, with_pullback
from vaetools.training.networks.codec.integer import IntegerScaleNetwork, neighbourhood
from vaetools.training.networks.codec.likelihood import interpolate
from vaetools.training.networks.codec.photo_codec import restored

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vaetools.model.folder import Model
    from vaetools.training.data.image_pack import ImagePack
    from vaetools.training.networks.codec import CodecConfig, PhotoCodec
    from vaetools.training.networks.codec.transforms import Synthesis
    from vaetools.training.recipe import Recipe

LEVELS = 101
TILE = 64
"""Side of an entropy-coded tile in latents: 1024 pixels."""

BATCHES = 96
"""Batches of four crops on which hyper-latents are counted."""

COUNTED = 8
"""Batches of four crops, at each rate, on which residuals are counted."""

SMOOTHING = 20.0
"""Weight of the distributions of the training, added to the counts, in observations."""

COARSE = 16
"""One channel in `COARSE` is coarse: in the part of a file that a preview needs."""


class FrozenScaleNetwork(nn.Module):
    """`IntegerScaleNetwork` with constant integer weights, for the export."""

    def __init__(self, network: IntegerScaleNetwork) -> None:
        super().__init__()
        network.check_exact()
        self.shifts: list[int] = [layer.shift for layer in network.layers]
        for number, layer in enumerate(network.layers):
            self.register_buffer(f"weight{number}", layer.integer_weight().detach())
            self.register_buffer(f"bias{number}", layer.integer_bias().detach())

    def forward(self, z: Tensor) -> Tensor:
        h = neighbourhood(z)
        for number, shift in enumerate(self.shifts):
            total = F.conv2d(h, getattr(self, f"weight{number}"), getattr(self, f"bias{number}"))
            h = torch.floor(total * 2.0**-shift)
            if number < len(self.shifts) - 1:
                h = torch.clamp(h, 0, 255)
        return F.pixel_shuffle(h, 4)


def plans(codec: PhotoCodec) -> dict[str, GraphPlan]:
    """The graphs of DESIGN's codec roles, with example inputs of 192 x 128 pixels."""
    c = codec.config
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 192, 128, generator=generator)
    latents = torch.randn(1, c.latents, 12, 8, generator=generator)
    hyper = torch.randint(-4, 5, (1, c.hyper, 3, 2), generator=generator).float()
    rate = torch.full((1, 1, 1, 1), 0.5)
    rates = torch.rand(1, 1, 24, 16, generator=generator)
    weight = torch.rand(1, 1, 192, 128, generator=generator)
    pixels = {2: "height", 3: "width"}
    coarse = {2: "latent_height", 3: "latent_width"}
    coarser = {2: "hyper_height", 3: "hyper_width"}
    scale = FrozenScaleNetwork(codec.hyper_scale_index)
    return {
        "analysis": GraphPlan(codec.analysis, {"image": image}, ["latents"], {"image": pixels}),
        "hyper_analysis": GraphPlan(
            codec.hyper_analysis, {"latents": latents}, ["hyper"], {"latents": coarse}
        ),
        "hyper_scale_index": GraphPlan(
            scale, {"hyper": hyper}, ["index"], {"hyper": coarser}, exact=True
        ),
        "hyper_mean": GraphPlan(codec.hyper_mean, {"hyper": hyper}, ["mean"], {"hyper": coarser}),
        **context_plans(codec),
        "synthesis": synthesis_plan(codec.synthesis, c.latents),
        "synthesis_gradient": GraphPlan(
            SynthesisGradient(codec.synthesis),
            {"latents": latents, "rate": rate, "image": image, "weight": weight},
            ["gradient", "errors"],
            {"latents": coarse, "image": pixels, "weight": pixels},
            broadcast={"rate": {2: "rate_height", 3: "rate_width"}},
            unseen=[{"latents": latents, "rate": rates, "image": image, "weight": weight}],
        ),
    }


def synthesis_plan(synthesis: Synthesis, channels: int) -> GraphPlan:
    """The graph of a synthesis for this number of latents, with example inputs of 192 x 128 pixels."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, channels, 12, 8, generator=generator)
    rate = torch.full((1, 1, 1, 1), 0.5)
    rates = torch.rand(1, 1, 24, 16, generator=generator)
    return GraphPlan(
        synthesis,
        {"latents": latents, "rate": rate},
        ["image"],
        {"latents": {2: "latent_height", 3: "latent_width"}},
        broadcast={"rate": {2: "rate_height", 3: "rate_width"}},
        unseen=[{"latents": latents, "rate": rates}],
    )


def rate_points(c: CodecConfig) -> Tensor:
    """The position among the rate points of every rate index, (LEVELS,)."""
    if not c.knee:
        return torch.linspace(0, c.rates - 1, LEVELS)
    quality = np.linspace(0, 100, LEVELS)
    places = np.interp(quality, [0, 75, 100], [0, c.knee, c.rates - 1])
    return torch.from_numpy(places).float()


@torch.no_grad()
def tables(codec: PhotoCodec, data: ImagePack, crop: int) -> dict[str, np.ndarray]:
    """The arrays of `tables.npz`; see `vaetools.codec.tables.CodecTables`."""
    c = codec.config
    position = rate_points(c)

    def at_levels(rows: Tensor) -> Tensor:
        return interpolate(rows, position[:, None, None])[:, :, 0, 0]

    offset = torch.round(at_levels(codec.index_offset) / c.log_step)
    latent = _latent_tables(codec, data, crop)
    centroid = {"centroid": codec.centroid.numpy()} if c.centroids else {}
    return {
        **centroid,
        "gain": torch.exp(at_levels(codec.log_gain)).numpy(),
        "inverse_gain": torch.exp(at_levels(codec.log_inverse_gain)).numpy(),
        "index_offset": offset.numpy().astype(np.int16),
        "rate": (position / (c.rates - 1)).numpy(),
        "coarse": _coarse(codec, data, crop),
        "hyper_group": torch.round(position).numpy().astype(np.uint8),
        "hyper_frequencies": _hyper_frequencies(codec, data, crop),
        "latent_reach": np.array([t.reach for t in latent], np.uint16),
        "latent_frequencies": np.concatenate([t.frequencies for t in latent]).astype(np.uint32),
    }


def _hyper_frequencies(codec: PhotoCodec, data: ImagePack, crop: int) -> np.ndarray:
    """(rates, N, 2 limit + 1) uint32: counted on crops, smoothed with the learned prior."""
    c = codec.config
    values = torch.arange(-c.hyper_limit, c.hyper_limit + 1).float()
    counts = torch.zeros(c.rates, c.hyper, len(values))
    generator = torch.Generator().manual_seed(2)
    for _ in range(BATCHES):
        latents = codec.analysis(data.crops(4, crop, generator, shrink=2.0))
        for rate in range(c.rates):
            z = torch.round(
                codec.hyper_analysis(latents * codec.log_gain[rate].exp()[:, None, None])
            )
            index = z.clamp(-c.hyper_limit, c.hyper_limit).long() + c.hyper_limit
            hits = F.one_hot(index.permute(1, 0, 2, 3).flatten(1), len(values)).sum(1)
            counts[rate] += hits
    grid = values[None, None, :, None].expand(1, c.hyper, -1, 1)
    for rate in range(c.rates):
        position = torch.full((1, 1, 1), float(rate))
        prior = 2.0 ** -codec.hyper_prior.bits(grid, position)[0, :, :, 0]
        counts[rate] += SMOOTHING * prior
    flat = counts.double().numpy().reshape(-1, len(values))
    rows = [frequencies_of(row) for row in flat]
    return np.stack(rows).reshape(counts.shape).astype(np.uint32)


def _latent_tables(codec: PhotoCodec, data: ImagePack, crop: int) -> list[Table]:
    """One table for every index, counted on crops at all rates: what is coded is no Gaussian, but the
    one that guided the training smooths the counts. Both signs count alike."""
    c = codec.config
    tables = [
        gaussian_table(c.scale_min * math.exp(number * c.log_step)) for number in range(c.tables)
    ]
    longest = tables[-1].reach
    counts = np.zeros((c.tables, 2 * longest + 1))
    generator = torch.Generator().manual_seed(4)
    for position in np.linspace(0, c.rates - 1, 2 * c.rates - 1):
        for _ in range(COUNTED):
            images = data.crops(4, crop, generator, shrink=2.0)
            coded = codec.code(images, torch.full((1, 1, 1), float(position)))
            r = torch.round(coded.residual).clamp(-longest, longest).long() + longest
            place = coded.table.expand_as(r).long() * counts.shape[1] + r
            counts += np.bincount(place.flatten().numpy(), minlength=counts.size).reshape(
                counts.shape
            )
    counts += counts[:, ::-1]
    return [_counted(row, table) for row, table in zip(counts, tables, strict=True)]


def _counted(counts: np.ndarray, prior: Table) -> Table:
    """The table of the values −n … n from their `counts` (2 n + 1,), with the reach of `prior`."""
    middle, reach = len(counts) // 2, prior.reach
    inside = counts[middle - reach : middle + reach + 1]
    seen = np.append(inside, counts.sum() - inside.sum())
    return Table(frequencies_of(seen + SMOOTHING * prior.frequencies / TOTAL), reach)


def _coarse(codec: PhotoCodec, data: ImagePack, crop: int) -> np.ndarray:
    """(M,) bool: the channels that vary most, which a rough image needs first."""
    latents = codec.analysis(data.crops(32, crop, torch.Generator().manual_seed(3), shrink=2.0))
    energy = latents.var(dim=(0, 2, 3))
    chosen = torch.zeros(len(energy), dtype=torch.bool)
    chosen[energy.topk(len(energy) // COARSE).indices] = True
    return chosen.numpy()


@torch.no_grad()
def refine_spec(codec: PhotoCodec, data: ImagePack, crop: int) -> RefineSpec:
    """Constants for refinement; the curvature is the mean over latents and rates, on crops.

    The diagonal of JᵀJ by random signs v: the expectation of (Jᵀv)² (Bekas, Kokiopoulou, Saad, "An
    estimator for the diagonal of a matrix", 2007).
    """
    c = codec.config
    generator = torch.Generator().manual_seed(5)
    found = []
    for position in range(c.rates):
        images = data.crops(4, crop, generator, shrink=2.0)
        at = torch.full((1, 1, 1), float(position))
        coded = codec.code(images, at)
        r = torch.round(coded.residual)
        latents = restored(coded.mean, r, coded.step, coded.inward)
        _, pullback = with_pullback(codec.synthesis, latents, codec.rate(at))
        signs = 2.0 * torch.randint(0, 2, images.shape, generator=generator) - 1
        found.append(pullback(signs).square().mean())
    return RefineSpec(c.lambda_min, c.lambda_max, float(f"{torch.stack(found).mean():.4g}"))


def halo(codec: PhotoCodec) -> int:
    """Halo of a tile in pixels, a multiple of 64."""
    c = codec.config
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 9 * CELL, 9 * CELL, generator=generator)
    latents = 3 * torch.randn(1, c.latents, 36, 36, generator=generator)
    rate = torch.full((1, 1, 1, 1), 0.5)
    ratio = CELL // DOWNSCALE
    cells = max(
        receptive_radius(codec.analysis, [image], CELL, ratio),
        receptive_radius(codec.synthesis, [latents, rate], ratio, CELL),
    )
    return _inside(cells, 9) * CELL


def _inside(cells: int, side: int) -> int:
    """Check a radius that was measured on a grid of `side` cells."""
    if cells >= side // 2:
        raise ModelBrokenError(f"the receptive field is larger than {cells} cells of {CELL} pixels")
    return cells


def small_reach(codec: PhotoCodec) -> CodecReach:
    """Radii of the receptive fields of the small networks, in cells of 64 pixels."""
    c, side, ratio = codec.config, 13, CELL // DOWNSCALE
    generator = torch.Generator().manual_seed(0)
    fine = (1, c.latents, side * ratio, side * ratio)
    latents = torch.randn(fine, generator=generator)
    hyper = torch.randint(-4, 5, (1, c.hyper, side, side), generator=generator).float()
    scale = FrozenScaleNetwork(codec.hyper_scale_index)

    return CodecReach(
        hyper_analysis=_inside(receptive_radius(codec.hyper_analysis, [latents], ratio, 1), side),
        hyper_scale_index=_inside(receptive_radius(scale, [hyper], 1, ratio), side),
        hyper_mean=_inside(receptive_radius(codec.hyper_mean, [hyper], 1, ratio), side),
        context_mean=max(_inside(radius, side) for radius in context_radii(codec, side)),
    )


def export_codec(
    codec: PhotoCodec, data: ImagePack, crop: int, folder: Path, recipe: Recipe
) -> tuple[Model, Mapping[str, float]]:
    """Write the model folder; see `write_model`. Tables are counted on crops of `crop` pixels."""
    codec.eval()
    arrays = tables(codec, data, crop)
    manifest = Manifest(
        format=1,
        id=recipe.id,
        version=recipe.version,
        license="Apache-2.0",
        summary="Photographs at any rate: a VAE with a mean-scale hyperprior",
        tasks=("compress",),
        graphs={},
        image=ImageSpec(),
        size=SizeSpec(multiple_of=CELL, minimum=CELL),
        tiling=TilingSpec("halo", halo(codec)),
        latent=LatentSpec("spatial", codec.config.latents, DOWNSCALE, "uniform", prior="hyper"),
        codec=CodecSpec(
            stream_id(codec, arrays),
            LEVELS,
            TILE,
            small_reach(codec),
            codec.config.context,
            refine_spec(codec, data, crop),
        ),
        selftest=SelfTest(height=192, width=128),
    )
    return write_model(
        folder,
        manifest,
        plans(codec),
        files={"tables": npz(arrays)},
    )


def stream_id(codec: PhotoCodec, arrays: Mapping[str, np.ndarray]) -> str:
    """16 hexadecimal digits from all weights and tables, on which bitstreams depend."""
    weights = {name: value.detach().cpu().numpy() for name, value in codec.state_dict().items()}
    digest = hashlib.sha256()
    for name, array in sorted({**weights, **arrays}.items()):
        digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
