"""Random holes like those of damaged photographs, drawn on the device of the images.

    scratch   long, nearly straight lines, 1 to 3 pixels wide
    text      rows of letter-like strokes
    dust      specks with radii of 1 to 3 pixels
    brush     crooked strokes, 8 to 16 pixels wide
    block     squares of 32 pixels, and rectangles up to `LARGEST`
    mixed     two of these

Every choice is made per image and by masks, so that no number leaves the device. All kinds are drawn for
all images and one is selected, which is still faster than a step of the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from vaetools.errors import UsageError
from vaetools.tomlfile import Bounds
from vaetools.training.data.draws import Draws

if TYPE_CHECKING:
    from collections.abc import Callable

Frequency: TypeAlias = Annotated[float, Bounds(ge=0, le=1000)]
PositiveShare: TypeAlias = Annotated[float, Bounds(gt=0, le=1)]

KINDS = ("scratch", "text", "dust", "brush", "block")

SCRATCHES, BENDS = 6, 2
BRUSHES, TURNS = 3, 4
BLOCKS = 4
LARGEST = 48
GLYPHS, STROKES = 24, 3
"""Rows and columns of letters at most, and the strokes of one."""


@dataclass(frozen=True)
class HoleSettings:
    """Holes; keys of `[data]` in a recipe. All but `most` are relative frequencies.

    Attributes:
        scratch, text, dust, brush, block: see the module.
        mixed: two kinds in one image.
        most: holes that cover a larger share of an image are cut off at half of its width.
    """

    scratch: Frequency = 1.0
    text: Frequency = 1.0
    dust: Frequency = 1.0
    brush: Frequency = 1.0
    block: Frequency = 1.0
    mixed: Frequency = 1.0
    most: PositiveShare = 0.5

    def check(self) -> None:
        """Raises `UsageError` if there is no kind of hole to draw."""
        if not sum(self.shares):
            raise UsageError("recipe: data: all kinds of hole have the frequency 0")

    @property
    def shares(self) -> list[float]:
        return [getattr(self, name) for name in KINDS]


class Holes(Draws[HoleSettings]):
    """Draws masks."""

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Masks (B, 1, H, W) float32 for images (B, 3, H, W): 1 in the hole, else 0."""
        with torch.autocast(
            images.device.type, enabled=False
        ):  # bfloat16 cannot represent pixel positions
            found = self._taken(images)
            return torch.where(self._share(found) > self.settings.most, self._half(found), found)

    def of_kind(self, kind: str, images: Tensor) -> Tensor:
        """Masks of one of `KINDS`."""
        draw: Callable[[Tensor], Tensor] = getattr(self, f"_{kind}")
        return draw(images).float()

    def _taken(self, images: Tensor) -> Tensor:
        count = len(images)
        drawn = torch.stack([self.of_kind(kind, images) for kind in KINDS])  # (kinds, B, 1, H, W)
        shares = torch.tensor(self.settings.shares, device=images.device)
        first, second = (
            torch.multinomial(shares, count, replacement=True, generator=self.generator)
            for _ in range(2)
        )
        each = torch.arange(count, device=images.device)
        mixed = self.settings.mixed / (self.settings.mixed + float(sum(self.settings.shares)))
        both = self._uniform((count, 1, 1, 1), images) < mixed
        return torch.maximum(drawn[first, each], both * drawn[second, each])

    def _scratch(self, images: Tensor) -> Tensor:
        size = self._size(images)
        count = len(images), SCRATCHES
        ends = self._uniform((*count, 2, 2), images) * 1.4 - 0.2  # beyond the borders as well
        along = torch.linspace(0, 1, BENDS + 2, device=images.device)[:, None]
        points = ends[:, :, :1] * (1 - along) + ends[:, :, 1:] * along
        points = (points + self._normal(points.shape, images) * 0.02) * size
        width = 1.0 + 2.0 * self._uniform((*count, 1), images)
        return self._strokes(points, width, self._present(count, images), images)

    def _brush(self, images: Tensor) -> Tensor:
        count = len(images), BRUSHES
        start = self._uniform((*count, 1, 2), images) * self._size(images)
        steps = 16.0 * self._normal((*count, TURNS, 2), images)
        points = torch.cat([start, start + steps.cumsum(dim=2)], dim=2)
        width = 8.0 + 8.0 * self._uniform((*count, 1), images)
        return self._strokes(points, width, self._present(count, images), images)

    def _strokes(self, points: Tensor, width: Tensor, present: Tensor, images: Tensor) -> Tensor:
        """Lines through points (B, N, points, 2), x and y, of a width (B, N, 1) in pixels.

        One line at a time: planes for all of them would take a hundred times the memory of the images.
        """
        places = self._places(images)
        found = torch.zeros_like(images[:, :1], dtype=torch.bool)
        for line in range(points.shape[1]):
            for bend in range(points.shape[2] - 1):
                a, b = (points[:, line, bend + i, None, None] for i in (0, 1))
                near = _distance(places, a, b) <= width[:, line, :, None] / 2
                found |= (near & present[:, line, None, None])[:, None]
        return found

    def _text(self, images: Tensor) -> Tensor:
        """Letters on a grid: each cell has strokes between random corners."""
        count = len(images)
        height = 9.0 + 13.0 * self._uniform((count, 1, 1, 1), images)
        cell = torch.cat([0.65 * height, height], dim=3)  # of a letter, (B, 1, 1, 2), x and y
        pitch = cell * torch.tensor([1.0, 1.5], device=images.device)
        offset = pitch * self._uniform((count, 1, 1, 2), images)
        places = (self._places(images) + offset) / pitch
        index = places.floor().long() % GLYPHS
        within = (places - places.floor()) * pitch

        corners = torch.randint(
            0, 3, (count, GLYPHS, GLYPHS, STROKES, 2, 2), generator=self.generator,
            device=images.device,
        ) / 2.0  # fmt: skip
        each = torch.arange(count, device=images.device)[:, None, None]
        letters = (0.1 + 0.75 * corners[each, index[..., 1], index[..., 0]]) * cell[
            ..., None, None, :
        ]
        width = 1.5 + 1.5 * self._uniform((count, 1, 1, 1), images)
        near = _distance(within[..., None, :], letters[..., 0, :], letters[..., 1, :]) <= width / 2
        written = self._uniform((count, GLYPHS, 1), images) < 0.7  # rows
        written = written & (self._uniform((count, GLYPHS, GLYPHS), images) < 0.85)  # gaps of words
        written[:, 0] = True
        return (near.any(dim=-1) & written[each, index[..., 1], index[..., 0]])[:, None]

    def _dust(self, images: Tensor) -> Tensor:
        rate = 3e-4 + 2e-3 * self._uniform((len(images), 1, 1, 1), images)
        found = torch.zeros_like(images[:, :1], dtype=torch.bool)
        for radius in (1, 2, 3):
            seeds = self._uniform(found.shape, images) < rate / radius
            steps = torch.arange(-radius, radius + 1, device=images.device)
            disc = (steps[:, None] ** 2 + steps**2 <= (radius + 0.3) ** 2).float()[None, None]
            found |= F.conv2d(seeds.float(), disc, padding=radius) > 0.5
        return found

    def _block(self, images: Tensor) -> Tensor:
        count = len(images), BLOCKS
        sides = 8.0 + (LARGEST - 8.0) * self._uniform((*count, 2), images)
        square = self._uniform((*count, 1), images) < 0.5
        sides = torch.where(square, 32.0, sides).floor()
        start = (self._uniform((*count, 2), images) * self._size(images) - sides / 2).floor()
        places = self._places(images)[:, None]
        after = places >= start[:, :, None, None]
        inside = (after & (places < (start + sides)[:, :, None, None])).all(dim=-1)
        return (inside & self._present(count, images)[..., None, None]).any(dim=1)[:, None]

    def _present(self, count: tuple[int, int], images: Tensor) -> Tensor:
        """Which of N shapes are drawn, (B, N) bool; the first always is."""
        found = self._uniform(count, images) < self._uniform((count[0], 1), images)
        found[:, 0] = True
        return found

    def _half(self, masks: Tensor) -> Tensor:
        """Only the left half of each."""
        left = torch.arange(masks.shape[3], device=masks.device) < masks.shape[3] // 2
        return masks * left

    def _share(self, masks: Tensor) -> Tensor:
        return masks.mean(dim=(2, 3), keepdim=True)

    def _size(self, images: Tensor) -> Tensor:
        """(2,): width and height."""
        return torch.tensor(images.shape[:1:-1], dtype=torch.float32, device=images.device)

    def _places(self, images: Tensor) -> Tensor:
        """x and y of each pixel, (1, H, W, 2)."""
        rows, columns = (
            torch.arange(side, dtype=torch.float32, device=images.device)
            for side in images.shape[2:]
        )
        return torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)[None]


def _distance(places: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Distance of places from the segments between a and b; the last axis is x, y."""
    along, away = b - a, places - a
    length = (along**2).sum(dim=-1).clamp(min=1e-6)
    share = ((away * along).sum(dim=-1) / length).clamp(0.0, 1.0)
    distance: Tensor = torch.linalg.vector_norm(away - share[..., None] * along, dim=-1)
    return distance
