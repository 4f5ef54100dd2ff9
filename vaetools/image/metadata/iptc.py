"""IPTC-IIM records, and the Photoshop image resources ("8BIM") that most containers put around them.

Reference: IPTC-IIM 4.2; Adobe Photoshop File Formats Specification, "Image Resources".
"""

from __future__ import annotations

import struct

IPTC_RESOURCE = 0x0404
_PREVIEWS = (b"\x02\xc8", b"\x02\xc9", b"\x02\xca")
"""Records 2:200 to 2:202: format, version and data of a small copy of the image."""
_SIGNATURES = (b"8BIM", b"PHUT", b"AgHg", b"DCSR", b"MeSa")


def resource(content: bytes, kind: int) -> bytes | None:
    """One image resource; None if there is none of that kind."""
    at = 0
    while at + 12 <= len(content) and content[at : at + 4] in _SIGNATURES:
        (number,) = struct.unpack_from(">H", content, at + 4)
        at += 6 + (1 + content[at + 6] + 1) // 2 * 2  # a name, padded to an even length
        if at + 4 > len(content):
            return None
        (size,) = struct.unpack_from(">L", content, at)
        if number == kind:
            return content[at + 4 : at + 4 + size]
        at += 4 + size + size % 2
    return None


def as_resource(iptc: bytes) -> bytes:
    """IPTC records as an image resource."""
    head = b"8BIM" + struct.pack(">HHL", IPTC_RESOURCE, 0, len(iptc))
    return head + iptc + b"\0" * (len(iptc) % 2)


def records_of(content: bytes) -> bytes | None:
    """The records in a block that may have an image resource around it; None if there are none.

    Previews are left out: they show the image as it was.
    """
    inner = resource(content, IPTC_RESOURCE) if content[:4] in _SIGNATURES else content
    if inner is None or inner[:1] != b"\x1c":
        return None
    return _without_previews(inner) or None


def _without_previews(records: bytes) -> bytes:
    kept, at = [], 0
    while at + 5 <= len(records) and records[at] == 0x1C:
        (size,) = struct.unpack_from(">H", records, at + 3)
        start = at + 5
        if size & 0x8000:  # the size of an extended record follows in its own bytes
            start += size & 0x7FFF
            size = int.from_bytes(records[at + 5 : start], "big")
        if records[at + 1 : at + 3] not in _PREVIEWS:
            kept.append(records[at : start + size])
        at = start + size
    return b"".join(kept) + records[at:]
