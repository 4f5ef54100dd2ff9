"""A CUDA runtime without a GPU, to test what ONNX Runtime does with CUDA: placement, copies, failures.

The stub libraries have the functions that the installed CUDA provider leaves undefined. Device memory
is that of the host, and kernels do nothing: sessions are really built, and results are zeros.
There is no cuDNN: convolutions fail, as they do on a machine that lacks it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE = Path(__file__).parent

PROVIDER = "capi/libonnxruntime_providers_cuda.so"

VERSION = 13
"""Of CUDA: its device properties are in fake.h."""

ALWAYS = {
    "libcuda.so.1": ("cuInit", "cuDeviceGetCount", "cuDriverGetVersion", "cuTensorMapEncodeTiled"),
    "libcurand.so.10": ("curandCreateGenerator",),
}
"""Libraries that the provider loads, with functions that have no versioned name in it."""

BODIES = {
    "cudaGetDeviceCount": "(int *n) { *n = 1; return SUCCESS; }",
    "cudaGetDevice": "(int *n) { *n = 0; return SUCCESS; }",
    "cudaGetDeviceProperties": "(char *p, int d) { return properties(p); }",
    "cudaDeviceGetAttribute": "(int *v, int which, int d) { return attribute(v, which); }",
    "cudaDriverGetVersion": "(int *v) { *v = 13000; return SUCCESS; }",
    "cudaRuntimeGetVersion": "(int *v) { *v = 13000; return SUCCESS; }",
    "cuDeviceGetCount": "(int *n) { *n = 1; return SUCCESS; }",
    "cuDriverGetVersion": "(int *v) { *v = 13000; return SUCCESS; }",
    "cudaMalloc": "(void **p, size_t n) { return take(p, n); }",
    "cudaFree": "(void *p) { return give(p); }",
    "cudaMallocHost": "(void **p, size_t n) { *p = calloc(1, n); return SUCCESS; }",
    "cudaHostAlloc": "(void **p, size_t n, unsigned f) { *p = calloc(1, n); return SUCCESS; }",
    "cudaFreeHost": "(void *p) { free(p); return SUCCESS; }",
    "cudaMemcpy": "(void *d, void *s, size_t n, int k) { memmove(d, s, n); return SUCCESS; }",
    "cudaMemcpyAsync": "(void *d, void *s, size_t n, int k) { memmove(d, s, n); return SUCCESS; }",
    "cudaMemset": "(void *d, int v, size_t n) { memset(d, v, n); return SUCCESS; }",
    "cudaMemsetAsync": "(void *d, int v, size_t n, void *s) { memset(d, v, n); return SUCCESS; }",
    "cudaMemGetInfo": "(size_t *f, size_t *t) { *t = capacity(); *f = *t - used; return SUCCESS; }",
    "cudaStreamCreate": "(void **s) { return handle(s); }",
    "cudaStreamCreateWithFlags": "(void **s, unsigned f) { return handle(s); }",
    "cudaEventCreate": "(void **e) { return handle(e); }",
    "cudaEventCreateWithFlags": "(void **e, unsigned f) { return handle(e); }",
    "cudaStreamIsCapturing": "(void *s, int *v) { *v = 0; return SUCCESS; }",
    "cudaPointerGetAttributes": "(int *a, void *p) { memset(a, 0, 88); *a = 2; return SUCCESS; }",
    "cudaLaunchKernel": "(void) { return launch(); }",
    "cudaLaunchKernelExC": "(void) { return launch(); }",
    "__cudaLaunchKernel": "(void) { return launch(); }",
    "cudaGetLastError": "(void) { int e = last_error; last_error = 0; return e; }",
    "cudaPeekAtLastError": "(void) { return last_error; }",
    "cublasCreate_v2": "(void **h) { return handle(h); }",
    "cublasLtCreate": "(void **h) { return handle(h); }",
}
"""Definitions of functions that do more than succeed."""

STRINGS = {
    "cudaGetErrorString": (
        '(int e) { return e == OUT_OF_MEMORY ? "out of memory" : "unspecified launch failure"; }'
    ),
    "cudaGetErrorName": (
        '(int e) { return e == OUT_OF_MEMORY ? "cudaErrorMemoryAllocation" : "cudaErrorLaunchFailure"; }'
    ),
    "cublasGetStatusName": '(int e) { return "CUBLAS_STATUS"; }',
    "cublasGetStatusString": '(int e) { return "status"; }',
}

REGISTER = "void **__cudaRegisterFatBinary(void *f) { static void *h; return &h; }"


def missing() -> str:
    """What there is not, for the fake; empty where there is everything."""
    tools = [tool for tool in ("gcc", "nm") if shutil.which(tool) is None]
    if sys.platform != "linux" or tools:
        return f"{' and '.join(tools)} missing" if tools else "Linux only"
    if not provider().is_file():
        return "onnxruntime-gpu is not installed"
    if f"libcudart.so.{VERSION}" not in libraries():
        return f"onnxruntime-gpu is not for CUDA {VERSION}"
    return ""


def provider() -> Path:
    """The library of the CUDA provider; it need not exist."""
    spec = importlib.util.find_spec("onnxruntime")
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places)) if places else "onnxruntime") / PROVIDER


def libraries() -> dict[str, set[str]]:
    """Names of libraries and the functions that the provider wants of each."""
    listing = subprocess.run(
        ["nm", "-D", "--undefined-only", provider()], capture_output=True, text=True, check=True
    ).stdout
    found: dict[str, set[str]] = defaultdict(set)
    for name, library in re.findall(r"(\w+)@(lib(?:cu)\w+\.so[.\d]*)", listing):
        found[library].add(name)
    for library, names in ALWAYS.items():
        found[library] |= {*names}
    return found


def build(folder: Path) -> Path:
    """Compile the stub libraries, unless they are there.

    Args:
        folder: to keep them in.

    Returns:
        The folder with the libraries, for LD_LIBRARY_PATH.
    """
    sources = {name: source(functions) for name, functions in libraries().items()}
    stamp = hashlib.sha256("".join([(HERE / "fake.h").read_text(), *sources.values()]).encode())
    made = folder / f"fake-cuda-{stamp.hexdigest()[:16]}"
    if not made.is_dir():
        building = folder / f"{made.name}.{os.getpid()}"
        building.mkdir(parents=True)
        for name, text in sources.items():
            _compile(building, name, text)
        try:
            building.rename(made)
        except OSError:  # another process was faster
            shutil.rmtree(building)
    return made


def source(functions: Iterable[str]) -> str:
    """C source of a stub library."""
    lines = [f'#include "{HERE / "fake.h"}"']
    for name in sorted(functions):
        if name == "__cudaRegisterFatBinary":
            lines.append(REGISTER)
        elif name in STRINGS:
            lines.append(f"const char *{name}{STRINGS[name]}")
        else:
            lines.append(f"int {name}{BODIES.get(name, '() { return SUCCESS; }')}")
    return "\n".join(lines) + "\n"


def _compile(folder: Path, name: str, text: str) -> None:
    code, versions = folder / f"{name}.c", folder / f"{name}.map"
    code.write_text(text)
    versions.write_text(f"{name} {{ global: *; }};\n")  # symbols have versions, named like this
    options = ["-shared", "-fPIC", "-w", "-O1", f"-Wl,-soname,{name}"]
    options.append(f"-Wl,--version-script={versions}")
    subprocess.run(["gcc", *options, "-o", folder / name, code], check=True)


def run(script: str, libraries: Path) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process that finds the stub libraries."""
    places = [str(libraries), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(places)},
        timeout=240,
    )
