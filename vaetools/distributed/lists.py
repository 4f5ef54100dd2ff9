"""The lists of a job: the names of its inputs, in shards.

A list has one line about itself, then one for each input: `["name", bytes, mtime in ns]`. The first
line has the SHA-256 of the others, so that a list that was cut short or changed is noticed.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from vaetools.distributed.files import read_own
from vaetools.distributed.job import LEASE, MOST_SHARDS, Job, is_job
from vaetools.errors import (
    ExistsError,
    NothingMatchedError,
    OutputError,
    UnreadableError,
    UsageError,
)
from vaetools.image import SUFFIXES
from vaetools.report.store import MARKER
from vaetools.runner.atomic import remove_stale, write_files
from vaetools.runner.inputs import is_followed
from vaetools.text import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from vaetools.runner.filelist import FileList
    from vaetools.runner.inputs import FileFilter

_KNOWN = frozenset({*SUFFIXES, ".vae"})

MOST_BYTES = 2**30
"""Largest list."""

SIZE = 2000
"""Files in a shard."""


class ListedFile(NamedTuple):
    """A line of a list.

    Attributes:
        name: Relative to the root of the job, with `/`.
        size: In bytes, when the list was made.
        mtime_ns: Modification time, when the list was made.
    """

    name: str
    size: int
    mtime_ns: int

    @property
    def was_there(self) -> bool:
        """Whether the file was there when the list was made."""
        return self.mtime_ns != 0


@dataclass
class Left:
    """Files of the folders that are no inputs.

    Attributes:
        count: How many.
        kinds: How many have which suffix that is not one of an input.
        unlisted: Why folders could not be listed: what is in them is in no shard.
    """

    count: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    unlisted: list[UnreadableError] = field(default_factory=list)


def walk(top: Path, wanted: FileFilter, left: Left) -> Iterator[ListedFile]:
    """The inputs below a folder, in an order that depends on their names alone.

    The same files as those that a run finds, see `vaetools.runner.inputs.discover`, but only one folder
    is in memory at a time. Files that differ in their suffix alone follow each other.

    A folder that cannot be listed is added to `left`.

    Raises:
        UsageError: The folder itself cannot be listed.
    """
    for folder, names in _folders(top, wanted, left):
        for name in names:
            path = _joined(folder, name)
            if wanted.has_suffix(name) and wanted.includes(PurePosixPath(path)):
                yield _listed(path, top / path)
                continue
            left.count += 1
            if not wanted.has_suffix(name):
                left.kinds[PurePosixPath(name).suffix.lower()] += 1


def _folders(top: Path, wanted: FileFilter, left: Left) -> Iterator[tuple[str, list[str]]]:
    """(relative path, names of its files) of all folders that are not hidden.

    Links to folders are followed after all real folders, and every real folder is visited once.
    """
    seen = {*wanted.apart} - {os.path.realpath(top)}
    waiting = [""]
    links: list[str] = []
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop(0)
        real = os.path.realpath(top / folder)
        if real in seen:
            continue
        seen.add(real)
        try:
            files, folders = _listing(top / folder)
        except OSError as error:
            _refuse_or_note(folder, error, top, wanted, left)
            continue
        if MARKER in files:
            continue
        for name in folders:
            path = _joined(folder, name)
            if not (top / path).is_symlink():
                waiting.append(path)
            elif is_followed(top / path):
                links.append(path)
        yield folder, [name for name in files if not name.startswith(".")]


def _refuse_or_note(folder: str, error: OSError, top: Path, wanted: FileFilter, left: Left) -> None:
    """Note a folder that cannot be listed, unless it is left out. Raises `UsageError` for the top."""
    problem = f"cannot be listed: {error.strerror}"
    if not folder:
        raise UsageError(problem, file=top) from error
    if not wanted.excludes(PurePosixPath(folder)):
        remedy = "make it readable, or leave it out with --exclude"
        left.unlisted.append(UnreadableError(problem, file=top / folder, remedy=remedy))


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _listing(path: Path) -> tuple[list[str], list[str]]:
    """Names of (files, folders) in a folder; files are sorted, folders are a stack. Raises `OSError`."""
    files: list[str] = []
    folders: list[str] = []
    with os.scandir(path) as found:
        for entry in found:
            if not _is_folder(entry):
                files.append(entry.name)
            elif not entry.name.startswith("."):
                folders.append(entry.name)
    return sorted(files, key=_sort_key), sorted(folders, reverse=True)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; a loop of links, or one without permission, is not."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _sort_key(name: str) -> tuple[str, str]:
    return stem_of(name), name


def stem_of(name: str) -> str:
    """What names of files have in common that an operation may write to the same output."""
    folder, slash, base = name.rpartition("/")
    stem, dot, suffix = base.casefold().rpartition(".")
    while stem and dot:
        base = stem
        stem, dot, suffix = base.rpartition(".")
        if f".{suffix}" not in _KNOWN:
            break
    return f"{folder}{slash}{base.casefold()}"


def _listed(name: str, path: Path) -> ListedFile:
    try:
        status = path.stat()
    except OSError:  # it fails on its own later
        return ListedFile(name, 0, 0)
    size = status.st_size if stat.S_ISREG(status.st_mode) else 0
    return ListedFile(name, size, status.st_mtime_ns)


def listed(files: FileList, wanted: FileFilter, left: Left) -> Iterator[ListedFile]:
    """The inputs that a list names, in the order of their names; suffixes do not matter."""
    for name in sorted(dict.fromkeys(files.names), key=_sort_key):
        if wanted.includes(PurePosixPath(name)):
            yield _listed(name, files.root / name)
        else:
            left.count += 1


def write_lists(
    folder: Path,
    root: Path,
    files: Iterable[ListedFile],
    *,
    size: int = SIZE,
    explicit: bool = False,
    lease: float = LEASE,
) -> Job:
    """Make a job: write its lists and, at the end, `job.toml`.

    Args:
        folder: RUN; it must not be a job already.
        root: The folder that the names are relative to.
        files: The inputs. Neighbours that differ in their suffix alone get into the same shard.
        size: Files in a shard, or a few more.
        explicit: See `Job`.
        lease: See `Job`.

    Raises:
        ExistsError: There is a job, or a folder with other files.
        NothingMatchedError: There are no inputs.
        UsageError: A folder has a name that is not UTF-8.
        OutputError: The folder cannot be written to.
    """
    job_id = secrets.token_hex(8)
    Job(folder, job_id, root, 1, 0, 0, "").check_names()
    remove_stale([folder, folder / "shards"], lambda found: found.is_abandoned)
    _check_free(folder)
    hashes = hashlib.sha256()
    number = count = total = 0
    try:
        (folder / "shards").mkdir(parents=True, exist_ok=True)
        for shard in _shards(files, size):
            if number == MOST_SHARDS:
                problem = f"has more than {MOST_SHARDS:,} shards"
                remedy = "put more files into each: vaetools shards --size N"
                raise UsageError(problem, file=folder, remedy=remedy)
            data, digest = _encoded(shard, job_id, number)
            job = Job(folder, job_id, root, 1, 0, 0, "")
            write_files([(job.list_of(number), data)])
            hashes.update(digest)
            number, count = number + 1, count + len(shard)
            total += sum(file.size for file in shard)
        if not number:
            raise NothingMatchedError("no input matched", file=root)
        job = Job(folder, job_id, root, number, count, total, hashes.hexdigest(), explicit, lease)
        job.write()
    except OSError as error:
        raise OutputError(f"cannot be written to: {error.strerror}", file=folder) from error
    return job


def _check_free(folder: Path) -> None:
    remedy = "choose another folder"
    if is_job(folder):
        raise ExistsError("is the folder of a job already", file=folder, remedy=remedy)
    try:
        others = {entry.name for entry in folder.iterdir()} - {"shards"}
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"cannot be written to: {error.strerror}", file=folder) from error
    if others:
        raise ExistsError("has other files in it", file=folder, remedy=remedy)


def _shards(files: Iterable[ListedFile], size: int) -> Iterator[list[ListedFile]]:
    shard: list[ListedFile] = []
    for file in files:
        if len(shard) >= size and stem_of(shard[-1].name) != stem_of(file.name):
            yield shard
            shard = []
        shard.append(file)
    if shard:
        yield shard


_encode = json.JSONEncoder(separators=(",", ":")).encode


def _encoded(shard: Sequence[ListedFile], job_id: str, number: int) -> tuple[bytes, bytes]:
    """(content of a list, digest of its lines about inputs)."""
    body = b"".join(_encode(file).encode("ascii") + b"\n" for file in shard)
    digest = hashlib.sha256(body)
    head = {"job": job_id, "shard": number, "files": len(shard), "sha256": digest.hexdigest()}
    return _encode(head).encode("ascii") + b"\n" + body, digest.digest()


def _parsed(line: bytes) -> ListedFile:
    """The input of a line. Raises `ValueError` or `TypeError`."""
    file = ListedFile(*parse_json(line))
    if tuple(map(type, file)) != (str, int, int):
        raise TypeError(line)
    return file


def files_of(job: Job, number: int) -> list[ListedFile]:
    """The inputs of a shard.

    Raises:
        UsageError: There is no such shard. Its list is missing, damaged, or that of another job.
    """
    if not 0 <= number < job.shards:
        raise UsageError(f"has no shard {number}: there are {job.shards:,}", file=job.folder)
    path = job.list_of(number)
    remedy = "copy it from where it is whole, or make a new job"
    try:
        head, _, body = read_own(path, MOST_BYTES).partition(b"\n")
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise UsageError(problem, file=path, remedy=remedy) from error
    try:
        about = parse_json(head)
        is_whole = about["sha256"] == hashlib.sha256(body).hexdigest()
        is_ours = (about["job"], about["shard"]) == (job.id, number)
        files = [_parsed(line) for line in body.splitlines()] if is_whole else []
    except (ValueError, TypeError, KeyError):
        is_whole, is_ours, files = False, True, []
    if not is_whole:
        raise UsageError("is cut short or was changed", file=path, remedy=remedy)
    if not is_ours:
        raise UsageError("is the list of another job or shard", file=path, remedy=remedy)
    return files
