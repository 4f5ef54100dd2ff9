"""Google Cloud Storage through gcsfs: its JSON API, with conditions on generations.

Credentials are those that gcsfs finds: `gcloud auth application-default login`,
`GOOGLE_APPLICATION_CREDENTIALS`, the service account of the machine; `FSSPEC_GS_TOKEN=anon` for
public buckets. Requests are repeated here, as for S3, and not by gcsfs.
"""

from __future__ import annotations

import functools
import json
import secrets
import warnings
from datetime import datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import gcsfs
from fsspec.asyn import sync
from gcsfs.retry import HttpError

from vaetools.objects.store import (
    ATTEMPTS,
    FIRST_ATTEMPTS,
    STATUSES,
    Stored,
    StoreError,
    persistent,
)
from vaetools.text import describe

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOW = "run gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS"

_STATUS_OF = {FileNotFoundError: 404, FileExistsError: 412}
"""What gcsfs makes of a status."""

_UPLOAD = "/upload/storage/v1/b/{}/o"

_FIELDS = "name,size,generation,updated,metadata"


TIMEOUT = 15.0
"""Seconds without an answer after which a request is repeated."""


class _Files(gcsfs.GCSFileSystem):  # type: ignore[misc]
    """gcsfs without its own repetitions."""

    _request = getattr(
        gcsfs.GCSFileSystem._request,  # noqa: SLF001
        "__wrapped__",
        gcsfs.GCSFileSystem._request,  # noqa: SLF001
    )


def open_bucket(name: str) -> Bucket:
    """The store of a bucket."""
    return Bucket(name)


class Bucket:
    """A bucket as `vaetools.objects.store.Store` has it; versions are generations."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._attempts = FIRST_ATTEMPTS

    @functools.cached_property
    def _files(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that no project is set, which only new buckets need
            timeout = aiohttp.ClientTimeout(sock_connect=TIMEOUT, sock_read=TIMEOUT)
            return _Files(requests_timeout=timeout, skip_instance_cache=True)

    def list(self, prefix: str, *, first: str = "", last: str = "") -> list[Stored]:
        """See `Store.list`; with metadata."""
        found: list[Stored] = []
        values = {"prefix": prefix, "maxResults": "1000"}
        values["fields"] = f"nextPageToken,items({_FIELDS})"
        if first:
            values["startOffset"] = first
        if last:
            values["endOffset"] = f"{last}\0"  # exclusive
        while True:
            page = self._json("b/{}/o", self._name, **values)
            found += [_stored(item) for item in page.get("items", ())]
            if "nextPageToken" not in page:
                return found
            values["pageToken"] = page["nextPageToken"]

    def head(self, key: str) -> Stored | None:
        """See `Store.head`."""
        try:
            return _stored(self._json("b/{}/o/{}", self._name, key, fields=_FIELDS))
        except StoreError as error:
            if error.kind in ("missing", "bucket"):
                return None
            raise

    def get(self, key: str, version: str) -> bytes:
        """See `Store.get`."""
        condition = {"alt": "media", "ifGenerationMatch": version}
        _, data = self._call("GET", "b/{}/o/{}", self._name, key, **condition)
        return bytes(data)

    def put(self, key: str, data: bytes, metadata: Mapping[str, str], replaces: str | None) -> str:
        """See `Store.put`."""
        replaced = "0" if replaces is None else replaces
        boundary = secrets.token_hex(16)
        about = json.dumps({"name": key, "metadata": dict(metadata)})
        head = (
            f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{about}\r\n"
            f"--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n"
        )
        answer = self._call(
            "POST",
            _UPLOAD,
            self._name,
            uploadType="multipart",
            ifGenerationMatch=replaced,
            headers={"Content-Type": f'multipart/related; boundary="{boundary}"'},
            data=b"".join((head.encode(), data, f"\r\n--{boundary}--".encode())),
            json_out=True,
        )
        return str(answer["generation"])

    def _json(self, path: str, *names: str, **values: Any) -> Any:
        return self._call("GET", path, *names, json_out=True, **values)

    def _call(self, method: str, path: str, *names: str, **values: Any) -> Any:
        def call() -> Any:
            files = self._files
            url = f"{files._location}{path}" if path == _UPLOAD else path  # noqa: SLF001
            return sync(files.loop, files._call, method, url, *names, **values)  # noqa: SLF001

        result = persistent(call, lambda error: self._error(error, len(names)), self._attempts)
        self._attempts = ATTEMPTS
        return result

    def _error(self, error: Exception, names: int) -> StoreError:
        code = int(getattr(error, "code", 0) or 0)
        if isinstance(error, FileNotFoundError) and names < 2:
            return StoreError("bucket", f"there is no bucket {self._name}")
        for kind, status in _STATUS_OF.items():
            if isinstance(error, kind):
                return StoreError(*STATUSES[status])
        if isinstance(error, OSError) and str(error).startswith("Forbidden"):
            return StoreError(*STATUSES[403])
        is_retried = code in (408, 429) or getattr(error, "retryable", False)
        is_about_credentials = code == 401 or type(error).__module__.startswith("google.auth")
        if is_about_credentials and not is_retried:
            return StoreError("credentials", "the credentials are refused, or there are none", _HOW)
        if isinstance(error, HttpError | ValueError) and code < 500 and not is_retried:
            return StoreError("other", f"the server answers {code or 'an error'}: {_text(error)}")
        return StoreError("unreachable", f"no answer: {_text(error)}")


def _text(error: Exception) -> str:
    return " ".join(str(error).split()) or describe(error)


def _stored(item: Mapping[str, Any]) -> Stored:
    modified = datetime.fromisoformat(item["updated"])
    return Stored(
        item["name"],
        int(item["size"]),
        str(item["generation"]),
        int(modified.timestamp()) * 10**9,
        item.get("metadata", {}),
    )
