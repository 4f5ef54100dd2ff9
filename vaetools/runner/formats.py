"""The format and the quality of images that a run writes, as far as an operation leaves them open."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import PurePath
from typing import TYPE_CHECKING

from vaetools.errors import UsageError
from vaetools.image import SUFFIXES, format_of
from vaetools.runner.archive import is_tar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vaetools.operation import Operation


def _is_fixed(name: PurePath, fixed: Sequence[str]) -> bool:
    """Whether an output is no image, or one that keeps its format: by its name or whole path."""
    is_image = name.suffix.lower() in SUFFIXES
    return not is_image or any(
        fnmatchcase(text, glob) for text in (name.name, name.as_posix()) for glob in fixed
    )


def converted(name: PurePath, to: str, fixed: Sequence[str]) -> PurePath:
    """The name of an output in the format `to`; a suffix that is right already stays."""
    if to == "same" or _is_fixed(PurePath(name), fixed) or format_of(name) == format_of(to):
        return name
    return PurePath(name).with_suffix(f".{to}")


def refuse_without_effect(
    outputs: Iterable[str], operation: Operation, to: str, quality_out: int | None
) -> None:
    """Raise `UsageError` for a format or a quality that none of these outputs could have."""
    flag = "" if quality_out is None else f"--quality-out {quality_out}"
    flag = flag if to == "same" else f"--to {to}"
    if not flag:
        return
    names = [PurePath(name) for name in outputs if not is_tar(name)]
    if names and all(_is_fixed(name, operation.fixed_formats) for name in names):
        problem = f"{flag} has no effect: {operation.name} writes files of a fixed format"
        raise UsageError(problem, remedy="leave it out")
