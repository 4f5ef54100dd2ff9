"""The engine on a Ray cluster: each part of a shard is a task of Ray Core.

This is the only module that imports Ray. Ray repeats no task itself, since it would not say so;
`Dispatcher` decides what is tried again.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import re
import secrets
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from vaetools.distributed.dispatch import Crash, Dispatcher, Unusable
from vaetools.distributed.recipe import run_part
from vaetools.distributed.shard_runner import ShardResult
from vaetools.errors import DeviceError, LibraryError, UnexpectedError, UsageError, VaetoolsError
from vaetools.text import describe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vaetools.distributed.dispatch import Listener, Outcome
    from vaetools.distributed.job import Job
    from vaetools.distributed.loop import Work
    from vaetools.distributed.parts import Part
    from vaetools.distributed.recipe import Recipe

CALLS = 50
"""Tasks after which a process is replaced, so that what a library leaks does not add up."""

MOST_CPUS = 4
"""Cores of a task, unless specified or its node has fewer."""

PATIENCE = 300.0
"""Seconds that a cluster may be without a node on which a task fits, before the job is stopped."""

_SECONDS = 5.0
"""To connect, and between two looks at the nodes of the cluster."""

Resources: TypeAlias = "Mapping[str, float]"
"""Of a node, by their names."""

INSTALL = "pip install 'vaetools[ray]'"


@dataclass(frozen=True)
class RayOptions:
    """How a job uses a cluster.

    Attributes:
        address: Of the cluster, `host:port`; `auto`: that of `RAY_ADDRESS`, or the one that this
            machine belongs to; `local`: a cluster of this machine alone, which ends with the job.
        gpus: GPUs of a task, also parts of one; None: one if a node has any and the device is `auto`
            or `cuda`.
        cpus: Cores of a task, which are the inputs that it processes at the same time; None: 4, or those
            of the smallest node.
        retries: Further attempts after one that failed.
        device: Kind of device of the tasks: `auto`, `cpu`, `cuda`, or another one.

    Raises:
        UsageError: `address` is that of a Ray client, or `device` has a number.
    """

    address: str = "auto"
    gpus: float | None = None
    cpus: int | None = None
    retries: int = 2
    device: str = "auto"

    def __post_init__(self) -> None:
        if ":" in self.device:
            remedy = (
                f"use --device {self.device.partition(':')[0]}: Ray chooses the GPU of each task"
            )
            problem = f"--device {self.device} has no effect with --engine ray"
            raise UsageError(problem, remedy=remedy)
        if "://" in self.address:
            problem = f"{self.address} is not the address of a cluster"
            remedy = "run the command on a node of the cluster, with --address auto"
            raise UsageError(problem, remedy=remedy)


def run_on_ray(job: Job, recipe: Recipe, options: RayOptions, listener: Listener) -> Work:
    """Process all shards of a job on a Ray cluster.

    Args:
        job: The job, begun.
        recipe: For the tasks, which get another device.
        options: How to use the cluster.
        listener: Receives progress events.

    Raises:
        LibraryError: Ray is not installed.
        DeviceError: There is no cluster at the address, or it has no node on which a task fits.
        VaetoolsError: As `Dispatcher.run`.
    """
    with _connected(options.address):
        needs = Needs.of(options, _nodes())
        recipe = recipe.on(needs.device(options.device), jobs=needs.cpus)
        executor = RayExecutor(pickle.dumps(recipe), needs)
        return Dispatcher(job, executor, options.retries, listener).run()


@dataclass(frozen=True)
class Needs:
    """What a task takes of a node."""

    cpus: int
    gpus: float

    @classmethod
    def of(cls, options: RayOptions, nodes: Sequence[Resources]) -> Needs:
        """What the tasks of a job need. Raises `DeviceError` if no node has it."""
        gpus, device = options.gpus, options.device
        if gpus is None:
            has_gpus = any(node.get("GPU", 0) >= 1 for node in nodes)
            gpus = 1.0 if device == "cuda" or (device == "auto" and has_gpus) else 0.0
        able = [int(node.get("CPU", 0)) for node in nodes if node.get("GPU", 0) >= gpus]
        cpus = options.cpus or max(1, min([MOST_CPUS, *filter(None, able)]))
        needs = cls(cpus, gpus)
        if not needs.slots(nodes):
            raise needs.error(nodes)
        return needs

    def device(self, wanted: str) -> str:
        """The device of a task: Ray shows it no other GPUs than its own."""
        if self.gpus and wanted in ("auto", "cuda"):
            return "cuda:0"
        return "cpu" if wanted == "auto" else wanted

    def slots(self, nodes: Sequence[Resources]) -> int:
        """Number of tasks that fit on nodes at the same time."""
        count = 0
        for node in nodes:
            slots = node.get("CPU", 0) // self.cpus
            if self.gpus:
                slots = min(slots, node.get("GPU", 0) // self.gpus)
            count += int(slots)
        return count

    def error(self, nodes: Sequence[Resources]) -> DeviceError:
        most = [int(max((node.get(kind, 0) for node in nodes), default=0)) for kind in _KINDS]
        problem = (
            f"no node of the cluster has {self.cpus} CPUs and {self.gpus:g} GPUs for a task; "
            f"the most are {most[0]} CPUs, {most[1]} GPUs"
        )
        return DeviceError(problem, remedy="see --cpus-per-task and --gpus-per-task")


_KINDS = ("CPU", "GPU")


def _nodes() -> list[Resources]:
    """The resources of the nodes that are alive."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


