"""Checks of devices: driver, CUDA libraries, cuDNN, and a session that really runs."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import io
import re
import sys
from typing import TYPE_CHECKING

from vaetools.diagnosis.finding import Finding, Installation
from vaetools.errors import DeviceError
from vaetools.model.devices import INSTALL_CUDA
from vaetools.model.runtime import Runtime
from vaetools.model.session import usable_cores

if TYPE_CHECKING:
    from collections.abc import Iterator

CUDNN = 9
"""Major version of cuDNN that ONNX Runtime has used since version 1.18."""

DRIVERS = {12: "525", 13: "580"}
"""First NVIDIA driver for each major version of CUDA (CUDA Toolkit release notes, table 2)."""

NO_DEVICE = 100
"""`CUDA_ERROR_NO_DEVICE` of cuInit."""


def cpu(_: Installation) -> Iterator[Finding]:
    """The cores that may be used."""
    yield Finding("ok", "cpu", f"{usable_cores()} cores")


def cuda(_: Installation) -> Iterator[Finding]:
    """Each link of the chain from the driver to a session, so that the first broken one is named."""
    driver = _load("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    if driver is None:
        yield Finding("ok", "cuda", "no NVIDIA driver found; the CPU is used")
        return
    status = driver.cuInit(0)
    if status == NO_DEVICE:
        yield Finding("ok", "cuda", "an NVIDIA driver, but no GPU; the CPU is used")
        return
    if status != 0:
        text = f"the NVIDIA driver does not start (cuInit: {status}); the CPU is used"
        yield Finding("fail", "cuda", text, "nvidia-smi  # names the cause; often: reboot")
        return
    faults = [*_link_faults(driver)]
    yield from faults
    if not faults:
        try:
            Runtime("cuda")
        except DeviceError as error:
            yield Finding("fail", "cuda", error.problem, error.remedy or "")
        else:
            yield Finding("ok", "cuda", "a session runs on the GPU")


def _link_faults(driver: ctypes.CDLL) -> Iterator[Finding]:
    """What is wrong between the driver and ONNX Runtime."""
    import onnxruntime as ort

    major = int(re.match(r"\d*", str(ort.cuda_version or "")).group() or 0)  # type: ignore[union-attr]
    if not major:
        text = "this package of ONNX Runtime has no CUDA"
        cure = "pip uninstall -y onnxruntime && pip install onnxruntime-gpu"
        yield Finding("fail", "cuda", text, cure)
        return
    supported = ctypes.c_int(0)
    driver.cuDriverGetVersion(ctypes.byref(supported))
    if 0 < supported.value < 1000 * major:
        has = f"{supported.value // 1000}.{supported.value % 1000 // 10}"
        text = f"the NVIDIA driver is too old: it supports CUDA {has}, ONNX Runtime needs {major}"
        number = DRIVERS.get(major, str(major))
        cure = (
            f"sudo apt-get install -y nvidia-driver-{number}  # Debian, Ubuntu: {number} or newer"
        )
        yield Finding("fail", "cuda driver", text, cure)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
        ort.preload_dlls()
    if _load(_name("cudart", major)) is None or _load(_name("cublasLt", major)) is None:
        others = [other for other in DRIVERS if other != major and _has_cuda(other)]
        text = f"the libraries of CUDA {major} are missing"
        if others:
            found = " and ".join(f"CUDA {other}" for other in others)
            text = f"{found} is installed, but ONNX Runtime needs CUDA {major}"
        yield Finding("fail", "cuda libraries", text, INSTALL_CUDA)
    if _load(_name("cudnn", CUDNN)) is None:
        yield Finding("fail", "cudnn", f"cuDNN {CUDNN} is missing", INSTALL_CUDA)


def _name(library: str, major: int) -> str:
    return f"{library}64_{major}.dll" if sys.platform == "win32" else f"lib{library}.so.{major}"


def _has_cuda(major: int) -> bool:
    """Whether another major version is installed, as libraries of the system or as wheels."""
    wheels = (d.metadata["Name"] or "" for d in importlib.metadata.distributions())
    return _load(_name("cudart", major)) is not None or any(
        name.startswith("nvidia-") and name.endswith(f"-cu{major}") for name in wheels
    )


def _load(name: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None
