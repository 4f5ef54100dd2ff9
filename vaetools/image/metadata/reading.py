"""From the blocks that a container holds to `Metadata`: the one place that knows what they mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vaetools.image.metadata import xmp as packets
from vaetools.image.metadata.exif import (
    density_of_exif,
    is_adobe_rgb,
    is_exif,
    split_exif,
    without_thumbnails,
)
from vaetools.image.metadata.fields import ADOBE_RGB, MAX_BLOCK, Density, Metadata
from vaetools.image.metadata.iptc import IPTC_RESOURCE, records_of, resource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vaetools.image.metadata.fields import Calibration, Cicp

_CENTIMETRES = 2.54
_TOP_DENSITY = 1e6  # pixels per inch: more is no density


@dataclass
class Blocks:
    """Blocks of metadata as a container holds them; empty where there is none.

    Attributes:
        exif: with or without the prefix `Exif`.
        xmp: a packet.
        extended_xmp: JPEG's second packet, put together.
        photoshop: image resources ("8BIM"); IPTC is taken from there.
        iptc: IPTC records, with or without an image resource around them.
        orientation: what the container itself says, 1 … 8; 0 where the EXIF block says it.
        more_images: how many further images the file holds, a gain map among them.
        has_gain_map: whether there is one. XMP may say so as well.
        has_previews: whether smaller copies of the image stand behind it.
        has_tail: whether anything stands behind the image.
        notes: as in `Metadata`.
    """

    icc: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""
    extended_xmp: bytes = b""
    photoshop: bytes = b""
    iptc: bytes = b""
    cicp: Cicp | None = None
    calibration: Calibration | None = None
    density: Density | None = None
    orientation: int = 0
    more_images: int = 0
    has_gain_map: bool = False
    has_previews: bool = False
    has_tail: bool = False
    notes: list[str] = field(default_factory=list)

    def understood(self) -> tuple[Metadata, int]:
        """The metadata of the upright image, and the orientation 1 … 8 that is to be applied."""
        for name, kind in (("exif", 1058), ("xmp", 1060), ("icc", 1039)):
            if self.photoshop and not getattr(self, name):
                setattr(self, name, resource(self.photoshop, kind) or b"")
        for name in ("icc", "exif", "xmp", "extended_xmp", "photoshop", "iptc"):
            if len(getattr(self, name)) > MAX_BLOCK:
                self.notes.append(f"{name.upper()} of {len(getattr(self, name)):,} bytes")
                setattr(self, name, b"")
        exif, orientation = self._exif()
        packet, turned = self._packet()
        orientation = self.orientation or orientation or turned or 1
        density = _plausible(self.density) or _plausible(_of_exif(exif))
        if density is not None and orientation >= 5:
            density = Density(density.y, density.x, density.absolute)
        is_described = self.icc or self.cicp or self.calibration
        if not is_described and exif and is_adobe_rgb(exif):
            self.calibration = ADOBE_RGB
        iptc = records_of(self.iptc) or records_of(resource(self.photoshop, IPTC_RESOURCE) or b"")
        metadata = Metadata(
            icc=self.icc or None,
            exif=exif,
            xmp=packet or None,
            iptc=iptc or None,
            cicp=self.cicp,
            calibration=self.calibration,
            density=density,
            notes=tuple(dict.fromkeys([*self.notes, *self._further()])),
        )
        return metadata, orientation

    def _further(self) -> Iterator[str]:
        """What stands behind the image, or beside it."""
        if self.has_gain_map:
            yield "gain map"
        count = self.more_images - self.has_gain_map
        if count > 0:
            yield f"{count} more image{'s' * (count > 1)}"
        if self.has_tail and not (self.has_gain_map or self.more_images or self.has_previews):
            yield "data behind the image"

    def _exif(self) -> tuple[bytes | None, int]:
        """The upright block, and its orientation; 0 if it has none."""
        block, orientation = split_exif(self.exif)
        if block is None:
            return None, 0
        if not is_exif(block):
            self.notes.append("EXIF that cannot be read")
            return None, 0
        block, taken = without_thumbnails(block)
        for name, content in taken.items():
            if not getattr(self, name):
                setattr(self, name, content)
        return block, orientation

    def _packet(self) -> tuple[bytes, int]:
        """The packet without thumbnails and orientation, and the orientation that it had, or 0."""
        try:
            packet = packets.packet_of(self.xmp) if self.xmp else b""
        except packets.XmpError:
            self.notes.append("XMP that is not well formed")
            return b"", 0
        if self.extended_xmp:
            try:
                packet = packets.merged(packet, packets.packet_of(self.extended_xmp))
            except packets.XmpError:
                self.notes.append("extended XMP that is not well formed")
        if not packet:
            return b"", 0
        found = packets.properties(packet)
        self.has_gain_map |= packets.has_gain_map(found)
        if packets.has_motion(found):
            self.notes.append("motion photo's video")
            self.has_tail = False
        value = found.get((packets.TIFF, "Orientation"), "")
        try:
            packet = packets.without(packet, _is_unwanted)
            packet = packets.with_values(packet, {(packets.TIFF, "Orientation"): "1"})
        except packets.XmpError:
            self.notes.append("XMP that cannot be edited")
            return b"", 0
        return packet, int(value) if value in set("12345678") else 0


def _is_unwanted(name: packets.Name) -> bool:
    return packets.is_thumbnail(name) or packets.is_about_other_images(name)


def _of_exif(exif: bytes | None) -> Density | None:
    found = density_of_exif(exif) if exif else None
    return None if found is None else density_of(*found)


def density_of(x: float, y: float, unit: int) -> Density:
    """TIFF's resolution: unit 1 is a ratio, 2 per inch, 3 per centimetre."""
    factor = _CENTIMETRES if unit == 3 else 1.0
    return Density(x * factor, y * factor, absolute=unit != 1)


def _plausible(density: Density | None) -> Density | None:
    """The density if it says something: positive, and not just square pixels."""
    if density is None or not (0 < density.x < _TOP_DENSITY and 0 < density.y < _TOP_DENSITY):
        return None
    return density if density.absolute or density.x != density.y else None
