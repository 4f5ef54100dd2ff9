"""The codec's tables: everything about rates and probabilities that is not a network.

They are shipped as integers and float32 numbers in `tables.npz`, never computed at run time: a
decoder must not depend on how a machine rounds `exp` or `erf`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from vaetools.codec.container import CELL, DOWNSCALE
from vaetools.codec.entropy import Decoder, Encoder, Table
from vaetools.errors import ModelBrokenError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ESCAPED_BITS = 8
"""Of the shortest number beside the escape."""

LATENTS = CELL // DOWNSCALE
"""Latents per cell, in each direction."""

MOST_TABLES = 256
"""Latent tables that a model may have: an index is a byte."""

RATE_PIXELS = 8
"""Pixels per rate, in each direction, where the synthesis takes a map of them."""


@dataclass(frozen=True)
class CodecTables:
    """The arrays of `tables.npz`, for L levels, M latent and N hyper-latent channels.

    Attributes:
        gain, inverse_gain: (L, M) float32; r = round((y − mean) · gain), ŷ = mean + r · inverse_gain.
        index_offset: (L, M) int16, added to the index that the network gives.
        rate: (L,) float32, the level as the synthesis network wants it.
        coarse: (M,) bool, the channels that a preview is decoded from.
        hyper_group: (L,) uint8, which set of hyper-latent tables a level uses.
        hyper_frequencies: (G, N, 2 limit + 1) uint32.
        latent_reach: (T,) uint16, of every latent table.
        latent_frequencies: (sum of 2 reach + 2,) uint32, the tables one after the other.
    """

    gain: np.ndarray
    inverse_gain: np.ndarray
    index_offset: np.ndarray
    rate: np.ndarray
    coarse: np.ndarray
    hyper_group: np.ndarray
    hyper_frequencies: np.ndarray
    latent_reach: np.ndarray
    latent_frequencies: np.ndarray

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> CodecTables:
        """The arrays of a file. Raises `ModelBrokenError` if they are not those above."""
        names = {field.name for field in fields(cls)}
        if arrays.keys() != names:
            wrong = ", ".join(sorted(names ^ arrays.keys()))
            raise ModelBrokenError(f"tables.npz lacks arrays, or has too many: {wrong}")
        return cls(**arrays)

    def __post_init__(self) -> None:
        """Raises `ModelBrokenError` if the arrays do not fit each other."""
        sizes = 2 * self.latent_reach.astype(np.int64) + 2
        fits = (
            self.gain.ndim == 2
            and self.gain.shape == self.inverse_gain.shape == self.index_offset.shape
            and self.gain.shape[:1] == self.rate.shape == self.hyper_group.shape
            and self.gain.shape[1:] == self.coarse.shape
            and self.coarse.dtype == bool
            and self.hyper_frequencies.ndim == 3
            and self.hyper_group.max() < len(self.hyper_frequencies)
            and len(self.latent_reach) <= MOST_TABLES
            and self.latent_frequencies.shape == (sizes.sum(),)
        )
        if not fits:
            raise ModelBrokenError("the arrays of tables.npz do not fit each other")

    @property
    def levels(self) -> int:
        return len(self.gain)

    @property
    def hyper_limit(self) -> int:
        """Largest magnitude of a hyper-latent."""
        return int(self.hyper_frequencies.shape[2] // 2)

    @cached_property
    def latent(self) -> list[Table]:
        """One table for every index."""
        ends = np.cumsum(2 * self.latent_reach.astype(np.int64) + 2)
        parts = np.split(self.latent_frequencies.astype(np.int64), ends[:-1])
        return [Table(p, int(r)) for p, r in zip(parts, self.latent_reach, strict=True)]

    @cached_property
    def _hyper(self) -> list[list[Table]]:
        limit = self.hyper_limit
        return [[Table(f.astype(np.int64), limit) for f in g] for g in self.hyper_frequencies]

    def hyper(self, levels: np.ndarray) -> Iterator[tuple[np.ndarray, list[Table]]]:
        """The cells whose hyper-latents share tables, (rows, columns) bool, and the table of every
        channel; `levels` (rows, columns)."""
        groups = self.hyper_group[levels]
        for group in np.unique(groups):
            yield groups == group, self._hyper[group]

    def per_latent(self, ladder: np.ndarray, levels: np.ndarray) -> np.ndarray:
        """A ladder (L, M) at the level of every latent; `levels` (rows, columns) are those of the cells.

        (M, 4 rows, 4 columns), or (M, 1, 1) where all levels are the same.
        """
        if (levels == levels.flat[0]).all():
            same: np.ndarray = ladder[levels.flat[0]][:, None, None]
            return same
        return spread(ladder[levels].transpose(2, 0, 1), LATENTS)

    def rates(self, levels: np.ndarray) -> np.ndarray:
        """Rates as the synthesis takes them: (1, 1, 1, 1), or (1, 1, 8 rows, 8 columns)."""
        if (levels == levels.flat[0]).all():
            same: np.ndarray = self.rate[levels.flat[0]].reshape(1, 1, 1, 1)
            return same
        return spread(self.rate[levels], CELL // RATE_PIXELS)[None, None]

    @cached_property
    def _bits(self) -> np.ndarray:
        """(T, 2 R + 1) float32: bits of −R … R by every table, R just beyond the farthest reach."""
        most = int(self.latent_reach.max()) + 1
        bits = np.empty((len(self.latent), 2 * most + 1), np.float32)
        for row, table in zip(bits, self.latent, strict=True):
            row[:] = table.bits[-1] + ESCAPED_BITS
            row[most - table.reach : most + table.reach + 1] = table.bits[: 2 * table.reach + 1]
        return bits

    def bits(self, symbols: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Ideal code length of each symbol by the table of its `index`, in bits.

        Both have one shape. An escaped value is taken for one byte, though a large one has more.
        """
        most = self._bits.shape[1] // 2
        found: np.ndarray = self._bits[index, np.clip(symbols, -most, most) + most]
        return found

    def indexes(self, base: np.ndarray, levels: np.ndarray) -> np.ndarray:
        """Table of every latent: (1, M, h, w) from the network -> (M, h, w) uint8."""
        index = base[0].astype(np.int32) + self.per_latent(self.index_offset, levels)
        clipped: np.ndarray = np.clip(index, 0, len(self.latent_reach) - 1).astype(np.uint8)
        return clipped


