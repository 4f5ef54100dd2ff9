"""Streams: reading frames, processing them and the caller's loop overlap; the order is kept.

    reader thread ── a frame and its future ──> queue ──> the caller's loop
                          │                                    ▲
                          └──────> worker threads ── result ───┘

The reader takes one of `depth` slots before it reads a frame, and the caller returns the slot when
it asks for the next result. So at most `depth` frames are in flight, whichever part is the slowest.
"""

from __future__ import annotations

import contextvars
import functools
import itertools
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

import numpy as np

from vaetools.errors import OptionError, UsageError
from vaetools.image import MAX_PIXELS
from vaetools.model.limits import MOST_PARALLEL
from vaetools.video.capture import frames_of, open_capture
from vaetools.video.files import open_video

if TYPE_CHECKING:
    import cv2

PATIENCE = 2.0
"""Seconds that the thread of a stream gets to end."""

DEPTH = 4
"""Frames in flight: one being read, one being processed, one finished, one with the caller."""

Source: TypeAlias = "cv2.VideoCapture | str | Path | int | Iterable[Any]"
"""A capture, the path or URL of a video, the number of a camera, or an iterable of frames."""

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


class KeyedStep(Protocol[Result_co]):
    """A callable such as `vaetools.operation.step.Step`; `key` seeds the noise of a frame."""

    def __call__(self, item: Any, *, key: str) -> Result_co: ...


def depth_for(threads: int) -> int:
    """Frames in flight of a video, so that no thread waits for a frame."""
    return min(DEPTH + threads - 1, MOST_PARALLEL)


def stream(
    step: KeyedStep[Result],
    source: Source,
    *,
    depth: int = DEPTH,
    threads: int = 1,
    first: int = 0,
) -> Generator[Result, None, None]:
    """Apply a step to the frames of a source; yield the results in the order of the frames.

    The number of a frame, from 0, is its key. So noise differs between frames, and is the same when
    the stream is run again. Leaving the loop, or closing the generator, ends the stream. A capture
    that was opened here is then released. A capture that was passed in stays open, up to `depth`
    frames ahead.

    Args:
        step: Called with each frame and its key. It must be thread-safe if `threads` is not 1.
        source: A `cv2.VideoCapture`, the path or URL of a video, the number of a camera, or any
            iterable of frames, which a separate thread reads. Frames of videos and cameras are
            (H, W, 3) uint8 BGR; frames of an iterable are passed on to the step as they are, arrays
            as copies: the iterable may use its buffer again.
        depth: Number of frames in flight, at least 1. It bounds memory, and the delay of a camera.
        threads: Number of frames processed at the same time, at least 1. A network uses all cores
            for one frame, unless the hub was opened with `threads`.
        first: Number of the first frame.

    Yields:
        The result of the step for each frame.

    Raises:
        UnreadableError: The video or camera cannot be opened.
        UsageError: The source is none of these.
        OptionError: `depth` or `threads` is not 1 … 1024.
        Exception: Whatever reading or processing a frame raises, in place of the result of that
            frame; it ends the stream.
    """
    for name, value in (("depth", depth), ("threads", threads)):
        if not isinstance(value, int) or value < 1:
            raise OptionError(f"{name}={value!r} is not at least 1")
        if value > MOST_PARALLEL:
            raise OptionError(f"{name}={value!r} is not 1 … {MOST_PARALLEL}")
    frames, release = _open_source(source)
    return _results(functools.partial(_Reader, step, frames, depth, threads, first, release))


def _open_source(source: Source) -> tuple[Iterator[Any], Callable[[], None]]:
    """The frames of a source, and a function that releases it. Raises as `stream` does."""
    import cv2

    if isinstance(source, str | Path) and Path(source).is_file():
        video = open_video(Path(source), max_pixels=MAX_PIXELS)
        return iter(video), video.close
    if isinstance(source, str | Path | int):
        capture = open_capture(source)
        return frames_of(capture), capture.release
    if isinstance(source, cv2.VideoCapture):
        if not source.isOpened():
            raise UsageError("the capture is not open")
        return frames_of(source), lambda: None
    if isinstance(source, np.ndarray) and source.ndim < 4:
        raise UsageError(
            f"an array of shape {source.shape} is a single frame", remedy="pass a list of frames"
        )
    if not isinstance(source, Iterable):
        raise UsageError(
            f"a stream cannot be read from {type(source).__name__}",
            remedy="pass a cv2.VideoCapture, a path, a camera number, or an iterable of frames",
        )
    return map(_owned, source), lambda: None


def _owned(frame: Any) -> Any:
    """A frame that stays as it is when the source uses its buffer again; also a pair with a mask."""
    if isinstance(frame, np.ndarray):
        return frame.copy()
    return tuple(map(_owned, frame)) if type(frame) is tuple else frame


def _results(read: Callable[[], _Reader[Result]]) -> Generator[Result, None, None]:
    reader = read()  # not before the first result is wanted
    try:
        while (future := reader.next()) is not None:
            yield future.result()
            del future  # releases the frame, before another one may be read
            reader.slots.release()
    finally:
        reader.stop()


class _Reader(Generic[Result]):
    """Reads frames in a thread of its own, and passes them to workers.

    The thread releases the source at its end, not before: it may still be reading a frame.
    """

    def __init__(
        self,
        step: KeyedStep[Result],
        frames: Iterator[Any],
        depth: int,
        threads: int,
        first: int,
        release: Callable[[], None],
    ) -> None:
        self._release = release
        self.slots = threading.Semaphore(depth)
        self._step = step
        self._frames = frames
        self._first = first
        self._context = contextvars.copy_context()  # of the caller, for what it watches
        self._futures: SimpleQueue[Future[Result] | None] = SimpleQueue()
        self._stopped = False
        self._workers = ThreadPoolExecutor(threads, "vaetools stream")
        # A daemon: a source that blocks for ever must not keep the process alive.
        self._thread = threading.Thread(target=self._read, name="vaetools frames", daemon=True)
        self._thread.start()

    def next(self) -> Future[Result] | None:
        """Wait for the future of the next frame; None after the last one."""
        return self._futures.get()

    def stop(self) -> None:
        """Stop reading, and wait for the frames that are being read or processed.

        A source that does not give its next frame is not waited for longer than `PATIENCE`.
        """
        self._stopped = True
        self.slots.release()  # the reader may be waiting for one
        self._thread.join(PATIENCE)
        self._workers.shutdown(cancel_futures=True)

    def _is_stopped(self) -> bool:
        return self._stopped

    def _read(self) -> None:
        try:
            for number in itertools.count(self._first):
                self.slots.acquire()
                if self._is_stopped():
                    break
                work = functools.partial(self._step, key=str(number))
                run = self._context.copy().run
                frame = next(self._frames)
                if self._is_stopped():  # meanwhile
                    break
                self._futures.put(self._workers.submit(run, work, frame))
                del frame
        except StopIteration:
            pass
        except BaseException as error:  # noqa: BLE001 - a source may raise anything
            failed: Future[Result] = Future()
            failed.set_exception(error)
            self._futures.put(failed)
        finally:
            self._release()
        self._futures.put(None)
