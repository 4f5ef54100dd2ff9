"""The process that works for `vaetools serve`: it alone decodes what was uploaded.

Requests are lines of JSON on stdin, events lines of JSON on stdout. A file that crashes a decoder
ends this process and not the server. It ends with the server, whose end closes stdin.
"""

from __future__ import annotations

import _thread
import json
import os
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TextIO

from vaetools.errors import EXIT_INTERRUPTED, EXIT_SOME_FAILED, TooLargeError, VaetoolsError
from vaetools.model.child import own_stdout
from vaetools.record import Record
from vaetools.runner.record import explain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vaetools.hub import Hub
    from vaetools.image import Image

VIEW_EDGE = 1600
"""Longest edge of an image to draw a mask on, in pixels."""


class Requests:
    """Reads stdin in a thread of its own, so that a request can be cancelled while it is worked on.

    Attributes:
        number: Of the last request that `next` returned or that was cancelled before.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._queue: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._lock = threading.Lock()
        self._working = False
        self._cancelled = 0
        self.number = 0
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> dict[str, Any]:
        """Wait for a request. Raises `KeyboardInterrupt` for one that is cancelled already."""
        request = self._queue.get()
        with self._lock:
            self._working, self.number = True, request["number"]
            if self._cancelled == self.number:
                raise KeyboardInterrupt
        return request

    def done(self) -> None:
        """From now on the request cannot be cancelled.

        An interrupt that is under way is raised in this call, or at the entry of the next one.
        """
        with self._lock:
            self._working = False

    def _read(self) -> None:
        for line in self._stream:
            request = json.loads(line)
            if request["do"] != "cancel":
                self._queue.put(request)
                continue
            with self._lock:
                is_new, self._cancelled = (
                    request["number"] > self._cancelled,
                    request["number"],
                )
                if is_new and self._working and self.number == self._cancelled:
                    _thread.interrupt_main()
        os._exit(0)  # the server has ended


class Counter:
    """Progress display that sends the number of inputs."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self._send = send

    def start(self, op: str, total: int) -> None:
        del op
        self._send({"event": "start", "total": total})

    def advance(self, record: Record) -> None:
        """The records say it."""

    def close(self) -> None:
        """The last event says it."""


class Worker:
    """Answers requests with a hub that is opened once."""

    def __init__(self, hub: Hub, max_pixels: int, send: Callable[[dict[str, Any]], None]) -> None:
        self._hub = hub
        self._max_pixels = max_pixels
        self._send_line = send
        self._number = 0

    def answer(self, request: Mapping[str, Any]) -> None:
        """Do what is asked for; the last event is `end`, or `error` with a code and one line."""
        work = {
            "run": self._run,
            "inspect": self._inspect,
            "shots": self._shots,
            "image": self._image,
        }
        self._number = request["number"]
        try:
            self._send({"event": "end", **work[request["do"]](request)})
        except Exception as error:  # noqa: BLE001 - of plugins and damaged files
            code, message = explain(error, "")
            self._error(code, message, getattr(error, "exit_code", EXIT_SOME_FAILED))

    def cancelled(self, number: int) -> None:
        """A request was cancelled. If it has ended before, the server ignores the event."""
        self._number = number
        self._error("E000", "cancelled", EXIT_INTERRUPTED)

    def _send(self, event: dict[str, Any]) -> None:
        self._send_line({**event, "number": self._number})

    def _error(self, code: str, message: str, exit_code: int) -> None:
        self._send({"event": "error", "code": code, "message": message, "exit_code": exit_code})

    def _run(self, request: Mapping[str, Any]) -> dict[str, Any]:
        result = self._hub.map(
            request["operation"],
            request["inputs"],
            out=request["out"],
            on_record=lambda record: self._send({"event": "record", "record": record.as_dict()}),
            progress=Counter(self._send),
            max_pixels=self._max_pixels,
            workers=0,
            **request["options"],
            **request["settings"],
        )
        return {
            "summary": result.summary,
            "exit_code": result.exit_code,
            "options": dict(result.options),
            "stopped": result.stopped,
            "unreached": result.unreached,
        }

    def _inspect(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Size of an image or a `.vae` file, from its header."""
        from vaetools.codec.container import SUFFIX
        from vaetools.codec.info import read_info
        from vaetools.image import check_image, inspect_image, most_bytes, read_file

        path = Path(request["path"])
        if path.suffix.lower() == SUFFIX:
            with path.open("rb") as stream:
                info = read_info(stream, max_pixels=self._max_pixels)
            return {"width": info.width, "height": info.height}
        data = read_file(path, check_head=lambda _: None, most=most_bytes(self._max_pixels))
        check_image(data, max_pixels=self._max_pixels, first_frame=True, strict=False)
        found = inspect_image(data)
        if found.width * found.height > self._max_pixels:
            raise TooLargeError(f"{found.width} × {found.height} pixels are over the limit")
        return {"width": found.width, "height": found.height}

    def _shots(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Previews of a record, as files in a folder."""
        from vaetools.report.links import Links
        from vaetools.report.previews import Previews

        folder = Path(request["folder"])
        given = {name: value for name, value in request["record"].items() if name != "v"}
        record = Record(**{**given, "out": tuple(given["out"])})
        store = Files(folder, request["number"])
        (shots,) = Previews(store, Links(folder), self._hub.preview).of([record])
        return {"shots": [asdict(shot) for shot in shots]}

    def _image(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """An image as browsers display it, as a file."""
        from vaetools.image import encode_image, read_image
        from vaetools.image.array import Image as Plain
        from vaetools.report.previews import shrunk

        path = Path(request["path"])
        image: Image | None = self._hub.preview(path)
        if image is None:
            image = read_image(path, max_pixels=self._max_pixels, first_frame=True, strict=False)
        small = Plain(shrunk(image.pixels, VIEW_EDGE), icc=image.icc)
        Path(request["target"]).write_bytes(encode_image(small, "jpeg", quality=90))
        return {"width": image.width, "height": image.height}


class Files:
    """Keeps previews as files; their URLs are their names."""

    full = False

    def __init__(self, folder: Path, number: int) -> None:
        self._folder, self._number = folder, number
        self._count = 0
        self._lock = threading.Lock()

    def add(self, data: bytes, suffix: str) -> str:
        with self._lock:
            self._count += 1
            name = f"{self._number}-{self._count}.{suffix}"
        (self._folder / name).write_bytes(data)
        return name


def open_hub(settings: Mapping[str, Any]) -> Hub:
    """The hub that the server was started with."""
    from vaetools.hub import Hub
    from vaetools.plugin.host import PluginHost

    host = PluginHost(folders=settings["plugins"])
    folders = [Path(folder) for folder in settings["models"]]
    given = {name: settings[name] for name in ("device", "threads", "isolate")}
    return Hub(host, folders, **given)


def main() -> None:
    """Answer requests until stdin ends. The first line is the settings."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # raised by `Requests`
    out = own_stdout()  # what plugins print is no event
    lock = threading.Lock()

    def send(event: dict[str, Any]) -> None:
        with lock:
            out.write(json.dumps(event, default=str) + "\n")
            out.flush()

    settings = json.loads(sys.stdin.readline())
    try:
        worker = Worker(open_hub(settings), settings["max_pixels"], send)
    except VaetoolsError as error:
        send({"event": "error", "code": error.code, "message": str(error), "exit_code": 4})
        return
    requests = Requests(sys.stdin)
    while True:
        try:
            requests.done()
            worker.answer(requests.next())
        except KeyboardInterrupt:
            worker.cancelled(requests.number)
