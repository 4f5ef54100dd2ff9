"""Jobs on a real Ray cluster of two nodes: nothing is lost, whatever ends or hangs."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.distributed.cluster import SECOND, Cluster
from tests.distributed.conftest import tree
from vaetools.distributed.claims import attempts, owner_of
from vaetools.distributed.job import Job, open_job

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("ray"),
    pytest.mark.timeout(600),
    pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed"),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc"),
]

ROOT = Path(__file__).parents[2]
PLUGINS = Path(__file__).parent / "plugins"
FOLDERS = os.pathsep.join(map(str, (ROOT, ROOT / "plugins", ROOT / "exported_models")))
SIZE = 5


class Place:
    """A folder with inputs, and a job over them in shards of five files.

    Args:
        folder: An empty folder.
        count: Number of inputs.
        poison: What inputs that end their process contain, by their numbers.
        lease: Of the job.
        pause: Seconds that each input takes.
    """

    def __init__(
        self,
        folder: Path,
        count: int,
        *,
        poison: Mapping[int, bytes] | None = None,
        lease: float = 300.0,
        pause: float = 0.0,
    ) -> None:
        self.folder = folder
        self._pause = str(pause)
        self.inputs: dict[str, bytes] = {}
        numbers = random.Random(0)
        for number in range(count):
            data = (poison or {}).get(number) or numbers.randbytes(500)
            self.inputs[f"{number % 3}/{number:03}.raw"] = data
        for name, data in self.inputs.items():
            path = folder / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        made = self.run("shards", "in", "-o", "run", "--size", str(SIZE), "--lease", str(lease))
        assert made.returncode == 0, made.stderr
        self.job: Job = open_job(folder / "run")

    @property
    def outputs(self) -> dict[str, bytes]:
        """The files that are there, without temporary ones."""
        found = tree(self.folder / "out")
        return {name: data for name, data in found.items() if not name.endswith(".part")}

    @property
    def wanted(self) -> dict[str, bytes]:
        """The files that should be there."""
        return {name: data for name, data in self.inputs.items() if len(data) > 10}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "vaetools", "--plugins-dir", str(PLUGINS), *words]

    def copy(self, address: str, *words: str) -> list[str]:
        """The command that works on the job."""
        run = ("slow-copy", "--job", "run", "-o", "out", "--pause", self._pause)
        ray = ("--engine", "ray", "--address", address, "--cpus-per-task", "1")
        return self.command(*run, *ray, *words)

    def start(self, command: Sequence[str], **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": FOLDERS, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.finish(self.start(self.command(*words)))

    def finish(self, process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
        """Wait for a command."""
        try:
            stdout, stderr = process.communicate(timeout=300)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def results(self) -> list[dict[str, object]]:
        """What is written about the shards that are done."""
        return [json.loads(path.read_bytes()) for path in (self.folder / "run/done").iterdir()]

    def failures(self) -> list[tuple[str, str]]:
        """(name, code) of the inputs that failed."""
        paths = (self.folder / "run" / "journals").glob("*.records.ndjson")
        found = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
        failed = [record for record in found if record["status"] == "failed"]
        return sorted({(record["file"], record["code"]) for record in failed})

    def done_twice(self) -> set[str]:
        """Inputs that two attempts have given outputs."""
        done: dict[str, set[str]] = {}
        for path in (self.folder / "run" / "journals").glob("*.ndjson"):
            for line in path.read_text().splitlines():
                values = json.loads(line)
                if values.get("event") == "done":
                    done.setdefault(values["file"], set()).add(path.name)
        return {name for name, journals in done.items() if len(journals) > 1}

    def check(self) -> None:
        """Everything is there, once, and nothing else."""
        assert self.outputs == self.wanted
        assert not self.done_twice()
        assert len(self.results()) == self.job.shards
        assert not [*self.folder.rglob("*.part")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster({"PYTHONPATH": FOLDERS}) as cluster:
        yield cluster


def until(condition: Callable[[], object], seconds: float = 120.0) -> None:
    """Wait for something."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)


def at_work(place: Place) -> Mapping[int, int]:
    """(shard, process) of the shards that are claimed and not done."""
    found = {}
    for shard in range(place.job.shards):
        last = attempts(place.job, shard)
        owner = owner_of(place.job, shard, last) if last else None
        if owner is not None and not place.job.done_file(shard).exists():
            found[shard] = owner.pid
    return found


