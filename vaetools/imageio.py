"""`.vae` files in imageio, version 3. Importing this module registers the plugin `vae`:

    import imageio.v3 as iio
    import vaetools.imageio

    iio.imwrite("a.vae", rgb, quality=75)         # options are those of `hub.compress`
    rgb = iio.imread("a.vae")                     # 16-bit and float images stay what they are
    iio.improps("a.vae").shape                    # from the header

https://imageio.readthedocs.io/en/stable/development/plugins.html
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from imageio.config import known_plugins
from imageio.config.extensions import FileExtension, extension_list, known_extensions
from imageio.config.plugins import PluginConfig
from imageio.core.request import URI_BYTES, InitializationError, IOMode
from imageio.core.v3_plugin_api import ImageProperties, PluginV3

from vaetools.codec.container import MAGIC, SUFFIX
from vaetools.codec.info import read_info
from vaetools.codec.pixels import DTYPES
from vaetools.errors import OptionError, VaetoolsError
from vaetools.shared_hub import shared_hub

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import EllipsisType
    from typing import BinaryIO

    from imageio.core.request import Request
    from numpy.typing import NDArray

    from vaetools.codec.info import VaeInfo

NAME = "vae"


class VaePlugin(PluginV3):
    """Reads and writes one image per file: (H, W), (H, W, 3) RGB or (H, W, 4) RGBA."""

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        if request.mode.io_mode == IOMode.read:
            if request.firstbytes[: len(MAGIC)] != MAGIC:
                raise InitializationError("it is not a .vae file")
        elif (request.extension or request.format_hint or "").lower() != SUFFIX:
            raise InitializationError(f"only {SUFFIX} files are written")

    def read(
        self, *, index: int | EllipsisType | None = None, preview: bool = False
    ) -> NDArray[Any]:
        """Decode the image.

        Args:
            index: 0 or None; `...` adds an axis for the only image.
            preview: decode a rough image from the first part of the file.

        Returns:
            uint8, uint16, or float32 in [0, 1].

        Raises:
            OSError: a damaged file, or no model for it. ValueError: another index.
        """
        _check_index(index)
        file = self._file()
        with self._errors():
            step = shared_hub().op("decompress", channel_order="rgb", preview=preview)
            image: NDArray[Any] = step(file.read())
        return image[np.newaxis] if index is ... else image

    def iter(self, *, preview: bool = False) -> Iterator[NDArray[Any]]:
        """The only image."""
        yield self.read(preview=preview)

    def write(self, ndimage: Any, *, is_batch: bool | None = None, **options: Any) -> bytes | None:
        """Encode an image.

        Args:
            ndimage: (H, W), (H, W, 3) or (H, W, 4), RGB; uint8, uint16, or float32 in [0, 1].
            is_batch: whether `ndimage` is a sequence of images, of which one is accepted; by default,
                whether it is a list.
            options: those of `hub.compress`.

        Returns:
            The file for the target `<bytes>`, otherwise None.

        Raises:
            OSError: not such an image. ValueError: an option.
        """
        if is_batch or (is_batch is None and isinstance(ndimage, list)):
            if len(ndimage) != 1:
                raise ValueError(f"a {SUFFIX} file holds one image, not {len(ndimage)}")
            ndimage = ndimage[0]
        with self._errors():
            step = shared_hub().op("compress", channel_order="rgb", **options)
            data: bytes = step(np.asarray(ndimage))
        self.request.get_file().write(data)
        return data if self.request._uri_type == URI_BYTES else None  # noqa: SLF001 - no other way

    def properties(self, index: int | EllipsisType | None = None) -> ImageProperties:
        """Shape and type of the samples, from the header."""
        _check_index(index)
        info = self._info()
        shape: tuple[int, ...] = (info.height, info.width)
        if info.alpha or not info.grey:
            shape = (*shape, 4 if info.alpha else 3)
        return ImageProperties(
            shape=(1, *shape) if index is ... else shape,
            dtype=np.dtype(DTYPES[info.depth]),
            n_images=1 if index is ... else None,
            is_batch=index is ...,
            spacing=None,
        )

    def metadata(
        self,
        index: int | EllipsisType | None = None,
        exclude_applied: bool = True,  # noqa: ARG002 - the plugin API's; nothing is ever applied
    ) -> dict[str, Any]:
        """Model, rate index, and the blocks of metadata that there are, from the header."""
        _check_index(index)
        info = self._info()
        blocks = {name: getattr(info.metadata, name) for name in ("icc", "exif", "xmp", "iptc")}
        density = info.metadata.density
        if density is not None and density.absolute:
            blocks["dpi"] = tuple(density[:2])
        return {
            "model": info.model_id,
            "level": info.level,
            "stored": info.stored,
            **{name: value for name, value in blocks.items() if value is not None},
        }

    def _info(self) -> VaeInfo:
        with self._errors():
            return read_info(self._file())

    def _file(self) -> BinaryIO:
        file: BinaryIO = self.request.get_file()
        file.seek(0)
        return file

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Errors as imageio's users expect them, with our line."""
        try:
            yield
        except VaetoolsError as error:
            if isinstance(self.request.raw_uri, str | Path):
                error.about(self.request.raw_uri)
            kind = ValueError if isinstance(error, OptionError) else OSError
            raise kind(error.line) from error


def _check_index(index: Any) -> None:
    if index not in (None, 0, ...):
        raise ValueError(f"index={index!r}: a {SUFFIX} file holds one image")


def _register() -> None:
    known_plugins[NAME] = PluginConfig(
        name=NAME, class_name=VaePlugin.__name__, module_name=__name__
    )
    extension = FileExtension(extension=SUFFIX, priority=[NAME], name="vaetools image")
    extension_list.append(extension)
    known_extensions[SUFFIX] = [extension]


_register()
