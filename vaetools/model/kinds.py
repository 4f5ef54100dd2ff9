"""The kinds of devices: one table of what ONNX Runtime calls them and what each of them needs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vaetools.errors import DeviceError
from vaetools.user_cache import private_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    Options = Callable[[int, bytes], dict[str, str]]

INSTALL_CUDA = "pip install 'vaetools[cuda]'"


@dataclass(frozen=True)
class Kind:
    """A kind of device.

    Attributes:
        provider: Name of its execution provider.
        install: Command that installs it.
        options: Provider options for the number of a device and a graph. Plugins get none.
        plugin: Module of a wheel that adds the provider to any package of ONNX Runtime; empty if
            there is none.
        then: Kind that runs the nodes which the provider does not take, before the CPU does.
        numbered: Whether a machine can have several.
        nvidia: Whether it needs an NVIDIA driver and the libraries of CUDA.
        fixed_shapes: Whether it plans or compiles a graph for each input shape.
        batches: Whether calls that wait for it are run together. Not where each size of a batch would
            be one more graph to compile.
        serial: Whether a session can run only one call at a time.
        uint8: Whether it has kernels for uint8; otherwise the CPU converts pixels.
    """

    provider: str
    install: str = ""
    options: Options = lambda *_: {}
    plugin: str = ""
    then: str = ""
    numbered: bool = True
    nvidia: bool = False
    fixed_shapes: bool = False
    batches: bool = False
    serial: bool = False
    uint8: bool = True


def _numbered(number: int, _: bytes = b"") -> dict[str, str]:
    return {"device_id": str(number)}


def _cuda(number: int, _: bytes) -> dict[str, str]:
    # EXHAUSTIVE, the default, tunes for seconds on each shape.
    search = {"cudnn_conv_algo_search": "HEURISTIC"}
    return {**_numbered(number), **search, "arena_extend_strategy": "kSameAsRequested"}


def _tensorrt(number: int, graph: bytes) -> dict[str, str]:
    options = _numbered(number)
    folder = private_folder("tensorrt")  # engines are programs
    if folder is not None:  # building an engine takes minutes
        places = {"engine": folder / _content(graph), "timing": folder}
        for what, place in places.items():
            options[f"trt_{what}_cache_enable"] = "1"
            options[f"trt_{what}_cache_path"] = str(place)
    return options


def _content(graph: bytes) -> str:
    """Name of a folder for what is compiled from a graph.

    The providers' own keys leave out the weights: a new version of a model would run with the old ones
    (https://github.com/microsoft/onnxruntime/issues/6455).
    """
    return hashlib.sha256(graph).hexdigest()[:32]


def _openvino(number: int, _: bytes) -> dict[str, str]:
    """Devices are numbered in OpenVINO's own order, which begins with the CPU."""
    from onnxruntime.capi import _pybind_state

    names = _pybind_state.get_available_openvino_device_ids()
    if number >= len(names):
        found = ", ".join(f"openvino:{i} ({name})" for i, name in enumerate(names)) or "none"
        raise DeviceError(f"openvino:{number}: OpenVINO has no such device, it finds {found}")
    # Otherwise OpenVINO computes in float16 or bfloat16 where the hardware is faster at it.
    return {"device_type": names[number], "precision": "ACCURACY"}


def _coreml(_: int, graph: bytes) -> dict[str, str]:
    folder = private_folder("coreml")
    cache = {} if folder is None else {"ModelCacheDirectory": str(folder / _content(graph))}
    return {"ModelFormat": "MLProgram", "MLComputeUnits": "ALL", **cache}


KINDS = {
    "cpu": Kind("CPUExecutionProvider", numbered=False),
    "cuda": Kind(
        "CUDAExecutionProvider",
        INSTALL_CUDA,
        options=_cuda,
        nvidia=True,
        fixed_shapes=True,
        batches=True,
    ),
    "tensorrt": Kind(
        "TensorrtExecutionProvider",
        f"{INSTALL_CUDA} 'tensorrt-cu13<11'",
        options=_tensorrt,
        then="cuda",
        nvidia=True,
        fixed_shapes=True,
    ),
    "openvino": Kind(
        "OpenVINOExecutionProvider",
        "pip install onnxruntime-ep-openvino",
        options=_openvino,
        plugin="onnxruntime_ep_openvino",
    ),
    "webgpu": Kind(
        "WebGpuExecutionProvider",
        "pip install onnxruntime-ep-webgpu",
        plugin="onnxruntime_ep_webgpu",
        uint8=False,
    ),
    "coreml": Kind(
        "CoreMLExecutionProvider",
        "on macOS: pip install onnxruntime",
        options=_coreml,
        numbered=False,
        fixed_shapes=True,
        uint8=False,
    ),
    "dml": Kind(
        "DmlExecutionProvider",
        "on Windows: pip uninstall -y onnxruntime-gpu; pip install onnxruntime-directml",
        options=_numbered,
        serial=True,
    ),
    "migraphx": Kind(
        "MIGraphXExecutionProvider",
        "on Linux: pip uninstall -y onnxruntime-gpu; pip install onnxruntime-migraphx",
        options=_numbered,
        fixed_shapes=True,
    ),
}