def stop_one(place: Place, processes: Callable[[], Container[int]]) -> tuple[int, int]:
    """Stop a process that is at work on a shard; return the shard and the process.

    What `at_work` found may be over when the signal arrives, so it is asked again: a process that is
    stopped stays where it is.

    Args:
        place: The job, which is running.
        processes: Gives those among which to choose.
    """
    until(lambda: place.outputs)
    end = time.monotonic() + 120.0
    while time.monotonic() < end:
        chosen = processes()
        for shard, pid in at_work(place).items():
            if pid not in chosen:
                continue
            os.kill(pid, signal.SIGSTOP)
            until(partial(is_stopped, pid))
            if at_work(place).get(shard) == pid:
                return shard, pid
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.02)
    raise AssertionError("no process is at work")


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped by a signal."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("T")


def test_a_job_on_two_nodes(tmp_path: Path, cluster: Cluster) -> None:
    place = Place(tmp_path, 30, pause=0.2)
    done = place.finish(place.start(place.copy(cluster.address)))
    assert (done.returncode, done.stdout) == (0, "")
    assert re.fullmatch(r"6 shards: 30 done, 15 kB -> 15 kB in \S+( s)?\n", done.stderr)
    place.check()
    pids = {owner.pid for shard in range(6) if (owner := owner_of(place.job, shard, 1)) is not None}
    assert len(pids) == 2
    again = place.finish(place.start(place.copy(cluster.address)))
    assert (again.returncode, again.stdout) == (0, "")
    assert again.stderr.startswith("0 shards: 0 done")


def test_a_killed_worker(tmp_path: Path, cluster: Cluster) -> None:
    place = Place(tmp_path, 30, pause=0.2)
    process = place.start(place.copy(cluster.address))
    shard, pid = stop_one(place, cluster.workers)
    os.kill(pid, signal.SIGKILL)
    done = place.finish(process)
    lines = done.stderr.splitlines()
    assert done.returncode == 0
    assert lines[0] == f"shard {shard}: its process ended; tried again"
    assert lines[1].startswith("6 shards: 30 done, 15 kB -> 15 kB in ")
    assert lines[1].endswith("; 1 attempt made again")
    assert len(lines) == 2
    place.check()


def test_an_input_that_ends_its_process(tmp_path: Path, cluster: Cluster) -> None:
    """The second attempt has a process for the inputs, and does not end with it."""
    place = Place(tmp_path, 20, poison={7: b"poison"})
    done = place.finish(place.start(place.copy(cluster.address)))
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert re.fullmatch(r"shard \d: its process ended; tried again", lines[0])
    assert lines[1].startswith("E099 in/1/007.raw: ended its worker process twice (SIGKILL); ")
    assert lines[2].startswith("4 shards: 19 done, 1 failed, ")
    assert len(lines) == 3
    place.check()
    assert place.failures() == [("in/1/007.raw", "E099")]
    again = place.finish(place.start(place.copy(cluster.address)))
    assert again.stderr.startswith("0 shards: 0 done")


def test_an_input_that_ends_its_task_each_time(tmp_path: Path, cluster: Cluster) -> None:
    place = Place(tmp_path, 20, poison={7: b"venom", 11: b"poison"})
    done = place.finish(place.start(place.copy(cluster.address, "--retries", "1")))
    assert done.returncode == 1
    assert re.search(r"input \d of shard \d: its process ended; recorded as failed", done.stderr)
    assert "4 shards: 18 done, 2 failed, " in done.stderr
    assert "E099 in/1/007.raw: ended each of its processes: its process ended; " in done.stderr
    place.check()
    assert place.failures() == [("in/1/007.raw", "E099"), ("in/2/011.raw", "E099")]


def test_a_stopped_worker_does_nothing_when_it_goes_on(tmp_path: Path, cluster: Cluster) -> None:
    place = Place(tmp_path, 30, lease=2.0, pause=0.3)
    process = place.start(place.copy(cluster.address))
    shard, pid = stop_one(place, cluster.workers)
    try:
        until(place.job.done_file(shard).exists)
    finally:
        with contextlib.suppress(ProcessLookupError):  # Ray may have killed it
            os.kill(pid, signal.SIGCONT)
    done = place.finish(process)
    lines = done.stderr.splitlines()
    assert done.returncode == 0
    assert f"shard {shard}: no sign of life for 2 s; tried again" in lines
    assert lines[-1].startswith("6 shards: 30 done, ")
    place.check()


def test_ctrl_c_and_the_same_command_again(tmp_path: Path, cluster: Cluster) -> None:
    place = Place(tmp_path, 30, pause=0.3)
    process = place.start(place.copy(cluster.address))
    until(lambda: place.outputs)
    process.send_signal(signal.SIGINT)
    done = place.finish(process)
    assert done.returncode == 130
    assert re.fullmatch(r"\d shards?: \d+ done.*; \d shards not done.*\n", done.stderr), done.stderr
    assert 0 < len(place.outputs) < 30
    until(lambda: not cluster.workers())
    assert not [*place.folder.rglob("*.part")]
    again = place.finish(place.start(place.copy(cluster.address)))
    assert again.returncode == 0
    place.check()


