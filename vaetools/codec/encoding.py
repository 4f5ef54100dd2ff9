"""Encoding: analysis of an image, independent of the rate, then quantisation and entropy coding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from vaetools.codec.container import CELL, Container, Section, SectionKind, deflate, is_too_thin
from vaetools.codec.decoding import ideal_bits
from vaetools.codec.model import coded_boxes
from vaetools.codec.networks import Coded, check_shape, wide_enough
from vaetools.codec.pixels import bgr_of, metadata_sections, rgb_of
from vaetools.codec.refine import MAX_PASSES, TILE, Refinement
from vaetools.codec.region import cell_grid
from vaetools.codec.tables import LATENTS, encode_hyper, encode_latents
from vaetools.device_memory import SMALLER, DeviceMemoryError, can_shrink, note
from vaetools.errors import ModelBrokenError, OptionError, UnsupportedImageError
from vaetools.image import MAX_PIXELS, Image
from vaetools.tiling import scaled

if TYPE_CHECKING:
    from collections.abc import Callable

    from vaetools.codec.model import CodecModel
    from vaetools.codec.networks import EntropyNetworks, Latents
    from vaetools.model.spec import RefineSpec
    from vaetools.tiling import Box, Tile


class Analysis:
    """An image on its way to be encoded, and what all rates have in common.

    Args:
        codec: the model.
        image: the image.
        metadata: its ICC profile, EXIF data and alpha channel as sections.
        not_kept: what of its metadata has no section, a phrase each.
        level_drop: (rows, columns) int ≥ 0, by how much the rate index of each cell is lowered; 0 in
            a region of interest.
    """

    def __init__(
        self,
        codec: CodecModel,
        image: Image,
        metadata: tuple[Section, ...],
        level_drop: np.ndarray,
        not_kept: tuple[str, ...] = (),
    ) -> None:
        self._codec = codec
        self.image = image
        self.metadata = metadata
        self.not_kept = not_kept
        self.level_drop = level_drop

    @cached_property
    def latents(self) -> np.ndarray:
        """Output of the analysis network, (1, M, h, w) float32, computed on first use and kept."""
        return self.computed()

    def computed(self) -> np.ndarray:
        """The same, computed anew for the caller alone."""
        return _latents_of(self._codec, self.image)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the symbols, (M, h, w)."""
        rows, columns = self.level_drop.shape
        return len(self._codec.tables.coarse), rows * LATENTS, columns * LATENTS

    def share_latents(self) -> None:
        """Compute the latents now, because several rates follow."""
        _ = self.latents

    @property
    def is_new(self) -> bool:
        """Whether the latents have not been needed so far: one rate can do without them."""
        return "latents" not in self.__dict__


@dataclass(frozen=True)
class Encoded:
    """An image encoded at one rate.

    Attributes:
        container: the file.
        codec: the model that encoded it.
        coded: its integers, if they were kept.
    """

    container: Container
    codec: CodecModel
    coded: Coded | None = None

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
    """Check an image and prepare what all rates share; see `Codec.analyse`."""
    if is_too_thin(image.width, image.height, MAX_PIXELS):
        raise UnsupportedImageError(
            f"size {image.width} x {image.height} is too narrow to be padded to {CELL}-pixel cells"
        )
    drop = np.zeros(cell_grid(image), np.int32) if level_drop is None else level_drop
    sections, lost = metadata_sections(image)
    return Analysis(codec, image, tuple(sections), drop, lost)


def _latents_of(codec: CodecModel, image: Image) -> np.ndarray:
    """Run the analysis network tile by tile."""
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
    return latents


def _tile_latents(codec: CodecModel, image: Image, cells: Box) -> np.ndarray:
    """y of some cells, (1, M, h, w)."""
    box = scaled(cells, CELL)
    if image.depth == 8:
        (latents,) = codec.model.graph("analysis", pixels=("image",))(bgr_of(image, box)[None])
    else:
        (latents,) = codec.model.graph("analysis")(rgb_of(image, box))
    sides = (LATENTS * (span.stop - span.start) for span in cells)
    return check_shape(codec.model, "analysis", latents, (1, len(codec.tables.coarse), *sides))


