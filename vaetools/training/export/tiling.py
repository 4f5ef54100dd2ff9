"""Receptive field of a network, and the halo that its tiles need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vaetools.model.spec import TilingSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vaetools.training.export.network import Geometry, Network

FIRST = 11
"""Cells per side of the first image on which the receptive field is measured."""

LARGEST = 768
"""Largest side of that image, in pixels. A halo of half of it would leave nothing of a tile."""

TOLERANCE = 1e-4
"""Convolutions may sum in a different order for a different image size."""

GLOBAL = (
    (nn.GroupNorm, "GroupNorm: global statistics"),
    (nn.modules.instancenorm._InstanceNorm, "InstanceNorm: global statistics"),  # noqa: SLF001
)
"""Layers with an unlimited receptive field, whatever their weights."""


def tiling_of(network: Network, geometry: Geometry) -> TilingSpec:
    """The manifest's `[tiling]`: the measured halo, or `never` and the reason."""
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
    return TilingSpec("never", reason="attention" if attentive else "sees the whole image")


def measured_halo(network: Network, geometry: Geometry) -> int | None:
    """Halo of a tile in pixels, a multiple of the cell size.

    None if the receptive field is wider than half of `LARGEST`, or if the output depends on the
    position of a tile in the image.
    """
    cell, down = geometry.multiple_of, geometry.downscale
    encode = _radius(network.encode, network.channels, cell, cell // down)
    decode = _radius(network.decode, geometry.latents, cell // down, cell)
    return None if encode is None or decode is None else max(encode, decode) * cell


def _radius(module: nn.Module, channels: int, cell_in: int, cell_out: int) -> int | None:
    """Radius of the receptive field in cells, or None; see `measured_halo`."""

    def joined(value: Tensor) -> Tensor:
        """All outputs as one tensor."""
        outputs = module(value)
        return torch.cat(outputs, dim=1) if isinstance(outputs, tuple) else outputs

    generator = torch.Generator().manual_seed(0)
    count = FIRST
    while count * max(cell_in, cell_out) <= LARGEST:
        side = count * cell_in
        example = torch.rand(1, channels, side, side, generator=generator)
        cells = receptive_radius(joined, [example], cell_in, cell_out)
        if cells < count // 2:
            return cells if _shift_invariant(joined, example, cells, cell_in, cell_out) else None
        count = 2 * count + 1
    return None


@torch.no_grad()
def _shift_invariant(
    function: Callable[[Tensor], Tensor], whole: Tensor, cells: int, cell_in: int, cell_out: int
) -> bool:
    """Whether a tile that begins one cell later gives the same result."""
    later = function(whole[:, :, cell_in:, cell_in:].contiguous())
    inner = slice((cells + 1) * cell_out, None)
    kept = slice(cells * cell_out, None)
    expected, found = function(whole)[:, :, inner, inner], later[:, :, kept, kept]
    return bool(torch.allclose(found, expected, atol=TOLERANCE))


@torch.no_grad()
def receptive_radius(
    module: Callable[..., Tensor], example: Sequence[Tensor], cell_in: int, cell_out: int
) -> int:
    """Radius of the receptive field with respect to the first input, in cells.

    The middle cell is changed and the outputs are compared: outside of the receptive field they are
    identical. It is changed twice. NaN passes through sums and activations whatever the weights are,
    so that a dead unit hides no connection; other values pass through comparisons, which NaN may not.

    Args:
        module: maps `example` to one tensor (1, C, H, W).
        example: inputs; the first has an odd number of cells per side.
        cell_in, cell_out: side of a cell in elements of the first input and of the output.
    """
    first, *others = example
    middle = first.shape[2] // cell_in // 2, first.shape[3] // cell_in // 2
    rows, columns = (slice(m * cell_in, (m + 1) * cell_in) for m in middle)
    cell = first[:, :, rows, columns]
    before = module(first, *others)
    moved = torch.zeros(before.shape[2:], dtype=torch.bool)
    for other in (cell + torch.randn_like(cell), torch.full_like(cell, torch.nan)):
        changed = first.clone()
        changed[:, :, rows, columns] = other
        moved |= (module(changed, *others) != before).any(dim=1)[0]
    where = torch.nonzero(moved) // cell_out
    if not len(where):  # a network that ignores its input
        return 0
    return int(max((where[:, i] - middle[i]).abs().max() for i in range(2)))