def test_a_killed_head_of_the_job(tmp_path: Path, cluster: Cluster) -> None:
    place = Place(tmp_path, 30, pause=0.3)
    process = place.start(place.copy(cluster.address))
    until(lambda: place.outputs)
    process.kill()
    place.finish(process)
    until(lambda: not cluster.workers())
    again = place.finish(place.start(place.copy(cluster.address)))
    assert again.returncode == 0
    place.check()


def test_a_killed_node(tmp_path: Path) -> None:
    place = Place(tmp_path, 40, pause=0.2)
    with Cluster({"PYTHONPATH": FOLDERS}) as cluster:
        process = place.start(place.copy(cluster.address))
        shard, _ = stop_one(place, partial(cluster.workers, SECOND))
        cluster.remove_node()
        done = place.finish(process)
    lines = done.stderr.splitlines()
    assert done.returncode == 0
    assert lines[-1].startswith("8 shards: 40 done, ")
    assert 1 <= len(lines) - 1 <= 3  # further tasks may have been on their way to the node
    assert all(re.fullmatch(r"shard \d: .*; tried again", line) for line in lines[:-1])
    assert any(line.startswith(f"shard {shard}: ") for line in lines[:-1])
    place.check()
    assert not cluster.processes()


def test_tasks_that_fit_on_no_node(tmp_path: Path, cluster: Cluster) -> None:
    place = Place(tmp_path, 5)
    done = place.finish(place.start(place.copy(cluster.address, "--cpus-per-task", "9")))
    assert done.returncode == 4
    assert done.stderr == (
        "E060 no node of the cluster has 9 CPUs and 0 GPUs for a task; the most are 1 CPUs, 0 GPUs; "
        "see --cpus-per-task and --gpus-per-task\n"
    )


def test_nodes_without_vaetools(tmp_path: Path) -> None:
    place = Place(tmp_path, 5)
    broken = tmp_path / "broken" / "vaetools"
    broken.mkdir(parents=True)
    (broken / "__init__.py").touch()
    with Cluster({"PYTHONPATH": str(broken.parent)}) as cluster:
        done = place.finish(place.start(place.copy(cluster.address)))
    assert done.returncode == 4
    assert re.fullmatch(
        r"(shard 0: .*; tried again\n){2}"
        r"E061 vaetools cannot be imported on (\d+\.\d+\.\d+\.\d+|a node): "
        r"ModuleNotFoundError: No module named "
        r"'vaetools\.distributed'; pip install 'vaetools\[ray\]' in the same version on all nodes\n",
        done.stderr,
    ), done.stderr


def test_the_commands_of_the_page(tmp_path: Path, cluster: Cluster) -> None:
    """With the real model: the files are those of a run on this machine."""
    photos = tmp_path / "photos"
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
        path = photos / f"{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), cv2.resize(pixels, (96, 64)))
    text = (ROOT / "docs" / "ray.md").read_text(encoding="utf-8")
    commands = re.findall(r"^(vaetools (?:shards|compress) .*)$", text, re.MULTILINE)
    commands[-1] = commands[-1].replace("packed/", "again/")
    plain = "vaetools compress photos/ -o plain/ -q 75"
    assert len(commands) == 3
    for line in (
        commands[0],
        commands[1],
        commands[0].replace("run/", "run2/"),
        commands[2].replace("run/", "run2/"),
        plain,
    ):
        words = [sys.executable, "-m", *line.split()]
        more = {"PYTHONPATH": FOLDERS, "RAY_ADDRESS": cluster.address}
        done = subprocess.run(
            words,
            check=False,
            cwd=tmp_path,
            env={**os.environ, **more},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (line, done.stderr)
        assert done.stdout == ""
    wanted = tree(tmp_path / "plain")
    assert len(wanted) == 4
    assert tree(tmp_path / "packed") == tree(tmp_path / "again") == wanted


def test_nothing_is_left_of_a_cluster_when_a_test_fails() -> None:
    with pytest.raises(RuntimeError, match="a test"), Cluster() as cluster:  # noqa: PT012
        folder = cluster.folder
        assert len(cluster.processes()) > 5
        raise RuntimeError("a test")
    assert not cluster.processes()
    assert not folder.exists()


def test_a_cluster_for_one_command(tmp_path: Path) -> None:
    place = Place(tmp_path, 5)
    command = place.copy("local")
    folder = tempfile.mkdtemp(prefix="vt", dir="/tmp")
    try:
        done = place.finish(place.start(command, RAY_TMPDIR=folder))
    finally:
        shutil.rmtree(folder)
    assert (done.returncode, done.stdout) == (0, "")
    assert re.fullmatch(r"1 shard: 5 done, 2\.5 kB -> 2\.5 kB in \S+( s)?\n", done.stderr)
    place.check()
