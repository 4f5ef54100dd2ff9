"""URLs are no paths: `s3://bucket/out` would become a local folder `s3:`."""

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


def refuse_url(path: str | os.PathLike[str], what: str = "a path") -> None:
    """Raise `UsageError` if a path is a URL and nothing local has this name.

    `./s3://bucket` is a folder `s3:` in this folder.

    Args:
        what: for the message, such as "the output".
    """
    text = os.fspath(path)
    pattern = _URL if isinstance(path, str) else _COLLAPSED
    if isinstance(text, str) and pattern.match(text) and not os.path.lexists(text):
        raise UsageError(
            f"{what} must be local, but this is a URL",
            file=text,
            remedy="copy the files to or from this machine with another program",
        )
