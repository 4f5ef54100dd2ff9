"""The codecs that `codec.py` compares."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from common import Rgb, version_of
from PIL import Image, features

import vaetools
from vaetools.errors import VaetoolsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Codec(Protocol):
    """A codec to measure. `levels` are qualities on its own scale, best last."""

    name: str
    settings: str
    levels: Sequence[int]

    def encode(self, rgb: Rgb, level: int) -> bytes: ...
    def decode(self, data: bytes) -> Rgb: ...


@dataclass
class PillowCodec:
    """A format that Pillow writes, with Pillow's `options`."""

    name: str
    format: str
    settings: str
    levels: Sequence[int]
    options: dict[str, Any] = field(default_factory=dict)

    def encode(self, rgb: Rgb, level: int) -> bytes:
        file = io.BytesIO()
        Image.fromarray(rgb).save(file, self.format, quality=level, **self.options)
        return file.getvalue()

    def decode(self, data: bytes) -> Rgb:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))


class Vaetools:
    """vaetools through its public API."""

    def __init__(
        self,
        hub: Any,
        model: str | None,
        device: str,
        levels: Sequence[int],
        refine: int = 0,
    ) -> None:
        self.hub = hub
        self.name = f"vaetools {model}" if model else "vaetools"
        self.settings = f"vaetools {vaetools.__version__}, device {device}"
        if refine:
            self.name += f" --refine {refine}"
        self.levels = levels
        self.model = model
        self.refine = refine

    def encode(self, rgb: Rgb, level: int) -> bytes:
        chosen: dict[str, Any] = {"model": self.model} if self.model else {}
        if self.refine:
            chosen["refine"] = self.refine
        data: bytes = self.hub.compress(_flipped(rgb), quality=level, **chosen)
        return data

    def decode(self, data: bytes) -> Rgb:
        return _flipped(self.hub.decompress(data))

    def payload(self, rgb: Rgb, level: int) -> tuple[float, int] | None:
        """Ideal bits of the payload, from the model's probabilities, and its actual bytes.

        Optional: without this method, or a registry, the report has no such column.
        """
        registry = getattr(self.hub, "registry", None)
        if registry is None or self.refine:  # it would refine a second time
            return None
        from vaetools.codec.rate import level_of

        coder = vaetools.Codec(registry.for_task("compress", self.model))
        analysis = coder.analyse(vaetools.Image(_flipped(rgb)))
        encoded = coder.code(analysis, level_of(level, coder.levels))
        return encoded.bits, encoded.payload_bytes


def _flipped(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """RGB to BGR and back."""
    return np.ascontiguousarray(image[..., ::-1])


def anchors(names: Sequence[str]) -> list[Codec]:
    """The requested anchors that are installed."""
    found = []
    for name in names:
        try:
            found.append(ANCHORS[name]())
        except ImportError as error:
            print(f"{name}: skipped, {error}")
    return found


def _jpeg() -> Codec:
    turbo = features.version("libjpeg_turbo")
    settings = f"4:2:0, optimised Huffman tables, libjpeg-turbo {turbo}"
    levels = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95)
    return PillowCodec("JPEG", "JPEG", settings, levels, {"subsampling": "4:2:0", "optimize": True})


def _webp() -> Codec:
    settings = f"lossy, method 6, 4:2:0, libwebp {features.version('webp')}"
    return PillowCodec("WebP", "WEBP", settings, (0, 5, 20, 40, 60, 80, 90, 95), {"method": 6})


def _avif() -> Codec:
    return _libavif("AVIF", "4:4:4, speed 6", (10, 20, 30, 40, 50, 60, 75, 90), {})


def _avif_psnr() -> Codec:
    # By default libaom tunes still images for perceived quality.
    tuning = {"advanced": {"tune": "psnr"}}
    levels = (5, 10, 20, 30, 40, 55, 70, 85)
    return _libavif("AVIF tune=psnr", "4:4:4, speed 6, tune=psnr", levels, tuning)


def _libavif(name: str, settings: str, levels: Sequence[int], more: dict[str, Any]) -> Codec:
    if not features.check("avif"):
        raise ImportError("this Pillow was built without AVIF")
    settings = f"{settings}, all threads, libavif {features.version('avif')}"
    options = {"subsampling": "4:4:4", "speed": 6, **more}
    return PillowCodec(name, "AVIF", settings, levels, options)


def _jxl() -> Codec:
    import pillow_jxl  # noqa: F401 - registers the format; pip install pillow-jxl-plugin

    settings = f"XYB, effort 7, all threads, pillow-jxl-plugin {version_of('pillow-jxl-plugin')}"
    return PillowCodec("JPEG XL", "JXL", settings, (5, 20, 35, 50, 65, 80, 90, 95), {"effort": 7})


ANCHORS: dict[str, Callable[[], Codec]] = {
    "jpeg": _jpeg,
    "webp": _webp,
    "avif": _avif,
    "avif-psnr": _avif_psnr,
    "jxl": _jxl,
}


def ours(
    model: str | None, device: str, levels: Sequence[int], refine: Sequence[int] = (0,)
) -> list[Codec]:
    """vaetools with each number of refinement passes.

    Without a model the list is empty and a line says why. A requested model must exist, and it must
    support refinement if that is requested.
    """
    try:
        hub = vaetools.open(device=device)
        codecs: list[Codec] = [Vaetools(hub, model, device, levels, passes) for passes in refine]
        for codec in codecs:
            codec.encode(np.zeros((64, 64, 3), np.uint8), levels[0])  # fails without a model
    except (ImportError, VaetoolsError) as error:
        if model is not None or any(refine):
            raise SystemExit(f"vaetools: {error}") from error
        print(f"vaetools: skipped, {error}")
        return []
    return codecs
