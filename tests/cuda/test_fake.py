"""What ONNX Runtime does with CUDA, tested without a GPU: placement, copies and failures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cuda import fake
from vaetools.model.registry import ModelRegistry, shipped_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MISSING = fake.missing()

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=MISSING or "all is there"),
    pytest.mark.xdist_group("fake_cuda"),
]

SESSION = """
import logging, sys
import numpy as np
from vaetools.device_memory import watched
from vaetools.model.devices import Device
from vaetools.model.session import Session
from tests.model.test_session import GRAPH
logging.basicConfig(stream=sys.stdout, format="%(message)s")
with watched() as shortages:
    try:
        result, = Session(GRAPH, 'g', Device('cuda'), 1)(np.ones((1, 3, 500, 500), np.float32))
        print(result.min(), result.max(), shortages.remarks)
    except Exception as error:
        print(error.line)
"""
"""A sum of 3 MB: the fake gives zeros, and the CPU twos."""


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest) -> Callable[..., list[str]]:
    """Run Python code on the fake; returns what it printed, and nothing else may be said."""
    libraries: Path = fake.build(request.config.cache.mkdir("fake_cuda"))

    def lines(script: str, **environment: str) -> list[str]:
        done = fake.run(script, libraries, **environment)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    return lines


def test_a_session_runs_on_the_device(run: Callable[..., list[str]]) -> None:
    assert run(SESSION) == ["0.0 0.0 []"]


def test_the_cpu_computes_where_memory_cannot_be_allocated(run: Callable[..., list[str]]) -> None:
    logged, line = run(SESSION, FAKE_CUDA_MEMORY="2000000")
    assert logged.startswith("cuda:0 had too little memory: ")
    assert line == "2.0 2.0 ['cuda:0 had too little memory: parts were computed on the CPU']"


def test_a_limit_of_the_arena_is_lack_of_memory(run: Callable[..., list[str]]) -> None:
    """The real GPU is tested with the limit of ONNX Runtime's own arena."""
    limited = """
import dataclasses
from vaetools.model import devices, kinds
row = kinds.KINDS["cuda"]
options = lambda number: {**row.options(number), "gpu_mem_limit": "2000000"}
devices.KINDS = {**kinds.KINDS, "cuda": dataclasses.replace(row, options=options)}
"""
    _, line = run(limited + SESSION)
    assert line == "2.0 2.0 ['cuda:0 had too little memory: parts were computed on the CPU']"


def test_a_kernel_that_fails_is_an_error_of_the_device(run: Callable[..., list[str]]) -> None:
    (line,) = run(SESSION, FAKE_CUDA_LAUNCHES="0")
    assert line.startswith("E060 cuda:0 failed: ")
    assert "unspecified launch failure" in line
    assert line.endswith("use --device cpu")


def test_without_cudnn_auto_falls_back_and_cuda_fails(run: Callable[..., list[str]]) -> None:
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
def test_every_node_of_every_shipped_graph_is_on_cuda(run: Callable[..., list[str]]) -> None:
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
