"""Streams: frames are decoded, worked on and handed over at the same time, and stay in order.

    reader thread ── a frame and its future ──> queue ──> the caller's loop
                          │                                    ▲
                          └──────> worker threads ── result ───┘

Whoever reads a frame first takes one of `depth` slots and the caller gives it back when it asks for
the next result: so no more than `depth` frames are ever on their way, whatever is the slow part.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from vaetools.errors import OptionError, UnreadableError, UsageError

if TYPE_CHECKING:
    import cv2

DEPTH = 4
"""Frames on their way: one read, one worked on, one finished, one in the caller's hands."""

Source: TypeAlias = "cv2.VideoCapture | str | Path | int | Iterable[np.ndarray]"


class Keyed(Protocol):
    """A step, or any callable of that kind."""

    def __call__(self, item: Any, *, key: str) -> Any: ...


def stream(step: Keyed, source: Source, *, depth: int = DEPTH, threads: int = 1) -> Generator[Any]:
    """Results of `step` for the frames of `source`, in their order.

    A frame's number, from 0, is its key: so what draws noise draws other noise for each frame, and
    the same when the stream is run again. Close the iterator (or leave its `for` loop) to end it
    early; that waits for the frame being read and for those being worked on. A capture that was
    opened here is then released; one that was handed over is not, and is up to `depth` frames ahead.

    Args:
        source: a `cv2.VideoCapture`, the path of a video, the number of a camera, or any iterable of
            frames; read in a thread of its own. A capture that gives no frame has ended.
        depth: frames that are on their way at once, so the memory that is used; a camera shows so
            many frames late.
        threads: frames that are worked on at once. A network uses all cores for one frame, unless
            the hub was opened with `threads`.

    Raises:
        UnreadableError: the video or camera cannot be opened. UsageError: it is no source.
        OptionError: `depth` or `threads` below 1.
        While it goes on: what reading or working on a frame raises, in that frame's place.
    """
    for name, value in (("depth", depth), ("threads", threads)):
        if value < 1:
            raise OptionError(f"{name}={value!r} is not at least 1")
    frames, release = _open_source(source)
    return _results(step, frames, release, depth, threads)


def _open_source(source: Source) -> tuple[Iterator[np.ndarray], Callable[[], None]]:
    """(frames, what ends them) of a source. Raises as `stream` does."""
    import cv2

    if isinstance(source, str | Path | int):
        capture = open_capture(source)
        return _frames_of(capture), capture.release
    if isinstance(source, cv2.VideoCapture):
        if not source.isOpened():
            raise UsageError("the capture is not open")
        return _frames_of(source), lambda: None
    if isinstance(source, np.ndarray) and source.ndim < 4:
        raise UsageError(f"an array of shape {source.shape} is one frame and no stream of them")
    if not isinstance(source, Iterable):
        raise UsageError(f"{type(source).__name__} is no capture, path, camera or iterable")
    return iter(source), lambda: None


def open_capture(source: str | Path | int) -> cv2.VideoCapture:
    """A video file or a camera. Raises `UnreadableError`."""
    import cv2

    capture = cv2.VideoCapture(source if isinstance(source, int) else str(source))
    if capture.isOpened():
        return capture
    if isinstance(source, int):
        raise UnreadableError(f"camera {source} does not answer")
    is_missing = "://" not in str(source) and not Path(source).exists()
    problem = "is not there" if is_missing else "is no video that OpenCV can read"
    raise UnreadableError(problem, file=source)


def _frames_of(capture: cv2.VideoCapture) -> Iterator[np.ndarray]:
    while True:
        is_there, frame = capture.read()
        if not is_there:
            return
        yield frame


def _results(
    step: Keyed,
    frames: Iterator[np.ndarray],
    release: Callable[[], None],
    depth: int,
    threads: int,
) -> Generator[Any]:
    reader = _Reader(step, frames, depth, threads)
    try:
        while (future := reader.next()) is not None:
            yield future.result()
            del future  # and with it the frame, before another one may be read
            reader.slots.release()
    finally:
        reader.stop()
        release()


class _Reader:
    """Takes frames from their source, in a thread of its own, and hands them to workers."""

    def __init__(self, step: Keyed, frames: Iterator[np.ndarray], depth: int, threads: int) -> None:
        self.slots = threading.Semaphore(depth)
        self._step = step
        self._frames = frames
        self._begun: SimpleQueue[Future[Any] | None] = SimpleQueue()
        self._stopped = False
        self._workers = ThreadPoolExecutor(threads, "vaetools stream")
        # A daemon: a source that never gives another frame must not keep the process alive.
        self._thread = threading.Thread(target=self._read, name="vaetools frames", daemon=True)
        self._thread.start()

    def next(self) -> Future[Any] | None:
        """The next frame's result; None after the last one."""
        return self._begun.get()

    def stop(self) -> None:
        self._stopped = True
        self.slots.release()  # it may be waiting for one
        self._thread.join()
        self._workers.shutdown(cancel_futures=True)

    def _read(self) -> None:
        try:
            for number in itertools.count():
                self.slots.acquire()
                if self._stopped:
                    break
                work = functools.partial(self._step, key=str(number))
                self._begun.put(self._workers.submit(work, next(self._frames)))
        except StopIteration:
            pass
        except BaseException as error:  # noqa: BLE001 - a source may raise anything
            failed: Future[Any] = Future()
            failed.set_exception(error)
            self._begun.put(failed)
        self._begun.put(None)
