"""Samples of WebDataset: which members of a tar belong together, and what a tar of results has.

The key of a member is its path up to the first dot of its name, and members with the same key that
follow each other are a sample: `a/1.jpg`, `a/1.cls` and `a/1.mask.png` are one of key `a/1`.

Results are members of the sample of their source: `a/1.jpg` gives `a/1.jpg.vae`, and `a_sample2.jpg`,
which stands next to `a.jpg`, becomes `a.sample2.jpg`. Where no result has the key of its source, as
with copies for a data set, each key is a sample of its own, which gets copies of the other members:
`a_aug0001.png` and `a_aug0001.cls`.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from vaetools.errors import ClashError, InputError, TooLargeError, UsageError, printable
from vaetools.runner.archive import MOST_MEMBERS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vaetools.runner.archive import Member

_TAG = re.compile(r"[-_].*")


@dataclass(frozen=True, slots=True)
class Entry:
    """A member of the tar of results.

    Attributes:
        member: The member that it is made from.
        name: Its name.
        number: Which result of that member it is; None for a copy.
    """

    member: Member
    name: str
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """Members with the same key, and what becomes of them.

    Attributes:
        members: In order.
        inputs: Those of them that go through the operation.
        entries: In order, if all inputs succeed.
        is_split: Whether the results are samples of their own.
    """

    members: Sequence[Member]
    inputs: Sequence[Member]
    entries: Sequence[Entry]
    is_split: bool


def key_of(name: str) -> str:
    """The key of a member; empty for a name without one."""
    folder, slash, base = name.rpartition("/")
    key, dot, _ = base.partition(".")
    return f"{folder}{slash}{key}" if key and dot else ""


def samples_of(
    members: Sequence[Member],
    is_input: Callable[[Member], bool],
    names_of: Callable[[Member], Sequence[str]],
) -> list[Sample]:
    """The samples of a tar.

    Args:
        members: All members.
        is_input: Whether a member goes through the operation.
        names_of: Names of the results of a member, as an operation gives them for files.

    Raises:
        ClashError: Two members would have the same name.
        UsageError: A sample would have no image, but a file about several images.
        InputError: A result would lie outside. TooLargeError: there would be too many members.
    """
    samples: list[Sample] = []
    used: dict[str, Entry] = {}
    for key, group in itertools.groupby(members, lambda m: key_of(m.name) if m.is_file else ""):
        for part in [list(group)] if key else [[member] for member in group]:
            sample = _sample(key, part, [m for m in part if is_input(m)], names_of)
            samples.append(sample)
            for entry in sample.entries:
                first = used.setdefault(entry.name, entry)
                if first is not entry:
                    one, other = (printable(e.member.name) for e in (first, entry))
                    raise ClashError(
                        f"{one} and {other} would both become the member {printable(entry.name)}"
                    )
            if len(used) > MOST_MEMBERS:
                raise TooLargeError(f"would give more than {MOST_MEMBERS:,} members")
    return samples


def _sample(
    key: str,
    members: Sequence[Member],
    inputs: Sequence[Member],
    names_of: Callable[[Member], Sequence[str]],
) -> Sample:
    results = {id(m): _renamed(m.name, names_of(m)) for m in inputs}
    keys = list(dict.fromkeys(key_of(name) for names in results.values() for name in names))
    if not keys or keys == [key]:
        keys = [key]
    else:
        for names in results.values():
            _refuse_without_image(names)
    entries: list[Entry] = []
    for wanted in keys:
        for member in members:
            if id(member) not in results:
                entries.append(Entry(member, wanted + member.name[len(key) :]))
                continue
            for number, name in enumerate(results[id(member)]):
                if key_of(name) == wanted:
                    entries.append(Entry(member, name, number))
    return Sample(members, inputs, entries, is_split=keys != [key])


def _renamed(source: str, names: Sequence[str]) -> list[str]:
    """The names of the results of a member, as WebDataset groups them."""
    folder, slash, base = source.rpartition("/")
    placed = [_placed(source, folder + slash, name) for name in names]
    tagged = [_tagged(base, name.rpartition("/")[2]) for name in placed]
    key = key_of(source)
    is_kept = any(
        key_of(name) == key and tag is None for name, tag in zip(placed, tagged, strict=True)
    )
    found: list[str] = []
    for name, tag in zip(placed, tagged, strict=True):
        if tag is None:
            found.append(name)
            continue
        stem = base.partition(".")[0]
        mark, rest = tag
        middle = f".{mark[1:]}{rest}" if is_kept else f"{mark}{rest}"
        found.append(f"{folder}{slash}{stem}{middle}")
    return found


def _placed(source: str, folder: str, name: str) -> str:
    """A result in the folder of its source as the tar writes it, which may begin with `./`."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.name or "\0" in name:
        raise InputError(f"the result {name!r} of {printable(source)} is not a member of a tar")
    is_sibling = path.parent == PurePosixPath(source).parent
    return folder + path.name if is_sibling else str(path)


def _tagged(source: str, name: str) -> tuple[str, str] | None:
    """What a name adds to the stem of its source, and all suffixes: `_aug0001` and `.seg.png`.

    None if nothing is added: `a.seg.png` and `a.png.vae` belong to the key of `a.seg.png` anyway.
    """
    own, found = source.split("."), name.split(".")
    for index, (before, after) in enumerate(zip(own, found[:-1], strict=False)):
        mark = after[len(before) :]
        if after.startswith(before) and _TAG.fullmatch(mark):
            rest = [*found[1:index], *([before] if index else []), *found[index + 1 :]]
            return mark, "".join(f".{part}" for part in rest)
    return None


def _refuse_without_image(names: Sequence[str]) -> None:
    """Raise `UsageError` if one of the new keys has no result of the usual kind."""
    suffix = PurePosixPath(names[0]).suffix
    whole = {key_of(name) for name in names if PurePosixPath(name).suffix == suffix}
    for name in names:
        if key_of(name) not in whole:
            problem = f"{printable(name)} would be a sample without an image"
            raise UsageError(problem, remedy="leave that output out, or unpack the tar")
