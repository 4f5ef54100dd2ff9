"""Edits of XMP packets: what is meant is changed, and no other byte."""

from __future__ import annotations

import pytest

from tests.image.described import xmp
from vaetools.image.metadata.xmp import (
    TIFF,
    XmpError,
    is_position,
    is_thumbnail,
    merged,
    packet_of,
    properties,
    with_values,
    without,
)

OTHER = xmp("<xmp:Label>kept</xmp:Label>")
THUMBNAILS = {
    "empty": "<xmp:Thumbnails/>",
    "empty with space": "<xmp:Thumbnails />",
    "attributes": '<xmp:Thumbnails rdf:parseType="Resource"/>',
    "both tags": "<xmp:Thumbnails></xmp:Thumbnails>",
    "nested": "<xmp:Thumbnails><rdf:Alt><rdf:li/><rdf:li>/9j/</rdf:li></rdf:Alt></xmp:Thumbnails>",
    "angle": "<xmp:Thumbnails xmp:Label='a > b'>x</xmp:Thumbnails>",
    "comment": "<xmp:Thumbnails><!-- </xmp:Thumbnails> -->x</xmp:Thumbnails>",
    "cdata": "<xmp:Thumbnails><![CDATA[</xmp:Thumbnails>]]></xmp:Thumbnails>",
    "other prefix": '<xap:Thumbnails xmlns:xap="http://ns.adobe.com/xap/1.0/">x</xap:Thumbnails>',
    "twice": "<xmp:Thumbnails/><xmp:Thumbnails>x</xmp:Thumbnails>",
}


@pytest.mark.parametrize("inside", THUMBNAILS.values(), ids=THUMBNAILS)
@pytest.mark.parametrize("order", [1, -1])
def test_a_property_is_cut_out_and_nothing_else(inside, order):
    parts = [inside, "<xmp:Label>kept</xmp:Label>"][::order]
    assert without(xmp("".join(parts)), is_thumbnail) == OTHER


def test_an_empty_element_at_the_end_of_its_parent():
    packet = xmp("<xmp:Label>kept</xmp:Label><rdf:Bag><xmp:Thumbnails/></rdf:Bag>")
    assert without(packet, is_thumbnail) == packet.replace(b"<xmp:Thumbnails/>", b"")


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ('exif:GPSLatitude="1" xmp:Rating="4"', 'xmp:Rating="4"'),
        ("xmp:Rating='4'  exif:GPSAltitude = '1'", "xmp:Rating='4'"),
        ('xmp:Label="exif:GPSLatitude=1" exif:GPSMapDatum="&quot;"',
         'xmp:Label="exif:GPSLatitude=1"'),
    ],
)  # fmt: skip
def test_attributes_are_cut_out(attributes, expected):
    assert without(xmp(attributes=attributes), is_position) == xmp(attributes=expected)


def test_values_are_replaced_in_both_forms():
    packet = xmp("<tiff:ImageWidth>64</tiff:ImageWidth>", "tiff:ImageLength='48'")
    values = {(TIFF, "ImageWidth"): "7", (TIFF, "ImageLength"): "9", (TIFF, "Orientation"): "1"}
    expected = xmp("<tiff:ImageWidth>7</tiff:ImageWidth>", 'tiff:ImageLength="9"')
    assert with_values(packet, values) == expected


def test_properties_in_both_forms():
    found = properties(xmp("<tiff:Orientation> 6 </tiff:Orientation>", 'tiff:ImageWidth="9"'))
    assert (found[TIFF, "Orientation"], found[TIFF, "ImageWidth"]) == ("6", "9")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-8-sig", "utf-8"])
def test_encodings(encoding):
    text = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><a>\u00fc</a></x:xmpmeta>'
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    assert packet_of(mark + text.encode(encoding) + b"\0\0") == text.encode()


@pytest.mark.parametrize("packet", [
    b"", b"text", b"<a>", b"<a:b/>", b"<a></b>", b"\xff\xfe\xff", b"<!DOCTYPE a><a/>", b"\xfe\xff\0",
    b"<a b='1' b='2'/>",
], ids=str)  # fmt: skip
def test_what_is_no_packet_is_refused(packet):
    with pytest.raises(XmpError):
        packet_of(packet)


def test_packets_that_do_not_fit_together():
    for extension in (b"<a/>", xmp().replace(b"rdf:RDF", b"rdf:XYZ")):
        with pytest.raises(XmpError, match="rdf:RDF"):
            merged(xmp(), extension)
