"""A run as one share of a job: processes on several machines write to one output folder.

Each share keeps a journal of its own outside of the output folder. It may be taken over by another
process; the one that lost it must not give any further output its name.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vaetools.errors import OutputError
from vaetools.runner.place import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path, PurePosixPath

    from vaetools.errors import ClashError
    from vaetools.runner.place import Shard


class TakenOverError(OutputError):
    """Another process has taken over the share."""


@dataclass(frozen=True)
class Share:
    """What a run needs to know about its share.

    Attributes:
        journal: The journal of this attempt; it is created.
        earlier: Journals of earlier attempts.
        check: Raises `TakenOverError` if another process has taken over the share. It is called
            before each output takes its name.
        clashes: Takes the inputs of existing outputs that this share did not write, by name of the
            output; returns why some of them must not be replaced.
        in_work: Takes the relative path of an input that this process itself works on, which may end
            it; the work is done in the context that it returns.
    """

    journal: Path
    earlier: tuple[Path, ...]
    check: Callable[[], None]
    clashes: Callable[[Mapping[str, Path]], Mapping[str, ClashError]] = lambda _: {}
    in_work: Callable[[PurePosixPath], AbstractContextManager[None]] = lambda _: nullcontext()

    def place(self, out: Path) -> Place:
        """Where the run keeps its files."""
        return _SharePlace(out, self.journal.parent, self.journal, self.earlier)


@dataclass(frozen=True)
class _SharePlace(Place):
    """The files of a share: of the output folder only the lock is used, and it is shared."""

    own: Path | None = None
    earlier: tuple[Path, ...] = ()

    def journal(self, shard: Shard | None) -> Path:  # noqa: ARG002
        assert self.own is not None
        return self.own

    def journals(self) -> list[Path]:
        return [path for path in (*self.earlier, self.journal(None)) if path.exists()]

    def lock(self, shard: Shard | None) -> Path:  # noqa: ARG002
        return Place(self.out).lock(None)

    def locks(self, shard: Shard | None) -> list[tuple[Path, bool]]:  # noqa: ARG002
        return [(self.lock(None), True)]

    def legacy_folder(self) -> None:
        """Only a run of its own takes over what earlier versions left."""
