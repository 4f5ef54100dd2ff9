"""URLs of objects as paths."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from vaetools.errors import UsageError

if TYPE_CHECKING:
    from typing import Self

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class ObjectPath(PurePosixPath):
    """`s3://bucket/key` as a path, of which `PurePosixPath` would show one slash less."""

    def __str__(self) -> str:
        return super().__str__().replace(":/", "://", 1)

    def __fspath__(self) -> str:
        return str(self)

    @classmethod
    def parse(cls, url: str) -> Self:
        """The path of a URL. Raises `UsageError` if it names no bucket, or its key is no path."""
        _, _, rest = url.partition("://")
        bucket, _, key = rest.partition("/")
        if not _BUCKET.fullmatch(bucket):
            raise UsageError("the URL names no bucket", file=url, remedy="write s3://bucket/folder")
        if key and not is_path(key.rstrip("/")):
            problem = "a key with empty parts, `.` or `..` cannot be a path"
            raise UsageError(problem, file=url)
        return cls(url)

    @property
    def scheme(self) -> str:
        """`s3` or `gs`."""
        return self.parts[0].rstrip(":")

    @property
    def bucket(self) -> str:
        """Name of the bucket."""
        return self.parts[1]

    @property
    def key(self) -> str:
        """The key in the bucket; empty for the bucket itself."""
        return "/".join(self.parts[2:])

    @property
    def below(self) -> str:
        """What the keys of all objects in this folder begin with."""
        return f"{self.key}/" if self.key else ""


class RawPath(ObjectPath):
    """The URL of an object whose key is no path: shown as it is, it differs from all others."""

    url: str = ""

    def __str__(self) -> str:
        return self.url or super().__str__()


def is_path(key: str) -> bool:
    """Whether a key, or what follows the folder in it, is a relative path in its shortest form."""
    return not any(part in ("", ".", "..") or "\0" in part for part in key.split("/"))
