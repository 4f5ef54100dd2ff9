"""The runtime uses the device that it says, or refuses."""

from __future__ import annotations

import functools
import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper

from vaetools.errors import DeviceError, ModelBrokenError, OptionError
from vaetools.model import nvidia, session
from vaetools.model.pixels import with_uint8_pixels
from vaetools.model.runtime import Runtime

NO_GPU = next(nvidia.driver_faults(), None) is not None


@pytest.mark.skipif(not NO_GPU, reason="a driver answers here")
def test_cuda_that_is_not_there_is_an_error_and_auto_is_quiet(capfd: pytest.CaptureFixture) -> None:
    with pytest.raises(DeviceError) as caught:
        Runtime("cuda")
    assert caught.value.exit_code == 4
    assert "driver" in caught.value.line
    assert str(Runtime("auto").device) == "cpu"
    assert capfd.readouterr() == ("", "")


def identity_graph() -> bytes:
    """The smallest graph: x -> x."""
    value = functools.partial(helper.make_tensor_value_info, elem_type=TensorProto.FLOAT, shape=[1])
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "g", [value("x")], [value("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def test_sessions_are_cached_by_content_and_options() -> None:
    opened = Runtime("cpu", threads=1)
    graph = identity_graph()
    first = opened.session(lambda: graph, key="a", name="a")
    assert opened.session(lambda: graph, key="a", name="a") is first
    assert opened.session(lambda: graph, key="b", name="b") is not first
    (result,) = first(np.ones(1, np.float32))
    assert result == 1
    assert first.input_shapes == ((1,),)
    with pytest.raises(ModelBrokenError, match="graph failed"):
        first(np.ones((2, 2), np.float32))


def test_optimisation_level_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(session.OPTIMIZATION, "wild")
    with pytest.raises(OptionError, match="all, extended, basic, disable"):
        Runtime("cpu").session(identity_graph, key="x", name="x")


def test_uint8_pixels_equal_the_float_graph() -> None:
    shape = [1, 3, "height", "width"]
    node = helper.make_node("Add", ["image", "image"], ["twice"])
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("twice", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data = model.SerializeToString()
    opened = Runtime("cpu", threads=1)
    plain = opened.session(lambda: data, key="plain", name="plain")
    pixels = opened.session(
        lambda: with_uint8_pixels(data, ["image", "twice"]), key="u8", name="u8"
    )
    bgr = np.random.default_rng(0).integers(0, 256, (1, 5, 7, 3), np.uint8)
    rgb = (bgr[..., ::-1].astype(np.float32) / 255).transpose(0, 3, 1, 2)
    expected = np.clip(*plain(rgb), 0, 1).transpose(0, 2, 3, 1)[..., ::-1] * np.float32(255)
    assert np.array_equal(*pixels(bgr), (expected + np.float32(0.5)).astype(np.uint8))
    half_way = opened.session(lambda: with_uint8_pixels(data, ["image"]), key="in", name="in")
    assert np.array_equal(*half_way(bgr), *plain(rgb))
    assert plain.input_shapes == ((1, 3, "height", "width"),)


HEAVY = ("torch", "onnxruntime", "onnx", "cv2", "skimage")


def called(*words: str) -> str:
    """Code that runs the command line and survives its exit."""
    return (
        f"import sys; sys.argv = {['vaetools', *words]!r}\n"
        "from vaetools.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass"
    )


@pytest.mark.parametrize(
    "code",
    [
        "import vaetools",
        "import vaetools; vaetools.open('cpu')",
        called("--help"),
        called("compress", "--help"),
        called("plugins"),
        called("models", "list"),
    ],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    check = f"{code}\nimport sys\nprint('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"
