"""Graphs with random damage: refused, or passed on, and nothing else."""

from __future__ import annotations

import random
import time

import pytest

from tests.attacks.hostile import data_of, floats, ints, node
from vaetools.errors import ModelBrokenError
from vaetools.graphcheck import check_graph

ROUNDS = 400


def layered() -> bytes:
    """A graph in which much is computed from sizes."""
    nodes = [
        node("Shape", "latent", "sides"),
        node("Gather", "sides,last", "width"),
        node("Mul", "width,two", "twice"),
        node("Concat", "keep,twice", "wanted", axis=0),
        node("Reshape", "latent,flat", "rows"),
        node("Expand", "scale,wanted", "large"),
        node("Pad", "latent,pads", "padded", mode="edge"),
        node("MaxPool", "padded", "pooled", kernel_shape=[3, 3], strides=[1, 1]),
        node("Resize", "pooled,,factors", "image", mode="nearest"),
    ]
    numbers = {"last": (3,), "two": (2,), "keep": (1, 3, 8), "flat": (1, -1)}
    constants = [ints(name, *values) for name, values in numbers.items()]
    constants += [ints("pads", 0, 0, 1, 1, 0, 0, 1, 1), floats("scale", 1)]
    return data_of(nodes, [*constants, floats("factors", 1, 1, 4, 4)])


def damaged(data: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, and perhaps a piece removed or doubled."""
    broken = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        broken[rng.randrange(len(broken))] = rng.choice(
            (0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256))
        )
    if rng.random() < 0.3:
        start = rng.randrange(len(broken))
        end = start + rng.randint(1, 16)
        broken[start:end] = broken[start:end] * rng.choice((0, 2))
    return bytes(broken)


@pytest.mark.parametrize("seed", range(4))
def test_damage_is_refused_or_harmless(seed: int) -> None:
    rng = random.Random(seed)
    data = layered()
    check_graph(data, "whole")
    lines = []
    for _ in range(ROUNDS):
        start = time.process_time()
        try:
            check_graph(damaged(data, rng), "damaged")
        except ModelBrokenError as error:
            lines.append(error.line)
        assert time.process_time() - start < 1
    assert len(lines) > ROUNDS / 2
    assert all(line.isprintable() for line in lines)
