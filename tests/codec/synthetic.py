"""A codec without networks: random tables, and files that are coded with them.

It is to the real one as a skeleton to a body: z decides the table of every latent, through a few
integer operations in place of the integer network, and everything behind that is the real thing.
"""

from __future__ import annotations

import numpy as np

from vaetools.codec.container import Container, Section, SectionKind
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
        "inverse_gain": np.ones((LEVELS, LATENTS), np.float32),
        "index_offset": rng.integers(-2, 3, (LEVELS, LATENTS)).astype(np.int16),
        "rate": np.linspace(0, 1, LEVELS, dtype=np.float32),
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


def random_file(seed=0, *, width=100, height=70, tile=8, level=1, extra=()):
    """(container, arrays, z, r): a file that codes z and r."""
    rng = np.random.default_rng(seed)
    arrays = random_arrays(seed)
    tables = CodecTables(**arrays)
    rows, columns = -(-height // 64), -(-width // 64)
    z = np.clip(np.rint(3 * rng.standard_normal((HYPER, rows, columns))), -LIMIT, LIMIT).astype(int)
    index = tables.indexes(base_index(z)[None], level)
    r = np.rint(4 * rng.standard_normal(index.shape) ** 3).astype(int)
    sections = [Section(SectionKind.HYPER, encode_hyper(z, tables.hyper(level)).finish())]
    for box in latent_boxes(4 * rows, 4 * columns, tile):
        payload = encode_latents(r[box], index[box], tables.latent).finish()
        sections.append(Section(SectionKind.TILE, payload))
    container = Container(
        width, height, 8, False, level, tile, STREAM_ID, "toy", (*sections, *extra)
    )
    return container, arrays, z, r
