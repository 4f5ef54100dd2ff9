"""Small operations for the tests of the runner."""

from __future__ import annotations

import threading
import time
from pathlib import PurePath
from typing import Any

import numpy as np

from vaetools.image import Image
from vaetools.operation import NoOptions, Operation


class Copy(Operation):
    """Reverses the bytes of `.txt` files."""

    name = "copy"
    takes = "file"
    suffixes = (".txt",)

    def __init__(self) -> None:
        super().__init__(None, NoOptions())
        self.seen: list[str] = []

    def process(self, item: bytes) -> bytes:
        self.seen.append(self._key)
        return item[::-1]


class Renaming(Copy):
    """Names its outputs with a function of the input's name."""

    name = "rename"

    def __init__(self, rename: Any) -> None:
        super().__init__()
        self._rename = rename

    def outputs(self, source: PurePath) -> Any:
        return self._rename(source)

    def process(self, item: bytes) -> Any:
        count = len(self._rename(PurePath(self._key)))
        return item if count == 1 else [item + bytes([i]) for i in range(count)]


class Raising(Copy):
    """Raises a given exception for inputs that contain `bad`."""

    name = "raise"

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def process(self, item: bytes) -> bytes:
        if b"bad" in item:
            raise self._error
        return item


class Gated(Copy):
    """Waits at a gate: `begun` counts inputs at the gate, `ended` is set when one has passed it."""

    name = "gated"

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.begun = threading.Semaphore(0)
        self.ended = threading.Event()
        self._seconds = seconds

    def process(self, item: bytes) -> bytes:
        self.begun.release()
        self.gate.wait(60)
        time.sleep(self._seconds)
        self.ended.set()
        return item


class Invert(Operation):
    """The negative of an image."""

    name = "invert"

    def __init__(self, suffix: str | None = None) -> None:
        super().__init__(None, NoOptions())
        self._suffix = suffix

    def outputs(self, source: PurePath) -> tuple[PurePath, ...]:
        return (source if self._suffix is None else source.with_suffix(self._suffix),)

    def process(self, item: Image) -> Image:
        return Image.from_array(np.ascontiguousarray(255 - item.pixels))
