"""The codec: networks, tables and container joined.

Encoding, for a picture padded to multiples of 64 (sizes in latents: h x w):

    y     = analysis(picture)                             (M, h, w), once for all rates
    z     = round(hyper_analysis(y · gain))               (N, h/4, w/4)       -> section hyper
    index = hyper_scale_index(z) + offset                 exact integers
    mean  = hyper_mean(z), for the second half of the checkerboard context_mean(first half, mean)
    r     = round((y − mean) · gain)                                          -> sections tile

Decoding takes the same steps from z on. Only `index` decides which table codes a symbol, and it
comes from integers alone; the means are floats, and a different last bit of a mean moves a pixel
by nothing that one could see.

All of it is done part by part, so that the memory holds a picture, its y or r, and little more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
from vaetools.codec.networks import LATENTS, SmallNetworks
from vaetools.codec.rate import Probes
from vaetools.codec.tables import (
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
from vaetools.image import MAX_PIXELS, Image, decode_image, encode_image
from vaetools.tiling import Tile, common, grown, scaled, tiles, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vaetools.tiling import Box
    from vaetools.vae import Model

DTYPES = {8: np.uint8, 16: np.uint16, 32: np.float32}
"""Samples of a picture by its depth."""


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
        metadata: its alpha, ICC and EXIF as sections.
    """

    latents: np.ndarray
    image: Image
    metadata: tuple[Section, ...]


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
        kinds = (SectionKind.HYPER, SectionKind.TILE)
        return sum(len(s.data) for s in self.container.sections if s.kind in kinds)


