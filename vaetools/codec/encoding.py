"""Encoding: analysis of an image, independent of the rate, then quantisation and entropy coding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from vaetools.codec.container import CELL, Container, Section, SectionKind, deflate, is_too_thin
from vaetools.codec.decoding import ideal_bits
from vaetools.codec.model import coded_boxes
from vaetools.codec.networks import check_shape
from vaetools.codec.pixels import bgr_of, metadata_sections, rgb_of
from vaetools.codec.refine import MAX_PASSES, Refinement, Symbols
from vaetools.codec.region import cell_grid
from vaetools.codec.tables import LATENTS, encode_hyper, encode_latents
from vaetools.errors import ModelBrokenError, OptionError, UnsupportedImageError
from vaetools.image import MAX_PIXELS, Image
from vaetools.tiling import scaled

if TYPE_CHECKING:
    from vaetools.codec.model import CodecModel
    from vaetools.codec.networks import EntropyNetworks
    from vaetools.model.spec import RefineSpec
    from vaetools.tiling import Box, Tile


@dataclass(frozen=True)
class Analysis:
    """Output of the analysis network for an image: what all rates have in common.

    Attributes:
        latents: (1, M, h, w) float32.
        image: the image.
        metadata: its ICC profile, EXIF data and alpha channel as sections.
        level_drop: (rows, columns) int ≥ 0, by how much the rate index of each cell is lowered; 0 in
            a region of interest.
    """

    latents: np.ndarray
    image: Image
    metadata: tuple[Section, ...]
    level_drop: np.ndarray


@dataclass(frozen=True)
class Encoded:
    """An image encoded at one rate.

    Attributes:
        container: the file.
        codec: the model that encoded it.
    """

    container: Container
    codec: CodecModel

    @cached_property
    def bits(self) -> float:
        """Ideal length of the entropy-coded payload, from the probabilities in the tables.

        For evaluation only: the payload is decoded for it.
        """
        return ideal_bits(self.codec, self.container)

    @property
    def payload_bytes(self) -> int:
        """Actual length of the entropy-coded payload."""
        kinds = (SectionKind.HYPER, SectionKind.COARSE, SectionKind.FINE)
        return sum(len(s.data) for s in self.container.sections if s.kind in kinds)


def analyse(codec: CodecModel, image: Image, level_drop: np.ndarray | None = None) -> Analysis:
    """Run the analysis network tile by tile; see `Codec.analyse`."""
    if is_too_thin(image.width, image.height, MAX_PIXELS):
        raise UnsupportedImageError(
            f"size {image.width} x {image.height} is too narrow to be padded to {CELL}-pixel cells"
        )
    rows, columns = cell_grid(image)
    tiles = codec.tiles(rows, columns)

    def latents_of(tile: Tile) -> np.ndarray:
        return _tile_latents(codec, image, tile.outer)[(..., *scaled(tile.inner, LATENTS))]

    latents: np.ndarray | None = None
    for tile, part in codec.each_tile(latents_of, tiles, rows, columns):
        if latents is None:
            shape = (1, part.shape[1], rows * LATENTS, columns * LATENTS)
            latents = np.empty(shape, np.float32)
        latents[(..., *scaled(tile.core, LATENTS))] = part
    assert latents is not None  # an image has at least one pixel, so there was a tile
    drop = np.zeros((rows, columns), np.int32) if level_drop is None else level_drop
    return Analysis(latents, image, tuple(metadata_sections(image)), drop)


def _tile_latents(codec: CodecModel, image: Image, cells: Box) -> np.ndarray:
    """y of some cells, (1, M, h, w)."""
    box = scaled(cells, CELL)
    if image.depth == 8:
        (latents,) = codec.model.graph("analysis", pixels=("image",))(bgr_of(image, box)[None])
    else:
        (latents,) = codec.model.graph("analysis")(rgb_of(image, box))
    sides = (LATENTS * (span.stop - span.start) for span in cells)
    return check_shape(codec.model, "analysis", latents, (1, len(codec.tables.coarse), *sides))


def encode(codec: CodecModel, analysis: Analysis, level: int, *, refine: int = 0) -> Encoded:
    """Quantise and entropy-code an analysis; see `Codec.code`."""
    levels = np.maximum(level - analysis.level_drop, 0).astype(np.uint8)
    networks = codec.networks(levels)
    z = networks.hyper(analysis.latents)
    symbols = Symbols(analysis.latents, networks)
    if refine:
        spec = refine_spec(codec, refine)
        Refinement(symbols, spec, analysis.image, z, codec.tiles(*levels.shape)).run(refine)
    coarse, fine = _latent_sections(codec, networks, z, symbols)
    rate_map = [Section(SectionKind.LEVELS, deflate(levels.tobytes()))]
    sections = (  # what a preview needs comes first
        *(rate_map if analysis.level_drop.any() else ()),
        Section(SectionKind.HYPER, encode_hyper(z[0], levels, codec.tables).finish()),
        *coarse,
        *analysis.metadata,
        *fine,
    )
    return Encoded(_container(codec, analysis.image, level, sections), codec)


def _latent_sections(
    codec: CodecModel, networks: EntropyNetworks, z: np.ndarray, symbols: Symbols
) -> tuple[list[Section], list[Section]]:
    """The coarse and the fine sections of all tiles."""
    channels = codec.channels
    rows, columns = networks.levels.shape
    boxes = coded_boxes(rows, columns, codec.spec.tile)

    def payloads_of(box: Box) -> list[bytes]:
        r = symbols.of(z, box)
        index = networks.index(z, box)
        return [
            encode_latents(r[mask], index[mask], codec.tables.latent).finish()
            for mask in channels.values()
        ]

    sections: dict[SectionKind, list[Section]] = {kind: [] for kind in channels}
    for payloads in codec.in_order(payloads_of, boxes):
        for kind, data in zip(channels, payloads, strict=True):
            sections[kind].append(Section(kind, data))
    return sections[SectionKind.COARSE], sections[SectionKind.FINE]


def refine_spec(codec: CodecModel, passes: int) -> RefineSpec:
    """Check that the model can refine; see `Codec.refine_spec`."""
    if not 0 < passes <= MAX_PASSES:
        raise OptionError(f"refine={passes} is not 0 … {MAX_PASSES}")
    spec = codec.spec.refine
    if spec is None:
        problem = f"model {codec.model.id} has no [codec.refine]"
        raise ModelBrokenError(problem, file=codec.model.folder)
    codec.model.graph("synthesis_gradient")
    return spec


def store(codec: CodecModel, image: Image, source: bytes) -> Container:
    """A stored file, which holds the original image file; see `Codec.store`."""
    return _container(codec, image, 0, (Section(SectionKind.SOURCE, source),), stored=True)


def _container(
    codec: CodecModel,
    image: Image,
    level: int,
    sections: tuple[Section, ...],
    *,
    stored: bool = False,
) -> Container:
    return Container(
        width=image.width,
        height=image.height,
        depth=image.depth,
        grey=image.grey,
        level=level,
        tile=codec.spec.tile,
        stream_id=codec.spec.stream_id,
        model_id=codec.model.id,
        sections=sections,
        stored=stored,
    )
