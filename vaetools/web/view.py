"""The server of `vaetools view`: one page on 127.0.0.1 that ends when it is closed.

A file in a temporary folder would not do: browsers in a sandbox (snap, flatpak) cannot read it, and
all images would have to be decoded before the first one is seen. The address holds a random token.
Other users of the machine can read the arguments that a browser is started with: it gets an address
that counts once, and forwards to that one.
"""

from __future__ import annotations

import hmac
import re
import secrets
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from vaetools.errors import VaetoolsError
from vaetools.libraries import library_errors
from vaetools.web.pages import HEADERS, asset, forward, page
from vaetools.web.shown import title_of

if TYPE_CHECKING:
    from vaetools.web.shown import Content, Images

GRACE = 5.0
"""Seconds after the last page was closed: a page that is loaded again takes less."""

PATIENCE = 600.0
"""Seconds to wait for a first page."""

_BEAT = 1.0
_IMAGE = re.compile(r"(\d{1,9})/(decoded|original)(-small)?")


class View:
    """Serves a page with images. `with View(images) as view: view.wait()`

    Attributes:
        address: URL of the page, with the token.
        once: URL that forwards to the page once, for the arguments of a browser.
    """

    def __init__(self, images: Images) -> None:
        self._images = images
        token, ticket = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.view = self
        self._root, self._entry = f"/{token}/", f"/{ticket}/"
        host, port = "127.0.0.1", self._server.server_address[1]
        self._hosts = {f"{host}:{port}", f"localhost:{port}"}
        self.address = f"http://{host}:{port}{self._root}"
        self.once = f"http://{host}:{port}{self._entry}"
        self._pages = 0
        self._last = time.monotonic()
        self._was_seen = False
        self._lock = threading.Lock()

    def __enter__(self) -> View:
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self.close()

    def close(self) -> None:
        """Close the socket; `with` does it."""
        self._server.server_close()

    def wait(self) -> bool:
        """Wait until the last page is closed; False if no page was opened within `PATIENCE`."""
        while True:
            time.sleep(0.2)
            with self._lock:
                idle = 0.0 if self._pages else time.monotonic() - self._last
                if idle > (GRACE if self._was_seen else PATIENCE):
                    return self._was_seen

    def answer(self, host: str, path: str) -> tuple[HTTPStatus, Content]:
        """Status and content for a path. Never raises."""
        if host not in self._hosts:
            return HTTPStatus.MISDIRECTED_REQUEST, _text("This server has another name.")
        if self._enters(path):
            return HTTPStatus.OK, ("text/html; charset=utf-8", forward(self._root).encode())
        start, rest = path[: len(self._root)], path[len(self._root) :]
        if not hmac.compare_digest(start.encode(), self._root.encode()):
            return HTTPStatus.FORBIDDEN, _text("The address lacks its token.")
        return self._content(rest)

    def _content(self, rest: str) -> tuple[HTTPStatus, Content]:
        """Status and content for what follows the token in a path."""
        if not rest:
            files = self._images.files
            html = page("view.html", title=title_of(files), files=files)
            return HTTPStatus.OK, ("text/html; charset=utf-8", html.encode())
        found = asset(rest)
        if found is not None:
            return HTTPStatus.OK, found
        matched = _IMAGE.fullmatch(rest)
        if matched is None or int(matched[1]) >= len(self._images.files):
            return HTTPStatus.NOT_FOUND, _text("There is no such page.")
        return self._image(int(matched[1]), matched[2], small=matched[3] is not None)

    def _enters(self, path: str) -> bool:
        """Whether this is the path that forwards to the page; it is gone then."""
        with self._lock:
            enters = bool(self._entry) and hmac.compare_digest(path.encode(), self._entry.encode())
            if enters:
                self._entry = ""
        return enters

    def _image(self, number: int, role: str, *, small: bool) -> tuple[HTTPStatus, Content]:
        try:
            with library_errors():
                make = self._images.thumbnail if small else self._images.whole
                return HTTPStatus.OK, make(number, role)
        except VaetoolsError as error:
            return HTTPStatus.UNPROCESSABLE_ENTITY, _text(error.line)

    def is_beat(self, host: str, path: str) -> bool:
        """Whether a page asks for the stream that says that the page is open."""
        return host in self._hosts and path == f"{self._root}open"

    def count(self, change: int) -> None:
        """A page was opened (1) or closed (-1)."""
        with self._lock:
            self._pages += change
            self._last = time.monotonic()
            self._was_seen = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    view: View

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that was closed while it was loading is no error."""


class _Handler(BaseHTTPRequestHandler):
    server_version = "vaetools"
    sys_version = ""
    timeout = 20
    server: _Server

    def do_GET(self) -> None:
        view, host = self.server.view, self.headers.get("Host", "")
        if view.is_beat(host, self.path):
            self._beat(view)
            return
        status, (kind, data) = view.answer(host, self.path)
        self._start(status, kind, {"Content-Length": str(len(data))})
        self.wfile.write(data)

    def _beat(self, view: View) -> None:
        """Server-sent events without content, for as long as the page is open."""
        view.count(1)
        try:
            self._start(HTTPStatus.OK, "text/event-stream", {})
            while True:
                self.wfile.write(b":\n\n")
                time.sleep(_BEAT)
        except OSError:
            pass
        finally:
            view.count(-1)

    def _start(self, status: HTTPStatus, kind: str, more: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, **more}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing: the terminal is for the user."""


def _text(sentence: str) -> Content:
    return "text/plain; charset=utf-8", sentence.encode()
