"""How far a network sees: what a tile must know of its surroundings, or why there are no tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vaetools.model.spec import TilingSpec
from vaetools.training.export.graphs import reach

if TYPE_CHECKING:
    from collections.abc import Callable

    from vaetools.training.export.measure import Geometry, Network

FIRST = 11
"""Cells per side of the first picture on which the reach is measured."""

LARGEST = 768
"""Side, in pixels, of the largest one: a halo of half of it would leave nothing of a tile."""

TOLERANCE = 1e-4
"""Convolutions sum in another order for another size."""

GLOBAL = (
    (nn.GroupNorm, "GroupNorm: global statistics"),
    (nn.modules.instancenorm._InstanceNorm, "InstanceNorm: global statistics"),  # noqa: SLF001
)
"""Layers that see the whole picture whatever their weights are."""


def tiling_of(network: Network, geometry: Geometry) -> TilingSpec:
    """The manifest's `[tiling]`: measured, or `never` with the reason."""
    if not geometry.spatial:
        return TilingSpec("never", reason="one vector of latents for the whole image")
    if network.size is not None:
        return TilingSpec("never", reason="the network takes one size only")
    modules = [*network.encode.modules(), *network.decode.modules()]
    for kind, reason in GLOBAL:
        if any(isinstance(module, kind) for module in modules):
            return TilingSpec("never", reason=reason)
    halo = measured_halo(network, geometry)
    if halo is not None:
        return TilingSpec("halo", halo)
    attentive = any("attention" in type(module).__name__.lower() for module in modules)
    return TilingSpec("never", reason="attention" if attentive else "sees the whole picture")


def measured_halo(network: Network, geometry: Geometry) -> int | None:
    """Pixels that a tile must see beyond its edge, in whole cells.

    None where the network sees more than half of `LARGEST`, or where its result depends on where in
    the picture a tile lies.
    """
    cell, down = geometry.multiple_of, geometry.downscale
    encode = _reach_of(network.encode, network.channels, cell, cell // down)
    decode = _reach_of(network.decode, geometry.latents, cell // down, cell)
    return None if encode is None or decode is None else max(encode, decode) * cell


def _reach_of(module: nn.Module, channels: int, cell_in: int, cell_out: int) -> int | None:
    """Cells, or None."""

    def first(value: Tensor) -> Tensor:
        """All outputs as one."""
        outputs = module(value)
        return torch.cat(outputs, dim=1) if isinstance(outputs, tuple) else outputs

    generator = torch.Generator().manual_seed(0)
    count = FIRST
    while count * max(cell_in, cell_out) <= LARGEST:
        side = count * cell_in
        example = torch.rand(1, channels, side, side, generator=generator)
        cells = reach(first, [example], cell_in, cell_out)
        if cells < count // 2:
            return cells if _shifts(first, example, cells, cell_in, cell_out) else None
        count = 2 * count + 1
    return None


@torch.no_grad()
def _shifts(
    function: Callable[[Tensor], Tensor], whole: Tensor, cells: int, cell_in: int, cell_out: int
) -> bool:
    """Whether a tile that begins one cell later gives the same: a network may count rows."""
    later = function(whole[:, :, cell_in:, cell_in:].contiguous())
    seen = slice((cells + 1) * cell_out, None)
    kept = slice(cells * cell_out, None)
    expected, found = function(whole)[:, :, seen, seen], later[:, :, kept, kept]
    return bool(torch.allclose(found, expected, atol=TOLERANCE))
