"""A Ray cluster of two nodes on this machine, in processes of its own.

As a script it is the cluster: it prints its address, and removes nodes or ends as stdin says. It ends
with the process that started it, since stdin ends then.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

MARK = "VAETOOLS_TEST_CLUSTER"
"""Environment variable that all processes of a cluster have."""

SECOND = "VAETOOLS_TEST_SECOND"
"""The same of the second node alone."""

MEMORY = 80 * 2**20
"""Bytes of the object store of a node; Ray refuses less than 75 MiB."""


class Cluster:
    """Two nodes with one CPU each: the head, and one that can be removed.

    Args:
        environment: Further environment variables of all processes.

    Attributes:
        address: For `--address`.
        folder: Of its files.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self.mark = secrets.token_hex(8)
        self.folder = Path(tempfile.mkdtemp(prefix="vt", dir="/tmp"))  # paths of sockets are short
        values = {
            **os.environ,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TMPDIR": str(self.folder),
            **(environment or {}),
            MARK: self.mark,
        }
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=values,
            cwd=self.folder,
            start_new_session=True,
        )
        self.address = self._answer()

    def remove_node(self) -> None:
        """Kill all processes of the second node."""
        assert self._process.stdin is not None
        self._process.stdin.write("remove\n")
        self._process.stdin.flush()
        assert self._answer() == "removed"

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            self.close()
            raise RuntimeError("the cluster has ended")
        return line

    def processes(self, variable: str = MARK) -> dict[int, str]:
        """Command lines of the running processes of the cluster by their ids.

        Args:
            variable: `MARK`: of all nodes; `SECOND`: of the second one.
        """
        found = {}
        wanted = f"{variable}={self.mark}".encode()
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with suppress(OSError):
                    if wanted in (folder / "environ").read_bytes().split(b"\0"):
                        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").strip()
                        if command:  # not a zombie
                            found[int(folder.name)] = command.decode(errors="replace")
        return found

    def workers(self, variable: str = MARK) -> list[int]:
        """Ids of the processes that run tasks of vaetools; `variable` as for `processes`."""
        found = self.processes(variable)
        return [pid for pid, command in found.items() if command == "ray::vaetools"]

    def close(self) -> None:
        """End all processes, whatever state they are in, and remove their files."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        while left := self.processes():
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _serve() -> None:
    from ray.cluster_utils import Cluster as RayCluster

    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Ray prints is not for the test
    options = {"num_cpus": 1, "object_store_memory": MEMORY, "include_dashboard": False}
    cluster = RayCluster(initialize_head=True, head_node_args=options)
    second = cluster.add_node(**options, env_vars={SECOND: os.environ[MARK]})
    cluster.wait_for_nodes()
    print(cluster.address, file=output, flush=True)
    for line in sys.stdin:
        if line.strip() == "remove":
            cluster.remove_node(second, allow_graceful=False)
            print("removed", file=output, flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    _serve()
