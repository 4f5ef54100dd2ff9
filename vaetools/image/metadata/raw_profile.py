"""Metadata as text in PNG files: ImageMagick's "Raw profile type ...", which exiv2 writes as well.

newline, name, newline, length in decimal, newline, hexadecimal digits in lines
"""

from __future__ import annotations

PREFIX = "Raw profile type "


def decoded(text: bytes) -> bytes:
    """The bytes of a raw profile; empty if the text is none."""
    parts = text.lstrip(b"\n").split(b"\n", 2)
    if len(parts) < 3:
        return b""
    try:
        length = int(parts[1])
        content = bytes.fromhex(parts[2].decode("ascii"))
    except ValueError:
        return b""
    return content[:length] if 0 <= length <= len(content) else b""


def encoded(name: str, content: bytes) -> bytes:
    """The text of a raw profile."""
    digits = content.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    return f"\n{name}\n{len(content):8d}\n{lines}\n".encode()
