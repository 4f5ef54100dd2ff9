"""`Image`: pixels as OpenCV has them, and the numpy arrays that users hand in and get back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from vaetools.errors import ImageValueError, OptionError
from vaetools.image.metadata import Metadata

if TYPE_CHECKING:
    from numpy.typing import NDArray

ChannelOrder: TypeAlias = Literal["bgr", "rgb"]

DEPTHS: dict[np.dtype[Any], int] = {
    np.dtype(np.uint8): 8,
    np.dtype(np.uint16): 16,
    np.dtype(np.float32): 32,
}

_UNCHANGED: Any = object()


@dataclass(frozen=True, eq=False, init=False)
class Image:
    """One image. `from_array` and the readers check what they make; the constructor does not.

    Attributes:
        pixels: (H, W) grey or (H, W, 3) BGR; uint8, uint16 or float32 in [0, 1]; not to be changed.
        alpha: (H, W) of the same dtype, straight (not premultiplied), or None.
        format: what the source file was: `jpeg`, `png`, `webp`, `tiff`, `bmp`, `gif` or `ppm`.
        encoded: the source file itself, where the reader was asked to keep it.
        metadata: ICC profile, EXIF, XMP and so on. `icc` and `exif` are also given directly.
        damage: what is wrong with the source file, if it was read in spite of that.
    """

    pixels: NDArray[Any]
    alpha: NDArray[Any] | None
    format: str | None
    encoded: bytes | None
    metadata: Metadata
    damage: str

    def __init__(
        self,
        pixels: NDArray[Any],
        alpha: NDArray[Any] | None = None,
        icc: bytes | None = _UNCHANGED,
        exif: bytes | None = _UNCHANGED,
        format: str | None = None,  # noqa: A002
        encoded: bytes | None = None,
        metadata: Metadata | None = None,
        damage: str = "",
    ) -> None:
        """`icc` and `exif`, if given, count instead of those in `metadata`."""
        metadata = metadata or Metadata()
        if icc is not _UNCHANGED:
            metadata = replace(metadata, icc=icc)
        if exif is not _UNCHANGED:
            metadata = replace(metadata, exif=exif)
        values = {
            "pixels": pixels,
            "alpha": alpha,
            "format": format,
            "encoded": encoded,
            "metadata": metadata,
            "damage": damage,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def icc(self) -> bytes | None:
        """The ICC profile."""
        return self.metadata.icc

    @property
    def exif(self) -> bytes | None:
        """The EXIF block; see `Metadata`."""
        return self.metadata.exif

    def __repr__(self) -> str:
        kind = "grey" if self.grey else "BGR"
        alpha = "" if self.alpha is None else " with alpha"
        source = "" if self.format is None else f" from {self.format}"
        return f"<Image {self.width}×{self.height} {kind}{alpha} {self.pixels.dtype}{source}>"

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def grey(self) -> bool:
        return self.pixels.ndim == 2

    @property
    def depth(self) -> int:
        """Bits per sample: 8, 16, or 32 for float32."""
        return DEPTHS[self.pixels.dtype]

    @property
    def nbytes(self) -> int:
        """Bytes of pixels, alpha and the source file in memory."""
        alpha = 0 if self.alpha is None else self.alpha.nbytes
        return self.pixels.nbytes + alpha + len(self.encoded or b"")

    def same_as(self, other: Image) -> bool:
        """Whether depth, every pixel, alpha and all metadata are equal."""
        return (
            self.metadata == other.metadata
            and _same_plane(self.pixels, other.pixels)
            and _same_plane(self.alpha, other.alpha)
        )

    @classmethod
    def from_array(cls, array: NDArray[Any], *, channel_order: ChannelOrder = "bgr") -> Image:
        """An image from a user's array, which is copied: changing it later changes nothing here.

        Args:
            array: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); uint8, uint16 or float32 in [0, 1].
            channel_order: what the first three channels are.

        Raises:
            ImageValueError: another shape or dtype, no pixels, NaN, or floats outside [0, 1].
        """
        _check_order(channel_order)
        _check_array(array)
        if array.ndim == 2 or array.shape[2] == 1:
            return cls(array.reshape(array.shape[:2]).copy())
        alpha = array[..., 3].copy() if array.shape[2] == 4 else None
        return cls(_ordered(array[..., :3], channel_order), alpha)

    def to_array(self, *, channel_order: ChannelOrder = "bgr") -> NDArray[Any]:
        """A new array: (H, W), (H, W, 3), or (H, W, 4) with alpha, where grey is replicated."""
        _check_order(channel_order)
        if self.alpha is None:
            return self.pixels.copy() if self.grey else _ordered(self.pixels, channel_order)
        array = np.empty((self.height, self.width, 4), self.pixels.dtype)
        array[..., :3] = self.pixels[..., None] if self.grey else self.pixels
        if channel_order == "rgb":
            array[..., :3] = array[..., 2::-1].copy()
        array[..., 3] = self.alpha
        return array

    def to_rgb(self) -> NDArray[np.float32]:
        """float32 RGB (H, W, 3) in [0, 1]; grey is replicated, alpha is left out."""
        import cv2

        code = cv2.COLOR_GRAY2RGB if self.grey else cv2.COLOR_BGR2RGB
        rgb = cv2.cvtColor(self.pixels, code)
        if self.depth == 32:
            return np.asarray(rgb, np.float32)
        return np.divide(rgb, np.float32(_top(self.depth)), dtype=np.float32)

    def with_rgb(self, rgb: NDArray[Any]) -> Image:
        """This image with other colours: same depth, greyness, alpha, metadata and format.

        Values are clipped to [0, 1] and rounded to the nearest step. A grey image takes the Rec.
        601 luma, and exactly the common value where the three channels are equal.

        Args:
            rgb: float RGB, (H, W, 3) as `to_rgb` gives.

        Raises:
            ImageValueError: another shape.
        """
        if rgb.shape != (self.height, self.width, 3):
            raise ImageValueError(
                f"colours of shape {rgb.shape} do not fit {self.height}×{self.width} pixels"
            )
        clipped = np.clip(rgb, 0.0, 1.0, dtype=np.float32)
        values = _luma(clipped) if self.grey else _ordered(clipped, "rgb")
        return replace(self, pixels=quantise(values, self.depth), encoded=None)

    def cropped(self, rows: slice, columns: slice) -> Image:
        """A part of this image; its metadata stay."""
        alpha = None if self.alpha is None else np.ascontiguousarray(self.alpha[rows, columns])
        pixels = np.ascontiguousarray(self.pixels[rows, columns])
        return replace(self, pixels=pixels, alpha=alpha, encoded=None)


def quantise(values: NDArray[np.float32], depth: int) -> NDArray[Any]:
    """float32 in [0, 1] -> uint8 (depth 8), uint16 (16) or as it is (32); halves are rounded up."""
    if depth == 32:
        return values
    scaled = values * np.float32(_top(depth))
    scaled += np.float32(0.5)
    return scaled.astype(np.uint8 if depth == 8 else np.uint16)


def _same_plane(one: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    if one is other or one is None or other is None:
        return one is other
    return one.dtype == other.dtype and np.array_equal(one, other)


def _top(depth: int) -> int:
    """The value of white: 255 or 65535."""
    return int(2**depth - 1)


def _luma(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    # Written as differences from green so that equal channels give exactly their common value.
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    luma = green + np.float32(0.299) * (red - green) + np.float32(0.114) * (blue - green)
    clipped: NDArray[np.float32] = np.clip(luma, 0.0, 1.0)
    return clipped


def _ordered(colours: NDArray[Any], order: ChannelOrder) -> NDArray[Any]:
    """A new contiguous (H, W, 3); with `rgb`, red and blue change places."""
    if order == "bgr":
        return colours.copy()
    import cv2

    swapped: NDArray[Any] = cv2.cvtColor(np.ascontiguousarray(colours), cv2.COLOR_RGB2BGR)
    return swapped


def _check_order(order: str) -> None:
    if order not in ("bgr", "rgb"):
        raise OptionError(f"channel_order={order!r} is not one of bgr, rgb")


def _check_array(array: object) -> None:
    if not isinstance(array, np.ndarray):
        raise ImageValueError(f"an image is a numpy array, not {type(array).__name__}")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageValueError(f"shape {array.shape} is not (H, W), (H, W, 3) or (H, W, 4)")
    if array.size == 0:
        raise ImageValueError(f"shape {array.shape} has no pixels")
    if array.dtype not in DEPTHS:
        raise ImageValueError(
            f"dtype {array.dtype} is not uint8, uint16 or float32",
            remedy="convert it, with floats in [0, 1]",
        )
    if array.dtype == np.float32:
        _check_range(array)


def _check_range(array: NDArray[Any]) -> None:
    low, high = float(array.min()), float(array.max())  # both NaN if there is one anywhere
    if np.isnan(low):
        raise ImageValueError("the array has values that are NaN")
    if low < 0.0 or high > 1.0:
        raise ImageValueError(
            f"float values range from {low:g} to {high:g}, outside 0 … 1",
            remedy="scale them first; vaetools does not guess a range",
        )
