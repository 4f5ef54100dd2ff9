"""Feed the reader of `.vae` files with damaged and forged ones: container, entropy coder, metadata.

    python -m tests.fuzz.container --cases 100000 --seed 0

Valid files are mutated: bits flipped, bytes cut, repeated and exchanged between files, header fields
set to extremes, payloads and section tables rewritten. In most cases the checksums are recomputed, so
that the mutation gets past them. A third of the cases is read as a preview, whose end may be missing.
Allowed outcomes are a decoded file or a `BitstreamError`, in less than a second of CPU time and with
little memory. A file whose checksums were not recomputed may only decode to what was written. Any other
exception is a defect.

There is no network: a few integer operations replace the one that chooses tables, so that a case
takes a fraction of a millisecond; `tests.fuzz.decode` has the rest. The fuzzer prints one line. If a
case failed, the exit status is 1 and the command that repeats it is printed.
"""

from __future__ import annotations

import random
import sys
from dataclasses import replace

import numpy as np

from tests.fuzz.run import run
from vaetools.codec.container import (
    PREVIEW,
    Container,
    Section,
    SectionKind,
    deflate,
    inflate,
    unpack,
)
from vaetools.codec.entropy import frequencies_of, gaussian_table
from vaetools.codec.tables import (
    CodecTables,
    decode_hyper,
    decode_latents,
    encode_hyper,
    encode_latents,
)
from vaetools.errors import ChecksumError, HeaderLimitError

MAX_PIXELS = 2**20
LEVELS, LATENTS, HYPER, LIMIT = 5, 6, 4, 9


def toy_tables() -> CodecTables:
    """Tables like those of a model, but few."""
    rng = np.random.default_rng(0)
    latent = [gaussian_table(scale) for scale in (0.11, 0.3, 0.8, 2.0, 6.0, 20.0)]
    hyper = [[frequencies_of(rng.random(2 * LIMIT + 1)) for _ in range(HYPER)] for _ in range(2)]
    return CodecTables(
        gain=np.ones((LEVELS, LATENTS), np.float32),
        inverse_gain=np.ones((LEVELS, LATENTS), np.float32),
        index_offset=rng.integers(-2, 3, (LEVELS, LATENTS)).astype(np.int16),
        rate=np.linspace(0, 1, LEVELS, dtype=np.float32),
        coarse=np.arange(LATENTS) % 3 == 1,
        hyper_group=np.arange(LEVELS, dtype=np.uint8) // 3,
        hyper_frequencies=np.array(hyper, np.uint32),
        latent_reach=np.array([t.reach for t in latent], np.uint16),
        latent_frequencies=np.concatenate([t.frequencies for t in latent]).astype(np.uint32),
    )


def base_index(z: np.ndarray) -> np.ndarray:
    """(N, rows, columns) -> (1, M, 4 rows, 4 columns), in place of the integer network."""
    fine = np.abs(z).repeat(4, axis=1).repeat(4, axis=2)
    return np.stack([fine[c % HYPER] // 2 for c in range(LATENTS)])[None]


def boxes(height: int, width: int, tile: int) -> list[tuple[slice, slice, slice]]:
    return [
        (slice(None), slice(top, top + tile), slice(left, left + tile))
        for top in range(0, height, tile)
        for left in range(0, width, tile)
    ]


def parts(tables: CodecTables) -> dict[SectionKind, np.ndarray]:
    """The channels in each kind of section."""
    return {SectionKind.COARSE: tables.coarse, SectionKind.FINE: ~tables.coarse}


def good_file(tables: CodecTables, seed: int) -> Container:
    """A file of random size, rates and content; one in ten is a stored file."""
    rng = np.random.default_rng(seed)
    width, height = (int(n) for n in rng.integers(1, 200, 2))
    level, tile = int(rng.integers(LEVELS)), 4 * int(rng.integers(1, 6))
    depth = (8, 16, 32)[seed % 3]
    empty = Container(
        width, height, depth, seed % 5 == 0, level, tile, "0123456789abcdef", "toy", ()
    )
    if seed % 10 == 9:
        return replace(empty, sections=(Section(SectionKind.SOURCE, rng.bytes(99)),), stored=True)
    return replace(empty, sections=tuple(coded_sections(tables, empty, seed)))


def coded_sections(tables: CodecTables, head: Container, seed: int) -> list[Section]:
    rng = np.random.default_rng(seed)
    grid = -(-head.height // 64), -(-head.width // 64)
    levels, sections = np.full(grid, head.level, np.uint8), []
    if seed % 4 == 0:
        levels = rng.integers(LEVELS, size=grid).astype(np.uint8)
        sections.append(Section(SectionKind.LEVELS, deflate(levels.tobytes())))
    z = np.clip(rng.normal(0, 4, (HYPER, *grid)), -LIMIT, LIMIT).astype(int)
    sections.append(Section(SectionKind.HYPER, encode_hyper(z, levels, tables).finish()))
    index = tables.indexes(base_index(z), levels)
    symbols = np.rint(rng.normal(0, 2, index.shape) ** 3).astype(int)
    for kind, chosen in parts(tables).items():
        for box in boxes(*index.shape[1:], head.tile):
            coded = encode_latents(symbols[box][chosen], index[box][chosen], tables.latent)
            sections.append(Section(kind, coded.finish()))
    if seed % 2:
        sections.append(Section(SectionKind.ICC, deflate(rng.bytes(20) * 5)))
        sections.append(Section(SectionKind.EXIF, deflate(b"II*\0" + bytes(30))))
    return sections


def levels_of(container: Container) -> np.ndarray:
    """The rate index of every cell, like `Codec.levels_of` for a model with `LEVELS` rates."""
    grid = -(-container.height // 64), -(-container.width // 64)
    if container.level >= LEVELS:
        raise HeaderLimitError(f"level {container.level}")
    packed = container.one(SectionKind.LEVELS)
    if packed is None:
        return np.full(grid, container.level, np.uint8)
    levels = np.frombuffer(inflate(packed, max_bytes=grid[0] * grid[1]), np.uint8)
    if levels.size != grid[0] * grid[1]:
        raise ChecksumError("number of levels")
    if levels.max() >= LEVELS:
        raise HeaderLimitError("level of a cell")
    return levels.reshape(grid)


class Skeleton:
    """A decoder without networks."""

    def __init__(self, tables: CodecTables) -> None:
        self.tables = tables

    def __call__(self, data: bytes, preview: bool, _: random.Random) -> Container:
        container = unpack(data, max_pixels=MAX_PIXELS, preview=preview)
        if container.stored:
            return container
        tables, levels = self.tables, levels_of(container)
        z = decode_hyper(container.all(SectionKind.HYPER)[0], levels, tables)
        index = tables.indexes(base_index(z), levels)
        for kind, chosen in parts(tables).items():
            if preview and kind not in PREVIEW:
                continue
            places = boxes(*index.shape[1:], container.tile)
            for box, payload in zip(places, container.all(kind), strict=True):
                decode_latents(payload, index[box][chosen], tables.latent)
        for kind in (SectionKind.ICC, SectionKind.EXIF):
            packed = container.one(kind)
            if packed is not None:
                inflate(packed)
        return container


def main() -> int:
    tables = toy_tables()
    files = [good_file(tables, number) for number in range(40)]
    return run(__doc__ or "", files, Skeleton(tables), seconds=1.0)


if __name__ == "__main__":
    sys.exit(main())
