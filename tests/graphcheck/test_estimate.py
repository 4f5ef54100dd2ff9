"""The budget of a call is that of its images, however the shapes of inputs tell their sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from vaetools.errors import ModelBrokenError
from vaetools.graphcheck import check_graph
from vaetools.graphcheck.budget import MEMORY_PER_PIXEL, MIN_PIXELS
from vaetools.graphcheck.estimate import Estimator
from vaetools.model.pixels import with_uint8_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDE = 2048
"""Channels inside: they take 8 KiB for each pixel, half of what a graph may."""


def decoder(*sides: int | str, up: int) -> bytes:
    """Latents (B, 4, …) to images of `up` times their sides; a vector counts as 1 x 1."""
    vector = len(sides) == 1
    nodes = [helper.make_node("Unsqueeze", ["latent", "axes"], ["cells"])] if vector else []
    nodes += [
        helper.make_node("Conv", ["cells" if vector else "latent", "up"], ["small"]),
        helper.make_node("Resize", ["small", "", "scales"], ["wide"], mode="nearest"),
        helper.make_node("Conv", ["wide", "down"], ["image"]),
    ]
    return graph(nodes, "latent", sides, up)


def encoder() -> bytes:
    nodes = [
        helper.make_node("Conv", ["image", "up"], ["wide"]),
        helper.make_node("Conv", ["wide", "down"], ["mean"]),
    ]
    return graph(nodes, "image", [3, "height", "width"], 1)


def graph(nodes: list[Any], name: str, sides: Sequence[Any], scale: int) -> bytes:
    arrays = {
        "axes": np.array([2, 3]),
        "up": np.zeros((WIDE, sides[0], 1, 1), np.float32),
        "scales": np.array([1, 1, scale, scale], np.float32),
        "down": np.zeros((3, WIDE, 1, 1), np.float32),
    }
    constants = [numpy_helper.from_array(array, key) for key, array in arrays.items()]
    source = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *sides])
    output = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)
    made = helper.make_graph(nodes, "g", [source], [output], constants)
    return bytes(
        helper.make_model(
            made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10
        ).SerializeToString()
    )


def test_latents_of_one_size_count_as_the_image_of_the_model() -> None:
    for data, shape in (
        (decoder(4, 32, 32, up=8), (1, 4, 32, 32)),
        (decoder(4, up=256), (1, 4)),
    ):
        check_graph(data, "decode.onnx", size=(256, 256))
        found = Estimator(data, {}, size=(256, 256)).of({"latent": shape})
        assert found.memory > MEMORY_PER_PIXEL * MIN_PIXELS
        with pytest.raises(ModelBrokenError, match="the limit"):
            check_graph(data, "decode.onnx")


@pytest.mark.parametrize("names", [("h", "w"), ("", ""), ("latent_height", "latent_width")])
def test_sides_of_latents_may_have_any_name(names: tuple[str, str]) -> None:
    named = {"latent_height": 8, "latent_width": 8}
    estimator = Estimator(decoder(4, *names, up=8), named, scale=8)
    assert estimator.of({"latent": (1, 4, 32, 32)}).memory > MEMORY_PER_PIXEL * MIN_PIXELS


def test_each_image_of_a_batch_has_the_budget_of_a_small_one() -> None:
    estimator = Estimator(decoder(4, up=28), {}, size=(28, 28))
    one = estimator.of({"latent": (1, 4)})
    many = estimator.of({"latent": (2675, 4)})
    assert many.memory > 2000 * one.memory > MEMORY_PER_PIXEL * MIN_PIXELS


def test_images_of_bytes_count_as_floats_do() -> None:
    data = with_uint8_pixels(encoder(), ["image"])
    found = Estimator(data, {"height": 1, "width": 1}).of({"image": (1, 256, 256, 3)})
    assert found.memory > MEMORY_PER_PIXEL * MIN_PIXELS


def test_more_than_the_budget_is_refused() -> None:
    with pytest.raises(ModelBrokenError, match="for 4096 pixels"):
        Estimator(decoder(4, 32, 32, up=8), {}, size=(64, 64)).of({"latent": (1, 4, 32, 32)})
