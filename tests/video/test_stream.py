"""Streams: order, overlap, bounds, errors and endings."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.paths import PLUGINS
from vaetools.device_memory import MOVED, note, watched
from vaetools.errors import InputError, OptionError, UnreadableError, UsageError
from vaetools.hub import Hub
from vaetools.model.limits import MOST_PARALLEL
from vaetools.plugin.host import PluginHost
from vaetools.video import stream
from vaetools.video.reading import VideoReader
from vaetools.video.stream import DEPTH, depth_for


@pytest.fixture
def hub(tiny_models: Path) -> Hub:
    host = PluginHost(builtin=False, installed=False, folders=[PLUGINS])
    return Hub(host, [tiny_models], device="cpu", threads=1)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Twelve grey frames of 64 × 48 pixels, compressed losslessly."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 25, (64, 48))
    for number in range(12):
        writer.write(np.full((48, 64, 3), 20 * number, np.uint8))
    writer.release()
    return path


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("vaetools ")]


def greys(frames: Iterator[Any]) -> list[int]:
    return [round(float(frame.mean())) for frame in frames]


def same(item: Any, *, key: str) -> Any:
    return item


def test_as_many_threads_as_there_may_be_have_frames() -> None:
    assert (depth_for(1), depth_for(MOST_PARALLEL)) == (DEPTH, MOST_PARALLEL)


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_order_with_a_number_as_key(threads: int) -> None:
    def step(item: int, *, key: str) -> tuple[int, str]:
        time.sleep(0.002 * (item % 3))  # later ones are done first
        return item, key

    results = list(stream(step, iter(range(20)), threads=threads))
    assert results == [(number, str(number)) for number in range(20)]


def test_threads_note_what_a_device_lacked() -> None:
    def step(item: int, *, key: str) -> int:
        note("cuda:0", MOVED)
        return item

    with watched() as shortages:
        list(stream(step, iter(range(3)), threads=2))
    assert shortages.used_cpu


def test_sources(hub: Hub, clip: Path) -> None:
    wanted = [255 - 20 * number for number in range(12)]
    assert greys(hub.stream("negative", clip)) == wanted
    assert greys(hub.stream("negative", str(clip))) == wanted
    frames = [np.full((48, 64, 3), 20 * number, np.uint8) for number in range(12)]
    assert greys(hub.stream("negative", frames)) == wanted
    assert greys(hub.stream("negative", (frame for frame in frames))) == wanted
    assert greys(hub.stream("negative", np.stack(frames))) == wanted
    capture = cv2.VideoCapture(str(clip))
    assert greys(hub.stream("negative", capture)) == wanted
    assert capture.isOpened()
    assert list(hub.stream("negative", [])) == []


def test_several_operations_each_with_its_options(hub: Hub, clip: Path) -> None:
    twice = greys(hub.stream("negative,negative", clip))
    assert twice == [20 * number for number in range(12)]
    steps = [hub.op("dust", amount=0), "negative"]
    assert greys(hub.stream(steps, clip)) == [255 - grey for grey in twice]
    assert greys(hub.stream(hub.op("negative"), clip)) == [255 - grey for grey in twice]
    assert all(isinstance(data, bytes) for data in hub.stream("negative,pack", clip))
    still = hub.stream("dust", clip, amount=0)
    assert greys(still) == twice


def test_noise_differs_from_frame_to_frame_and_not_from_run_to_run(hub: Hub) -> None:
    frames = [np.full((8, 8, 3), 128, np.uint8)] * 3
    first, second = (list(hub.stream("dust", frames, threads=n)) for n in (1, 3))
    assert np.array_equal(first, second)
    assert not np.array_equal(first[0], first[1])


def test_reading_processing_and_the_callers_loop_overlap() -> None:
    """Each of the three waits for the other two: frame n + 2 is read while frame n + 1 is processed
    and the caller has frame n."""
    together, last = threading.Barrier(3), 10

    def source() -> Iterator[int]:
        for number in range(last + 3):
            if number >= 2:
                together.wait(60)
            yield number

    def step(item: int, *, key: str) -> int:
        if 1 <= item <= last + 1:
            together.wait(60)
        return item

    for item in stream(step, source()):
        if item <= last:
            together.wait(60)


@pytest.mark.parametrize("depth", [1, 3])
def test_at_most_depth_frames_are_in_flight(depth: int) -> None:
    taken = 0

    def source() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    results = stream(same, source(), depth=depth, threads=2)
    for received in range(1, 6):
        next(results)
        time.sleep(0.02)  # time to read too many frames
        assert taken <= received - 1 + depth
    results.close()


def test_the_result_is_a_generator_that_can_be_closed_before_it_starts() -> None:
    results = stream(same, iter(range(3)))
    assert isinstance(results, Generator)
    results.close()
    assert list(results) == []


def test_items_of_an_iterable_are_passed_on_as_they_are() -> None:
    pairs = [(np.zeros((2, 2), np.uint8), np.ones((2, 2), bool))] * 2
    for item in stream(same, pairs):
        assert type(item) is tuple and item[1].dtype == bool
        assert all(map(np.array_equal, item, pairs[0]))


def test_a_bad_frame_is_an_error_in_its_place(hub: Hub, clip: Path) -> None:
    frames = hub.stream("slow", clip, seconds=0, bad="5", threads=2)
    assert greys(itertools.islice(frames, 5)) == [0, 20, 40, 60, 80]
    with pytest.raises(InputError, match="a bad frame"):
        next(frames)
    assert list(frames) == []


def test_a_source_that_fails_is_an_error_after_its_frames() -> None:
    def source() -> Iterator[int]:
        yield from range(3)
        raise OSError("the cable")

    results = stream(same, source())
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="the cable"):
        next(results)
    assert list(results) == []


def test_leaving_early_closes_a_video_that_the_stream_opened(
    hub: Hub, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[VideoReader] = []
    real = VideoReader.close
    monkeypatch.setattr(VideoReader, "close", lambda self: (real(self), closed.append(self))[0])
    results = hub.stream("negative", str(clip))
    next(results)
    before = len(closed)  # readers that looked ahead
    results.close()
    assert len(closed) == before + 1
    mine = cv2.VideoCapture(str(clip))
    for _ in hub.stream("negative", mine):
        break
    assert mine.isOpened() and mine.read()[0]


def test_an_endless_source_ends_with_the_loop(hub: Hub) -> None:
    frame = np.zeros((4, 4, 3), np.uint8)
    for number, _ in enumerate(hub.stream("negative", itertools.repeat(frame))):
        if number == 5:
            break


def test_a_source_that_gives_no_frame_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.modules["vaetools.video.stream"], "PATIENCE", 0.1)
    go_on, ended = threading.Event(), threading.Event()

    def source() -> Iterator[int]:
        try:
            yield 0
            go_on.wait(30)  # a camera that hangs
            yield 1
        finally:
            ended.set()

    began = time.monotonic()
    for _ in stream(same, source()):
        break
    assert time.monotonic() - began < 10 and not go_on.is_set()
    go_on.set()
    for thread in threading.enumerate():
        if thread.name == "vaetools frames":
            thread.join(10)


def test_a_source_may_use_its_buffer_again() -> None:
    def source(pairs: bool) -> Iterator[Any]:
        buffer = np.zeros((4, 4), np.uint8)
        for number in range(6):
            buffer[:] = number * 10
            yield (buffer, buffer) if pairs else buffer

    assert greys(stream(same, source(pairs=False))) == [0, 10, 20, 30, 40, 50]
    assert greys(frame for frame, _ in stream(same, source(pairs=True))) == [0, 10, 20, 30, 40, 50]


def test_a_bad_source_is_an_error(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    for source, error, said in [
        (tmp_path / "none.mp4", UnreadableError, "none.mp4: does not exist"),
        (tmp_path / "text.mp4", UnreadableError, "text.mp4: is not a video that FFmpeg can read"),
        (cv2.VideoCapture(), UsageError, "the capture is not open"),
        (np.zeros((4, 4, 3), np.uint8), UsageError, "is a single frame; pass a list"),
        (3.5, UsageError, "a stream cannot be read from float; pass a cv2.VideoCapture"),
    ]:
        with pytest.raises(error, match=said):
            hub.stream("negative", source)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="depth=0"):
        hub.stream("negative", [], depth=0)
    with pytest.raises(OptionError, match="threads=0"):
        hub.stream("negative", [], threads=0)
