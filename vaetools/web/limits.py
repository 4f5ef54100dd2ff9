"""What the server accepts, and the errors that it answers with."""

from __future__ import annotations

from dataclasses import dataclass

from vaetools.image import MAX_PIXELS


@dataclass(frozen=True)
class Limits:
    """Limits of a server.

    Attributes:
        upload_bytes: All uploaded files together.
        files: Number of uploaded files.
        pixels: Of one image.
        body_bytes: A request that is not an upload.
        jobs: Runs that wait or have ended. Further ones are refused until the user removes some.
        silence: Seconds without a byte of a request, after which it is refused.
        slowest: Bytes per second of an upload, on average after `silence` seconds.
        connections: At the same time.
    """

    upload_bytes: int = 4 * 10**9
    files: int = 5000
    pixels: int = MAX_PIXELS
    body_bytes: int = 2**20
    jobs: int = 200
    silence: float = 15.0
    slowest: int = 1000
    connections: int = 200


STATUS = {
    "E002": 400,
    "E004": 422,
    "E010": 415,
    "E013": 413,
}
"""HTTP status of errors by their code; 422 for others."""


class HttpError(Exception):
    """A request that is refused.

    Args:
        status: HTTP status.
        message: One line: what is wrong, with the value.
        code: As the command line would say it.
    """

    def __init__(self, status: int, message: str, code: str = "E002") -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code

    @property
    def headers(self) -> dict[str, str]:
        """Closes the connection of a client that may still be sending."""
        return {"Connection": "close"} if self.status in (408, 413, 507) else {}

    @classmethod
    def of(cls, code: str, message: str) -> HttpError:
        """With the status that fits an error code."""
        return cls(STATUS.get(code, 422), message, code)
