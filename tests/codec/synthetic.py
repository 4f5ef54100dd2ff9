"""A codec without networks: random tables, and files that are coded with them.

It is to the real one as a skeleton to a body: z decides the table of every latent, through a few
integer operations in place of the integer network, and everything behind that is the real thing.
"""

from __future__ import annotations

import numpy as np

from vaetools.codec.container import (
    PREVIEW,
    Container,
    Section,
    SectionKind,
    deflate,
    read_header,
)
from vaetools.codec.entropy import Table, frequencies_of
from vaetools.codec.tables import CodecTables, encode_hyper, encode_latents

LEVELS, LATENTS, HYPER, LIMIT, TABLES = 3, 5, 3, 6, 7
STREAM_ID = "0123456789abcdef"


def random_table(rng, reach, *, escape, spread=1.0):
    """Any frequencies at all: `spread` 0 is flat; with 30 nearly everything falls on one symbol."""
    size = 2 * reach + 1 + escape
    return Table(frequencies_of(np.exp(spread * rng.standard_normal(size))), reach)


def random_arrays(seed=0):
    """The arrays of a `tables.npz`."""
    rng = np.random.default_rng(seed)
    hyper = [[random_table(rng, LIMIT, escape=False) for _ in range(HYPER)] for _ in range(2)]
    latent = [random_table(rng, reach, escape=True) for reach in rng.integers(0, 12, TABLES)]
    return {
        "gain": np.ones((LEVELS, LATENTS), np.float32),
        "inverse_gain": rng.uniform(0.5, 2, (LEVELS, LATENTS)).astype(np.float32),
        "index_offset": rng.integers(-2, 3, (LEVELS, LATENTS)).astype(np.int16),
        "rate": np.linspace(0, 1, LEVELS, dtype=np.float32),
        "coarse": rng.integers(0, 2, LATENTS) == 1,
        "hyper_group": np.array([0, 1, 1], np.uint8),
        "hyper_frequencies": np.array([[t.frequencies for t in g] for g in hyper], np.uint32),
        "latent_reach": np.array([t.reach for t in latent], np.uint16),
        "latent_frequencies": np.concatenate([t.frequencies for t in latent]).astype(np.uint32),
    }


def base_index(z):
    """Integers (N, rows, columns) -> (M, 4 rows, 4 columns), in place of the integer network."""
    fine = np.abs(z).repeat(4, axis=1).repeat(4, axis=2).astype(np.int64)
    return np.stack([fine[c % HYPER] + (fine[(c + 1) % HYPER] >> 1) - c for c in range(LATENTS)])


def latent_boxes(height, width, tile):
    """Slices of the tiles in raster order."""
    return [
        (slice(None), slice(top, top + tile), slice(left, left + tile))
        for top in range(0, height, tile)
        for left in range(0, width, tile)
    ]


def parts(tables):
    """Which channels stand in which kind of section."""
    return {SectionKind.COARSE: tables.coarse, SectionKind.FINE: ~tables.coarse}


def random_file(seed=0, *, width=100, height=70, tile=8, level=1, mixed=False, extra=()):
    """(container, arrays, levels, z, r): a file that codes z and r; `mixed`: with a map of levels."""
    rng = np.random.default_rng(seed)
    arrays = random_arrays(seed)
    tables = CodecTables(**arrays)
    grid = -(-height // 64), -(-width // 64)
    levels = rng.integers(0, LEVELS, grid) if mixed else np.full(grid, level)
    levels = levels.astype(np.uint8)
    z = np.clip(np.rint(3 * rng.standard_normal((HYPER, *grid))), -LIMIT, LIMIT).astype(int)
    index = tables.indexes(base_index(z)[None], levels)
    r = np.rint(4 * rng.standard_normal(index.shape) ** 3).astype(int)
    sections = [Section(SectionKind.LEVELS, deflate(levels.tobytes()))] if mixed else []
    sections.append(Section(SectionKind.HYPER, encode_hyper(z, levels, tables).finish()))
    for kind, chosen in parts(tables).items():
        if kind == SectionKind.FINE:
            sections += extra
        for box in latent_boxes(*index.shape[1:], tile):
            coded = encode_latents(r[box][chosen], index[box][chosen], tables.latent)
            sections.append(Section(kind, coded.finish()))
    container = Container(width, height, 8, False, level, tile, STREAM_ID, "toy", tuple(sections))
    return container, arrays, levels, z, r


def enough_for_preview(written):
    """Bytes of the shortest beginning of a file that a preview can be had from."""
    header = read_header(written)
    ends, at = [], header.size
    for kind, length, _ in header.entries:
        at += length
        if kind in PREVIEW:
            ends.append(at)
    return max(ends)
