"""IPTC-IIM records, and the Photoshop image resources ("8BIM") that most containers put around them.

Reference: IPTC-IIM 4.2; Adobe Photoshop File Formats Specification, "Image Resources".
"""

from __future__ import annotations

import struct

IPTC_RESOURCE = 0x0404
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
    """The records in a block that may have an image resource around it; None if there are none."""
    inner = resource(content, IPTC_RESOURCE) if content[:4] in _SIGNATURES else content
    return inner if inner is not None and inner[:1] == b"\x1c" else None
