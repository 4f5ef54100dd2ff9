"""The codec's tables: everything about rates and probabilities that is not a network.

They are shipped as integers and float32 numbers in `tables.npz`, never computed at run time: a
decoder must not depend on how a machine rounds `exp` or `erf`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vaetools.codec.entropy import Decoder, Encoder, Table
from vaetools.errors import ModelBrokenError


@dataclass(frozen=True)
class CodecTables:
    """The arrays of `tables.npz`, for L levels, M latent and N hyper-latent channels.

    Attributes:
        gain, inverse_gain: (L, M) float32; r = round((y − mean) · gain), ŷ = mean + r · inverse_gain.
        index_offset: (L, M) int16, added to the index that the network gives.
        rate: (L,) float32, the level as the synthesis network wants it.
        hyper_group: (L,) uint8, which set of hyper-latent tables a level uses.
        hyper_frequencies: (G, N, 2 limit + 1) uint32.
        latent_reach: (T,) uint16, of every latent table.
        latent_frequencies: (sum of 2 reach + 2,) uint32, the tables one after the other.
    """

    gain: np.ndarray
    inverse_gain: np.ndarray
    index_offset: np.ndarray
    rate: np.ndarray
    hyper_group: np.ndarray
    hyper_frequencies: np.ndarray
    latent_reach: np.ndarray
    latent_frequencies: np.ndarray

    def __post_init__(self) -> None:
        """Raises `ModelBrokenError` if the arrays do not fit each other."""
        levels, latents = self.gain.shape
        sizes = 2 * self.latent_reach.astype(np.int64) + 2
        fits = (
            self.inverse_gain.shape == self.index_offset.shape == (levels, latents)
            and self.rate.shape == self.hyper_group.shape == (levels,)
            and self.hyper_group.max() < len(self.hyper_frequencies)
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

    def hyper(self, level: int) -> list[Table]:
        """One table for every hyper-latent channel."""
        return self._hyper[self.hyper_group[level]]

    def indexes(self, base: np.ndarray, level: int) -> np.ndarray:
        """Table of every latent: (1, M, h, w) from the network -> (M, h, w) uint8."""
        index = base[0].astype(np.int32) + self.index_offset[level][:, None, None]
        clipped: np.ndarray = np.clip(index, 0, len(self.latent_reach) - 1).astype(np.uint8)
        return clipped


def encode_hyper(z: np.ndarray, tables: list[Table]) -> Encoder:
    """Hyper-latents (N, h, w), integers within the limit, channel by channel."""
    encoder = Encoder()
    for channel, table in zip(z, tables, strict=True):
        encoder.put(channel.ravel().astype(np.int32), table)
    return encoder


def decode_hyper(payload: bytes, shape: tuple[int, int], tables: list[Table]) -> np.ndarray:
    """(N, h, w) int32. Raises `ChecksumError`."""
    decoder = Decoder(payload)
    count = shape[0] * shape[1]
    z = np.stack([decoder.get(count, table).reshape(shape) for table in tables])
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
