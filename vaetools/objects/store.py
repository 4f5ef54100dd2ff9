"""What a store does, and what can go wrong with it."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar

from vaetools.errors import LibraryError
from vaetools.image import install_command

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from vaetools.objects.address import ObjectPath

T = TypeVar("T")

Kind: TypeAlias = Literal[
    "bucket", "missing", "denied", "credentials", "unreachable", "conflict", "unsupported", "other"
]
"""What went wrong: there is no such bucket; no such object; no permission; no valid credentials; no
answer, or none but errors; a condition does not hold; the server has no such function; or
something else."""

ATTEMPTS = 8
"""How often a request is sent until it succeeds."""

FIRST_ATTEMPTS = 4
"""The same for the first request to a bucket: without a network, this is the delay
before the error."""

LONGEST_WAIT = 10.0
"""Seconds between two attempts at most; each wait is twice as long as the one before it."""

CONNECTIONS = 32
"""Requests in flight at the same time."""


STATUSES: dict[int, tuple[Kind, str]] = {
    403: ("denied", "access is denied"),
    404: ("missing", "there is no such object"),
    412: ("conflict", "something else stands there"),
    429: ("unreachable", "the server answers 429: too many requests"),
    501: ("unsupported", "the server does not have this function"),
}
"""Meaning of a status in an answer without a more exact code."""


class StoreError(Exception):
    """A request failed, also when it was repeated.

    Args:
        kind: What went wrong.
        reason: The same in words, such as `access is denied`.
        remedy: What the user can do.
    """

    def __init__(self, kind: Kind, reason: str, remedy: str | None = None) -> None:
        super().__init__(reason)
        self.kind: Kind = kind
        self.reason = reason
        self.remedy = remedy
        self.is_transient: bool = kind in ("unreachable", "credentials", "denied")


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as it stands in its bucket.

    Attributes:
        key: Its key.
        size: In bytes.
        version: Its ETag or generation: another one is another content.
        modified_ns: Time of its creation in nanoseconds.
        metadata: The user's own; None if the listing does not include it.
    """

    key: str
    size: int
    version: str
    modified_ns: int = 0
    metadata: Mapping[str, str] | None = None


class Store(Protocol):
    """One bucket. All methods can be called by several threads, and raise `StoreError`."""

    def list(self, prefix: str, *, first: str = "", last: str = "") -> list[Stored]:
        """All objects whose keys begin with `prefix`, in order.

        Args:
            first: Objects with smaller keys are left out.
            last: Objects with larger keys are left out, if it is not empty.
        """

    def head(self, key: str) -> Stored | None:
        """An object with its metadata; None if there is none."""

    def get(self, key: str, version: str) -> bytes:
        """The bytes of an object. Raises `StoreError` (conflict) if its version is another one."""

    def put(self, key: str, data: bytes, metadata: Mapping[str, str], replaces: str | None) -> str:
        """Write an object, all of it or nothing.

        Args:
            replaces: Version of the object that it replaces; None if there is none.

        Returns:
            Its version.

        Raises:
            StoreError: conflict: something else stands there.
        """


_MODULES = {"s3": "s3fs", "gs": "gcsfs"}


def open_store(place: ObjectPath) -> Store:
    """The store of a bucket. Raises `LibraryError` if its library is not installed."""
    library = _MODULES[place.scheme]
    try:
        import_module(library)
    except ImportError as error:
        raise LibraryError(
            f"{place.scheme}:// needs the library {library} ({error})",
            file=str(place),
            remedy=install_command(place.scheme),
        ) from error
    module: Any = import_module(f"vaetools.objects.{place.scheme}")
    store: Store = module.open_bucket(place.bucket)
    return store


def persistent(
    call: Callable[[], T], error_of: Callable[[Exception], StoreError], attempts: int = ATTEMPTS
) -> T:
    """Call until it succeeds, with growing waits while the store is unreachable or busy.

    Args:
        call: One request.
        error_of: What an exception of the library means.
        attempts: How often it is called at most.

    Raises:
        StoreError: The last one.
    """
    wait = 0.1
    for attempt in range(1, attempts + 1):
        try:
            return call()
        except Exception as error:
            found = error_of(error)
            if found.kind != "unreachable" or attempt == attempts:
                raise found from error
        # Several programs that met the same busy server must not come back together.
        time.sleep(random.uniform(wait / 2, wait))  # noqa: S311
        wait = min(2 * wait, LONGEST_WAIT)
    raise AssertionError(attempts)


def in_range(key: str, first: str, last: str) -> bool:
    """Whether a key is in a range; keys are ordered by their bytes in UTF-8."""
    own = key.encode(errors="surrogateescape")
    return first.encode() <= own and (not last or own <= last.encode())


def bounds(keys: Sequence[str]) -> tuple[str, str]:
    """The smallest and the largest key."""
    ordered = sorted(keys, key=str.encode)
    return ordered[0], ordered[-1]
