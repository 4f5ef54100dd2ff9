"""The learned image codec: image <-> `.vae` bitstream."""

from vaetools.codec.codec import Analysed, Codec, Region, lower_outside
from vaetools.codec.container import Container, Section, SectionKind, read_header

__all__ = [
    "Analysed",
    "Codec",
    "Container",
    "Region",
    "Section",
    "SectionKind",
    "lower_outside",
    "read_header",
]
