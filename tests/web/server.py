"""A real `vaetools serve` in a process of its own: for tests, and for web/test/serve.test.mjs.

python -m tests.web.server        prints its address, and ends with stdin
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2 as httpx

from tests.paths import ROOT


class Server:
    """A running server.

    Attributes:
        process: Of the command.
        address: What it printed.
        temporary: The folder that holds its private folder.
    """

    def __init__(self, process: subprocess.Popen[str], temporary: Path) -> None:
        self.process = process
        self.temporary = temporary
        assert process.stdout is not None
        self.address = process.stdout.readline().strip()
        place = urlsplit(self.address)
        self.host, self.port = place.netloc, place.port or 0
        self.token = parse_qs(place.query)["token"][0]

    def client(self, **options: Any) -> httpx.Client:
        """A client with the token."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=f"http://{self.host}", headers=headers, timeout=60, **options)

    def is_up(self) -> bool:
        with self.client() as client:
            return client.get("/api/uploads").status_code == 200

    def end(self, number: int = signal.SIGINT) -> tuple[int, str, str]:
        """Exit code, stdout and stderr after a signal."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err

    def workers(self) -> list[int]:
        """Its child processes (Linux)."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(word) for word in path.read_text().split()]


@contextmanager
def started(*flags: str, **environment: str) -> Iterator[Server]:
    """A server with these flags."""
    with tempfile.TemporaryDirectory() as temporary:
        process = subprocess.Popen(
            [sys.executable, "-m", "vaetools", "serve", "--no-browser", *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "TMPDIR": temporary, **environment},
        )
        try:
            yield Server(process, Path(temporary))
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()


def upload(client: httpx.Client, name: str, data: bytes, purpose: str = "input") -> str:
    """Upload a file; its id."""
    files = {"file": (name, data)}
    response = client.post("/api/uploads", params={"purpose": purpose}, files=files)
    assert response.status_code == 201, response.text
    upload_id: str = response.json()["uploads"][0]["id"]
    return upload_id


def start(client: httpx.Client, operation: str, uploads: list[str], **options: Any) -> str:
    """Start a run; its id."""
    body = {"uploads": uploads, "options": options}
    response = client.post(f"/api/operations/{operation}", json=body)
    assert response.status_code == 202, response.text
    job_id: str = response.json()["id"]
    return job_id


def ended(client: httpx.Client, job_id: str, seconds: float = 120) -> dict[str, Any]:
    """Wait for the end of a run."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        job: dict[str, Any] = client.get(f"/api/jobs/{job_id}").json()
        if job["state"] not in ("queued", "running"):
            return job
        time.sleep(0.1)
    raise AssertionError(f"the run has not ended: {job}")


if __name__ == "__main__":
    with started(*sys.argv[1:]) as server:
        print(server.address, flush=True)
        sys.stdin.read()
        server.end()
