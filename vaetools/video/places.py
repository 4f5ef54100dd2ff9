"""Positions in covers and subtitles of a video: what drones and phones write beside the metadata."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.errors import VaetoolsError
from vaetools.image import Origin, decode_image, encode_image
from vaetools.video.container import open_container

if TYPE_CHECKING:
    from pathlib import Path

_POSITION = re.compile(
    rb"\b(?:gps|lat(?:itude)?|lon(?:g|gt?itude)?)\s*[:=(\[]\s*[+-]?\d|\bhome\s*\(\s*[+-]?\d"
    rb"|[+-]\d{2}\.\d+[+-]\d{3}\.\d+",
    re.IGNORECASE,
)
"""A number behind the name of a position, as drones write it, or ISO 6709."""


def streams_with_places(path: Path) -> set[int]:
    """Indices of the subtitles that name a position."""
    found: set[int] = set()
    with open_container(path) as container:
        streams = [stream for stream in container.streams if stream.type == "subtitle"]
        packets: Any = container.demux(streams) if streams else ()
        for packet in packets:
            if packet.stream_index not in found and _POSITION.search(bytes(packet)):
                found.add(packet.stream_index)
    return found


def without_place(cover: bytes) -> bytes:
    """A cover image without its position; empty if the image cannot be read."""
    try:
        image = decode_image(cover)
        unchanged = np.packbits(np.zeros((image.height, image.width), bool), axis=1)
        origin = Origin(cover, unchanged)
        return encode_image(image, image.format or "jpeg", origin=origin, strip="gps")
    except VaetoolsError:
        return b""