class RayExecutor:
    """Runs parts of shards as tasks of the cluster that this process is connected to.

    Args:
        recipe: Pickled.
        needs: What a task takes of a node.
    """

    def __init__(self, recipe: bytes, needs: Needs) -> None:
        import ray

        self._ray = ray
        self._recipe = recipe
        self._needs = needs
        self._name = secrets.token_hex(8)
        self._remote = ray.remote(max_calls=CALLS)(run_part).options(
            name="vaetools",
            num_cpus=needs.cpus,
            num_gpus=needs.gpus,
            max_retries=0,
            scheduling_strategy="SPREAD",
        )
        self._shards: dict[Any, int] = {}
        self._slots = 0
        self._looked = self._fitted = -math.inf

    def slots(self) -> int:
        """Number of tasks that can run at the same time; at least 1.

        Raises:
            DeviceError: No task has fitted on any node for `PATIENCE`.
        """
        now = time.monotonic()
        if now - self._looked > _SECONDS:
            nodes = _nodes()
            self._looked, self._slots = now, self._needs.slots(nodes)
            if self._slots or self._fitted == -math.inf:
                self._fitted = now
            if now - self._fitted > PATIENCE:
                raise self._needs.error(nodes)
        return max(self._slots, 1)

    def submit(self, part: Part) -> Any:
        """Start a task; return its handle."""
        task = self._remote.remote(self._recipe, part, self._name)
        self._shards[task] = part.shard
        return task

    def wait(self, tasks: Sequence[Any], seconds: float) -> Sequence[Any]:
        """Wait until at least one task has ended, but not longer than `seconds`; return those."""
        if not tasks:
            return []
        seconds = min(seconds, _SECONDS)
        ended, _ = self._ray.wait([*tasks], num_returns=1, timeout=seconds, fetch_local=False)
        return list(ended)

    def outcome(self, task: Any) -> Outcome:
        """What became of a task that has ended."""
        errors = self._ray.exceptions
        shard = self._shards.pop(task)
        try:
            found = self._ray.get(task)
        except errors.TaskCancelledError:
            return ShardResult(shard, "interrupted")
        except errors.RayTaskError as error:
            return _not_run(error)
        except errors.OutOfMemoryError:
            return Crash("Ray ended its process, since its node lacked memory")
        except errors.NodeDiedError:
            return Crash("its node was lost")
        except errors.RayError as error:
            lost = isinstance(error, errors.WorkerCrashedError)
            return Crash("its process ended" if lost else describe(error))
        assert isinstance(found, ShardResult | VaetoolsError | Unusable)
        return found

    def interrupt(self, tasks: Sequence[Any]) -> None:
        """End tasks as Ctrl-C ends a run: inputs in work are finished."""
        for task in tasks:
            self._ray.cancel(task, force=False, recursive=False)

    def abandon(self, task: Any) -> None:
        """Kill the process of a task; one that is stopped dies when it goes on."""
        self._shards.pop(task, None)
        self._ray.cancel(task, force=True, recursive=False)


def _not_run(error: Any) -> VaetoolsError:
    """The error of a task that did not reach the shard runner."""
    cause = error.cause
    if isinstance(cause, KeyboardInterrupt):
        cause = None
    text = str(error)
    address = re.search(r"\bip=([\w.:]+)", text)
    host = "a node" if address is None else address[1]
    if "ModuleNotFoundError" in text or "ImportError" in text:
        line = next(line for line in reversed(text.splitlines()) if "Error" in line).strip()
        remedy = f"{INSTALL} in the same version on all nodes"
        return LibraryError(f"vaetools cannot be imported on {host}: {line}", remedy=remedy)
    return UnexpectedError(f"a task failed on {host}: {describe(cause or error)}")


def library() -> Any:
    """The module `ray`. Raises `LibraryError` if it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        problem = f"--engine ray needs the library ray: {describe(error)}"
        raise LibraryError(problem, remedy=INSTALL) from None
    return ray


@contextlib.contextmanager
def _connected(address: str) -> Iterator[None]:
    """Connect this process to a cluster.

    Raises:
        LibraryError: Ray is not installed.
        DeviceError: There is no cluster at the address.
    """
    ray = library()
    _check_reachable(address)
    with contextlib.redirect_stdout(_Nowhere()):  # Ray prints there when a process ends
        try:
            with _quiet(), _same_signals():
                more = {"include_dashboard": False} if address == "local" else {}
                ray.init(
                    address,
                    log_to_driver=False,
                    configure_logging=False,
                    logging_level="CRITICAL",
                    **more,
                )
        except (Exception, SystemExit) as error:  # noqa: BLE001 - of many unrelated types
            raise _no_cluster(address, describe(error).partition(". ")[0]) from None
        try:
            yield
        finally:
            with _quiet():
                ray.shutdown()


def _no_cluster(address: str, reason: str) -> DeviceError:
    remedy = "start one with ray start, or use --address local"
    return DeviceError(f"no Ray cluster at {address}: {reason}", remedy=remedy)


def _check_reachable(address: str) -> None:
    """Raise `DeviceError` if nothing answers: Ray would try for two minutes."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", address)
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or describe(error)
        raise _no_cluster(address, reason) from None


class _Nowhere:
    """A stream that keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass


@contextlib.contextmanager
def _same_signals() -> Iterator[None]:
    """Restore the signal handlers of this process, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    handlers = [signal.getsignal(number) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what Ray and its libraries write to stdout and stderr on their own."""
    sys.stderr.flush()
    kept = {number: os.dup(number) for number in (1, 2)}
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in kept:
            os.dup2(nowhere, number)
        with contextlib.redirect_stderr(_Nowhere()):
            yield
    finally:
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)
