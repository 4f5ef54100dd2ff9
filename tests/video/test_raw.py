"""Raw frames: reading what FFmpeg writes, writing what FFmpeg reads."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from tests.paths import PLUGINS
from vaetools.errors import DamagedImageError, ImageValueError, InputError, OptionError, UsageError
from vaetools.hub import Hub
from vaetools.plugin.host import PluginHost
from vaetools.video import parse_raw
from vaetools.video.raw import FORMATS


@pytest.fixture
def hub(tiny_models: Path) -> Hub:
    host = PluginHost(builtin=False, installed=False, folders=[PLUGINS])
    return Hub(host, [tiny_models], device="cpu", threads=1)


def through(hub: Hub, op: str, data: bytes, raw: str, **settings: object) -> bytes:
    sink = io.BytesIO()
    hub.pipe(op, io.BytesIO(data), sink, raw=raw, **settings)  # type: ignore[arg-type]
    return sink.getvalue()


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_goes_in_and_out(hub: Hub, name: str) -> None:
    """The negative of the negative is the original, unless the layout is misread."""
    raw = f"6x4:{name}"
    data = np.random.default_rng(0).bytes(3 * parse_raw(raw).nbytes)
    once = through(hub, "negative", data, raw)
    assert len(once) == len(data) and once != data
    assert through(hub, "negative", once, raw) == data
    assert through(hub, "negative,negative", data, raw, threads=2) == data


def test_frames_are_arrays_in_the_layout_of_opencv() -> None:
    data = bytes(range(2 * 3 * 3 * 2))
    (first, second) = parse_raw("3x2:bgr24").frames(io.BytesIO(data))
    assert first.shape == (2, 3, 3) and first.dtype == np.uint8
    assert first[0, 1].tolist() == [3, 4, 5] and second[0, 0].tolist() == [18, 19, 20]
    first[:] = 0  # its own memory
    (deep,) = parse_raw("1x1:gray16le").frames(io.BytesIO(b"\x34\x12"))
    assert deep.shape == (1, 1) and deep[0, 0] == 0x1234


def test_channel_order_is_that_of_the_format(hub: Hub) -> None:
    """`dust` draws noise for red, green and blue, so the result must not depend on the order."""
    bgr = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    rgb = np.ascontiguousarray(bgr[:, :, ::-1])
    one = np.frombuffer(through(hub, "dust", bgr.tobytes(), "6x4:bgr24"), np.uint8)
    other = np.frombuffer(through(hub, "dust", rgb.tobytes(), "6x4:rgb24"), np.uint8)
    assert np.array_equal(one.reshape(4, 6, 3), other.reshape(4, 6, 3)[:, :, ::-1])


def test_an_incomplete_frame_is_an_error_after_the_complete_ones(hub: Hub) -> None:
    sink = io.BytesIO()
    with pytest.raises(DamagedImageError, match="ends within frame 2: 10 of 72 bytes"):
        hub.pipe("negative", io.BytesIO(bytes(2 * 72 + 10)), sink, raw="6x4:bgr24")
    assert sink.getvalue() == b"\xff" * (2 * 72)
    assert hub.pipe("negative", io.BytesIO(b""), sink, raw="6x4:bgr24") == 0


@pytest.mark.parametrize("raw", ["", "6x4", "6x4:", "0x4:bgr24", "6x4:yuv420p", "6x4:bgr24:25"])
def test_a_bad_layout_is_an_error(raw: str) -> None:
    with pytest.raises(OptionError, match="bgr24, rgb24"):
        parse_raw(raw)


def test_an_operation_that_does_not_return_one_frame_for_a_frame(hub: Hub) -> None:
    data = bytes(72)
    for op in ("pair", "pack", "unpack", "negative,pack"):
        with pytest.raises(UsageError, match=f"{op} does not return one image for each frame"):
            through(hub, op, data, "6x4:bgr24")
    with pytest.raises(ImageValueError, match=r"returned uint8 of shape \(2, 3, 3\)"):
        through(hub, "halve", data, "6x4:bgr24")
    with pytest.raises(InputError, match="a bad frame"):
        through(hub, "slow", 2 * data, "6x4:bgr24", bad="1")
