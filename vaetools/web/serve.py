"""The server of `vaetools serve`: a socket on 127.0.0.1, a private folder, uvicorn."""

from __future__ import annotations

import secrets
import socket
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from vaetools.errors import UsageError
from vaetools.web.app import Service, application
from vaetools.web.protocol import TimedProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from vaetools.hub import Hub
    from vaetools.web.limits import Limits

GRACE = 2
"""Seconds for requests in work when the server ends."""


def serve(
    hub: Hub,
    limits: Limits,
    settings: Mapping[str, Any],
    *,
    port: int,
    ready: Callable[[str, str], None],
) -> None:
    """Serve until Ctrl+C.

    Args:
        hub: Knows operations and models.
        limits: What is accepted.
        settings: For the worker processes.
        port: 0 for a free one.
        ready: Called when the server answers, with the address of the page, and with one that opens
            it once: for the arguments of a browser, which other users of the machine can read.

    Raises:
        UsageError: The port is taken.
        KeyboardInterrupt: The end by a signal, after everything was removed.
    """
    with _socket(port) as listening, _private_folder() as folder:
        token, ticket = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        number = listening.getsockname()[1]
        service = Service(hub, folder, limits, settings)
        config = uvicorn.Config(
            application(service, token=token, port=number, ticket=ticket),
            http=TimedProtocol,
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=limits.connections,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=GRACE,
        )
        page = f"http://127.0.0.1:{number}/"
        ready(f"{page}?token={token}", f"{page}?ticket={ticket}")
        uvicorn.Server(config).run(sockets=[listening])


@contextmanager
def _socket(port: int) -> Iterator[socket.socket]:
    """A socket that only this machine reaches; connections wait in it until the server answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
            listening.listen(128)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            remedy = "choose another one, or leave out --port"
            raise UsageError(f"port {port} cannot be used: {reason}", remedy=remedy) from error
        yield listening


@contextmanager
def _private_folder() -> Iterator[Path]:
    """A temporary folder that only this user can read. Spooled uploads go there as well."""
    with tempfile.TemporaryDirectory(prefix="vaetools-serve-", ignore_cleanup_errors=True) as name:
        before, tempfile.tempdir = tempfile.tempdir, name
        try:
            yield Path(name)
        finally:
            tempfile.tempdir = before
