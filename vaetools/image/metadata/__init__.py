"""Metadata by meaning: ICC, EXIF, XMP, IPTC, code points and density, whatever holds them."""

from vaetools.image.metadata.fields import Cicp, Density, Metadata

__all__ = ["Cicp", "Density", "Metadata"]
