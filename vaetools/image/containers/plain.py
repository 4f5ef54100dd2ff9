"""Formats that are handed to their decoder as they are."""

from __future__ import annotations

from vaetools.image.containers.base import Bare, Container
from vaetools.image.metadata.writing import Holds

NOTHING = Holds()


def unwrapped_by_decoder(
    name: str, suffixes: tuple[str, ...], signature: bytes, holds: Holds = NOTHING
) -> Container:
    """A container that only Pillow takes apart; what metadata it finds counts."""

    def unwrap(data: bytes, strict: bool) -> Bare:  # noqa: ARG001 - the decoder sees damage itself
        return Bare(name, data, metadata=None)

    return Container(name, suffixes, signature, unwrap, holds)


BMP = unwrapped_by_decoder(
    "bmp",
    (".bmp", ".dib"),
    rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
    Holds(frozenset({"density"})),
)
PPM = unwrapped_by_decoder("ppm", (".ppm", ".pgm", ".pbm", ".pnm"), rb"P[1-6][\s#]")
