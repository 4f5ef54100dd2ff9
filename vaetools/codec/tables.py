"""The codec's tables: gain units, rates and symbol probabilities.

They ship as integers and float32 values in `tables.npz` and are never computed at run time: a decoder
must not depend on how a machine rounds `exp` or `erf`.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from vaetools.codec.container import CELL, DOWNSCALE
from vaetools.codec.entropy import TOTAL, Decoder, Encoder, Table
from vaetools.errors import ModelBrokenError
from vaetools.model.checked import RATE_PIXELS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LATENTS = CELL // DOWNSCALE
"""Latents per cell along each axis."""

MAX_TABLES = 256
"""Limit on the number of latent tables: an index is one byte."""


MAX_NUMBER = 2.0**16
"""Largest magnitude of a gain, a rate or a centroid."""

TYPES: dict[str, type[np.generic]] = {
    "gain": np.float32,
    "inverse_gain": np.float32,
    "index_offset": np.int16,
    "rate": np.float32,
    "coarse": np.bool_,
    "hyper_group": np.uint8,
    "hyper_frequencies": np.uint32,
    "latent_reach": np.uint16,
    "latent_frequencies": np.uint32,
    "centroid": np.float32,
}
"""Type of each array."""


@dataclass(frozen=True)
class CodecTables:
    """The arrays of `tables.npz`, for L rates, M latent and N hyper-latent channels.

    Attributes:
        gain, inverse_gain: (L, M) float32, gain units (Cui et al., "Asymmetric gained deep image
            compression", CVPR 2021): r = round((y − mean) · gain), ŷ = mean + r · inverse_gain.
        index_offset: (L, M) int16, added to the table index from the network.
        rate: (L,) float32, the rate index as the synthesis network takes it.
        coarse: (M,) bool, True for channels that a preview is decoded from.
        hyper_group: (L,) uint8, which group of hyper-latent tables a rate uses.
        hyper_frequencies: (G, N, 2 limit + 1) uint32.
        latent_reach: (T,) uint16, reach of every latent table.
        latent_frequencies: (sum of 2 reach + 2,) uint32, all tables concatenated.
        centroid: (T,) float32, how far a value is restored from the middle of its bin towards the mean,
            in steps, for every latent table; None for the middle.

    Raises:
        ModelBrokenError: the arrays have inconsistent shapes, other types, values that are not finite or
            too large, or frequencies that are no probabilities.
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
    centroid: np.ndarray | None = None

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> CodecTables:
        """Tables from the arrays of a file.

        Raises:
            ModelBrokenError: an array is missing or unknown, or shapes are inconsistent.
        """
        names = {*cls.names()}
        optional = {field.name for field in fields(cls) if field.default is not MISSING}
        if not names - optional <= arrays.keys() <= names:
            wrong = ", ".join(sorted((names ^ arrays.keys()) - (optional - arrays.keys())))
            raise ModelBrokenError(f"tables.npz has missing or unknown arrays: {wrong}")
        return cls(**arrays)

    @classmethod
    def names(cls) -> list[str]:
        """Names of all arrays."""
        return [field.name for field in fields(cls)]

    def __post_init__(self) -> None:
        if not self._fits():
            raise ModelBrokenError("the arrays of tables.npz have inconsistent shapes")
        for name, kind in TYPES.items():
            array = getattr(self, name)
            if array is not None and array.dtype != kind:
                raise ModelBrokenError(f"{name} of tables.npz is {array.dtype}, not {kind}")
            if array is not None and kind == np.float32 and not np.abs(array).max() <= MAX_NUMBER:
                raise ModelBrokenError(f"{name} of tables.npz has values beyond {MAX_NUMBER:.0f}")
        _check_frequencies("hyper_frequencies", self.hyper_frequencies)
        starts = np.cumsum(self._sizes) - self._sizes
        _check_frequencies("latent_frequencies", self.latent_frequencies, starts)

    @property
    def _sizes(self) -> np.ndarray:
        """Frequencies of each latent table."""
        sizes: np.ndarray = 2 * self.latent_reach.astype(np.int64) + 2
        return sizes

    def _fits(self) -> bool:
        """Whether the shapes agree, and no array is empty."""
        arrays = [getattr(self, name) for name in self.names()]
        return (
            all(array is None or (array.ndim and array.size) for array in arrays)
            and self.gain.ndim == 2
            and self.gain.shape == self.inverse_gain.shape == self.index_offset.shape
            and self.gain.shape[:1] == self.rate.shape == self.hyper_group.shape
            and self.gain.shape[1:] == self.coarse.shape
            and self.coarse.dtype == bool
            and self.hyper_frequencies.ndim == 3
            and self.hyper_frequencies.shape[2] % 2 == 1
            and 0 <= self.hyper_group.min() <= self.hyper_group.max() < len(self.hyper_frequencies)
            and self.latent_reach.ndim == 1
            and self.latent_reach.dtype.kind == "u"
            and len(self.latent_reach) <= MAX_TABLES
            and self.latent_frequencies.shape == (self._sizes.sum(),)
            and (self.centroid is None or self.centroid.shape == self.latent_reach.shape)
        )

    @property
    def levels(self) -> int:
        return len(self.gain)

    @property
    def hyper_limit(self) -> int:
        """Largest magnitude of a hyper-latent."""
        return int(self.hyper_frequencies.shape[2] // 2)

    @cached_property
    def latent(self) -> list[Table]:
        """The table of every index."""
        ends = np.cumsum(self._sizes)
        parts = np.split(self.latent_frequencies.astype(np.int64), ends[:-1])
        return [Table(p, int(r)) for p, r in zip(parts, self.latent_reach, strict=True)]

    @cached_property
    def variances(self) -> np.ndarray:
        """Variance of the symbols of every latent table, (T,), without escaped ones."""
        found = []
        for table in self.latent:
            p = table.frequencies[:-1] / TOTAL
            found.append((p * np.arange(-table.reach, table.reach + 1) ** 2).sum())
        return np.array(found)

    @cached_property
    def _hyper(self) -> list[list[Table]]:
        limit = self.hyper_limit
        return [[Table(f.astype(np.int64), limit) for f in g] for g in self.hyper_frequencies]

    def hyper(self, levels: np.ndarray) -> Iterator[tuple[np.ndarray, list[Table]]]:
        """Groups of cells whose hyper-latents share tables.

        Args:
            levels: (rows, columns), the rate index of every cell.

        Yields:
            (rows, columns) bool, the cells of a group, and the table of every channel.
        """
        groups = self.hyper_group[levels]
        for group in np.flatnonzero(np.bincount(groups.ravel())):  # np.unique imports numpy.ma
            yield groups == group, self._hyper[group]

    def per_latent(
        self, gains: np.ndarray, levels: np.ndarray, per_cell: int = LATENTS
    ) -> np.ndarray:
        """Look up gains, or offsets, for every latent.

        Args:
            gains: (L, M), such as `gain` or `index_offset`.
            levels: (rows, columns), the rate index of every cell.
            per_cell: values per side of a cell.

        Returns:
            (M, 4 rows, 4 columns), or (M, 1, 1) if all rates are equal.
        """
        if (levels == levels.flat[0]).all():
            same: np.ndarray = gains[levels.flat[0]][:, None, None]
            return same
        return upsampled(gains[levels].transpose(2, 0, 1), per_cell)

    def rates(self, levels: np.ndarray) -> np.ndarray:
        """Rate input of the synthesis network for the rate index of every cell.

        Returns:
            (1, 1, 8 rows, 8 columns) float32, or (1, 1, 1, 1) if all rates are equal.
        """
        if (levels == levels.flat[0]).all():
            same: np.ndarray = self.rate[levels.flat[0]].reshape(1, 1, 1, 1)
            return same
        return upsampled(self.rate[levels], CELL // RATE_PIXELS)[None, None]

    def indexes(self, base: np.ndarray, levels: np.ndarray) -> np.ndarray:
        """Table index of every latent.

        Args:
            base: (1, M, h, w), output of the network.
            levels: (rows, columns), the rate index of every cell.

        Returns:
            (M, h, w) uint8.
        """
        index = base[0] + self.per_latent(self.index_offset, levels)
        np.clip(index, 0, len(self.latent_reach) - 1, out=index)
        narrow: np.ndarray = index.astype(np.uint8)
        return narrow


def _check_frequencies(name: str, array: np.ndarray, starts: np.ndarray | None = None) -> None:
    """Every frequency is at least 1, and those of each table add up to 2^24: other decoders would read
    other symbols. A table is a row, or what lies from each of `starts` to the next."""
    whole = array.astype(np.int64)
    sums = whole.sum(axis=-1) if starts is None else np.add.reduceat(whole, starts)
    if array.min() < 1 or (sums != TOTAL).any():
        raise ModelBrokenError(
            f"{name} of tables.npz are not all at least 1, with a sum of {TOTAL} for each table"
        )


def upsampled(cells: np.ndarray, factor: int) -> np.ndarray:
    """Nearest-neighbour upsampling of (…, rows, columns) by an integer factor."""
    repeated: np.ndarray = cells.repeat(factor, axis=-2).repeat(factor, axis=-1)
    return repeated


def encode_hyper(z: np.ndarray, levels: np.ndarray, tables: CodecTables) -> Encoder:
    """Encode hyper-latents, grouped by `CodecTables.hyper` and by channel.

    Args:
        z: (N, rows, columns), integers of magnitude ≤ `hyper_limit`.
        levels: (rows, columns), the rate index of every cell.
        tables: the model's tables.
    """
    encoder = Encoder()
    for cells, group in tables.hyper(levels):
        for values, table in zip(z[:, cells].astype(np.int32), group, strict=True):
            encoder.put(values, table)
    return encoder


def decode_hyper(payload: bytes, levels: np.ndarray, tables: CodecTables) -> np.ndarray:
    """Inverse of `encode_hyper`.

    Returns:
        (N, rows, columns) int32.

    Raises:
        ChecksumError: the payload does not match the tables.
    """
    decoder = Decoder(payload)
    z = np.empty((tables.hyper_frequencies.shape[1], *levels.shape), np.int32)
    for cells, group in tables.hyper(levels):
        count = int(cells.sum())
        z[:, cells] = [decoder.get(count, table) for table in group]
    decoder.finish()
    return z


def encode_latents(symbols: np.ndarray, index: np.ndarray, tables: list[Table]) -> Encoder:
    """Encode the symbols of a tile, grouped by table.

    Args:
        symbols: (M, h, w) integers.
        index: (M, h, w), the table of every symbol.
        tables: the table of every index.
    """
    encoder = Encoder()
    order, groups = _groups(index, tables)
    ordered = symbols.ravel()[order]
    for places, table in groups:
        encoder.put(ordered[places], table)
    return encoder


def decode_latents(payload: bytes, index: np.ndarray, tables: list[Table]) -> np.ndarray:
    """Inverse of `encode_latents`.

    Returns:
        int32 in the shape of `index`.

    Raises:
        ChecksumError: the payload does not match the tables.
    """
    decoder = Decoder(payload)
    order, groups = _groups(index, tables)
    symbols = np.empty(index.size, np.int32)
    for places, table in groups:
        symbols[order[places]] = decoder.get(places.stop - places.start, table)
    decoder.finish()
    return symbols.reshape(index.shape)


def _groups(index: np.ndarray, tables: list[Table]) -> tuple[np.ndarray, list[tuple[slice, Table]]]:
    """Coding order of latents: flat positions sorted by table, then the range of each table in it."""
    flat = index.ravel()
    order = np.argsort(flat, kind="stable")  # a radix sort, because indexes are uint8
    numbers = np.arange(len(tables)).astype(flat.dtype)
    ends = np.searchsorted(flat, numbers, side="right", sorter=order).tolist()
    ranges = map(slice, [0, *ends], ends)
    groups = zip(ranges, tables, strict=False)
    return order, [(places, table) for places, table in groups if places.stop > places.start]
