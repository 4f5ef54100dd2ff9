"""A trained restorer -> model folder: graphs of the mean and of posterior samples, and the manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from vaetools.errors import ModelBrokenError
from vaetools.model.spec import ImageSpec, LatentSpec, Manifest, SelfTest, SizeSpec, TilingSpec
from vaetools.training.export.folder import write_model
from vaetools.training.export.graphs import Forward, GraphPlan, Outputs
from vaetools.training.export.tiling import receptive_radius
from vaetools.training.networks.restoration.network import CELL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vaetools.model.folder import Model
    from vaetools.training.networks.restoration.network import Restorer
    from vaetools.training.recipe import Recipe

COVERAGE = 0.9
"""Share of true values that the intervals contain."""

PIXELS = {2: "height", 3: "width"}
CELLS = {2: "latent_height", 3: "latent_width"}

HeldOutCrops: TypeAlias = Callable[[int, torch.Generator], Tensor]
"""Draws crops (count, 3, S, S) in [0, 1] of images that the network was not trained on.

They are not reduced in size: reduced images are sharper than those that people have.
"""


class ImageGraph(NamedTuple):
    """A further graph whose only input is the image.

    Attributes:
        module: image (B, 3, H, W) -> one tensor.
        output: name of that tensor.
        per_cell: its elements per side of a cell.
    """

    module: nn.Module
    output: str
    per_cell: int


@dataclass(frozen=True)
class Graphs:
    """The graphs of a restorer.

    Attributes:
        network: in evaluation mode.
        role: of the graph of the mean; the graph of samples has the role `{role}_sample`.
        output: name of the mean.
        damage: uniform numbers (1, 1, H, W) -> an example of the second input.
        side: cells per side of the image on which the receptive field is measured; odd, and more than
            twice the expected radius.
        others: role -> further graph.
    """

    network: Restorer
    role: str
    output: str
    damage: Callable[[Tensor], Tensor]
    side: int
    others: Mapping[str, ImageGraph] = field(default_factory=dict)

    def mean(self) -> Forward:
        """image, damage -> the mean."""
        network = self.network

        def mean(image: Tensor, damage: Tensor) -> Outputs:
            return network.mean(network.condition(image, damage))[0]

        return Forward(network, mean)

    def sample(self) -> Forward:
        """image, damage, noise, temperature -> a posterior sample, and its std per pixel."""
        network = self.network

        def sample(image: Tensor, damage: Tensor, noise: Tensor, temperature: Tensor) -> Outputs:
            return network.sample(network.condition(image, damage), noise, temperature)

        return Forward(network, sample)

    def example(self, rows: int, columns: int) -> dict[str, Tensor]:
        """Inputs of `sample` for an image of `rows` x `columns` cells."""
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
        """A graph with some of the inputs of `example`."""
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
        """Graphs by their roles; that of posterior samples only with `samples`."""
        names = ("image", self.network.damage)
        found = {self.role: self.plan(self.mean(), names, [self.output])}
        if samples:
            found[f"{self.role}_sample"] = self.plan(
                self.sample(), (*names, "noise", "temperature"), ["sample", "deviation"]
            )
        for role, other in self.others.items():
            found[role] = self.plan(other.module, ("image",), [other.output])
        return found

    def halo(self) -> int:
        """Halo of a tile in pixels, a multiple of `CELL`.

        Raises:
            ModelBrokenError: the receptive field is larger than can be measured.
        """
        image, damage, noise, temperature = self.example(self.side, self.side).values()
        sample = self.sample()
        cells = max(
            receptive_radius(
                lambda x: sample(x, damage, noise, temperature)[0], [image], CELL, CELL
            ),
            receptive_radius(
                lambda x: sample(image, x, noise, temperature)[0], [damage], CELL, CELL
            ),
            receptive_radius(lambda x: sample(image, damage, x, temperature)[0], [noise], 1, CELL),
            *(receptive_radius(o.module, [image], CELL, o.per_cell) for o in self.others.values()),
        )
        if cells >= self.side // 2:
            raise ModelBrokenError(
                f"the receptive field is larger than {cells} cells of {CELL} pixels"
            )
        return cells * CELL

    def manifest(self, recipe: Recipe, *, samples: bool) -> Manifest:
        """The manifest, except for what is specific to the task."""
        latent = LatentSpec("spatial", 0, CELL, "point", prior="none")
        if samples:
            noise = self.network.config.noise
            latent = LatentSpec("spatial", noise, CELL, "gaussian", prior="normal")
        return Manifest(
            format=1,
            id=recipe.id,
            version=recipe.version,
            license="Apache-2.0",
            summary=recipe.summary,
            tasks=(self.role,),
            graphs={},
            image=ImageSpec(),
            size=SizeSpec(multiple_of=CELL, minimum=CELL),
            tiling=TilingSpec("halo", self.halo()),
            latent=latent,
            selftest=SelfTest(height=64, width=48),
        )


def write_restorer(
    graphs: Graphs, folder: Path, recipe: Recipe, *, summary: str, samples: bool, **spec: Any
) -> tuple[Model, Mapping[str, float]]:
    """Write the model folder; see `write_model`.

    Args:
        summary: for a recipe that has none.
        samples: whether the model has posterior samples.
        spec: the field of the manifest that is specific to the task.
    """
    manifest = replace(graphs.manifest(recipe, samples=samples), **spec)
    if not manifest.summary:
        manifest = replace(manifest, summary=summary)
    return write_model(folder, manifest, graphs.plans(samples=samples))
