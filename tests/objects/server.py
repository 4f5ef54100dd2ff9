"""A local S3 server as a process of its own, and commands that work with it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import botocore.config

KEYS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
"""Environment of a user of the server."""


@dataclass(frozen=True)
class Server:
    """A server without any faults.

    Attributes:
        port: On 127.0.0.1.
        client: Of boto3.
    """

    port: int
    client: Any

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fill(self, bucket: str, files: Mapping[str, bytes]) -> None:
        """A new bucket with objects."""
        self.client.create_bucket(Bucket=bucket)
        for key, data in files.items():
            self.client.put_object(Bucket=bucket, Key=key, Body=data)

    def content(self, bucket: str, prefix: str = "") -> dict[str, bytes]:
        """All objects but hidden ones, by the rest of their keys."""
        found: dict[str, bytes] = {}
        for page in self.client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=prefix
        ):
            for item in page.get("Contents", ()):
                answer = self.client.get_object(Bucket=bucket, Key=item["Key"])
                found[item["Key"].removeprefix(prefix)] = answer["Body"].read()
        return {name: data for name, data in found.items() if "/." not in f"/{name}"}


@contextlib.contextmanager
def s3_server(**environment: str) -> Iterator[Server]:
    """Start a server; it ends with the context."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )
    try:
        _wait(port, process)
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            region_name="us-east-1",
            config=botocore.config.Config(retries={"max_attempts": 1}),
        )
        yield Server(port, client)
    finally:
        process.terminate()
        process.wait(30)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert process.poll() is None, "the server does not start"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise AssertionError("the server does not answer")


def start(url: str, *words: str, **environment: str) -> subprocess.Popen[str]:
    """Start a command that finds a server at `url`."""
    return subprocess.Popen(
        [sys.executable, "-m", "vaetools", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **KEYS, "AWS_ENDPOINT_URL": url, **environment},
    )


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def command(url: str, *words: str, **environment: str) -> Ended:
    """Run a command that finds a server at `url`."""
    process = start(url, *words, **environment)
    out, err = process.communicate(timeout=280)
    return Ended(process.returncode, out, err)


def tree(folder: Path) -> dict[str, bytes]:
    """The files of a folder by their relative names, without hidden ones."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
