"""A proxy in front of an HTTP server that makes faults: 503, slow answers, cut connections.

    proxy = FaultProxy(target=("127.0.0.1", 5000), rate=0.05, seed=0)

Each request draws its fault from a seeded generator. A connection that is cut in the middle of a
body is closed after half of it: of the request, which the server then never gets whole, or of the
answer, after the server has done what it was asked to.
"""

from __future__ import annotations

import random
import socket
import socketserver
import threading
import time
from collections import Counter
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler
from typing import Self

FAULTS = ("503", "slow", "cut request", "cut answer", "no answer")

BUSY = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"""

UNKNOWN = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>NotImplemented</Code><Message>A header is not implemented.</Message></Error>"""

_KEPT_OUT = ("connection", "transfer-encoding", "keep-alive")


class FaultProxy:
    """Passes requests on, some of them with a fault.

    Args:
        target: Host and port of the server.
        rate: Part of the requests that get a fault.
        seed: Of the faults.
        faults: Which ones.
        delay: Seconds of a slow answer.
        conditions: Whether the server knows conditions for PUT; without, the answer to them is 501.

    Attributes:
        seen: Number of requests by method, and of faults by name.
    """

    def __init__(
        self,
        target: tuple[str, int],
        rate: float = 0.0,
        seed: int = 0,
        faults: tuple[str, ...] = FAULTS,
        delay: float = 0.5,
        *,
        conditions: bool = True,
    ) -> None:
        self.target = target
        self.rate = rate
        self.faults = faults
        self.delay = delay
        self.conditions = conditions
        self.seen: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self

    @property
    def url(self) -> str:
        """The address to use in place of the server's."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def draw(self, method: str) -> str:
        """The fault of the next request, or nothing."""
        with self._lock:
            self.seen[method] += 1
            if self._random.random() >= self.rate:
                return ""
            fault = self._random.choice(self.faults)
            self.seen[fault] += 1
            return fault

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    proxy: FaultProxy

    def handle_error(self, *_: object) -> None:
        """A client that went away is none of our business."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _pass_on(self) -> None:
        proxy = self.server.proxy
        fault = proxy.draw(self.command)
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Expect") == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        body = self.rfile.read(length)
        if fault == "503":
            self._answer(503, {"Content-Type": "application/xml"}, BUSY)
            return
        is_condition = {"if-match", "if-none-match"} & {name.lower() for name in self.headers}
        if self.command == "PUT" and is_condition and not proxy.conditions:
            self._answer(501, {"Content-Type": "application/xml"}, UNKNOWN)
            return
        if fault == "slow":
            time.sleep(proxy.delay)
        if fault == "cut request" and body:
            self._send_half(body)
        if fault in ("cut request", "no answer"):
            self._close()
            return
        connection = HTTPConnection(*proxy.target, timeout=60)
        try:
            connection.request(self.command, self.path, body or None, dict(self.headers.items()))
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        headers = _headers(answer)
        if fault == "cut answer":
            self._answer(answer.status, headers, data, cut=True)
            self._close()
        else:
            self._answer(answer.status, headers, data)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass_on

    def _answer(
        self, status: int, headers: dict[str, str], data: bytes, *, cut: bool = False
    ) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if cut else data)

    def _send_half(self, body: bytes) -> None:
        """Send the head and half of the body to the server, and close the connection."""
        with socket.create_connection(self.server.proxy.target, 60) as server:
            lines = [f"{self.command} {self.path} HTTP/1.1"]
            lines += [f"{name}: {value}" for name, value in self.headers.items()]
            server.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")
            server.sendall(body[: len(body) // 2])

    def _close(self) -> None:
        self.close_connection = True
        self.connection.close()

    def log_message(self, *_: object) -> None:
        pass


def _headers(answer: HTTPResponse) -> dict[str, str]:
    return {n.title(): v for n, v in answer.getheaders() if n.lower() not in _KEPT_OUT}
