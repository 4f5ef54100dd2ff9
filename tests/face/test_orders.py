"""The channel order of steps that are made of steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from vaetools.errors import UsageError
from vaetools.testing import gradient

if TYPE_CHECKING:
    from vaetools.hub import Hub


def test_steps_keep_their_channel_order(hub: Hub) -> None:
    rgb = np.ascontiguousarray(gradient()[..., ::-1])
    step = hub.op("mask-colour", colour="#ff0000", channel_order="rgb")
    assert hub.op(step).channel_order == "rgb"
    assert hub.chain(step).channel_order == hub.chain([step], "denoise").channel_order == "rgb"
    assert hub.op("denoise").channel_order == hub.chain("denoise").channel_order == "bgr"
    expected = step(rgb)
    for op in (step, [step]):
        assert np.array_equal(next(hub.stream(op, [rgb])), expected)
    packed = hub.chain(hub.op("denoise", sigma=0, channel_order="rgb"), "compress")(rgb)
    assert packed == hub.compress(gradient())


def test_the_order_that_is_given_wins(hub: Hub) -> None:
    step = hub.op("denoise", channel_order="rgb")
    assert hub.op(step, channel_order="bgr").channel_order == "bgr"
    assert hub.chain(step, hub.op("denoise"), channel_order="rgb").channel_order == "rgb"
    with pytest.raises(UsageError, match="channel_order='' is not bgr or rgb"):
        hub.op(step, channel_order="")  # type: ignore[call-overload]


def test_steps_that_disagree_are_refused(hub: Hub) -> None:
    steps = hub.op("denoise"), hub.op("denoise", channel_order="rgb")
    for call in (lambda: hub.chain(*steps), lambda: hub.stream([*steps], [gradient()])):
        with pytest.raises(UsageError, match="steps have different channel orders; pass channel"):
            call()
