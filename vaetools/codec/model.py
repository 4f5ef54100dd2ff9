"""A codec model ready for use: its tables and networks, and how it divides an image into tiles."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from vaetools.codec.container import CELL, SectionKind
from vaetools.codec.networks import EntropyNetworks
from vaetools.codec.tables import LATENTS, CodecTables
from vaetools.errors import ModelBrokenError
from vaetools.tiling import Tile, ceil_div, grown, shrinking, tiles, window, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np

    from vaetools.model.folder import Model
    from vaetools.model.spec import CodecSpec
    from vaetools.tiling import Box

T = TypeVar("T")
R = TypeVar("R")

MAX_THREADS = 2
"""Limit on the number of tiles processed at a time: each takes some 300 MB."""


class CodecModel:
    """What encoder and decoder need of a model of the task `compress`. Thread-safe.

    Args:
        model: a model with a `[codec]` table in its manifest.

    Attributes:
        spec: the `[codec]` table.
        halo: receptive radius of the analysis and synthesis networks in cells of 64 pixels.
        threads: tiles processed at a time. All codecs of one runtime share this limit, unless it is 1.

    Raises:
        ModelBrokenError: the manifest has no `[codec]`.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.spec: CodecSpec = model.required("codec")
        self.halo: int = ceil_div(model.manifest.tiling.halo, CELL)
        self.threads: int = min(model.threads, MAX_THREADS)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.model.id} ({self.spec.stream_id}) on {self.model.device}>"

    @property
    def size(self) -> int:
        """Side of a tile, without its halo, in cells of 64 pixels."""
        return self.spec.tile // LATENTS

    @property
    def levels(self) -> int:
        """Number of rates. Rate index 0 gives the smallest file."""
        return self.spec.levels

    @property
    def tables(self) -> CodecTables:
        """The tables of the model, read on first use.

        Raises:
            ModelBrokenError: they do not match the manifest.
        """
        return self.model.once("codec tables", self._read_tables)

    def _read_tables(self) -> CodecTables:
        arrays = self.model.arrays("tables", CodecTables.names())
        try:
            tables = CodecTables.of(arrays)
        except ModelBrokenError as error:
            raise error.about(self.model.folder) from None
        if tables.levels != self.levels:
            raise ModelBrokenError(
                f"tables.npz has {tables.levels} levels, model.toml {self.levels}",
                file=self.model.folder,
            )
        return tables

    @property
    def channels(self) -> dict[SectionKind, np.ndarray]:
        """The latent channels in each kind of section, as (M,) bool masks."""
        return {SectionKind.COARSE: self.tables.coarse, SectionKind.FINE: ~self.tables.coarse}

    def networks(self, levels: np.ndarray) -> EntropyNetworks:
        """The entropy model's networks for an image.

        Args:
            levels: (rows, columns) uint8, the rate index of every cell.
        """
        return EntropyNetworks(self.model, self.spec, self.tables, levels)

    def tiles(self, rows: int, columns: int, *, most: int | None = None) -> list[Tile]:
        """Tiles of a grid of cells for the analysis and synthesis networks, with halos.

        Args:
            most: largest side of a tile without its halo, in cells. It has no effect on devices that
                want fixed shapes.
        """
        windows = self.model.device.fixed_shapes
        size = self.size if most is None or windows else min(self.size, most)
        return [*tiles(rows, columns, size=size, halo=self.halo, windows=windows)]

    def is_one_piece(self, levels: np.ndarray) -> bool:
        """Whether an image is coded in one go: in one tile, at one rate.

        Args:
            levels: (rows, columns) uint8, the rate index of every cell.
        """
        return bool(max(levels.shape) <= self.size and (levels == levels.flat[0]).all())

    def tile_of(self, core: Box, rows: int, columns: int) -> Tile:
        """A part of a tile, with what the networks see around it."""
        outer = grown(core, self.halo, rows, columns)
        if self.model.device.fixed_shapes:
            side = self.size + 2 * self.halo
            outer = window(core, self.halo, (side, side), rows, columns)
        return Tile(core, outer, within(core, outer))

    def each_tile(
        self, work: Callable[[Tile], R], tiles: Sequence[Tile], rows: int, columns: int
    ) -> Iterator[tuple[Tile, R]]:
        """Tiles of a grid of cells and `work` of each, in order, as `in_order` does it.

        Where a device lacks memory, tiles are divided.
        """
        windows = self.model.device.fixed_shapes
        done = shrinking(work, height=rows, width=columns, halo=self.halo, windows=windows)
        return chain.from_iterable(self.in_order(done, tiles))

    def in_order(self, work: Callable[[T], R], pieces: Sequence[T]) -> Iterator[R]:
        """`work(piece)` for every piece, in order, with up to `threads` pieces in progress."""
        return self.model.runtime.map_ordered(work, pieces, self.threads)


def coded_boxes(rows: int, columns: int, tile: int) -> list[Box]:
    """Tiles of the entropy coder for a grid of cells, in raster order, without overlap.

    Args:
        rows, columns: size of the grid in cells.
        tile: side of a tile in latents, as in the file's header.
    """
    return [t.core for t in tiles(rows, columns, size=tile // LATENTS, halo=0)]
