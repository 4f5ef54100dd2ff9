"""`--engine`: what is refused, and jobs in processes of this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.distributed.conftest import tree
from vaetools.cli import main
from vaetools.distributed.ray import Needs, RayOptions

PLUGINS = Path(__file__).parent / "plugins"

Call = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """Calls a command in a folder with a job; returns its exit code and the lines on stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAETOOLS_PLUGINS_DIR", str(PLUGINS))
    Path("in").mkdir()
    for number in range(6):
        Path("in", f"{number}.raw").write_bytes(b"poison" if number == 4 else bytes([number]))

    def call(*words: str) -> tuple[int, list[str]]:
        try:
            main([*words])
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        return code, capsys.readouterr().err.splitlines()

    assert call("shards", "in", "-o", "run", "--size", "3")[0] == 0
    return call


JOB = ("slow-copy", "--job", "run", "-o", "out")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ("slow-copy", "in", "-o", "out", "--engine", "ray"),
            "--engine has no effect on a run without --job",
        ),
        (
            ("slow-copy", "in", "-o", "out", "--retries", "1"),
            "--retries has no effect on a run without --job",
        ),
        ((*JOB, "--retries", "1"), "--retries has no effect on --engine loop"),
        ((*JOB, "--address", "auto"), "--address has no effect on --engine loop"),
        (
            (*JOB, "--engine", "local", "--gpus-per-task", "1"),
            "--gpus-per-task has no effect on --engine local",
        ),
    ],
    ids=["engine", "retries", "retries-loop", "address-loop", "gpus-local"],
)
def test_flags_without_effect_are_refused(words: tuple[str, ...], line: str, call: Call) -> None:
    assert call(*words) == (2, [f"E002 {line}; leave it out"])
    assert not Path("out").exists()


def test_without_ray_the_cure_is_named(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    code, (line,) = call(*JOB, "--engine", "ray")
    assert code == 4
    assert line.startswith("E061 --engine ray needs the library ray: ")
    assert line.endswith("; pip install 'vaetools[ray]'")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ("--address", "ray://head:10001"),
            (
                "ray://head:10001 is not the address of a cluster; run the command on a node of the "
                "cluster, with --address auto"
            ),
        ),
        (
            ("--device", "cuda:1"),
            (
                "--device cuda:1 has no effect with --engine ray; use --device cuda: Ray chooses "
                "the GPU of each task"
            ),
        ),
    ],
    ids=["client", "device"],
)
def test_what_a_cluster_cannot_do_is_refused(words: tuple[str, ...], line: str, call: Call) -> None:
    assert call(*JOB, "--engine", "ray", *words) == (2, [f"E002 {line}"])
    assert not Path("out").exists()


GPU_NODE = {"CPU": 16.0, "GPU": 4.0}
CPU_NODE = {"CPU": 10.0}


@pytest.mark.parametrize(
    ("options", "nodes", "needs", "slots", "there"),
    [
        (RayOptions(), [CPU_NODE, CPU_NODE], Needs(4, 0), 4, "cpu"),
        (RayOptions(), [{"CPU": 2.0}, CPU_NODE], Needs(2, 0), 6, "cpu"),
        (RayOptions(), [{"CPU": 0.0}, CPU_NODE], Needs(4, 0), 2, "cpu"),
        (RayOptions(), [GPU_NODE, CPU_NODE], Needs(4, 1), 4, "cuda:0"),
        (RayOptions(device="cpu"), [GPU_NODE, CPU_NODE], Needs(4, 0), 6, "cpu"),
        (RayOptions(device="cuda"), [GPU_NODE, CPU_NODE], Needs(4, 1), 4, "cuda:0"),
        (RayOptions(gpus=0.5, cpus=1), [GPU_NODE], Needs(1, 0.5), 8, "cuda:0"),
        (RayOptions(gpus=0), [GPU_NODE], Needs(4, 0), 4, "cpu"),
        (RayOptions(gpus=1, device="tensorrt"), [GPU_NODE], Needs(4, 1), 4, "tensorrt"),
        (RayOptions(cpus=8), [CPU_NODE, CPU_NODE], Needs(8, 0), 2, "cpu"),
    ],
    ids=["cpu", "small", "head", "gpu", "not", "cuda", "half", "none", "other", "many"],
)
def test_what_a_task_needs(
    options: RayOptions,
    nodes: list[dict[str, float]],
    needs: Needs,
    slots: int,
    there: str,
) -> None:
    found = Needs.of(options, nodes)
    assert (found, found.slots(nodes), found.device(options.device)) == (needs, slots, there)


@pytest.mark.slow
def test_processes_of_this_machine(call: Call) -> None:
    code, lines = call(*JOB, "--engine", "local", "--workers", "2", "--retries", "0")
    assert code == 1
    assert lines[0] == "shard 1: its process ended (SIGKILL); split to find the input"
    assert lines[1].startswith("E099 in/4.raw: ended its worker process twice (SIGKILL); ")
    assert len(lines) == 3
    assert lines[-1].startswith("2 shards: 5 done, 1 failed, ")
    assert tree(Path("out")) == {f"{n}.raw": bytes([n]) for n in (0, 1, 2, 3, 5)}
    assert call(*JOB, "--engine", "local")[0] == 0


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere.invalid:6379", "127.0.0.1"])
def test_without_a_cluster_one_line_says_so(address: str, call: Call) -> None:
    code, (line,) = call(*JOB, "--engine", "ray", "--address", address)
    assert code == 4
    assert line.startswith(f"E060 no Ray cluster at {address}: ")
    assert line.endswith("; start one with ray start, or use --address local")
