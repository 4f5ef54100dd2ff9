"""The codec's public class: images to `.vae` files and back.

Encoding, for an image padded to multiples of 64 pixels, with latents of size h × w:

    y     = analysis(image)                               (M, h, w), once for all rates
    z     = round(hyper_analysis(y · gain))               (N, h/4, w/4)       -> section hyper
    index = hyper_scale_index(z) + offset                 exact integers
    mean  = hyper_mean(z), then refined in three phases by context_mean(decoded latents, mean)
    r     = round((y − mean) · gain)                      -> sections coarse and fine, by channels

Decoding repeats these steps from z on. The graphs are joined (`vaetools.model.fused.chains`): an image
of one tile at one rate takes one call from pixels to z and r, and one from z and r to pixels. Only the
graph of `index` runs by itself, on the CPU, because it must be exact. Larger images are coded tile by
tile, several tiles at a time, so that memory holds the image, its y or r, and little more. Files and
images do not depend on the number of threads.

References: Minnen, Ballé, Toderici, "Joint autoregressive and hierarchical priors for learned image
compression", NeurIPS 2018 (mean-scale hyperprior); Cui et al., "Asymmetric gained deep image
compression with continuous rate adaptation", CVPR 2021 (gain units); Li, Li, Lu, "Neural video
compression with diverse contexts", CVPR 2023 (context model of four phases).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaetools.codec import decoding, encoding
from vaetools.codec.container import Container, check_magic, read_header, read_sections
from vaetools.codec.lossless import lossless_file
from vaetools.codec.model import CodecModel
from vaetools.codec.pixels import SOURCE_FORMATS, source_image
from vaetools.codec.rate import Probes
from vaetools.errors import HeaderLimitError, UnknownModelError
from vaetools.image import MAX_PIXELS, Image

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from vaetools.codec.container import Header
    from vaetools.codec.decoding import Look
    from vaetools.codec.encoding import Analysis, Encoded
    from vaetools.codec.networks import EntropyNetworks
    from vaetools.codec.region import Region
    from vaetools.model.folder import Model
    from vaetools.model.spec import RefineSpec
    from vaetools.tiling import Box


class Codec(CodecModel):
    """Encodes and decodes images with one model. Thread-safe.

        codec = vaetools.Codec(hub.registry.for_task("compress"))
        data = codec.encode(image, level=75)
        image = codec.decode(data)

    Args:
        model: a model of the task `compress`.

    Attributes:
        levels: number of rates; rate indices are 0 (smallest file) … `levels` − 1.
        threads: tiles processed at a time. All codecs of one runtime share this limit, unless it is 1.

    Raises:
        ModelBrokenError: the manifest has no `[codec]`.
    """

    @staticmethod
    def check_head(head: bytes) -> None:
        """Check the first bytes of a file.

        Raises:
            NotAVaeFileError: it is not a `.vae` file.
        """
        check_magic(head)

    @classmethod
    def for_file(
        cls, data: bytes, models: Sequence[Model], *, max_pixels: int = MAX_PIXELS
    ) -> Codec:
        """The codec that decodes a file.

        Args:
            data: the file, or at least its header.
            models: candidates; the first with the file's stream id is chosen.
            max_pixels: limit on width × height.

        Raises:
            BitstreamError: the header is damaged, or no model fits (`UnknownModelError`).
        """
        return cls._for_header(read_header(data, max_pixels=max_pixels), models)

    @classmethod
    def decode_file(
        cls,
        data: bytes,
        models: Sequence[Model],
        *,
        max_pixels: int = MAX_PIXELS,
        region: Region | None = None,
        preview: bool = False,
        look: Look = "faithful",
    ) -> Image:
        """`for_file` and `decode` in one, which parses the header only once.

        Arguments and exceptions are those of `for_file` and `decode`.
        """
        header = read_header(data, max_pixels=max_pixels)
        codec = cls._for_header(header, models)
        return _decode(codec, data, header, region, preview=preview, look=look)

    @classmethod
    def _for_header(cls, header: Header, models: Sequence[Model]) -> Codec:
        known = []
        for model in models:
            codec = cls(model)
            if header.fields.stored or codec.spec.stream_id == header.fields.stream_id:
                return codec
            known.append(codec)
        raise _unknown_model(header.fields, known)

    # --- encoding ---------------------------------------------------------------------------------

    def encode(self, image: Image, level: int, *, refine: int = 0) -> bytes:
        """Encode an image as a `.vae` file.

        Args:
            image: any size and depth.
            level: rate index, 0 (smallest file) … `levels` − 1.
            refine: passes of refinement; see `code`.

        Raises:
            UnsupportedImageError, ModelBrokenError, OptionError: see `analyse` and `code`.
        """
        return self.code(self.analyse(image), level, refine=refine).container.pack()

    def probes(
        self, image: Image, level_drop: np.ndarray | None = None, *, refine: int = 0
    ) -> Probes:
        """Encode one image at several rates, or search for a rate, with a single analysis.

        Arguments and exceptions are those of `analyse` and `code`.
        """
        return Probes(self, self.analyse(image, level_drop), refine)

    def analyse(self, image: Image, level_drop: np.ndarray | None = None) -> Analysis:
        """The part of encoding that does not depend on the rate; networks run when `code` needs them.

        Args:
            image: any size and depth.
            level_drop: (rows, columns) int ≥ 0, by how much the rate index of each cell of 64 × 64
                pixels is lowered; see `roi_level_drop`.

        Raises:
            UnsupportedImageError: the image is a line of millions of pixels, or its metadata is too
                large.
        """
        return encoding.analyse(self, image, level_drop)

    def code(
        self, analysis: Analysis, level: int, *, refine: int = 0, keep_symbols: bool = False
    ) -> Encoded:
        """Quantise and entropy-code an analysis.

        Args:
            analysis: from `analyse`.
            level: rate index, 0 (smallest file) … `levels` − 1.
            refine: passes, 0 … `MAX_PASSES`, that move the latents to a better trade-off of rate
                and distortion. Each takes about as long as encoding and decoding without
                refinement; see `vaetools.codec.refine`.
            keep_symbols: keep what `decoded` needs.

        Raises:
            ModelBrokenError: the model does not support refinement.
            OptionError: the number of passes is out of range.
        """
        return encoding.encode(self, analysis, level, refine=refine, keep_symbols=keep_symbols)

    def decoded(self, encoded: Encoded) -> Image:
        """The image that a file decodes to, without entropy decoding if its symbols were kept."""
        if encoded.coded is None:
            return self.reconstruct(encoded.container)
        return decoding.decoded(self, encoded.container, encoded.coded)

    def refine_spec(self, passes: int) -> RefineSpec:
        """Check in advance that `code` can refine with this number of passes.

        Raises:
            ModelBrokenError, OptionError: see `code`.
        """
        return encoding.refine_spec(self, passes)

    @staticmethod
    def can_store(image: Image) -> bool:
        """Whether the file that an image was read from has a format that stored files may hold."""
        return image.format in SOURCE_FORMATS

    def store(self, image: Image, encoded: bytes) -> bytes:
        """A `.vae` file that holds the original image file instead of an encoded image.

        Args:
            image: the decoded image; gives size and depth.
            encoded: its file, in a format of `can_store`.
        """
        return encoding.store(self, image, encoded).pack()

    def store_exactly(self, image: Image) -> bytes | None:
        """A `.vae` file that holds the exact pixels in a lossless format.

        Returns:
            None unless this may be smaller than an encoded image, as for screenshots and drawings.
        """
        file = lossless_file(image)
        return None if file is None else self.store(image, file)

    # --- decoding ---------------------------------------------------------------------------------

    def decode(
        self,
        data: bytes,
        *,
        max_pixels: int = MAX_PIXELS,
        region: Region | None = None,
        preview: bool = False,
        look: Look = "faithful",
    ) -> Image:
        """Decode a `.vae` file.

        Args:
            data: the file.
            max_pixels: limit on width × height, checked before memory is allocated.
            region: decode only this part; the checksums of the whole file are verified anyway.
            preview: decode the coarse channels only. The file may be truncated after them.
            look: `faithful` is nearest to the original in squared error; `vivid` looks sharper and
                invents detail, if the model has a synthesis for it. Stored images stay exact.

        Raises:
            BitstreamError: the file is damaged, has another version, or needs another model.
            OptionError: the region is not inside the image, or the model does not have the look.
        """
        header = read_header(data, max_pixels=max_pixels)
        return _decode(self, data, header, region, preview=preview, look=look)

    def check_model(self, container: Container) -> None:
        """Check that this model can decode a container.

        Raises:
            UnknownModelError: it was encoded by a model with another stream id.
            HeaderLimitError: the model does not have its rate index.
        """
        if container.stream_id != self.spec.stream_id:
            raise _unknown_model(container, [self])
        if container.level >= self.levels:
            raise HeaderLimitError(f"rate index {container.level} is not below {self.levels}")

    def levels_of(self, container: Container) -> np.ndarray:
        """The rate index of every cell of 64 × 64 pixels, (rows, columns) uint8.

        Raises:
            BitstreamError: the rate map is damaged.
        """
        return decoding.levels_of(self, container)

    def hyper(self, container: Container, levels: np.ndarray) -> np.ndarray:
        """The hyper-latents z of a container, (1, N, rows, columns) float32.

        Args:
            container: an encoded image.
            levels: its rate indices, from `levels_of`.

        Raises:
            ChecksumError: the payload does not match the tables.
        """
        return decoding.hyper_latents(self, container, levels)

    def symbols(
        self,
        container: Container,
        networks: EntropyNetworks,
        z: np.ndarray,
        *,
        needed: Box | None = None,
        preview: bool = False,
    ) -> np.ndarray:
        """The symbols r of a container, (M, h, w) int16, or int32 if int16 cannot hold them.

        Args:
            container: an encoded image.
            networks: from `networks`, for the container's rate indices.
            z: its hyper-latents, from `hyper`.
            needed: cells to decode; tiles outside stay 0.
            preview: decode the coarse channels only; the others stay 0.

        Raises:
            ChecksumError: a payload does not match the tables.
        """
        return decoding.symbols(self, container, networks, z, needed=needed, preview=preview)

    def reconstruct(
        self,
        container: Container,
        *,
        region: Region | None = None,
        preview: bool = False,
        look: Look = "faithful",
    ) -> Image:
        """Decode a container that this model encoded, or a region of it, with alpha and metadata.

        Raises:
            BitstreamError: a section is damaged.
            OptionError: the region is not inside the image, or the model does not have the look.
        """
        return decoding.reconstruct(self, container, region=region, preview=preview, look=look)


def _decode(
    codec: Codec, data: bytes, header: Header, region: Region | None, *, preview: bool, look: Look
) -> Image:
    container = read_sections(data, header, preview=preview)
    if container.stored:
        return source_image(container, region)
    codec.check_model(container)
    return codec.reconstruct(container, region=region, preview=preview, look=look)


def _unknown_model(header: Container, codecs: Sequence[Codec]) -> UnknownModelError:
    known = ", ".join(f"{c.model.id} ({c.spec.stream_id})" for c in codecs) or "none"
    return UnknownModelError(
        f"was encoded by model {header.model_id} ({header.stream_id}); available: {known}",
        remedy="install that version of the model, or name its folder with --models-dir",
    )
