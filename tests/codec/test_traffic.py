"""What the codec hands to a device and takes back, and how often: small tensors, and few calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from vaetools.image import Image
from vaetools.model.session import Session

if TYPE_CHECKING:
    from vaetools.codec import Codec

KODAK = 768 * 512
"""Pixels of the image for which the limit was set."""

LIMIT = 2.5e6 / KODAK
"""Bytes per pixel, both ways together, for encoding as for decoding."""


class Traffic:
    """Calls of sessions on the device, with the bytes that they move."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    @property
    def bytes(self) -> int:
        return sum(moved for _, moved in self.calls)


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> Traffic:
    found = Traffic()
    run = Session.run

    def counted(
        session: Session, values: list[np.ndarray], **options: object
    ) -> tuple[np.ndarray, ...]:
        results = run(session, values, **options)  # type: ignore[arg-type]
        if not session.name.endswith("hyper_scale_index.onnx"):  # exact: on the CPU on any device
            moved = sum(array.nbytes for array in (*values, *results))
            found.calls.append((session.name, moved))
        return results

    monkeypatch.setattr(Session, "run", counted)
    return found


@pytest.fixture(scope="module")
def photo(astronaut: np.ndarray) -> Image:
    """(256, 320, 3) uint8 BGR."""
    return Image(np.ascontiguousarray(astronaut[:256, 100:420]))


def test_an_image_of_one_tile_crosses_as_bytes_and_small_integers(
    codec: Codec, photo: Image, traffic: Traffic
) -> None:
    written = codec.encode(photo, 75)
    assert len(traffic.calls) == 1
    assert traffic.bytes / (photo.width * photo.height) <= LIMIT
    traffic.calls.clear()
    codec.decode(written)
    assert len(traffic.calls) == 1
    assert traffic.bytes / (photo.width * photo.height) <= LIMIT


def test_a_search_for_decibels_computes_nothing_twice(
    codec: Codec, photo: Image, traffic: Traffic
) -> None:
    probes = codec.probes(photo)
    found = probes.at_psnr(34)
    rates = len(probes._psnr)
    assert 5 <= rates <= 10
    assert len(traffic.calls) == 1 + 2 * rates  # one analysis; each rate is coded and decoded
    assert probes._psnr[found.container.level] == pytest.approx(34, abs=0.5)
    again = codec.code(probes.analysis, found.container.level)
    assert again.container.pack() == found.container.pack()


def test_a_search_for_a_size_decodes_nothing(codec: Codec, photo: Image, traffic: Traffic) -> None:
    probes = codec.probes(photo)
    probes.at_size(9000)
    assert len(traffic.calls) == 1 + len(probes._encoded)


def test_kept_symbols_decode_to_what_the_file_does(
    mini: Codec, photo: Image, traffic: Traffic
) -> None:
    for drop in (None, np.arange(20).reshape(4, 5)):
        found = mini.code(mini.analyse(photo, drop), 60, keep_symbols=True)
        expected = mini.decode(found.container.pack()).pixels
        before = len(traffic.calls)
        np.testing.assert_array_equal(mini.decoded(found).pixels, expected)
        assert len(traffic.calls) > before
        assert found.coded is not None and found.coded.r.dtype == np.int16
