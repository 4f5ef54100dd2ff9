"""What ONNX Runtime does with CUDA, tested without a GPU: placement, copies and failures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from tests.cuda import fake
from vaetools.model.registry import ModelRegistry, shipped_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Run: TypeAlias = "Callable[[str], list[str]]"

MISSING = fake.missing()

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=MISSING or "all is there"),
    pytest.mark.xdist_group("fake_cuda"),
]

SESSIONS = """
import dataclasses, json, os
import numpy as np
from vaetools.device_memory import watched
from vaetools.model import devices, kinds
from vaetools.model.devices import Device
from vaetools.model.session import Session
from tests.model.test_session import GRAPH

def outcome():
    with watched() as shortages:
        try:
            result, = Session(GRAPH, "g", Device("cuda"), 1)(np.ones((1, 3, 500, 500), np.float32))
            return [float(result.min()), float(result.max()), *shortages.remarks]
        except Exception as error:
            return error.line

found = {"all": outcome()}
os.environ["FAKE_CUDA_MEMORY"] = "2000000"
found["memory"] = outcome()
del os.environ["FAKE_CUDA_MEMORY"]
table, row = kinds.KINDS, kinds.KINDS["cuda"]
limited = lambda number, graph: {**row.options(number, graph), "gpu_mem_limit": "2000000"}
devices.KINDS = {**table, "cuda": dataclasses.replace(row, options=limited)}
found["arena"] = outcome()
devices.KINDS = table
os.environ["FAKE_CUDA_LAUNCHES"] = "0"
found["launch"] = outcome()
print(json.dumps(found))
"""
"""A sum of 3 MB: the fake gives zeros, and the CPU twos."""

ON_CPU = [2.0, 2.0, "cuda:0 had too little memory: parts were computed on the CPU"]


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest) -> Run:
    """Run Python code on the fake; returns the lines that it printed."""
    libraries: Path = fake.build(request.config.cache.mkdir("fake_cuda"))

    def lines(script: str) -> list[str]:
        done = fake.run(script, libraries)
        assert done.returncode == 0, done.stderr
        assert "onnxruntime" not in done.stderr
        return done.stdout.splitlines()

    return lines


@pytest.fixture(scope="module")
def outcomes(run: Run) -> dict[str, Any]:
    """What `SESSIONS` prints: an error, or the extremes of a result, and remarks."""
    found: dict[str, Any] = json.loads(run(SESSIONS)[-1])
    return found


def test_a_session_runs_on_the_device(outcomes: dict[str, Any]) -> None:
    assert outcomes["all"] == [0.0, 0.0]


def test_the_cpu_computes_where_memory_cannot_be_allocated(outcomes: dict[str, Any]) -> None:
    assert outcomes["memory"] == ON_CPU


def test_a_limit_of_the_arena_is_lack_of_memory(outcomes: dict[str, Any]) -> None:
    """The real GPU is tested with the limit of ONNX Runtime's own arena."""
    assert outcomes["arena"] == ON_CPU


def test_a_kernel_that_fails_is_an_error_of_the_device(outcomes: dict[str, Any]) -> None:
    line = outcomes["launch"]
    assert line.startswith("E060 cuda:0 failed: ")
    assert "unspecified launch failure" in line
    assert line.endswith("use --device cpu")


def test_without_cudnn_auto_falls_back_and_cuda_fails(run: Run) -> None:
    lines = run(
        "import logging, sys\n"
        "logging.basicConfig(stream=sys.stdout)\n"
        "from vaetools.errors import DeviceError\n"
        "from vaetools.model.runtime import Runtime\n"
        "print(Runtime('auto').device)\n"
        "try: Runtime('cuda')\n"
        "except DeviceError as error: print(error.line)\n"
    )
    warning, device, error = lines
    assert device == "cpu"
    assert error.startswith("E060 cuda:0: cuDNN")
    assert "vaetools[cuda]" in error
    assert "cuDNN" in warning and warning.endswith("using the CPU")


@pytest.mark.slow
def test_every_node_of_every_shipped_graph_is_on_cuda(run: Run) -> None:
    """As the operations open them. Only graphs that must be exact run on the CPU."""
    (line,) = run("from tests.cuda.placement import main; main()")
    found = json.loads(line)
    folder = shipped_folder()
    assert folder is not None
    manifests = [e.manifest for e in ModelRegistry([folder], _no_runtime).entries]
    exact = {f"{m.id}/{role}": g.exact for m in manifests if m for role, g in m.graphs.items()}
    assert {name for name, graph in found.items() if graph["exact"]} == {
        name for name in found if exact.get(name)
    }
    on_cuda = {name: graph for name, graph in found.items() if not graph["exact"]}
    assert len(on_cuda) >= 10
    for name, graph in on_cuda.items():
        assert graph["cuda"] > 0, name
        assert (name, graph["elsewhere"], graph["copies"]) == (name, [], [])


def _no_runtime() -> object:
    raise AssertionError("no graph is opened")
