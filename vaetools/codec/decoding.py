"""Decoding: rate map, hyper-latents and symbols of a container, then synthesis tile by tile.

Only integers decide which table codes a symbol, so every machine decodes the same symbols. The means
are floats; a difference in their last bits changes pixels by far less than one step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from vaetools.codec.container import CELL, Container, SectionKind, inflate
from vaetools.codec.model import coded_boxes
from vaetools.codec.networks import Coded, wide_enough
from vaetools.codec.pixels import DTYPES, as_samples, image_of
from vaetools.codec.region import box_within, cell_grid, cells_covering
from vaetools.codec.tables import (
    LATENTS,
    decode_hyper,
    decode_latents,
    encode_hyper,
    encode_latents,
)
from vaetools.errors import ChecksumError, HeaderLimitError, OptionError
from vaetools.model.fused.chains import VIVID
from vaetools.tiling import common, grown, scaled, within

if TYPE_CHECKING:
    from vaetools.codec.model import CodecModel
    from vaetools.codec.networks import EntropyNetworks
    from vaetools.codec.region import Region
    from vaetools.image import Image
    from vaetools.tiling import Box, Tile


Look: TypeAlias = Literal["faithful", "vivid"]
"""`faithful` is nearest to the original in squared error; `vivid` looks sharper and invents detail."""


def levels_of(codec: CodecModel, container: Container) -> np.ndarray:
    """The rate index of every cell of a file, (rows, columns) uint8; see `Codec.levels_of`."""
    shape = cell_grid(container)
    cells = shape[0] * shape[1]
    data = container.one(SectionKind.LEVELS)
    if data is None:
        return np.full(shape, container.level, np.uint8)
    levels = np.frombuffer(inflate(data, max_bytes=cells), np.uint8)
    if levels.size != cells:
        raise ChecksumError(f"the rate map has {levels.size} cells, the image {cells}")
    if levels.max() >= codec.levels:
        raise HeaderLimitError(f"rate index {levels.max()} of a cell is not below {codec.levels}")
    return levels.reshape(shape)


def hyper_latents(codec: CodecModel, container: Container, levels: np.ndarray) -> np.ndarray:
    """The hyper-latents z of a file, (1, N, rows, columns) float32; see `Codec.hyper`."""
    payload = container.one(SectionKind.HYPER) or b""
    return decode_hyper(payload, levels, codec.tables)[None].astype(np.float32)


def symbols(
    codec: CodecModel,
    container: Container,
    networks: EntropyNetworks,
    z: np.ndarray,
    *,
    needed: Box | None = None,
    preview: bool = False,
) -> np.ndarray:
    """The symbols r of a file, (M, h, w); see `Codec.symbols`."""
    rows, columns = z.shape[2:]
    channels = codec.channels
    kinds = [SectionKind.COARSE] if preview else [*channels]
    payloads = {kind: container.all(kind) for kind in kinds}
    boxes = [
        (number, box)
        for number, box in enumerate(coded_boxes(rows, columns, container.tile))
        if needed is None or common(box, needed) is not None
    ]

    def parts_of(numbered: tuple[int, Box]) -> list[np.ndarray]:
        number, box = numbered
        index = networks.index(z, box)
        return [
            decode_latents(payloads[kind][number], index[channels[kind]], codec.tables.latent)
            for kind in kinds
        ]

    # Pages of zeros that no tile writes to take no memory.
    r = np.zeros((len(codec.tables.coarse), rows * LATENTS, columns * LATENTS), np.int16)
    for (_, box), parts in zip(boxes, codec.in_order(parts_of, boxes), strict=True):
        for kind, part in zip(kinds, parts, strict=True):
            r = wide_enough(r, part)
            r[(..., *scaled(box, LATENTS))][channels[kind]] = part
    return r


def ideal_bits(codec: CodecModel, container: Container) -> float:
    """Ideal length of the entropy-coded payload in bits, from the probabilities in the tables."""
    levels = levels_of(codec, container)
    networks = codec.networks(levels)
    z = hyper_latents(codec, container, levels)
    r = symbols(codec, container, networks, z)
    bits = encode_hyper(z[0], levels, codec.tables).bits
    rows, columns = levels.shape
    for box in coded_boxes(rows, columns, container.tile):
        part = r[(..., *scaled(box, LATENTS))]
        bits += encode_latents(part, networks.index(z, box), codec.tables.latent).bits
    return bits


def reconstruct(
    codec: CodecModel,
    container: Container,
    *,
    region: Region | None = None,
    preview: bool = False,
    look: Look = "faithful",
) -> Image:
    """Decode a container with a rate map, symbols and metadata; see `Codec.reconstruct`."""
    vivid = _is_vivid(codec, look)
    box = box_within(region, container)
    levels = levels_of(codec, container)
    networks = codec.networks(levels)
    z = hyper_latents(codec, container, levels)
    needed = grown(cells_covering(box), codec.halo + networks.context_radius, *levels.shape)
    r = symbols(codec, container, networks, z, needed=needed, preview=preview)
    coded = Coded(levels, z, r)
    pixels = _synthesise(codec, container, networks, coded, box, vivid=vivid)
    return image_of(pixels, container, box)


def _is_vivid(codec: CodecModel, look: Look) -> bool:
    """Whether to use the second synthesis. Raises `OptionError` if the model has none."""
    if look not in get_args(Look):
        raise OptionError(f"look={look!r} is not one of {', '.join(get_args(Look))}")
    if look == "vivid" and VIVID not in codec.model.manifest.graphs:
        raise OptionError(
            f"model {codec.model.id} {codec.model.manifest.version} has no vivid look"
        )
    return look == "vivid"


def decoded(codec: CodecModel, container: Container, coded: Coded) -> Image:
    """Decode a container whose integers are known; see `Codec.decoded`."""
    box = box_within(None, container)
    networks = codec.networks(coded.levels)
    return image_of(_synthesise(codec, container, networks, coded, box), container, box)


def _synthesise(
    codec: CodecModel,
    container: Container,
    networks: EntropyNetworks,
    coded: Coded,
    box: Box,
    *,
    vivid: bool = False,
) -> np.ndarray:
    """Pixels of a box in the image's own format: (H, W, 3) BGR, or (H, W) if it is grey."""
    sides = [side.stop - side.start for side in box]
    out = np.empty(sides if container.grey else [*sides, 3], DTYPES[container.depth])
    as_bytes = container.depth == 8 and not container.grey
    shape = networks.levels.shape
    cells = cells_covering(box)
    shared = (common(tile.core, cells) for tile in codec.tiles(*shape))
    tiles = [codec.tile_of(core, *shape) for core in shared if core is not None]

    def pixels_in(core: Box) -> Box:
        pixels = common(scaled(core, CELL), box)
        assert pixels is not None  # every core shares a cell, and so a pixel, with the box
        return pixels

    def pixels_of(tile: Tile) -> np.ndarray:
        pixels = networks.pixels(coded.r, coded.z, tile.outer, as_bytes=as_bytes, vivid=vivid)
        return pixels[within(pixels_in(tile.core), scaled(tile.outer, CELL))]

    for tile, pixels in codec.each_tile(pixels_of, tiles, *shape):
        target = out[within(pixels_in(tile.core), box)]
        target[...] = pixels if as_bytes else as_samples(pixels, target)
    return out
