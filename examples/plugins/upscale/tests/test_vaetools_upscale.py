import numpy as np
import pytest
import vaetools_upscale
from onnx import TensorProto, helper

import vaetools


@pytest.fixture
def hub(hub):
    hub.register(vaetools_upscale)
    return hub


@pytest.fixture
def network(tmp_path):
    """A graph that repeats every pixel 2 × 2 times."""
    faces = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, f"{name}_h", f"{name}_w"])
        for name in ("small", "large")
    ]
    scales = helper.make_tensor("scales", TensorProto.FLOAT, [4], [1.0, 1.0, 2.0, 2.0])
    node = helper.make_node("Resize", ["small", "", "scales"], ["large"], mode="nearest")
    graph = helper.make_graph([node], "double", faces[:1], faces[1:], [scales])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "double.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_images_become_larger_and_keep_their_depth(hub, photo, network, dtype):
    top = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[dtype]
    array = (photo / 255 * top).astype(dtype)
    large = hub.op("upscale", graph=network)(array)
    assert large.dtype == array.dtype
    assert np.array_equal(large, array.repeat(2, axis=0).repeat(2, axis=1))


def test_a_network_is_needed(hub):
    with pytest.raises(vaetools.ModelError, match="--graph"):
        hub.op("upscale")
