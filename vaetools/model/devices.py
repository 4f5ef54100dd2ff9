"""Devices: their names, their execution providers, and the packages that these need."""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import re
import sys
from dataclasses import dataclass
from typing import Any

from vaetools.errors import DeviceError, OptionError

CUDA = "CUDAExecutionProvider"

INSTALL_CUDA = "pip install 'vaetools[cuda]'"

NUMBERLESS = ("cpu",)
"""Kinds of which there is one device."""

FIXED_SHAPES = ("cuda", "tensorrt", "coreml", "migraphx")
"""Kinds that plan or compile a graph for each input shape."""


@dataclass(frozen=True)
class Device:
    """Where graphs run: `cpu`, or `cuda` with the number of the GPU."""

    kind: str
    number: int = 0

    def __str__(self) -> str:
        return self.kind if self.kind in NUMBERLESS else f"{self.kind}:{self.number}"

    @property
    def fixed_shapes(self) -> bool:
        """Whether a session is made for each input shape: the device plans or compiles for it."""
        return self.kind in FIXED_SHAPES


def parse_device(text: str) -> Device | None:
    """`auto` -> None, `cpu`, `cuda`, `cuda:1` -> Device. Raises `OptionError`."""
    if text == "auto":
        return None
    match = re.fullmatch(r"cpu|cuda(?::(\d{1,3}))?", text)
    if match is None:
        raise OptionError(f"device={text!r} is not one of auto, cpu, cuda, cuda:N")
    return Device("cpu") if text == "cpu" else Device("cuda", int(match.group(1) or 0))


def check_packages() -> None:
    """Raise `DeviceError` where both ONNX Runtime packages are installed: one hides the other."""
    found = [name for name in ("onnxruntime", "onnxruntime-gpu") if _installed(name)]
    if len(found) > 1:
        raise DeviceError(
            "both onnxruntime and onnxruntime-gpu are installed, so CUDA is silently off",
            remedy="pip uninstall -y onnxruntime onnxruntime-gpu; pip install onnxruntime-gpu",
        )


@functools.cache
def _installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def driver_present() -> bool:
    """Whether an NVIDIA driver answers on this machine."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        return bool(ctypes.CDLL(name).cuInit(0) == 0)
    except (OSError, AttributeError):
        return False


def providers(device: Device) -> list[Any]:
    """ONNX Runtime's provider list for a device: the only place that builds one."""
    if device.kind == "cpu":
        return ["CPUExecutionProvider"]
    cuda = {
        "device_id": device.number,
        # Shapes vary with the images: the default, EXHAUSTIVE, tunes for seconds on each.
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
    }
    return [(CUDA, cuda), "CPUExecutionProvider"]
