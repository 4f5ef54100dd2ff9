"""`Opened`: a file whose header has been read, and nothing decoded yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from vaetools.image.metadata.reading import Blocks

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Planes: TypeAlias = "tuple[NDArray[Any], NDArray[Any] | None]"
"""Pixels, (H, W) or (H, W, 3) BGR, and alpha; uint8 or uint16."""


@dataclass(frozen=True)
class Opened:
    """What the header says.

    Attributes:
        width, height: of the pixels as they are stored.
        mode: Pillow's name for the kind of pixels, and ` 16 bit` where samples are uint16.
        decode: called with `strict`; returns planes, with the orientation still to be applied.
        frames: how many frames or pages, if the decoder knows more of them than the container.
        blocks: metadata, if only the decoder knows it.
        keeps_icc: whether pixels are still in the colour space of the ICC profile.
    """

    width: int
    height: int
    mode: str
    decode: Callable[[bool], Planes]
    frames: int = 1
    blocks: Blocks = field(default_factory=Blocks)
    keeps_icc: bool = True
