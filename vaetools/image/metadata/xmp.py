"""XMP packets, edited where they have to be and left alone byte by byte everywhere else.

A serialiser would rename prefixes and lose comments and padding. So expat only says where the
elements are, and the bytes there are replaced or cut out. A packet is read again after an edit.
Reference: ISO 16684-1 (XMP part 1); XMP Specification Part 3 for JPEG's extended packets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.parsers import expat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

TIFF = "http://ns.adobe.com/tiff/1.0/"
EXIF = "http://ns.adobe.com/exif/1.0/"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_NOTE = "http://ns.adobe.com/xmp/note/"
_GEO = "http://www.w3.org/2003/01/geo/wgs84_pos#"

_GAIN_MAP = ("http://ns.adobe.com/hdr-gain-map/1.0/", "http://ns.apple.com/HDRGainMap/1.0/")
_CONTAINER = (
    "http://ns.google.com/photos/1.0/container/",
    "http://ns.google.com/photos/1.0/container/item/",
)
_CAMERA = "http://ns.google.com/photos/1.0/camera/"
_PICTURES = ("http://ns.google.com/photos/1.0/image/", "http://ns.google.com/photos/1.0/depthmap/")

_POSITION = re.compile(r"gps|latitude|longitude|altitude", re.IGNORECASE)
_MOTION = re.compile(r"MotionPhoto|MicroVideo")
_TAG_END = re.compile(rb"""<[^<>"']*(?:"[^"]*"[^<>"']*|'[^']*'[^<>"']*)*>""")
_ATTRIBUTE = re.compile(rb"""\s+([^\s=<>"'/]+)\s*=\s*(?:"[^"]*"|'[^']*')""")

Name = tuple[str, str]
"""Namespace and local name."""


class XmpError(Exception):
    """The packet cannot be read."""


@dataclass
class _Scan:
    """What expat finds: every element and attribute, with its place in the bytes.

    Attributes:
        elements: (name, start, stop) in the order in which they end; nested ones are inside others.
        attributes: (name, its name as written, start of the tag, stop of the tag, value).
        texts: the text of elements without others inside, by start.
    """

    data: bytes
    elements: list[tuple[Name, int, int]] = field(default_factory=list)
    attributes: list[tuple[Name, str, int, int, str]] = field(default_factory=list)
    texts: dict[int, str] = field(default_factory=dict)
    _open: list[tuple[Name, int]] = field(default_factory=list)
    _text: str = ""

    def run(self) -> _Scan:
        parser = expat.ParserCreate("UTF-8", namespace_separator="\n")
        parser.namespace_prefixes = True
        parser.buffer_text = True
        parser.StartElementHandler = lambda name, attrs: self._start(
            name, attrs, parser.CurrentByteIndex
        )
        parser.EndElementHandler = lambda _: self._end(parser.CurrentByteIndex)
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = _refuse  # no entities: they could grow without bounds
        try:
            parser.Parse(self.data, True)
        except (expat.ExpatError, ValueError) as error:
            raise XmpError(str(error)) from None
        return self

    def _start(self, name: str, attributes: Mapping[str, str], at: int) -> None:
        self._open.append((_split(name)[0], at))
        self._text = ""
        if attributes:
            stop = self._tag_stop(at)
            for key, value in attributes.items():
                split, written = _split(key)
                self.attributes.append((split, written, at, stop, value))

    def _end(self, at: int) -> None:
        name, start = self._open.pop()
        if self._text:
            self.texts[start] = self._text
        self._text = ""
        # Behind an empty tag (<a/>) expat is already at its end, otherwise at the start of </a>.
        is_empty = self.data[at - 2 : at] == b"/>" and self._tag_stop(start) == at
        self.elements.append((name, start, at if is_empty else self._tag_stop(at)))

    def _characters(self, text: str) -> None:
        self._text += text

    def _tag_stop(self, at: int) -> int:
        found = _TAG_END.match(self.data, at)
        if found is None:
            raise XmpError("a tag has no end")
        return found.end()


def _refuse(*_: object) -> None:
    raise XmpError("it has a document type")


def _split(name: str) -> tuple[Name, str]:
    """Namespace and local name, and the name as it is written."""
    parts = name.split("\n")
    if len(parts) == 1:
        return ("", name), name
    written = f"{parts[2]}:{parts[1]}" if len(parts) > 2 else parts[1]
    return (parts[0], parts[1]), written


def packet_of(data: bytes) -> bytes:
    """The packet as UTF-8 without zeros at its end. Raises `XmpError` if it cannot be read."""
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            try:
                data = data.decode(encoding).encode()
            except UnicodeError as error:
                raise XmpError(str(error)) from None
    data = data.removeprefix(b"\xef\xbb\xbf").strip(b"\0").strip()
    _Scan(data).run()
    return data


def properties(packet: bytes) -> dict[Name, str]:
    """The simple properties: attributes, and elements with text only."""
    scan = _Scan(packet).run()
    found = {name: value for name, _, _, _, value in scan.attributes}
    for name, start, _ in scan.elements:
        if start in scan.texts and scan.texts[start].strip():
            found.setdefault(name, scan.texts[start].strip())
    return found


def with_values(packet: bytes, values: Mapping[Name, str]) -> bytes:
    """The packet with other values of simple properties, where they are there."""
    scan = _Scan(packet).run()
    edits = []
    for name, start, stop in scan.elements:
        if name in values and start in scan.texts:
            begin, end = _TAG_END.match(packet, start), packet.rfind(b"</", start, stop)
            if begin is not None and end >= begin.end():
                edits.append((begin.end(), end, values[name].encode()))
    for name, written, span in _places(scan, values.__contains__):
        edits.append((*span, f' {written}="{values[name]}"'.encode()))
    return _edited(packet, edits)


def without(packet: bytes, unwanted: Callable[[Name], bool]) -> bytes:
    """The packet without the properties that `unwanted` names, elements and attributes."""
    scan = _Scan(packet).run()
    edits = [(start, stop, b"") for name, start, stop in scan.elements if unwanted(name)]
    edits += [(*span, b"") for _, _, span in _places(scan, unwanted)]
    return _edited(packet, edits)


def _places(
    scan: _Scan, wanted: Callable[[Name], bool]
) -> Iterator[tuple[Name, str, tuple[int, int]]]:
    """(name, name as written, span) of attributes."""
    by_tag: dict[tuple[int, int], dict[bytes, Name]] = {}
    for name, written, start, stop, _ in scan.attributes:
        if wanted(name):
            by_tag.setdefault((start, stop), {})[written.encode()] = name
    for (start, stop), names in by_tag.items():
        for found in _ATTRIBUTE.finditer(scan.data, start, stop):
            if found[1] in names:
                yield names[found[1]], found[1].decode(), found.span()


def _edited(packet: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """The packet with its spans replaced; a span inside of another one goes with it."""
    if not edits:
        return packet
    parts, at = [], 0
    for start, stop, content in sorted(edits, key=lambda e: (e[0], -e[1])):
        if start >= at:
            parts += [packet[at:start], content]
            at = stop
    edited = b"".join([*parts, packet[at:]])
    _Scan(edited).run()
    return edited


def is_thumbnail(name: Name) -> bool:
    """Whether a property holds a picture: xmp:Thumbnails, or those of Google's camera."""
    return name[1] == "Thumbnails" or (name[0] in _PICTURES and name[1] == "Data")


def is_position(name: Name) -> bool:
    """Whether a property holds a geographic position, in any schema."""
    return name[0] == _GEO or _POSITION.search(name[1]) is not None


def is_about_other_images(name: Name) -> bool:
    """Whether a property describes a gain map, a video or another image in the same file."""
    if name[0] in _GAIN_MAP or name[0] in _CONTAINER:
        return True
    return name == (_NOTE, "HasExtendedXMP") or (
        name[0] == _CAMERA and _MOTION.match(name[1]) is not None
    )


def has_gain_map(found: Mapping[Name, str]) -> bool:
    """Whether the properties of a packet say that the file holds a gain map."""
    return any(
        name[0] in _GAIN_MAP or (name[0] == _CONTAINER[1] and value == "GainMap")
        for name, value in found.items()
    )


def has_motion(found: Mapping[Name, str]) -> bool:
    """Whether the properties of a packet say that a video stands behind the image."""
    return any(
        name[0] == _CAMERA and name[1] in ("MotionPhoto", "MicroVideo") and value == "1"
        for name, value in found.items()
    )


def fitted_xmp(
    packet: bytes, width: int, height: int, density: tuple[float, float] | None
) -> bytes:
    """The packet with this size and resolution, in the properties that are there for them."""
    values = {
        (TIFF, "Orientation"): "1",
        (TIFF, "ImageWidth"): str(width),
        (TIFF, "ImageLength"): str(height),
        (EXIF, "PixelXDimension"): str(width),
        (EXIF, "PixelYDimension"): str(height),
    }
    if density is not None:
        values[TIFF, "XResolution"], values[TIFF, "YResolution"] = map(_rational, density)
        values[TIFF, "ResolutionUnit"] = "2"
    return with_values(packet, values)


def _rational(value: float) -> str:
    below = 1 if abs(value - round(value)) < 0.005 else 10000
    return f"{round(value * below)}/{below}"


def merged(packet: bytes, extension: bytes) -> bytes:
    """One packet with the properties of both: JPEG's extended XMP put back.

    Raises:
        XmpError: one of them cannot be read, or they do not fit together.
    """
    inner, outer = (_description_spans(p) for p in (extension, packet))
    declared = b"".join(
        found
        for found in re.findall(rb"""\sxmlns:[^\s=]+\s*=\s*(?:"[^"]*"|'[^']*')""", inner.head)
        if found.split(b"=")[0].strip() not in outer.head
    )
    # Declarations of the extension's outer elements move to those of the packet.
    start, stop = outer.tag
    tag = packet[start : stop - 1] + declared + b">"
    edited = packet[:start] + tag + packet[stop : outer.stop] + inner.content + packet[outer.stop :]
    edited = without(edited, lambda name: name == (_NOTE, "HasExtendedXMP"))
    _Scan(edited).run()
    return edited


@dataclass(frozen=True)
class _Root:
    """rdf:RDF in a packet: its start tag, what is before its content, content, its end."""

    tag: tuple[int, int]
    head: bytes
    content: bytes
    stop: int


def _description_spans(packet: bytes) -> _Root:
    scan = _Scan(packet).run()
    roots = [(start, stop) for name, start, stop in scan.elements if name == (RDF, "RDF")]
    if len(roots) != 1:
        raise XmpError("it has no rdf:RDF")
    start, stop = roots[0]
    found = _TAG_END.match(packet, start)
    end = packet.rfind(b"</", start, stop)
    if found is None or end < found.end():
        raise XmpError("its rdf:RDF is empty")
    return _Root(found.span(), packet[: found.end()], packet[found.end() : end], end)


def split(digest: str) -> bytes:
    """The short packet that stands before an extended one whose MD5 is `digest`."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF xmlns:rdf="{RDF}">'
        f'<rdf:Description rdf:about="" xmlns:xmpNote="{_NOTE}" '
        f'xmpNote:HasExtendedXMP="{digest}"/>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()
