"""The chain from an NVIDIA driver to ONNX Runtime's CUDA provider, and its first link that is broken."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.metadata
import io
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vaetools.model.kinds import INSTALL_CUDA
from vaetools.native import captured_stderr, onnxruntime

if TYPE_CHECKING:
    from collections.abc import Iterator

WINDOWS = sys.platform == "win32"

CUDNN = 9
"""Major version of cuDNN that ONNX Runtime has used since version 1.18."""

DRIVERS = {12: "525", 13: "580"}
"""First NVIDIA driver for each major version of CUDA (CUDA Toolkit release notes, table 2)."""

TENSORRT = 10
"""Major version of TensorRT that ONNX Runtime has used since version 1.19."""

CURAND, CUFFT = 10, {12: 11, 13: 12}
"""Versions of libraries whose numbers are not those of CUDA."""

NO_DEVICE = 100
"""`CUDA_ERROR_NO_DEVICE` of cuInit."""

STUB = 34
"""`CUDA_ERROR_STUB_LIBRARY`: a library for linking, without a driver behind it."""

INSTALL_LIBRARIES = (
    f"{INSTALL_CUDA}; if they are installed, add their folder to "
    f"{'PATH' if WINDOWS else 'LD_LIBRARY_PATH'} before Python starts"
)


@dataclass(frozen=True)
class Fault:
    """A broken link of the chain.

    Attributes:
        subject: The link, as `doctor` names it.
        text: What is wrong.
        cure: Command that repairs it, or what to do.
        absent: Whether there is simply no GPU to use, which is no fault of the installation.
    """

    subject: str
    text: str
    cure: str
    absent: bool = False


def driver_faults() -> Iterator[Fault]:
    """Whether an NVIDIA driver answers and has a GPU."""
    driver = _driver()
    if driver is None:
        yield Fault("cuda", "no NVIDIA driver found", "use --device cpu or auto", absent=True)
        return
    status = driver.cuInit(0)
    if status in (NO_DEVICE, STUB):
        text = "an NVIDIA driver, but no GPU"
        if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
            text += f" (CUDA_VISIBLE_DEVICES={visible})"
        yield Fault("cuda", text, "use --device cpu or auto", absent=True)
    elif status != 0:
        text = f"the NVIDIA driver does not start (cuInit: {status})"
        yield Fault("cuda", text, "nvidia-smi  # names the cause; often: reboot")


def number_faults(number: int) -> Iterator[Fault]:
    """Whether there is a GPU of this number."""
    driver, count = _driver(), ctypes.c_int(0)
    if driver is None or not hasattr(driver, "cuDeviceGetCount"):
        return
    if driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and number >= count.value:
        numbers = ", ".join(f"cuda:{n}" for n in range(count.value))
        yield Fault("cuda", f"there is no such GPU, only {numbers}", "choose one of these")


def link_faults() -> Iterator[Fault]:
    """What is wrong between the driver and ONNX Runtime. Loads the libraries of CUDA and cuDNN."""
    major = cuda_version()
    if not major:
        text = "this package of ONNX Runtime has no CUDA"
        cure = "pip uninstall -y onnxruntime && pip install onnxruntime-gpu"
        yield Fault("cuda", text, cure)
        return
    supported, driver = ctypes.c_int(0), _driver()
    if driver is not None:
        driver.cuDriverGetVersion(ctypes.byref(supported))
    if 0 < supported.value < 1000 * major:
        has = f"{supported.value // 1000}.{supported.value % 1000 // 10}"
        text = f"the NVIDIA driver is too old: it supports CUDA {has}, ONNX Runtime needs {major}"
        number = DRIVERS.get(major, str(major))
        cure = (
            f"sudo apt-get install -y nvidia-driver-{number}  # Debian, Ubuntu: {number} or newer"
        )
        yield Fault("cuda driver", text, cure)
    missing = load_libraries(major)
    cudnn = library("cudnn", CUDNN)
    toolkit = [name for name in missing if name != cudnn]
    if toolkit:
        others = [other for other in DRIVERS if other != major and _has_cuda(other)]
        text = f"the libraries of CUDA {major} are missing ({', '.join(toolkit)})"
        if others:
            found = " and ".join(f"CUDA {other}" for other in others)
            text = f"{found} is installed, but ONNX Runtime needs CUDA {major}"
        yield Fault("cuda libraries", text, INSTALL_LIBRARIES)
    if cudnn in missing:
        yield Fault("cudnn", f"cuDNN {CUDNN} is missing ({cudnn})", INSTALL_LIBRARIES)


def cuda_version() -> int:
    """Major version of CUDA that ONNX Runtime was built for; 0 for a build without CUDA."""
    version = str(getattr(onnxruntime(), "cuda_version", "") or "")
    digits = re.match(r"\d+", version)
    return int(digits[0]) if digits else 0


def load_libraries(major: int) -> list[str]:
    """Load the libraries of CUDA and cuDNN, so that ONNX Runtime finds them wherever they are.

    ONNX Runtime's own `preload_dlls` looks next to its package and where the system looks. This also
    looks for the wheels of NVIDIA on the whole search path of Python (such as `pip install --target`),
    in the libraries of PyTorch and of conda, and in an installed toolkit.

    Args:
        major: version of CUDA.

    Returns:
        File names of the libraries that are needed and missing.
    """
    with (
        contextlib.redirect_stdout(io.StringIO()),
        captured_stderr(),
        contextlib.suppress(Exception),
    ):
        onnxruntime().preload_dlls()
    needed = [library(name, major) for name in ("cublasLt", "cublas", "cudart")]
    needed += [library("curand", CURAND), library("cudnn", CUDNN)]
    optional = [library("nvrtc", major), library("cufft", CUFFT.get(major, major))]
    if WINDOWS:
        optional.append(needed.pop(3))  # linked by none of the builds for Windows
    for name in optional:
        _found(name)
    return [name for name in needed if not _found(name)]


def load_tensorrt() -> None:
    """Load the libraries of TensorRT that are found; ONNX Runtime names those that are missing."""
    for name in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        _found(f"{name}_{TENSORRT}.dll" if WINDOWS else f"lib{name}.so.{TENSORRT}")


def library(name: str, version: int) -> str:
    """File name of a library: `libcudart.so.13`, `cudart64_13.dll`."""
    return f"{name}64_{version}.dll" if WINDOWS else f"lib{name}.so.{version}"


def library_folders() -> list[Path]:
    """Folders in which libraries of CUDA and cuDNN may be, in the order in which they are tried."""
    bins = ("bin", "bin/x86_64", "bin/x64") if WINDOWS else ("lib", "lib64")
    places = [Path(each) for each in sys.path if each]
    folders = [
        folder / part for each in places for folder in _subfolders(each / "nvidia") for part in bins
    ]
    folders += [each / name for each in places for name in ("torch/lib", "tensorrt_libs")]
    prefixes = (os.environ.get("CONDA_PREFIX"), sys.prefix)
    homes = (os.environ.get("CUDA_PATH"), os.environ.get("CUDA_HOME"), "/usr/local/cuda")
    for prefix in dict.fromkeys(each for each in (*prefixes, *homes) if each):
        folders += [Path(prefix, part) for part in (*bins, "Library/bin")]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if each.is_dir())
    except OSError:
        return []


def _found(name: str) -> bool:
    """Load a library from where the system looks, or else from one of our folders."""
    if _load(name) is not None:
        return True
    return any(
        _load(str(path)) is not None
        for path in (f / name for f in library_folders())
        if path.is_file()
    )


def _has_cuda(major: int) -> bool:
    """Whether another major version is installed, as libraries of the system or as wheels."""
    wheels = (d.metadata["Name"] or "" for d in importlib.metadata.distributions())
    return _load(library("cudart", major)) is not None or any(
        name.startswith("nvidia-") and name.endswith(f"-cu{major}") for name in wheels
    )


@functools.cache
def _driver() -> ctypes.CDLL | None:
    return _load("nvcuda.dll" if WINDOWS else "libcuda.so.1")


def _load(name: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None