def encode(
    codec: CodecModel,
    analysis: Analysis,
    level: int,
    *,
    refine: int = 0,
    keep_symbols: bool = False,
) -> Encoded:
    """Quantise and entropy-code an analysis; see `Codec.code`."""
    levels = np.maximum(level - analysis.level_drop, 0).astype(np.uint8)
    networks = codec.networks(levels)
    in_one_go = None if refine or not codec.is_one_piece(levels) else _whole(networks, analysis)
    if in_one_go is not None:
        z, whole = in_one_go

        def symbols_of(box: Box) -> np.ndarray:
            return whole[(..., *scaled(box, LATENTS))]

    else:
        own = refine > 0 and analysis.is_new  # then the memory for them is free afterwards
        y = analysis.computed() if own else analysis.latents
        latents: Latents = y
        z = networks.hyper(y)
        if refine:
            spec, tiles = refine_spec(codec, refine), codec.tiles(*levels.shape, most=TILE)
            found = Refinement(y, networks, spec, analysis.image, z, tiles).run(refine)
            latents = found.added() if own else found
        symbols_of = partial(networks.symbols, latents, z)
    r = np.zeros(analysis.shape, np.int16) if keep_symbols else None
    coarse, fine, r = _latent_sections(codec, networks, z, symbols_of, r)
    rate_map = [Section(SectionKind.LEVELS, deflate(levels.tobytes()))]
    sections = (  # what a preview needs comes first
        *(rate_map if analysis.level_drop.any() else ()),
        Section(SectionKind.HYPER, encode_hyper(z[0], levels, codec.tables).finish()),
        *coarse,
        *analysis.metadata,
        *fine,
    )
    container = _container(codec, analysis.image, level, sections)
    return Encoded(container, codec, None if r is None else Coded(levels, z, r))


def _whole(networks: EntropyNetworks, analysis: Analysis) -> tuple[np.ndarray, np.ndarray] | None:
    """z and r of an image of one piece; None if the device has too little memory for it."""
    image = analysis.image
    rows, columns = (slice(0, cells * CELL) for cells in networks.levels.shape)
    try:
        with can_shrink():
            if not analysis.is_new:
                return networks.whole(None, analysis.latents)
            if image.depth == 8:
                return networks.whole(bgr_of(image, (rows, columns))[None], None)
            return networks.whole(rgb_of(image, (rows, columns)), None)
    except DeviceMemoryError as error:
        note(error.device, SMALLER)
        return None


def _latent_sections(
    codec: CodecModel,
    networks: EntropyNetworks,
    z: np.ndarray,
    symbols_of: Callable[[Box], np.ndarray],
    kept: np.ndarray | None,
) -> tuple[list[Section], list[Section], np.ndarray | None]:
    """The coarse and the fine sections of all tiles, and their symbols in `kept` if it is not None."""
    channels = codec.channels
    rows, columns = networks.levels.shape
    boxes = coded_boxes(rows, columns, codec.spec.tile)

    def coded(box: Box) -> tuple[list[bytes], np.ndarray | None]:
        r = symbols_of(box)
        index = networks.index(z, box)
        payloads = [
            encode_latents(r[mask], index[mask], codec.tables.latent).finish()
            for mask in channels.values()
        ]
        return payloads, None if kept is None else r

    sections: dict[SectionKind, list[Section]] = {kind: [] for kind in channels}
    for box, (payloads, r) in zip(boxes, codec.in_order(coded, boxes), strict=True):
        for kind, data in zip(channels, payloads, strict=True):
            sections[kind].append(Section(kind, data))
        if kept is not None and r is not None:
            kept = wide_enough(kept, r)
            kept[(..., *scaled(box, LATENTS))] = r
    return sections[SectionKind.COARSE], sections[SectionKind.FINE], kept


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
