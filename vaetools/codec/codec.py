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
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from vaetools.codec.container import (
    CELL,
    DOWNSCALE,
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
    UnknownModelError,
    UnsupportedImageError,
)
from vaetools.image import MAX_PIXELS, Image, decode_image, encode_image
from vaetools.tiling import Tile, pad_to_multiple, tiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.vae import Model

LATENTS = CELL // DOWNSCALE
"""Latents per hyper-latent, in each direction."""


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
        restored: (1, M, h, w) float32, the latents as the decoder will have them.
        bits: ideal length of the entropy-coded payload, from the tables' probabilities.
    """

    container: Container
    restored: np.ndarray
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
        if image.depth == 8:
            pixels = image.pixels if not image.grey else np.repeat(image.pixels[..., None], 3, 2)
            graph = self.model.graph("analysis", pixels=("image",))
        else:
            pixels = image.to_rgb()
            graph = self.model.graph("analysis")
        padded, _ = pad_to_multiple(pixels, CELL)
        parts = []
        for tile in self._tiles(padded.shape[0] // CELL, padded.shape[1] // CELL):
            part = padded[_scaled(tile.outer, CELL)]
            if image.depth != 8:
                part = part.transpose(2, 0, 1)[None]
            parts.append((tile, graph(np.ascontiguousarray(part))))
        latents = self._joined(parts, padded.shape[0] // CELL, padded.shape[1] // CELL)
        return Analysed(latents, image, tuple(_metadata_sections(image)))

    def code(self, analysed: Analysed, level: int) -> Coded:
        """Quantise and entropy-code at a level: a few per cent of the analysis' work."""
        y, tables = analysed.latents, self.tables
        gain = tables.gain[level][:, None, None]
        limit = tables.hyper_limit
        z = np.rint(self.model.graph("hyper_analysis")(y * gain))
        z = np.clip(z, -limit, limit)
        hyper = encode_hyper(z[0], tables.hyper(level))
        index = tables.indexes(self.model.graph("hyper_scale_index")(z), level)
        mean = self.model.graph("hyper_mean")(z)
        mean = self._with_context(_quantise(y, mean, gain), mean, level)
        symbols = _quantise(y, mean, gain)
        coders = [
            encode_latents(symbols[0][part], index[part], tables.latent)
            for part in self._coded_tiles(y.shape[2], y.shape[3], self.spec.tile)
        ]
        sections = [Section(SectionKind.HYPER, hyper.finish())]
        sections += [Section(SectionKind.TILE, coder.finish()) for coder in coders]
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
        bits = hyper.bits + sum(coder.bits for coder in coders)
        return Coded(container, self._restore(symbols, mean, level), bits)

    # --- decoding ---------------------------------------------------------------------------------

    def decode(self, data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image:
        """The picture in a `.vae` file.

        Raises:
            BitstreamError: the file is damaged, of another version, or needs another model.
        """
        container = unpack(data, max_pixels=max_pixels)
        self.check_model(container)
        return self.reconstruct(self.latents(container), container)

    def check_model(self, container: Container) -> None:
        """Raise `UnknownModelError` if the file was not written with this model's streams."""
        if container.stream_id != self.spec.stream_id:
            raise _unknown_model(container, [self])
        if container.level >= self.levels:
            raise HeaderLimitError(f"level {container.level} is not below {self.levels}")

    def symbols(self, container: Container) -> tuple[np.ndarray, np.ndarray]:
        """The integers of a file: hyper-latents (1, N, h/4, w/4) float32 and r (M, h, w) int32."""
        tables, level = self.tables, container.level
        rows, columns = -(-container.height // CELL), -(-container.width // CELL)
        payload = container.one(SectionKind.HYPER) or b""
        z = decode_hyper(payload, (rows, columns), tables.hyper(level))[None].astype(np.float32)
        index = tables.indexes(self.model.graph("hyper_scale_index")(z), level)
        symbols = np.empty(index.shape, np.int32)
        _, height, width = index.shape
        parts = self._coded_tiles(height, width, container.tile)
        for part, data in zip(parts, container.tiles, strict=True):
            symbols[part] = decode_latents(data, index[part], tables.latent)
        return z, symbols

    def latents(self, container: Container) -> np.ndarray:
        """The restored latents of a file, (1, M, h, w) float32."""
        z, symbols = self.symbols(container)
        mean = self.model.graph("hyper_mean")(z)
        mean = self._with_context(symbols, mean, container.level)
        return self._restore(symbols, mean, container.level)

    def reconstruct(self, latents: np.ndarray, container: Container) -> Image:
        """Latents -> picture, with the alpha, ICC and EXIF of the container."""
        eight_bit = container.depth == 8 and not container.grey
        graph = self.model.graph("synthesis", pixels=("image",) if eight_bit else ())
        rate = self.tables.rate[container.level].reshape(1, 1, 1, 1)
        rows, columns = latents.shape[2] // LATENTS, latents.shape[3] // LATENTS
        out = np.empty((rows * CELL, columns * CELL, 3), np.uint8 if eight_bit else np.float32)
        for tile in self._tiles(rows, columns):
            part = latents[(..., *_scaled(tile.outer, LATENTS))]
            pixels = graph(np.ascontiguousarray(part), rate)
            if not eight_bit:
                pixels = pixels[0].transpose(1, 2, 0)
            out[_scaled(tile.core, CELL)] = pixels[_scaled(tile.inner, CELL)]
        out = np.ascontiguousarray(out[: container.height, : container.width])
        return _image_of(out, container)

    # --- shared -----------------------------------------------------------------------------------

    def _tiles(self, rows: int, columns: int) -> Sequence[Tile]:
        """Tiles for the networks, in cells of 64 pixels; the same result as the whole picture."""
        return list(tiles(rows, columns, size=self.spec.tile // LATENTS, halo=self.halo))

    def _coded_tiles(self, height: int, width: int, tile: int) -> list[tuple[slice, ...]]:
        """Tiles of the entropy coder, in latents, in raster order; they do not overlap."""
        return [
            (slice(None), slice(top, top + tile), slice(left, left + tile))
            for top in range(0, height, tile)
            for left in range(0, width, tile)
        ]

    def _joined(self, parts: list[tuple[Tile, np.ndarray]], rows: int, columns: int) -> np.ndarray:
        channels = parts[0][1].shape[1]
        out = np.empty((1, channels, rows * LATENTS, columns * LATENTS), np.float32)
        for tile, part in parts:
            out[(..., *_scaled(tile.core, LATENTS))] = part[(..., *_scaled(tile.inner, LATENTS))]
        return out

    def _restore(self, symbols: np.ndarray, mean: np.ndarray, level: int) -> np.ndarray:
        step = self.tables.inverse_gain[level][:, None, None]
        restored: np.ndarray = mean + symbols.astype(np.float32) * step
        return restored

    def _with_context(self, symbols: np.ndarray, mean: np.ndarray, level: int) -> np.ndarray:
        """`mean`, improved in the second half of the checkerboard by what the first half holds.

        Only the symbols of the first half matter: encoder and decoder, which have the others at
        different times, take this same step.
        """
        first = checkerboard(*mean.shape[1:])
        known = np.where(first, self._restore(symbols, mean, level), 0).astype(np.float32)
        improved: np.ndarray = np.where(first, mean, self.model.graph("context_mean")(known, mean))
        return improved


def _unknown_model(header: Container, codecs: Sequence[Codec]) -> UnknownModelError:
    known = ", ".join(f"{c.model.id} ({c.spec.stream_id})" for c in codecs) or "none"
    return UnknownModelError(
        f"was written with the model {header.model_id} ({header.stream_id}), here: {known}",
        remedy="install that version of the model and name its folder with --models-dir",
    )


def checkerboard(latents: int, height: int, width: int) -> np.ndarray:
    """(M, h, w) bool: the first half; the upper half of the channels takes the other squares."""
    rows, columns = np.ogrid[:height, :width]
    even = (rows + columns) % 2 == 0
    upper = np.arange(latents)[:, None, None] >= latents // 2
    result: np.ndarray = even ^ upper
    return result


def _quantise(y: np.ndarray, mean: np.ndarray, gain: np.ndarray) -> np.ndarray:
    symbols: np.ndarray = np.rint((y - mean) * gain).astype(np.int32)
    return symbols


def _scaled(area: tuple[slice, slice], factor: int) -> tuple[slice, slice]:
    rows, columns = area
    return (
        slice(rows.start * factor, rows.stop * factor),
        slice(columns.start * factor, columns.stop * factor),
    )


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


def _image_of(pixels: np.ndarray, container: Container) -> Image:
    """The picture from BGR uint8, or from float RGB for every other depth and for grey."""
    icc, exif = (container.one(k) for k in (SectionKind.ICC, SectionKind.EXIF))
    empty = np.empty(
        pixels.shape[:2] if container.grey else pixels.shape,
        {8: np.uint8, 16: np.uint16, 32: np.float32}[container.depth],
    )
    image = Image(
        empty,
        alpha=_alpha_of(container, empty.dtype),
        icc=None if icc is None else inflate(icc),
        exif=None if exif is None else inflate(exif),
    )
    if pixels.dtype == np.uint8:
        return replace(image, pixels=pixels)
    return image.with_rgb(np.clip(pixels, 0.0, 1.0))


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
