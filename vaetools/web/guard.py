"""Who may ask: only pages of this server and programs that know its token.

Against other pages in the same browser, which can send requests to 127.0.0.1 and bind a name of
theirs to this address (DNS rebinding):

    Host             must be the address of the server
    Origin           if there is one, must be the server itself
    Sec-Fetch-Site   if there is one, must not be another site
    token            in a cookie (HttpOnly, SameSite=Strict), or as `Authorization: Bearer …`

Against other users of the machine, who can read the arguments of commands: the browser is started
with a ticket that counts once, and gets the token as a cookie for it.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.responses import HTMLResponse, JSONResponse

from vaetools.web.limits import HttpError
from vaetools.web.pages import HEADERS, forward

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Guard:
    """ASGI middleware that refuses requests of others, and adds the security headers.

    Args:
        app: The application.
        token: The secret of this server.
        port: The port that it listens on.
        ticket: A secret that stands for the token once; none if it is empty.
    """

    def __init__(self, app: ASGIApp, *, token: str, port: int, ticket: str = "") -> None:
        self._app = app
        self._token = token
        self._ticket = ticket
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        if port == 80:
            self._hosts |= {"127.0.0.1", "localhost"}
        self.cookie = f"vaetools_{port}"  # cookies do not distinguish ports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                more = [(n.lower().encode(), v.encode()) for n, v in HEADERS.items()]
                message["headers"] = [*message["headers"], *(x for x in more if x[0] not in given)]
            await send(message)

        try:
            entering = self._check(scope)
        except HttpError as error:
            body = {"code": error.code, "message": error.message}
            await JSONResponse(body, error.status)(scope, receive, send_guarded)
            return
        if entering:
            response = HTMLResponse(forward("/"))
            response.set_cookie(
                self.cookie, self._token, httponly=True, samesite="strict", path="/"
            )
            await response(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)

    def _check(self, scope: Scope) -> bool:
        """Whether the request brings the token or the ticket in its address, to get the cookie.

        Raises:
            HttpError: It is refused.
        """
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        host = headers.get("host", [])
        if len(host) != 1 or host[0].lower() not in self._hosts:
            raise HttpError(421, "this server is only for 127.0.0.1 and localhost")
        for origin in headers.get("origin", []):
            if origin.lower() != f"http://{host[0].lower()}":
                raise HttpError(403, "requests of other sites are refused")
        entering = scope["method"] == "GET" and scope["path"] == "/" and self._enters(scope)
        if not entering and {"cross-site", "same-site"} & {*headers.get("sec-fetch-site", [])}:
            raise HttpError(403, "requests of other sites are refused")
        if not entering and not self._has_token(headers):
            raise HttpError(
                401, "the token is missing: open the address that vaetools serve printed"
            )
        return entering

    def _enters(self, scope: Scope) -> bool:
        given = parse_qs(scope["query_string"].decode("latin-1"))
        tokens, tickets = given.get("token", []), given.get("ticket", [])
        if len(tokens) == 1 and self._is_token(tokens[0]):
            return True
        return len(tickets) == 1 and self._redeem(tickets[0])

    def _redeem(self, given: str) -> bool:
        """Whether this is the ticket, which is gone then."""
        is_ticket = bool(self._ticket) and _equal(given, self._ticket)
        if is_ticket:
            self._ticket = ""
        return is_ticket

    def _has_token(self, headers: dict[str, list[str]]) -> bool:
        for value in headers.get("authorization", []):
            scheme, _, given = value.partition(" ")
            if scheme.lower() == "bearer" and self._is_token(given.strip()):
                return True
        for line in headers.get("cookie", []):
            for part in line.split(";"):
                name, _, given = part.strip().partition("=")
                if name == self.cookie and self._is_token(given):
                    return True
        return False

    def _is_token(self, given: str) -> bool:
        return _equal(given, self._token)


def _equal(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())
