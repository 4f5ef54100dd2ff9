"""URLs are no paths: `s3://bucket/out` would become a local folder `s3:`.

Inputs and OUT of a run may be in object stores; everything else is local.
"""

from __future__ import annotations

import os
import re

from vaetools.errors import UsageError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")

_COLLAPSED = re.compile(
    r"(?i)(s3[an]?|gs|gcs|https?|ftps?|sftp|ssh|file|az|abfss?|adl|wasbs?|hdfs|oss|r2|memory|rtsp)"
    r":/"
)
"""What `pathlib` makes of a URL with a scheme that is common: it removes one slash."""


OBJECT_STORES = ("s3", "gs")
"""Schemes of the object stores that runs read from and write to."""

_OBJECT = re.compile(f"({'|'.join(OBJECT_STORES)})://")


def is_object_url(path: object) -> bool:
    """Whether a text is the URL of an object store, and nothing local has this name."""
    return isinstance(path, str) and _OBJECT.match(path) is not None and not os.path.lexists(path)


def refuse_other_url(path: str | os.PathLike[str], what: str) -> None:
    """`refuse_url` for inputs and OUT of a run: URLs of object stores are accepted.

    As text: a `Path` has lost a slash.
    """
    if not is_object_url(path):
        stores = " or ".join(f"{name}://…" for name in OBJECT_STORES)
        refuse_url(path, what, f"copy the files to or from this machine, or name {stores} as text")


def refuse_url(
    path: str | os.PathLike[str],
    what: str = "a path",
    remedy: str = "copy the files to or from this machine with another program",
) -> None:
    """Raise `UsageError` if a path is a URL and nothing local has this name.

    `./s3://bucket` is a folder `s3:` in this folder.

    Args:
        what: for the message, such as "the output".
        remedy: for the message, what to do.
    """
    text = os.fspath(path)
    pattern = _URL if isinstance(path, str) else _COLLAPSED
    if isinstance(text, str) and pattern.match(text) and not os.path.lexists(text):
        raise UsageError(
            f"{what} must be local, but this is a URL",
            file=text,
            remedy=remedy,
        )
