"""Which device is used: what was asked for, and what was proven to work.

ONNX Runtime lists CUDA as available on machines without a GPU and falls back to the CPU in
silence. So nothing here trusts such lists: a device counts as used when a session that was really
created says so.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
from typing import TYPE_CHECKING

import numpy as np

from vaetools.errors import DeviceError, ModelBrokenError
from vaetools.model.devices import CUDA, INSTALL_CUDA, Device, driver_present
from vaetools.model.session import create_session

if TYPE_CHECKING:
    from logging import Logger

log: Logger = logging.getLogger(__name__)


@functools.cache
def automatic_device() -> Device:
    if not driver_present():
        return Device("cpu")
    try:
        return proven_device(Device("cuda"))
    except DeviceError as error:
        log.warning("%s; using the CPU", error)
        return Device("cpu")


@functools.cache
def proven_device(device: Device) -> Device:
    """`device` itself, after a session has really run on it. Raises `DeviceError`."""
    if device.kind == "cpu":
        return device
    import onnxruntime as ort

    if not driver_present():
        raise DeviceError(f"{device}: no NVIDIA driver answers", remedy="use --device cpu or auto")
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(Exception):
        ort.preload_dlls()
    try:
        session = create_session(identity_graph(), device, 1, "probe")
        session.run(None, {"x": np.zeros(1, np.float32)})
    except ModelBrokenError as error:
        raise DeviceError(f"{device}: {error.problem}", remedy=INSTALL_CUDA) from None
    if session.get_providers()[0] != CUDA:
        cause = " ".join(said.getvalue().split()) or "ONNX Runtime fell back to the CPU"
        raise DeviceError(f"{device} does not work: {cause[:300]}", remedy=INSTALL_CUDA)
    return device


def identity_graph() -> bytes:
    """The smallest graph: x -> x. Used to prove a device."""
    from onnx import TensorProto, helper

    value = functools.partial(helper.make_tensor_value_info, elem_type=TensorProto.FLOAT, shape=[1])
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "probe", [value("x")], [value("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
