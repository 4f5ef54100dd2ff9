"""The learned image codec: image <-> `.vae` file."""

from vaetools.codec.codec import Codec
from vaetools.codec.container import Container, Section, SectionKind, read_header
from vaetools.codec.encoding import Analysis, Encoded
from vaetools.codec.region import Region, lower_outside, roi_level_drop

__all__ = [
    "Analysis",
    "Codec",
    "Container",
    "Encoded",
    "Region",
    "Section",
    "SectionKind",
    "lower_outside",
    "read_header",
    "roi_level_drop",
]
