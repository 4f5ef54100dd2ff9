"""Which device is used: what was asked for, and what was proven to work.

ONNX Runtime lists providers that cannot work, and falls back to the CPU in silence. It also loads
without cuDNN and fails in the first convolution. So a device counts as used when it has computed a
convolution, and what it gave is what the CPU gives.
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.errors import DeviceError
from vaetools.libraries import library_error
from vaetools.model import nvidia
from vaetools.model.devices import Device, bind
from vaetools.native import ERROR, captured_log, cause_of, onnxruntime

if TYPE_CHECKING:
    from logging import Logger

log: Logger = logging.getLogger(__name__)

TOLERANCE = 1e-2
"""Largest difference from the CPU for values of about 1; with TF32 or float16 it is some 1e-3."""


@functools.cache
def automatic_device() -> Device:
    """CUDA where it works, else the CPU; a GPU that does not work is logged, once."""
    device, problem = working_device()
    if problem:
        log.warning("%s; using the CPU", problem)
    return device


@functools.cache
def working_device() -> tuple[Device, str]:
    """CUDA where it works, else the CPU and what is wrong with a GPU that is there."""
    fault = next(nvidia.driver_faults(), None)
    try:
        if fault is None:
            return proven_device(Device("cuda")), ""
    except DeviceError as error:
        return Device("cpu"), str(error)
    return Device("cpu"), "" if fault.absent else f"cuda:0: {fault.text}; {fault.cure}"


@functools.cache
def proven_device(device: Device) -> Device:
    """`device` itself, after it has computed what it should.

    Raises:
        DeviceError: there is no such device here, or it does not work.
    """
    if device.kind == "cpu":
        return device
    if device.row.nvidia:
        _check_nvidia(device)
    with captured_log() as heard:
        try:
            probe(device)
        except DeviceError:
            raise
        except Exception as error:  # noqa: BLE001 - onnxruntime raises many unrelated types
            if (broken := library_error(error)) is not None:
                raise broken from None
            cause = heard.cause() or cause_of(str(error))
            raise DeviceError(
                f"{device} does not work: {cause}", remedy=device.row.install
            ) from None
    return device


def _check_nvidia(device: Device) -> None:
    """Raise `DeviceError` for the first link of the chain that is broken."""
    for faults in (
        nvidia.driver_faults(),
        nvidia.number_faults(device.number),
        nvidia.link_faults(),
    ):
        for fault in faults:
            raise DeviceError(f"{device}: {fault.text}", remedy=fault.cure)
    if device.kind == "tensorrt":
        nvidia.load_tensorrt()


def probe(device: Device) -> None:
    """Run a small convolution twice, on the device alone, and compare with the CPU.

    Raises:
        DeviceError: the results differ.
        Exception: whatever ONNX Runtime raises.
    """
    graph = convolution_graph(uint8=device.row.uint8)
    image = np.random.default_rng(0).random((1, 8, 24, 24), np.float32)
    expected = _opened(graph, Device("cpu")).run(None, {"image": image})
    session = _opened(graph, device)
    for _ in range(2):
        for result, wanted in zip(session.run(None, {"image": image}), expected, strict=True):
            scale = 255.0 if result.dtype == np.uint8 else 1.0
            difference = float(np.abs(result.astype(np.float32) - wanted).max()) / scale
            if not difference <= TOLERANCE:
                problem = f"{device} computes wrongly: a convolution is off by {difference:.2g}"
                raise DeviceError(problem, remedy="update its driver, or use --device cpu")


def _opened(graph: bytes, device: Device) -> Any:
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = ERROR  # for the cause
    listed = bind(device, options, graph)
    if device.kind != "cpu":
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return ort.InferenceSession(graph, options, providers=listed, enable_fallback=0)


def convolution_graph(*, uint8: bool) -> bytes:
    """image [1, 8, 24, 24] -> values: a convolution 3x3, about 0 to 1; levels: the same as uint8."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(1).normal(0, 0.1, (8, 8, 3, 3)).astype(np.float32)
    constants = {
        "w": weights,
        "low": np.float32(0),
        "high": np.float32(1),
        "scale": np.float32(255),
    }
    shape = [1, 8, 24, 24]
    nodes = [helper.make_node("Conv", ["image", "w"], ["values"], pads=[1, 1, 1, 1])]
    outputs = [helper.make_tensor_value_info("values", TensorProto.FLOAT, shape)]
    if uint8:
        nodes += [
            helper.make_node("Clip", ["values", "low", "high"], ["clipped"]),
            helper.make_node("Mul", ["clipped", "scale"], ["scaled"]),
            helper.make_node("Round", ["scaled"], ["rounded"]),
            helper.make_node("Cast", ["rounded"], ["levels"], to=TensorProto.UINT8),
        ]
        outputs.append(helper.make_tensor_value_info("levels", TensorProto.UINT8, shape))
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "probe",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        outputs,
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items() if k in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
