"""The sessions of all graphs on one device, created once each."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Protocol, TypeVar

from vaetools.errors import OptionError
from vaetools.model.batching import Batcher
from vaetools.model.devices import Device, check_packages, parse_device
from vaetools.model.limits import MOST_PARALLEL
from vaetools.model.proof import automatic_device, proven_device
from vaetools.model.recent import Recent
from vaetools.model.session import Session, usable_cores
from vaetools.tiling import map_ordered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")
R = TypeVar("R")

ISOLATE = "VAETOOLS_ISOLATE"
"""Environment variable: which models run in processes of their own, `auto` (default: those that did not
come with vaetools), `always` or `never`."""


def isolate_by(wanted: bool | None) -> bool | None:
    """`wanted`, or what `VAETOOLS_ISOLATE` says where it is None; see `Runtime`.

    Raises:
        OptionError: the variable has another value than `auto`, `always` or `never`.
    """
    words = {"auto": None, "always": True, "never": False}
    word = os.environ.get(ISOLATE, "auto")
    if word not in words:
        raise OptionError(f"{ISOLATE}={word!r} is not one of {', '.join(words)}")
    return words[word] if wanted is None else wanted


class Closable(Protocol):
    """What holds memory until it is closed."""

    def close(self) -> None: ...


class Runtime:
    """Opens sessions on one device.

    Args:
        device: `auto` (CUDA where it computes what the CPU does, else the CPU), `cpu`, `cuda`,
            `cuda:N`, or another kind of `vaetools.model.kinds`.
        threads: threads within one call; None for one per core. With several callers at once,
            1 gives the best throughput.
        isolate: run models in processes of their own (`vaetools.model.isolation`): all, none, or, with
            None, those that did not come with vaetools.

    Raises:
        DeviceError: the device that was asked for does not work here, or two packages of ONNX
            Runtime hide each other.
        OptionError: the device is not a known word; a negative number of threads.
    """

    def __init__(
        self, device: str = "auto", *, threads: int | None = None, isolate: bool | None = False
    ) -> None:
        check_packages()
        wanted = parse_device(device)
        self.device: Device = automatic_device() if wanted is None else proven_device(wanted)
        if threads is not None and not (isinstance(threads, int) and 0 <= threads <= MOST_PARALLEL):
            raise OptionError(f"threads={threads!r} is not 0 … {MOST_PARALLEL}")
        self.wanted_threads: int | None = threads
        self.threads: int = threads or usable_cores()
        self.isolate = isolate
        self._adopted: weakref.WeakSet[Closable] = weakref.WeakSet()
        self._slots: dict[int, threading.BoundedSemaphore] = {}
        self._sessions: Recent[str, Session] = Recent()
        self._batcher = Batcher() if self.device.batches else None
        self._lock = threading.Lock()

    def session(
        self, load: Callable[[], bytes], *, key: str, name: str, exact: bool = False
    ) -> Session:
        """The session of a graph, created once per `key`.

        Args:
            load: gives the graph's ONNX bytes; called only if there is no session yet.
            key: identifies the bytes, such as their sha256.
            name: for error messages.
            exact: run on the CPU whatever the device is: GPUs may sum in float32 with fewer bits.
        """
        device = Device("cpu") if exact else self.device
        batcher = None if exact else self._batcher
        return self._sessions.get(key, lambda: Session(load(), name, device, self.threads, batcher))

    def map_ordered(self, work: Callable[[T], R], pieces: Sequence[T], threads: int) -> Iterator[R]:
        """`work(piece)` for every piece, in order, up to `threads` at a time.

        Unless it is 1, the limit holds for all callers with the same limit together, so that memory
        does not grow with their number. `work` must not call `map_ordered` itself.
        """
        if threads == 1:
            return map(work, pieces)
        with self._lock:
            slots = self._slots.setdefault(threads, threading.BoundedSemaphore(threads))

        def limited(piece: T) -> R:
            with slots:
                return work(piece)

        return map_ordered(limited, pieces, threads)

    def adopt(self, resource: Closable) -> None:
        """`close` closes this as well."""
        self._adopted.add(resource)

    def close(self) -> None:
        """Drop all sessions and the memory that they hold, and end all workers."""
        self._sessions.clear()
        if self._batcher is not None:
            self._batcher.close()
        for resource in list(self._adopted):
            resource.close()