class Codec:
    """Codes pictures with one model. Safe to use from several threads.

    Args:
        model: a model of the task `compress`.

    Raises:
        ModelBrokenError: the model has no `[codec]`, or tables that do not fit.
    """

    def __init__(self, model: Model) -> None:
        spec = model.manifest.codec
        if spec is None:
            raise ModelBrokenError(f"model {model.id} has no [codec]", file=model.folder)
        self.model = model
        self.spec = spec
        self.halo = -(-model.manifest.tiling.halo // CELL)

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
            if codec.spec.stream_id == header.stream_id:
                return codec
        raise _unknown_model(header, codecs)

    @property
    def tables(self) -> CodecTables:
        return self.model.once("codec tables", lambda: CodecTables(**self.model.arrays("tables")))

    @property
    def networks(self) -> SmallNetworks:
        return SmallNetworks(self.model, self.spec, self.tables)

    @property
    def levels(self) -> int:
        """Number of rates; level 0 is the smallest file."""
        return self.spec.levels

    # --- encoding ---------------------------------------------------------------------------------

    def encode(self, image: Image, level: int) -> bytes:
        """The `.vae` file of `image` at a level in 0 … levels − 1."""
        return self.code(self.analyse(image), level).container.pack()

    def probes(self, image: Image) -> Probes:
        """Several rates of one picture, at the price of one analysis."""
        return Probes(self, self.analyse(image))

    def analyse(self, image: Image) -> Analysed:
        """The work that does not depend on the rate.

        Raises:
            UnsupportedImageError: a picture that is one line of millions of pixels.
        """
        if is_too_thin(image.width, image.height, MAX_PIXELS):
            raise UnsupportedImageError(
                f"size {image.width} x {image.height} is too thin to be padded to cells"
            )
        rows, columns = _grid(image)
        latents: np.ndarray | None = None
        for tile in self._tiles(rows, columns):
            part = self._analysed(image, tile.outer)[(..., *scaled(tile.inner, LATENTS))]
            if latents is None:
                shape = (1, part.shape[1], rows * LATENTS, columns * LATENTS)
                latents = np.empty(shape, np.float32)
            latents[(..., *scaled(tile.core, LATENTS))] = part
        assert latents is not None  # a picture has a pixel, so there was a tile
        return Analysed(latents, image, tuple(_metadata_sections(image)))

    def _analysed(self, image: Image, cells: Box) -> np.ndarray:
        """y of some cells, (1, M, h, w); pixels beyond the picture repeat its last ones."""
        rows, columns = scaled(cells, CELL)
        pixels = image.pixels[rows, columns]
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if image.depth == 8:
            if image.grey:
                pixels = np.repeat(pixels[..., None], 3, axis=2)
            graph = self.model.graph("analysis", pixels=("image",))
            tensor = _padded(pixels, height, width)
        else:
            graph = self.model.graph("analysis")
            tensor = _padded(Image(pixels).to_rgb(), height, width).transpose(2, 0, 1)[None]
        latents: np.ndarray = graph(np.ascontiguousarray(tensor))
        return latents

    def code(self, analysed: Analysed, level: int) -> Coded:
        """Quantise and entropy-code at a level: a few per cent of the analysis' work."""
        networks, y = self.networks, analysed.latents
        z = networks.hyper(y, level)
        hyper = encode_hyper(z[0], self.tables.hyper(level))
        payloads, bits = [hyper.finish()], hyper.bits

        def quantised(mean: np.ndarray, box: Box) -> np.ndarray:
            return networks.quantised(y[(..., *scaled(box, LATENTS))], mean, level)

        for box in self._coded_boxes(z.shape[2], z.shape[3], self.spec.tile):
            symbols = quantised(networks.mean(z, level, box, quantised), box)
            index = networks.index(z, level, box)
            coder = encode_latents(symbols, index, self.tables.latent)
            payloads.append(coder.finish())
            bits += coder.bits
        kinds = [SectionKind.HYPER, *[SectionKind.TILE] * (len(payloads) - 1)]
        sections = [Section(kind, data) for kind, data in zip(kinds, payloads, strict=True)]
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
            sections=(*sections, *analysed.metadata),
        )
        return Coded(container, bits)

    # --- decoding ---------------------------------------------------------------------------------

    def decode(
        self,
        data: bytes,
        *,
        max_pixels: int = MAX_PIXELS,
        region: Region | None = None,
    ) -> Image:
        """The picture in a `.vae` file.

        Args:
            max_pixels: refuse larger pictures, before memory is taken.
            region: decode this part only; the rest of the file is checked and not decoded.

        Raises:
            BitstreamError: the file is damaged, of another version, or needs another model.
            OptionError: the region is not inside the picture.
        """
        container = unpack(data, max_pixels=max_pixels)
        self.check_model(container)
        return self.reconstruct(container, region=region)

    def check_model(self, container: Container) -> None:
        """Raise `UnknownModelError` if the file was not written with this model's streams."""
        if container.stream_id != self.spec.stream_id:
            raise _unknown_model(container, [self])
        if container.level >= self.levels:
            raise HeaderLimitError(f"level {container.level} is not below {self.levels}")

    def hyper(self, container: Container) -> np.ndarray:
        """The hyper-latents of a file, (1, N, rows, columns) float32."""
        payload = container.one(SectionKind.HYPER) or b""
        z = decode_hyper(payload, _grid(container), self.tables.hyper(container.level))
        return z[None].astype(np.float32)

    def symbols(self, container: Container, z: np.ndarray, wanted: Box | None = None) -> np.ndarray:
        """The integers r of a file, (M, h, w) int16, or int32 where they are that large.

        Args:
            wanted: cells that are needed; tiles without any are left 0, and their pages untouched.
        """
        networks, level = self.networks, container.level
        rows, columns = z.shape[2:]
        channels = self.tables.gain.shape[1]
        symbols = np.zeros((channels, rows * LATENTS, columns * LATENTS), np.int16)
        boxes = self._coded_boxes(rows, columns, container.tile)
        for box, data in zip(boxes, container.tiles, strict=True):
            if wanted is not None and common(box, wanted) is None:
                continue
            index = networks.index(z, level, box)
            part = decode_latents(data, index, self.tables.latent)
            if symbols.dtype == np.int16 and np.abs(part).max(initial=0) > np.iinfo(np.int16).max:
                symbols = symbols.astype(np.int32)
            symbols[(..., *scaled(box, LATENTS))] = part
        return symbols

    def latents(
        self, container: Container, z: np.ndarray, symbols: np.ndarray, box: Box
    ) -> np.ndarray:
        """The restored latents of a part, (1, M, h, w) float32; `box` in cells."""
        networks, level = self.networks, container.level

        def known(_: np.ndarray, part: Box) -> np.ndarray:
            return symbols[(..., *scaled(part, LATENTS))]

        mean = networks.mean(z, level, box, known)
        return networks.restored(mean, known(mean, box), level)

    def reconstruct(self, container: Container, *, region: Region | None = None) -> Image:
        """The picture of a container, or a part of it, with its alpha, ICC and EXIF."""
        chosen = _checked(region, container)
        z = self.hyper(container)
        seen = self.halo + self.spec.reach.context_mean
        wanted = grown(_cells_of(chosen), seen, *z.shape[2:])
        symbols = self.symbols(container, z, wanted)

        def latents(box: Box) -> np.ndarray:
            return self.latents(container, z, symbols, box)

        pixels = self._synthesised(container, latents, chosen)
        return _image_of(pixels, container, chosen)

    def _synthesised(
        self, container: Container, latents: Callable[[Box], np.ndarray], chosen: Box
    ) -> np.ndarray:
        """The pixels `chosen` as the picture stores them: (H, W, 3) BGR, or (H, W) if it is grey."""
        shape = [side.stop - side.start for side in chosen]
        out = np.empty(shape if container.grey else [*shape, 3], DTYPES[container.depth])
        eight_bit = container.depth == 8 and not container.grey
        graph = self.model.graph("synthesis", pixels=("image",) if eight_bit else ())
        rate = self.tables.rate[container.level].reshape(1, 1, 1, 1)
        rows, columns = _grid(container)
        for tile in self._tiles(rows, columns):
            core = common(tile.core, _cells_of(chosen))
            if core is None:
                continue
            outer = grown(core, self.halo, rows, columns)
            pixels = graph(np.ascontiguousarray(latents(outer)), rate)
            if not eight_bit:
                pixels = pixels[0].transpose(1, 2, 0)
            shared = common(scaled(core, CELL), chosen)
            assert shared is not None  # its cells were chosen for their pixels
            pixels = pixels[within(shared, scaled(outer, CELL))]
            place = out[within(shared, chosen)]
            place[...] = pixels if eight_bit else _stored(pixels, place)
        return out

    # --- shared -----------------------------------------------------------------------------------

    def _tiles(self, rows: int, columns: int) -> Iterator[Tile]:
        """Tiles for the networks, in cells of 64 pixels; the same result as the whole picture."""
        return tiles(rows, columns, size=self.spec.tile // LATENTS, halo=self.halo)

    def _coded_boxes(self, rows: int, columns: int, tile: int) -> Iterator[Box]:
        """Tiles of the entropy coder, in cells, in raster order; they do not overlap."""
        return (t.core for t in tiles(rows, columns, size=tile // LATENTS, halo=0))


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


def _padded(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixels (h, w, C) with the last row and column repeated up to height × width."""
    below, right = height - pixels.shape[0], width - pixels.shape[1]
    if not below and not right:
        return pixels
    return np.pad(pixels, ((0, below), (0, right), (0, 0)), mode="edge")


def _stored(rgb: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Float RGB (H, W, 3) as samples of the shape and type of `like`."""
    return Image(np.empty_like(like, order="C")).with_rgb(rgb).pixels


def _metadata_sections(image: Image) -> list[Section]:
    sections = []
    if image.alpha is not None:
        data = encode_image(Image(image.alpha), "png")
        sections.append(Section(SectionKind.ALPHA, data))
    if image.icc:
        sections.append(Section(SectionKind.ICC, deflate(image.icc)))
    if image.exif:
        sections.append(Section(SectionKind.EXIF, deflate(image.exif)))
    return sections


def _image_of(pixels: np.ndarray, container: Container, chosen: Box) -> Image:
    """The picture from its pixels and what else the container holds."""
    icc, exif = (container.one(k) for k in (SectionKind.ICC, SectionKind.EXIF))
    alpha = _alpha_of(container, pixels.dtype)
    return Image(
        pixels,
        alpha=None if alpha is None else np.ascontiguousarray(alpha[chosen]),
        icc=None if icc is None else inflate(icc),
        exif=None if exif is None else inflate(exif),
    )


def _alpha_of(container: Container, dtype: np.dtype) -> np.ndarray | None:
    data = container.one(SectionKind.ALPHA)
    if data is None:
        return None
    limit = container.width * container.height
    try:
        decoded = decode_image(data, max_pixels=limit)
    except InputError as error:
        raise ChecksumError(f"the alpha section {error.problem}") from None
    alpha = decoded.pixels
    if alpha.shape != (container.height, container.width):
        raise ChecksumError("the alpha section has another size than the picture")
    stored = np.uint16 if dtype == np.float32 else dtype
    if alpha.dtype != stored or decoded.format != "png":
        raise ChecksumError("the alpha section has another depth than the picture, or is no PNG")
    if dtype == np.float32:
        return (alpha / np.float32(65535)).astype(np.float32)
    return alpha
