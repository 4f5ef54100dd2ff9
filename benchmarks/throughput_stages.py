"""CPU time of a run by stage: functions at the seams of the package are wrapped while it runs.

Times are exclusive: what a stage calls of another stage counts there alone. They are CPU times of the
thread that calls, so that sessions must run with one thread, and stages of worker processes are not
seen. What no stage covers is the difference to the CPU time of the process.
"""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any
from unittest import mock

from throughput_network import graph_name, session_class

import vaetools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SEAMS = {
    "read, decode": [
        "vaetools.runner.output:read_original",
        "vaetools.image.read_bytes:read_file",
        "vaetools.image.decode:decode_image",
    ],
    "entropy coder": [
        "vaetools.codec.entropy:Encoder.finish",
        "vaetools.codec.entropy:Decoder.__init__",
        "vaetools.codec.entropy:Decoder.get",
    ],
    "entropy coder: grouping": [
        "vaetools.codec.tables:encode_latents",
        "vaetools.codec.tables:decode_latents",
        "vaetools.codec.tables:encode_hyper",
        "vaetools.codec.tables:decode_hyper",
    ],
    "encode image": ["vaetools.image.encode:encode_image"],
    "write, fsync": ["vaetools.runner.atomic:write_files"],
    "journal": [
        "vaetools.runner.journal:Journal.entry",
        "vaetools.runner.journal:Journal.writing",
        "vaetools.runner.journal:Journal.done",
    ],
}
"""Functions of each stage, `module:name`. Besides, the runs of graphs, and what operations do."""

NETWORK = "network: "
"""Prefix of the stages of graphs."""

GLUE = "glue of the operation"
REST = "rest"


class Stages:
    """CPU seconds by stage. Thread-safe.

    Attributes:
        seconds: by stage.
    """

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._local = threading.local()

    def timed(
        self, name_of: Callable[..., str], function: Callable[..., Any]
    ) -> Callable[..., Any]:
        """The function, timed; `name_of` gives the stage from its first argument."""

        @functools.wraps(function)
        def wrapper(*values: Any, **options: Any) -> Any:
            inner = self._local.__dict__.setdefault("inner", [])
            inner.append(0.0)
            started = time.thread_time()
            try:
                return function(*values, **options)
            finally:
                spent = time.thread_time() - started
                own = spent - inner.pop()
                if inner:
                    inner[-1] += spent
                with self._lock:
                    self.seconds[name_of(*values[:1])] += own

        return wrapper

    @property
    def network(self) -> float:
        """CPU seconds of all graphs."""
        return sum(spent for name, spent in self.seconds.items() if name.startswith(NETWORK))


@contextmanager
def timing() -> Iterator[Stages]:
    """Time the stages of everything inside the block. All modules must be loaded already."""
    stages = Stages()
    with ExitStack() as stack:
        for name, seams in SEAMS.items():
            for seam in seams:
                for owner, attribute, real in places_of(seam):
                    timed = stages.timed(lambda *_, name=name: name, real)
                    stack.enter_context(mock.patch.object(owner, attribute, timed))
        for operation in _subclasses(vaetools.Operation):
            if "process" in vars(operation):
                timed = stages.timed(lambda *_: GLUE, operation.process)
                stack.enter_context(mock.patch.object(operation, "process", timed))
        session = session_class()
        timed = stages.timed(lambda s: NETWORK + graph_name(s), session.run)
        stack.enter_context(mock.patch.object(session, "run", timed))
        yield stages


def places_of(seam: str) -> list[tuple[Any, str, Any]]:
    """Where a function can be reached: (owner, attribute, function); empty if there is none.

    A method has one place; a function also the modules of the package that have imported it.
    """
    module_name, _, path = seam.partition(":")
    try:
        owner: Any = import_module(module_name)
        *outer, name = path.split(".")
        for part in outer:
            owner = getattr(owner, part)
        real = getattr(owner, name)
    except (ModuleNotFoundError, AttributeError):
        return []
    if outer:
        return [(owner, name, real)]
    modules = [m for key, m in sys.modules.items() if key.partition(".")[0].startswith("vaetools")]
    return [(m, key, real) for m in modules for key, value in vars(m).items() if value is real]


def _subclasses(kind: type) -> list[Any]:
    """All classes below a class."""
    return [found for direct in kind.__subclasses__() for found in [direct, *_subclasses(direct)]]
