"""Amazon S3, and servers that speak its protocol, through s3fs.

Credentials, regions and endpoints are those that botocore finds: `AWS_…`, `~/.aws`, roles of the
machine. fsspec's own configuration (`FSSPEC_S3_…`, `~/.config/fsspec`) adds to them.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

import botocore.exceptions
import fsspec.config
import s3fs
from fsspec.asyn import sync

from vaetools.objects.store import (
    ATTEMPTS,
    CONNECTIONS,
    FIRST_ATTEMPTS,
    STATUSES,
    Stored,
    StoreError,
    in_range,
    persistent,
)
from vaetools.text import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vaetools.objects.store import Kind

_HOW = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"

_CREDENTIALS = frozenset(
    {
        "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken",
        "TokenRefreshRequired", "InvalidSecurity", "RequestTimeTooSkewed", "InvalidClientTokenId",
        "AuthorizationHeaderMalformed", "NotSignedUp",
    }
)  # fmt: skip

_NO_CREDENTIALS = (
    botocore.exceptions.NoCredentialsError,
    botocore.exceptions.PartialCredentialsError,
    botocore.exceptions.CredentialRetrievalError,
    botocore.exceptions.ProfileNotFound,
    botocore.exceptions.TokenRetrievalError,
)

_BUSY = frozenset({"RequestTimeout", "ConditionalRequestConflict", "OperationAborted", "BadDigest"})
"""Errors with a status below 500 that another attempt may not meet."""


def open_bucket(name: str) -> Bucket:
    """The store of a bucket."""
    config = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
    # We repeat requests ourselves: three loops inside each other would take minutes to give up.
    config = {"retries": {"total_max_attempts": 1}, "max_pool_connections": CONNECTIONS, **config}
    files = s3fs.S3FileSystem(config_kwargs=config, skip_instance_cache=True)
    files.retries = 1
    return Bucket(name, files)


class Bucket:
    """A bucket as `vaetools.objects.store.Store` has it."""

    def __init__(self, name: str, files: Any) -> None:
        self._name = name
        self._files = files
        self._attempts = FIRST_ATTEMPTS
        self._has_conditions = True

    def list(self, prefix: str, *, first: str = "", last: str = "") -> list[Stored]:
        found: list[Stored] = []
        values: dict[str, Any] = {"Prefix": prefix}
        if first > prefix:
            values["StartAfter"] = first[:-1]  # a little earlier, as it leaves this key out
        while True:
            page = self._call("list_objects_v2", **values)
            found += [_stored(o["Key"], o["Size"], o) for o in page.get("Contents", ())]
            token = page.get("NextContinuationToken")
            if not token or (last and found and not in_range(found[-1].key, "", last)):
                return [stored for stored in found if in_range(stored.key, first, last)]
            values["ContinuationToken"] = token

    def head(self, key: str) -> Stored | None:
        try:
            answer = self._call("head_object", Key=key)
        except StoreError as error:
            if error.kind == "missing":
                return None
            raise
        return _stored(key, answer["ContentLength"], answer, answer["Metadata"])

    def get(self, key: str, version: str) -> bytes:
        data: bytes = self._persistent(lambda: sync(self._files.loop, self._read, key, version))
        return data

    async def _read(self, key: str, version: str) -> bytes:
        answer = await self._files._call_s3(  # noqa: SLF001 - fsspec's names of coroutines
            "get_object", Bucket=self._name, Key=key, IfMatch=version
        )
        async with answer["Body"] as body:
            data: bytes = await body.read()
        if len(data) != answer["ContentLength"]:
            raise ConnectionError("the answer is incomplete")
        return data

    def put(self, key: str, data: bytes, metadata: Mapping[str, str], replaces: str | None) -> str:
        condition = {"IfNoneMatch": "*"} if replaces is None else {"IfMatch": replaces}
        values = {
            "Key": key,
            "Body": data,
            "Metadata": dict(metadata),
            "ContentMD5": base64.b64encode(
                hashlib.md5(data, usedforsecurity=False).digest()
            ).decode(),
        }
        if self._has_conditions:
            try:
                return str(self._call("put_object", **values, **condition)["ETag"])
            except StoreError as error:
                if error.kind == "missing":  # what it replaces is gone
                    raise StoreError("conflict", error.reason) from error
                if error.kind != "unsupported":
                    raise
                self._has_conditions = False
        found = self.head(key)
        if (found and found.version) != replaces:
            raise StoreError("conflict", "something else stands there")
        return str(self._call("put_object", **values)["ETag"])

    def _call(self, method: str, **values: Any) -> Any:
        return self._persistent(lambda: self._files.call_s3(method, Bucket=self._name, **values))

    def _persistent(self, call: Callable[[], Any]) -> Any:
        result = persistent(call, self._error, self._attempts)
        self._attempts = ATTEMPTS
        return result

    def _error(self, error: Exception) -> StoreError:
        cause = error if isinstance(error, botocore.exceptions.ClientError) else error.__cause__
        if isinstance(cause, botocore.exceptions.ClientError):
            return self._answered(cause)
        if isinstance(error, _NO_CREDENTIALS):
            return StoreError("credentials", f"no credentials: {_text(error)}", _HOW)
        if isinstance(error, botocore.exceptions.ParamValidationError | ValueError):
            return StoreError("other", _text(error))
        # All that is left comes from the connection: it is refused, cut, or too slow.
        return StoreError("unreachable", f"no answer: {_text(error)}")

    def _answered(self, error: botocore.exceptions.ClientError) -> StoreError:
        """The meaning of an error that the server sent."""
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code == "NoSuchBucket":
            return StoreError("bucket", f"there is no bucket {self._name}")
        if code in _CREDENTIALS:
            return StoreError("credentials", f"the credentials are refused ({code})", _HOW)
        if status in STATUSES and code not in _BUSY:
            return StoreError(*STATUSES[status])
        kind: Kind = "unreachable" if code in _BUSY or status >= 500 else "other"
        message = error.response.get("Error", {}).get("Message", "")
        return StoreError(kind, f"the server answers {status} {code}: {message}".rstrip(": "))


def _text(error: Exception) -> str:
    return describe(error) if not str(error) else " ".join(str(error).split())


def _stored(
    key: str, size: int, item: Mapping[str, Any], metadata: Mapping[str, str] | None = None
) -> Stored:
    modified = item["LastModified"]
    return Stored(key, size, item["ETag"], int(modified.timestamp()) * 10**9, metadata)
