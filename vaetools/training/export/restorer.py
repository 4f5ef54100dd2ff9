"""A trained restorer -> model folder: the graphs of its mean and its samples, and its manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vaetools.errors import ModelBrokenError
from vaetools.model.spec import ImageSpec, LatentSpec, Manifest, SelfTest, SizeSpec, TilingSpec
from vaetools.training.export.graphs import GraphPlan, reach
from vaetools.training.networks.restoration.network import CELL

if TYPE_CHECKING:
    from collections.abc import Callable

    from vaetools.training.networks.restoration.network import Restorer
    from vaetools.training.recipe import Recipe

SHARE = 0.9
"""Of true values that intervals are to hold."""

PIXELS = {2: "height", 3: "width"}
CELLS = {2: "latent_height", 3: "latent_width"}


class Mean(nn.Module):
    """image, damage -> the mean."""

    def __init__(self, network: Restorer) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, damage: Tensor) -> Tensor:
        return self.network.mean(self.network.given(image, damage))[0]


class Sample(nn.Module):
    """image, damage, noise, temperature -> a sample, and the deviation around the mean."""

    def __init__(self, network: Restorer) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, image: Tensor, damage: Tensor, noise: Tensor, temperature: Tensor
    ) -> tuple[Tensor, Tensor]:
        return self.network.sample(self.network.given(image, damage), noise, temperature)


@dataclass(frozen=True)
class Graphs:
    """The graphs that restorers have in common.

    Attributes:
        network: in evaluation mode.
        role: of the mean's graph; that of the samples is `{role}_sample`.
        output: name of the mean.
        damage: uniform numbers (1, 1, H, W) -> an example of the second input.
        seen: cells per side, an odd number, of the picture on which it is measured how far the network
            sees; more than twice as far as that.
    """

    network: Restorer
    role: str
    output: str
    damage: Callable[[Tensor], Tensor]
    seen: int

    def example(self, rows: int, columns: int) -> dict[str, Tensor]:
        """Inputs of `Sample` for a picture of so many cells."""
        generator = torch.Generator().manual_seed(0)
        size = rows * CELL, columns * CELL
        noise = self.network.config.noise
        return {
            "image": torch.rand(1, 3, *size, generator=generator),
            self.network.damage: self.damage(torch.rand(1, 1, *size, generator=generator)),
            "noise": torch.randn(1, noise, rows, columns, generator=generator),
            "temperature": torch.full((1, 1, 1, 1), 0.7),
        }

    def plan(self, module: nn.Module, names: tuple[str, ...], outputs: list[str]) -> GraphPlan:
        """A graph whose inputs are some of those of `example`."""
        inputs, unseen = self.example(8, 6), self.example(5, 9)
        dims = {"image": PIXELS, self.network.damage: PIXELS, "noise": CELLS}
        return GraphPlan(
            module,
            {name: inputs[name] for name in names},
            outputs,
            {name: dims[name] for name in names if name in dims},
            unseen=[{name: unseen[name] for name in names}],
        )

    def plans(self, *, samples: bool) -> dict[str, GraphPlan]:
        """Graphs by their roles; with `samples` that of the ladder as well."""
        given = ("image", self.network.damage)
        found = {self.role: self.plan(Mean(self.network), given, [self.output])}
        if samples:
            names = (*given, "noise", "temperature")
            outputs = ["sample", "deviation"]
            found[f"{self.role}_sample"] = self.plan(Sample(self.network), names, outputs)
        return found

    def halo(self, *beside: tuple[nn.Module, int]) -> int:
        """Pixels that a tile must see beyond its edge, in whole cells.

        Args:
            beside: further graphs of a picture, and elements per cell of what they give.

        Raises:
            ModelBrokenError: the network sees further than can be measured.
        """
        image, damage, noise, temperature = self.example(self.seen, self.seen).values()
        sample = Sample(self.network)
        cells = max(
            reach(lambda x: sample(x, damage, noise, temperature)[0], [image], CELL, CELL),
            reach(lambda x: sample(image, x, noise, temperature)[0], [damage], CELL, CELL),
            reach(lambda x: sample(image, damage, x, temperature)[0], [noise], 1, CELL),
            *(reach(module, [image], CELL, size) for module, size in beside),
        )
        if cells >= self.seen // 2:
            raise ModelBrokenError(f"the network sees further than {cells} cells of {CELL} pixels")
        return cells * CELL

    def manifest(self, recipe: Recipe, summary: str, *, halo: int, samples: bool) -> Manifest:
        """What all restorers say of themselves; `summary` for a recipe without one."""
        latent = LatentSpec("spatial", 0, CELL, "point", prior="none")
        if samples:
            noise = self.network.config.noise
            latent = LatentSpec("spatial", noise, CELL, "gaussian", prior="normal")
        return Manifest(
            format=1,
            id=recipe.id,
            version=recipe.version,
            license="Apache-2.0",
            summary=recipe.summary or summary,
            tasks=(self.role,),
            graphs={},
            image=ImageSpec(),
            size=SizeSpec(multiple_of=CELL, minimum=CELL),
            tiling=TilingSpec("halo", halo),
            latent=latent,
            selftest=SelfTest(height=64, width=48),
        )
