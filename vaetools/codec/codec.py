"""The codec: networks, tables and container joined.

Encoding, for a picture padded to multiples of 64 (sizes in latents: h x w):

    y     = analysis(picture)                             (M, h, w), once for all rates
    z     = round(hyper_analysis(y · gain))               (N, h/4, w/4)       -> section hyper
    index = hyper_scale_index(z) + offset                 exact integers
    mean  = hyper_mean(z); then in three more phases context_mean(what is known, mean)
    r     = round((y − mean) · gain)              -> sections coarse and fine, by channels

Decoding takes the same steps from z on. Only `index` decides which table codes a symbol, and it
comes from integers alone; the means are floats, and a different last bit of a mean moves a pixel
by nothing that one could see.

All of it is done part by part, several parts at a time, so that the memory holds a picture, its y or
r, and little more. Files and pictures do not depend on how many threads there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from vaetools.codec.container import (
    CELL,
    Container,
    Section,
    SectionKind,
    check_magic,
    deflate,
    inflate,
    is_too_thin,
    read_header,
    unpack,
)
from vaetools.codec.networks import SmallNetworks
from vaetools.codec.pixels import (
    DTYPES,
    as_samples,
    floats_of,
    image_of,
    metadata_sections,
    padded,
)
from vaetools.codec.rate import Probes
from vaetools.codec.refine import MOST_PASSES, Refinement, Symbols
from vaetools.codec.tables import (
    LATENTS,
    CodecTables,
    decode_hyper,
    decode_latents,
    encode_hyper,
    encode_latents,
)
from vaetools.errors import (
    ChecksumError,
    HeaderLimitError,
    InputError,
    ModelBrokenError,
    OptionError,
    UnknownModelError,
    UnsupportedImageError,
)
from vaetools.image import MAX_PIXELS, Image, decode_image
from vaetools.tiling import Tile, ahead, common, grown, scaled, tiles, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vaetools.model.spec import RefineSpec
    from vaetools.model.vae import Model
    from vaetools.tiling import Box


T = TypeVar("T")
R = TypeVar("R")

MOST_THREADS = 2
"""Parts of a picture that are worked on at a time: each takes some 300 MB."""


@dataclass(frozen=True)
class Region:
    """A part of a picture, in pixels."""

    left: int
    top: int
    width: int
    height: int

    @property
    def box(self) -> Box:
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


@dataclass(frozen=True)
class Analysed:
    """A picture after the analysis network: what all rates have in common.

    Attributes:
        latents: (1, M, h, w) float32.
        image: the picture itself.
        metadata: its ICC, EXIF and alpha as sections.
        lower: (rows, columns) int, by how many levels each cell is below the picture's level: 0 where
            the picture matters.
    """

    latents: np.ndarray
    image: Image
    metadata: tuple[Section, ...]
    lower: np.ndarray


@dataclass(frozen=True)
class Coded:
    """A picture at one rate.

    Attributes:
        container: the file.
        bits: ideal length of the entropy-coded payload, from the tables' probabilities.
    """

    container: Container
    bits: float

    @property
    def payload_bytes(self) -> int:
        """Real length of the entropy-coded payload."""
        kinds = (SectionKind.HYPER, SectionKind.COARSE, SectionKind.FINE)
        return sum(len(s.data) for s in self.container.sections if s.kind in kinds)


class Codec:
    """Codes pictures with one model. Safe to use from several threads.

    Args:
        model: a model of the task `compress`.

    Attributes:
        threads: parts of a picture that are worked on at a time, and also of all pictures together
            that are coded with this model just now, if it is more than one.

    Raises:
        ModelBrokenError: the model has no `[codec]`, or tables that do not fit.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.spec = model.required("codec", model.manifest.codec)
        self.halo = -(-model.manifest.tiling.halo // CELL)
        self.threads = min(model.threads, MOST_THREADS)

    @staticmethod
    def check_head(head: bytes) -> None:
        """Raise `BitstreamError` if a file that begins with these bytes is no `.vae` file."""
        check_magic(head)

    @classmethod
    def for_file(
        cls, data: bytes, models: Sequence[Model], *, max_pixels: int = MAX_PIXELS
    ) -> Codec:
        """The codec that a `.vae` file was written with, among some models.

        Raises:
            BitstreamError: the header is damaged, or none of the models fits (`UnknownModelError`).
        """
        header = read_header(data, max_pixels=max_pixels).empty
        codecs = [cls(model) for model in models]
        for codec in codecs:
            if header.stored or codec.spec.stream_id == header.stream_id:
                return codec
        raise _unknown_model(header, codecs)

    @property
    def tables(self) -> CodecTables:
        """Raises `ModelBrokenError` if they are not what `[codec]` says."""
        return self.model.once("codec tables", self._read_tables)

    def _read_tables(self) -> CodecTables:
        tables = CodecTables.of(self.model.arrays("tables"))
        if tables.levels != self.levels:
            raise ModelBrokenError(
                f"tables.npz has {tables.levels} levels, model.toml {self.levels}",
                file=self.model.folder,
            )
        return tables

    def networks(self, levels: np.ndarray) -> SmallNetworks:
        """The small networks for a picture at these levels, (rows, columns)."""
        return SmallNetworks(self.model, self.spec, self.tables, levels)

    @property
    def levels(self) -> int:
        """Number of rates; level 0 is the smallest file."""
        return self.spec.levels

    # --- encoding ---------------------------------------------------------------------------------

    def encode(self, image: Image, level: int, *, refine: int = 0) -> bytes:
        """The `.vae` file of `image` at a level in 0 … levels − 1; see `code`."""
        return self.code(self.analyse(image), level, refine=refine).container.pack()

    def probes(self, image: Image, lower: np.ndarray | None = None, *, refine: int = 0) -> Probes:
        """Several rates of one picture, at the price of one analysis; see `analyse` and `code`."""
        return Probes(self, self.analyse(image, lower), refine)

    def analyse(self, image: Image, lower: np.ndarray | None = None) -> Analysed:
        """The work that does not depend on the rate.

        Args:
            lower: (rows, columns) int ≥ 0, by how many levels each cell of 64 x 64 pixels is below the
                level of the picture; see `lower_outside`.

        Raises:
            UnsupportedImageError: a picture that is one line of millions of pixels.
        """
        if is_too_thin(image.width, image.height, MAX_PIXELS):
            raise UnsupportedImageError(
                f"size {image.width} x {image.height} is too thin to be padded to cells"
            )
        rows, columns = _grid(image)
        latents: np.ndarray | None = None
        pieces = [*self._tiles(rows, columns)]

        def part_of(tile: Tile) -> np.ndarray:
            return self._analysed(image, tile.outer)[(..., *scaled(tile.inner, LATENTS))]

        for tile, part in zip(pieces, self._ahead(part_of, pieces), strict=True):
            if latents is None:
                shape = (1, part.shape[1], rows * LATENTS, columns * LATENTS)
                latents = np.empty(shape, np.float32)
            latents[(..., *scaled(tile.core, LATENTS))] = part
        assert latents is not None  # a picture has a pixel, so there was a tile
        flat = np.zeros((rows, columns), np.int32) if lower is None else lower
        return Analysed(latents, image, tuple(metadata_sections(image)), flat)

    def _analysed(self, image: Image, cells: Box) -> np.ndarray:
        """y of some cells, (1, M, h, w); pixels beyond the picture repeat its last ones."""
        rows, columns = scaled(cells, CELL)
        if image.depth != 8:
            (latents,) = self.model.graph("analysis")(floats_of(image, (rows, columns)))
            return latents
        pixels = image.pixels[rows, columns]
        if image.grey:
            pixels = np.repeat(pixels[..., None], 3, axis=2)
        whole = padded(pixels, rows.stop - rows.start, columns.stop - columns.start)
        (latents,) = self.model.graph("analysis", pixels=("image",))(np.ascontiguousarray(whole))
        return latents

    def code(self, analysed: Analysed, level: int, *, refine: int = 0) -> Coded:
        """Quantise and entropy-code at a level.

        Args:
            refine: passes, up to `MOST_PASSES`, for symbols that cost less and show more; each
                takes about as long as coding and decoding without. See `vaetools.codec.refine`.

        Raises:
            ModelBrokenError: the model cannot refine.
            OptionError: so many passes are not possible.
        """
        levels = np.maximum(level - analysed.lower, 0).astype(np.uint8)
        networks = self.networks(levels)
        z = networks.hyper(analysed.latents)
        hyper = encode_hyper(z[0], levels, self.tables)
        bits = hyper.bits
        quantised = Symbols(analysed.latents, networks)
        if refine:
            spec = self.refine_spec(refine)
            pieces = [*self._tiles(*levels.shape)]
            Refinement(quantised, spec, analysed.image, z, pieces).run(refine)
        payloads: dict[SectionKind, list[bytes]] = {kind: [] for kind in self._channels}

        def coded(box: Box) -> list[tuple[bytes, float]]:
            symbols = quantised(networks.mean(z, box, quantised), box)
            index = networks.index(z, box)
            coders = [
                encode_latents(symbols[chosen], index[chosen], self.tables.latent)
                for chosen in self._channels.values()
            ]
            return [(coder.finish(), coder.bits) for coder in coders]

        boxes = [*self._coded_boxes(levels.shape[0], levels.shape[1], self.spec.tile)]
        for parts in self._ahead(coded, boxes):
            for kind, (data, ideal) in zip(self._channels, parts, strict=True):
                payloads[kind].append(data)
                bits += ideal
        coarse, fine = ([Section(k, data) for data in part] for k, part in payloads.items())
        map_of_levels = [Section(SectionKind.LEVELS, deflate(levels.tobytes()))]
        image = analysed.image
        container = Container(
            width=image.width,
            height=image.height,
            depth=image.depth,
            grey=image.grey,
            level=level,
            tile=self.spec.tile,
            stream_id=self.spec.stream_id,
            model_id=self.model.id,
            # What a preview needs comes first.
            sections=(
                *(map_of_levels if analysed.lower.any() else ()),
                Section(SectionKind.HYPER, hyper.finish()),
                *coarse,
                *analysed.metadata,
                *fine,
            ),
        )
        return Coded(container, bits)

    def refine_spec(self, passes: int) -> RefineSpec:
        """What so many passes of refinement need of the model. Raises as `code` does."""
        if not 0 < passes <= MOST_PASSES:
            raise OptionError(f"refine={passes} is not 0 … {MOST_PASSES}")
        spec = self.model.required("codec.refine", self.spec.refine)
        self.model.graph("synthesis_gradient")
        return spec

    @property
    def _channels(self) -> dict[SectionKind, np.ndarray]:
        """The channels that stand in each kind of section, (M,) bool."""
        return {SectionKind.COARSE: self.tables.coarse, SectionKind.FINE: ~self.tables.coarse}

    def store(self, image: Image, encoded: bytes) -> bytes:
        """A `.vae` file that holds a picture's own file instead of a coded picture."""
        container = Container(
            width=image.width,
            height=image.height,
            depth=image.depth,
            grey=image.grey,
            level=0,
            tile=self.spec.tile,
            stream_id=self.spec.stream_id,
            model_id=self.model.id,
            sections=(Section(SectionKind.SOURCE, encoded),),
            stored=True,
        )
        return container.pack()

    # --- decoding ---------------------------------------------------------------------------------

    def decode(
        self,
        data: bytes,
        *,
        max_pixels: int = MAX_PIXELS,
        region: Region | None = None,
        preview: bool = False,
    ) -> Image:
        """The picture in a `.vae` file.

        Args:
            max_pixels: refuse larger pictures, before memory is taken.
            region: decode this part only; the rest of the file is checked and not decoded.
            preview: decode the coarse channels only. The end of the file may be missing.

        Raises:
            BitstreamError: the file is damaged, of another version, or needs another model.
            OptionError: the region is not inside the picture.
        """
        container = unpack(data, max_pixels=max_pixels, preview=preview)
        if container.stored:
            return _picture_within(container, region)
        self.check_model(container)
        return self.reconstruct(container, region=region, preview=preview)

    def check_model(self, container: Container) -> None:
        """Raise `UnknownModelError` if the file was not written with this model's streams."""
        if container.stream_id != self.spec.stream_id:
            raise _unknown_model(container, [self])
        if container.level >= self.levels:
            raise HeaderLimitError(f"level {container.level} is not below {self.levels}")

    def levels_of(self, container: Container) -> np.ndarray:
        """The level of every cell of a file, (rows, columns) uint8. Raises `BitstreamError`s."""
        shape = _grid(container)
        data = container.one(SectionKind.LEVELS)
        if data is None:
            return np.full(shape, container.level, np.uint8)
        levels = np.frombuffer(inflate(data, most=shape[0] * shape[1]), np.uint8)
        if levels.size != shape[0] * shape[1]:
            raise ChecksumError(f"{levels.size} levels where the size asks for {np.prod(shape)}")
        if levels.max() >= self.levels:
            raise HeaderLimitError(f"level {levels.max()} of a cell is not below {self.levels}")
        return levels.reshape(shape)

    def hyper(self, container: Container, levels: np.ndarray) -> np.ndarray:
        """The hyper-latents of a file, (1, N, rows, columns) float32."""
        payload = container.one(SectionKind.HYPER) or b""
        return decode_hyper(payload, levels, self.tables)[None].astype(np.float32)

    def symbols(
        self,
        container: Container,
        networks: SmallNetworks,
        z: np.ndarray,
        *,
        wanted: Box | None = None,
        preview: bool = False,
    ) -> np.ndarray:
        """The integers r of a file, (M, h, w) int16, or int32 where they are that large.

        Args:
            wanted: cells that are needed; tiles without any are left 0, and their pages untouched.
            preview: leave all but the coarse channels 0.
        """
        rows, columns = z.shape[2:]
        symbols = np.zeros((len(self.tables.coarse), rows * LATENTS, columns * LATENTS), np.int16)
        kinds = [SectionKind.COARSE] if preview else [*self._channels]
        payloads = {kind: container.all(kind) for kind in kinds}
        boxes = [
            (number, box)
            for number, box in enumerate(self._coded_boxes(rows, columns, container.tile))
            if wanted is None or common(box, wanted) is not None
        ]

        def parts_of(numbered: tuple[int, Box]) -> list[np.ndarray]:
            number, box = numbered
            index = networks.index(z, box)
            return [
                decode_latents(payloads[k][number], index[self._channels[k]], self.tables.latent)
                for k in kinds
            ]

        for (_, box), parts in zip(boxes, self._ahead(parts_of, boxes), strict=True):
            for kind, part in zip(kinds, parts, strict=True):
                if symbols.dtype == np.int16 and _is_large(part):
                    symbols = symbols.astype(np.int32)
                symbols[(..., *scaled(box, LATENTS))][self._channels[kind]] = part
        return symbols

    def reconstruct(
        self, container: Container, *, region: Region | None = None, preview: bool = False
    ) -> Image:
        """The picture of a container, or a part of it, with its alpha, ICC and EXIF."""
        chosen = _checked(region, container)
        levels = self.levels_of(container)
        networks = self.networks(levels)
        z = self.hyper(container, levels)
        seen = self.halo + networks.seen
        wanted = grown(_cells_of(chosen), seen, *levels.shape)
        symbols = self.symbols(container, networks, z, wanted=wanted, preview=preview)

        def known(_: np.ndarray, part: Box) -> np.ndarray:
            return symbols[(..., *scaled(part, LATENTS))]

        def latents(box: Box) -> np.ndarray:
            mean = networks.mean(z, box, known)
            return networks.restored(mean, known(mean, box), box)

        pixels = self._synthesised(container, levels, latents, chosen)
        return image_of(pixels, container, chosen)

    def _synthesised(
        self,
        container: Container,
        levels: np.ndarray,
        latents: Callable[[Box], np.ndarray],
        chosen: Box,
    ) -> np.ndarray:
        """The pixels `chosen` as the picture stores them: (H, W, 3) BGR, or (H, W) if it is grey."""
        sides = [side.stop - side.start for side in chosen]
        out = np.empty(sides if container.grey else [*sides, 3], DTYPES[container.depth])
        eight_bit = container.depth == 8 and not container.grey
        graph = self.model.graph("synthesis", pixels=("image",) if eight_bit else ())
        shape = levels.shape
        cores = [common(tile.core, _cells_of(chosen)) for tile in self._tiles(*shape)]

        def pixels_of(core: Box) -> np.ndarray:
            outer = grown(core, self.halo, *shape)
            (pixels,) = graph(
                np.ascontiguousarray(latents(outer)), self.tables.rates(levels[outer])
            )
            if not eight_bit:
                pixels = pixels[0].transpose(1, 2, 0)
            return pixels[within(shared_by(core), scaled(outer, CELL))]

        def shared_by(core: Box) -> Box:
            shared = common(scaled(core, CELL), chosen)
            assert shared is not None  # its cells were chosen for their pixels
            return shared

        parts = [core for core in cores if core is not None]
        for core, pixels in zip(parts, self._ahead(pixels_of, parts), strict=True):
            place = out[within(shared_by(core), chosen)]
            place[...] = pixels if eight_bit else as_samples(pixels, place)
        return out

    # --- shared -----------------------------------------------------------------------------------

    def _ahead(self, work: Callable[[T], R], pieces: Sequence[T]) -> Iterator[R]:
        """`work` on every piece, in their order, several at a time."""
        if self.threads == 1:
            return ahead(work, pieces, 1)
        room = self.model.once("parts at a time", lambda: BoundedSemaphore(self.threads))

        def in_room(piece: T) -> R:
            with room:
                return work(piece)

        return ahead(in_room, pieces, self.threads)

    def _tiles(self, rows: int, columns: int) -> Iterator[Tile]:
        """Tiles for the networks, in cells of 64 pixels; the same result as the whole picture."""
        return tiles(rows, columns, size=self.spec.tile // LATENTS, halo=self.halo)

    def _coded_boxes(self, rows: int, columns: int, tile: int) -> Iterator[Box]:
        """Tiles of the entropy coder, in cells, in raster order; they do not overlap."""
        return (t.core for t in tiles(rows, columns, size=tile // LATENTS, halo=0))


def lower_outside(mask: np.ndarray, by: int) -> np.ndarray:
    """How many levels each cell loses for a region of interest.

    Args:
        mask: (H, W) float in [0, 1], 1 where the picture matters.
        by: levels that a cell without any of it loses.

    Returns:
        (rows, columns) int32; a cell counts as much as the pixel in it that matters most.
    """
    height, width = mask.shape
    rows, columns = -(-height // CELL), -(-width // CELL)
    whole = np.zeros((rows * CELL, columns * CELL), mask.dtype)
    whole[:height, :width] = mask
    most = whole.reshape(rows, CELL, columns, CELL).max(axis=(1, 3))
    lower: np.ndarray = np.rint((1 - most) * by).astype(np.int32)
    return lower


def _picture_within(container: Container, region: Region | None) -> Image:
    """The picture of a stored file, or a part of it."""
    source = container.all(SectionKind.SOURCE)[0]
    most = container.width * container.height  # what the header says was checked already
    try:
        image = decode_image(source, max_pixels=most, first_frame=True)
    except InputError as error:
        raise ChecksumError(f"the picture inside: {error.problem}") from None
    if (image.width, image.height) != (container.width, container.height):
        raise ChecksumError("the picture inside has another size than the header says")
    box = _checked(region, container)
    return image.cropped(*box)


def _is_large(symbols: np.ndarray) -> bool:
    """Whether int16 cannot hold them."""
    return bool(np.abs(symbols).max(initial=0) > np.iinfo(np.int16).max)


def _unknown_model(header: Container, codecs: Sequence[Codec]) -> UnknownModelError:
    known = ", ".join(f"{c.model.id} ({c.spec.stream_id})" for c in codecs) or "none"
    return UnknownModelError(
        f"was written with the model {header.model_id} ({header.stream_id}), here: {known}",
        remedy="install that version of the model and name its folder with --models-dir",
    )


def _checked(region: Region | None, container: Container) -> Box:
    """The region as a box of pixels, or the whole picture. Raises `OptionError`."""
    if region is None:
        return slice(0, container.height), slice(0, container.width)
    fits = (
        0 <= region.left < region.left + region.width <= container.width
        and 0 <= region.top < region.top + region.height <= container.height
    )
    if not fits:
        raise OptionError(
            f"region {region.left},{region.top},{region.width},{region.height} is not inside the "
            f"picture of {container.width} x {container.height}"
        )
    return region.box


def _grid(picture: Image | Container) -> tuple[int, int]:
    """Rows and columns of cells that a picture takes."""
    return -(-picture.height // CELL), -(-picture.width // CELL)


def _cells_of(box: Box) -> Box:
    """The cells that a box of pixels touches."""
    rows, columns = (slice(side.start // CELL, -(-side.stop // CELL)) for side in box)
    return rows, columns