def spread(cells: np.ndarray, factor: int) -> np.ndarray:
    """Repeat every value of (…, rows, columns) `factor` × `factor` times."""
    repeated: np.ndarray = cells.repeat(factor, axis=-2).repeat(factor, axis=-1)
    return repeated


def encode_hyper(z: np.ndarray, levels: np.ndarray, tables: CodecTables) -> Encoder:
    """Hyper-latents (N, rows, columns), integers within the limit: group by group of the tables, channel
    by channel."""
    encoder = Encoder()
    for cells, group in tables.hyper(levels):
        for channel, table in zip(z, group, strict=True):
            encoder.put(channel[cells].astype(np.int32), table)
    return encoder


def decode_hyper(payload: bytes, levels: np.ndarray, tables: CodecTables) -> np.ndarray:
    """(N, rows, columns) int32; `levels` (rows, columns). Raises `ChecksumError`."""
    decoder = Decoder(payload)
    z = np.empty((tables.hyper_frequencies.shape[1], *levels.shape), np.int32)
    for cells, group in tables.hyper(levels):
        count = int(cells.sum())
        for channel, table in zip(z, group, strict=True):
            channel[cells] = decoder.get(count, table)
    decoder.finish()
    return z


def encode_latents(symbols: np.ndarray, index: np.ndarray, tables: list[Table]) -> Encoder:
    """Latents of a tile, both (M, h, w), grouped by table."""
    encoder = Encoder()
    order, ends = _groups(index, len(tables))
    for group, table in zip(np.split(symbols.ravel()[order], ends), tables, strict=True):
        if len(group):
            encoder.put(group, table)
    return encoder


def decode_latents(payload: bytes, index: np.ndarray, tables: list[Table]) -> np.ndarray:
    """(M, h, w) int32, the shape of `index`. Raises `ChecksumError`."""
    decoder = Decoder(payload)
    order, ends = _groups(index, len(tables))
    symbols = np.empty(index.size, np.int32)
    for places, table in zip(np.split(order, ends), tables, strict=True):
        if len(places):
            symbols[places] = decoder.get(len(places), table)
    decoder.finish()
    return symbols.reshape(index.shape)


def _groups(index: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(places sorted by table, where each group but the last ends)."""
    flat = index.ravel()
    return np.argsort(flat, kind="stable"), np.cumsum(np.bincount(flat, minlength=count))[:-1]
