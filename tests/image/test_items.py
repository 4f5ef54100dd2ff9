"""Metadata of AVIF and HEIF files."""

from __future__ import annotations

import struct

import pytest

from tests.image.samples import icc_profile
from vaetools.image import Cicp
from vaetools.image.containers.isobmff import Items, blocks_of

CODE_POINTS = (b"colr", b"nclx" + struct.pack(">HHHB", 12, 13, 6, 128))
PROFILE = (b"colr", b"prof" + icc_profile())


def test_a_profile_counts_and_not_the_code_points_beside_it():
    alone = blocks_of(b"", Items(properties=[CODE_POINTS]), applied=False)
    assert alone.cicp == Cicp(12, 13)
    for properties in ([CODE_POINTS, PROFILE], [PROFILE, CODE_POINTS]):
        both = blocks_of(b"", Items(properties=properties), applied=False)
        assert (both.icc, both.cicp) == (icc_profile(), None)


@pytest.mark.parametrize(
    ("data", "kinds"),
    [(b"", {1: (b"av01", b""), 2: (b"tmap", b"")}),
     (b"..urn:com:apple:photo:2020:aux:hdrgainmap\0", {1: (b"hvc1", b"")})],
    ids=["tmap", "Apple"],
)  # fmt: skip
def test_a_gain_map_is_named(data, kinds):
    metadata, _ = blocks_of(data, Items(kinds=kinds), applied=True).understood()
    assert metadata.notes == ("gain map",)
