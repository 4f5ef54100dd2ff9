"""The graphs of the codec's context, and how far they see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vaetools.codec.tables import LATENTS
from vaetools.training.export.graphs import GraphPlan
from vaetools.training.export.tiling import receptive_radius
from vaetools.training.networks.codec.grid import GridContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vaetools.training.networks.codec import PhotoCodec
    from vaetools.training.networks.codec.grid import GridPass


def context_plans(codec: PhotoCodec) -> dict[str, GraphPlan]:
    """The graphs of the context: one, or one for each pass of a grid."""
    c, context = codec.config, codec.context_mean
    generator = torch.Generator().manual_seed(0)

    def example(channels: int, rows: int, columns: int) -> Tensor:
        return torch.randn(1, channels, rows, columns, generator=generator)

    if isinstance(context, GridContext):
        plans = {}
        for number, grid_pass in enumerate(context.passes, start=1):
            names = ("places", "place_mean", "former")
            inputs = {
                n: example(w, 6, 4) for n, w in zip(names, widths(grid_pass, number), strict=False)
            }
            outputs = ["better", *(["factor"] if c.element_steps else []), "features"]
            places = {2: "grid_height", 3: "grid_width"}
            plans[f"context_{number}"] = GraphPlan(
                OnePass(grid_pass), inputs, outputs, dict.fromkeys(inputs, places)
            )
        return plans
    coarse = {2: "latent_height", 3: "latent_width"}
    inputs = {"known": example(c.latents, 12, 8), "mean": example(c.latents, 12, 8)}
    return {
        "context_mean": GraphPlan(context, inputs, ["better"], {"known": coarse, "mean": coarse})
    }


class OnePass(nn.Module):
    """A pass of a grid context with all known phases in one tensor, and a factor for a log step."""

    def __init__(self, grid_pass: GridPass) -> None:
        super().__init__()
        self.grid_pass = grid_pass

    def forward(
        self, places: Tensor, place_mean: Tensor, former: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        phases = torch.split(places, self.grid_pass.latents, dim=1)
        better, log, features = self.grid_pass(phases, place_mean, former)
        return (better, features) if log is None else (better, torch.exp(log), features)


def widths(grid_pass: GridPass, number: int) -> list[int]:
    """Channels of the inputs of pass 1 … 3: the known latents, the mean, and the former features."""
    former = [grid_pass.width] if number > 1 else []
    return [number * grid_pass.latents, grid_pass.latents, *former]


def context_radii(codec: PhotoCodec, side: int) -> Iterator[int]:
    """Receptive radius in cells of each graph with respect to each input, measured on `side` cells."""
    context = codec.context_mean
    if not isinstance(context, GridContext):
        latents = codec.config.latents
        yield from _radii(context, [latents, latents], side, LATENTS)
        return
    for number, grid_pass in enumerate(context.passes, start=1):
        one = OnePass(grid_pass)

        def joined(*inputs: Tensor, module: OnePass = one) -> Tensor:
            return torch.cat(module(*inputs), dim=1)

        yield from _radii(joined, widths(grid_pass, number), side, LATENTS // 2)


def _radii(
    module: Callable[..., Tensor], channels: Sequence[int], side: int, ratio: int
) -> Iterator[int]:
    """Receptive radius with respect to each input of a graph; `ratio` values per side of a cell."""
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(1, n, side * ratio, side * ratio, generator=generator) for n in channels]
    for place in range(len(inputs)):

        def moved(changed: Tensor, *others: Tensor, place: int = place) -> Tensor:
            return module(*others[:place], changed, *others[place:])

        others = inputs[:place] + inputs[place + 1 :]
        yield receptive_radius(moved, [inputs[place], *others], ratio, ratio)
