"""A job: one operation over the shards of a long list of files, by any number of processes.

RUN/job.toml              written by `vaetools shards`, as the last file
RUN/shards/NNNNNN.txt     names of the inputs of a shard; see `lists`
RUN/operation.toml        operation, options, model and OUT; written by the first process
RUN/claims/NNNNNN.A       attempt A at a shard; see `claims`
RUN/journals/NNNNNN.A.*   what the attempt has done; see also `retries`
RUN/done/NNNNNN.json      the result of a shard; written last
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tomli_w

from vaetools.distributed.files import REMEDY, read_own, stands
from vaetools.errors import ExistsError, OutputError, UsageError
from vaetools.libraries import runtime_version
from vaetools.model.limits import LONGEST_SLEEP
from vaetools.operation.chain import Chain
from vaetools.runner.atomic import remove_stale, temporary_stem, write_files
from vaetools.runner.described import described
from vaetools.runner.entries import absolute, relative
from vaetools.runner.inputs import is_folder
from vaetools.runner.place import PREFIX
from vaetools.runner.settings import work_key
from vaetools.runner.stages import output_errors
from vaetools.text import printable
from vaetools.tomlfile import Bounds, Pattern, from_table, read_toml
from vaetools.version import __version__

if TYPE_CHECKING:
    from vaetools.operation import Operation
    from vaetools.runner import RunSettings

FORMAT = 1
"""Version of the files of a job."""

LEASE = 300.0
"""Seconds after which a claim without a sign of life is free."""

MOST_SHARDS = 10_000_000

_HEX = Pattern(r"[0-9a-f]{16,64}", "16 to 64 hexadecimal digits")
_COUNT = Bounds(ge=0)


@dataclass(frozen=True)
class _JobTable:
    """`job.toml`."""

    format: int
    id: Annotated[str, _HEX]
    vaetools: str
    root: str
    shards: Annotated[int, Bounds(ge=1, le=MOST_SHARDS)]
    files: Annotated[int, _COUNT]
    bytes: Annotated[int, _COUNT]
    lists: Annotated[str, _HEX]
    explicit: bool = False
    lease: Annotated[float, Bounds(gt=0, le=LONGEST_SLEEP)] = LEASE


@dataclass(frozen=True)
class Task:
    """What is done to the inputs of a job: `operation.toml`.

    Attributes:
        operation: Name of the operation; those of a chain are joined by commas.
        fingerprint: Of the operation, its options, its model, and settings that change outputs.
        models: Ids of the models.
        options: Operation, model and options by name, for people.
        vaetools: Version that the job began with.
        onnxruntime: Version of ONNX Runtime that the job began with; empty without a model.
        out: The output folder, as `relative` writes it, relative to RUN.
        mark: Content of the mark in the output folder.
    """

    operation: str
    fingerprint: str
    models: tuple[str, ...]
    options: dict[str, str]
    vaetools: str
    onnxruntime: str
    out: str
    mark: Annotated[str, _HEX]


@dataclass(frozen=True)
class Job:
    """A job folder.

    Attributes:
        folder: RUN.
        id: Identifies the job.
        root: The folder that the names of the inputs are relative to.
        shards: Number of shards, which are numbered from 0.
        files: Number of inputs.
        bytes: Their total size when they were listed.
        lists: SHA-256 over the hashes of all lists.
        explicit: Whether the inputs were named by the user: then the suffix does not matter.
        lease: Seconds after which a claim without a sign of life is free.
        version: Version of vaetools that made the lists.
        task: What is done; None as long as no process has begun.
    """

    folder: Path
    id: str
    root: Path
    shards: int
    files: int
    bytes: int
    lists: str
    explicit: bool = False
    lease: float = LEASE
    version: str = __version__
    task: Task | None = None

    def list_of(self, number: int) -> Path:
        """The names of the inputs of a shard."""
        return self.folder / "shards" / f"{number:06}.txt"

    def done_file(self, number: int) -> Path:
        """The result of a shard; it exists when the shard is done."""
        return self.folder / "done" / f"{number:06}.json"

    def journal(self, number: int, attempt: int) -> Path:
        """The journal of an attempt at a shard."""
        return self.folder / "journals" / f"{number:06}.{attempt}.ndjson"

    def records(self, number: int, attempt: int) -> Path:
        """Records that the journal of an attempt does not have: of failed and skipped inputs."""
        return self.folder / "journals" / f"{number:06}.{attempt}.records.ndjson"

    def unfinished_file(self, number: int, attempt: int) -> Path:
        """The result of an attempt that left the shard to a further one; see `retries`."""
        return self.folder / "journals" / f"{number:06}.{attempt}.json"

    def in_work(self, number: int, attempt: int) -> Path:
        """The note of an attempt at a shard about the video or tar that is in work; see `in_work`."""
        return self.folder / "journals" / f"{number:06}.{attempt}.work"

    @property
    def claims(self) -> Path:
        """The folder of the claims."""
        return self.folder / "claims"

    def check_names(self) -> None:
        """Raise `UsageError` if `job.toml` cannot name the folder of the inputs."""
        _toml(self.folder / JOB_FILE, self._table())

    def write(self) -> None:
        """Write `job.toml`. Raises `OSError`."""
        _create(self.folder / JOB_FILE, self._table())

    def _table(self) -> dict[str, Any]:
        table = _JobTable(
            FORMAT,
            self.id,
            self.version,
            relative(os.path.abspath(self.root), os.path.realpath(self.folder)),  # noqa: PTH100
            self.shards,
            self.files,
            self.bytes,
            self.lists,
            self.explicit,
            self.lease,
        )
        return dataclasses.asdict(table)


JOB_FILE = "job.toml"
OPERATION_FILE = "operation.toml"


def is_job(folder: str | Path) -> bool:
    """Whether a folder is that of a job."""
    return stands(Path(folder, JOB_FILE))


def open_job(folder: str | Path) -> Job:
    """Read a job folder.

    Raises:
        UsageError: It is not one, or of another version.
    """
    path = Path(folder)
    if not is_job(path):
        problem = "is not the folder of a job" if stands(path) else "no such folder"
        remedy = "make one with vaetools shards IN -o RUN"
        raise UsageError(problem, file=folder, remedy=remedy)
    file = path / JOB_FILE
    values = read_toml(file, UsageError)
    if values.get("format", FORMAT) != FORMAT:
        problem = f"format {values['format']!r} is not known to vaetools {__version__}"
        raise UsageError(problem, file=file, remedy="use the version that made the job")
    table = from_table(_JobTable, values, UsageError, file=file)
    return Job(
        path,
        table.id,
        _located(table.root, path),
        table.shards,
        table.files,
        table.bytes,
        table.lists,
        table.explicit,
        table.lease,
        table.vaetools,
        _read_task(path),
    )


def _located(text: str, folder: Path) -> Path:
    """A path that is relative to the job folder if it begins with a dot."""
    real = absolute(text, os.path.realpath(folder))
    here = os.getcwd()  # noqa: PTH109
    return Path(os.path.relpath(real, here) if real.startswith(here + os.sep) else real)


def _read_task(folder: Path) -> Task | None:
    file = folder / OPERATION_FILE
    if not stands(file):
        return None
    return from_table(Task, read_toml(file, UsageError), UsageError, file=file)


def begin(job: Job, operation: Operation, settings: RunSettings, fingerprint: str) -> Job:
    """The job with its task; the first process decides what that is, all others must have the same.

    Args:
        job: The job.
        operation: The operation, with its model and options.
        settings: Of the runs over the shards.
        fingerprint: Of the operation; see `vaetools.hub.fingerprint`.

    Raises:
        UsageError: The job was begun with another operation, model, option, version or output
            folder, or the inputs are not there.
        OutputError: A folder cannot be written to.
    """
    if operation.takes == "nothing":
        raise UsageError(f"{operation.name} takes no inputs", file=job.folder)
    if not is_mounted(job.root):
        problem = f"the folder of the inputs is {'empty' if is_folder(job.root) else 'not there'}"
        raise UsageError(problem, file=job.root, remedy="mount it at the same place, or use --root")
    out = Path(settings.out)
    task = _task(job, operation, settings, fingerprint)
    _toml(
        job.folder / OPERATION_FILE, dataclasses.asdict(task)
    )  # refused before anything is written
    with output_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    _remove_left_behind(job, out)
    if job.task is None:
        task = dataclasses.replace(task, mark=_marked(job, out))
        with contextlib.suppress(ExistsError), output_errors(job.folder):
            _create(job.folder / OPERATION_FILE, dataclasses.asdict(task))
    begun = job.task or _read_task(job.folder)
    if begun is None:
        problem, remedy = "was removed while the job began", "run the same command again"
        raise OutputError(problem, file=job.folder / OPERATION_FILE, remedy=remedy)
    _refuse_other(job, begun, task)
    if _mark(job, out) != begun.mark:
        problem = f"is not the output folder of the job, which is {printable(begun.out)}"
        raise UsageError(problem, file=out, remedy="use that one, or make a new job")
    return dataclasses.replace(job, task=begun)


def is_mounted(root: Path) -> bool:
    """Whether the folder of the inputs is there; one that is empty lacks its disk."""
    try:
        with os.scandir(root) as entries:
            return next(entries, None) is not None
    except OSError:
        return is_folder(root)  # one that cannot be listed may have files all the same


def _remove_left_behind(job: Job, out: Path) -> None:
    """Remove temporary files of processes that were killed while they wrote to the job folder."""
    stem = temporary_stem(mark_file(job, out).name)
    remove_stale([out], lambda found: found.stem == stem and found.is_abandoned)
    remove_stale([job.folder, job.claims], lambda found: found.is_abandoned)


def _task(job: Job, operation: Operation, settings: RunSettings, fingerprint: str) -> Task:
    steps = operation.steps if isinstance(operation, Chain) else (operation,)
    ids = [str(opened.manifest.id) for step in steps for opened in step.opened]
    return Task(
        operation.name,
        work_key(fingerprint, settings),
        tuple(dict.fromkeys(ids)),
        described(operation, settings),
        __version__,
        runtime_version() if ids else "",
        relative(os.path.realpath(settings.out), os.path.realpath(job.folder)),
        "",
    )


def _refuse_other(job: Job, begun: Task, task: Task) -> None:
    """Raise `UsageError` if another task is to be done than the one that the job began with."""
    if begun.vaetools != task.vaetools:
        problem = f"was begun with vaetools {begun.vaetools}, and this is {task.vaetools}"
        remedy = "use that version on all machines, or make a new job"
    elif begun.fingerprint != task.fingerprint:
        problem = f"was begun with {_difference(begun, task)}"
        remedy = "use the same options and models, or make a new job"
    else:
        return
    raise UsageError(problem, file=job.folder, remedy=remedy)


def _difference(begun: Task, task: Task) -> str:
    """What the job began with and what it should go on with, in words."""
    if begun.operation != task.operation:
        return f"{begun.operation}, not {task.operation}"
    names = dict.fromkeys((*begun.options, *task.options))
    differing = [n for n in names if begun.options.get(n) != task.options.get(n)]
    if not differing:
        return f"another version of {', '.join(task.models) or task.operation}"
    was = ", ".join(f"{name} {begun.options.get(name, 'not set')}" for name in differing)
    now = ", ".join(f"{task.options.get(name, 'not set')}" for name in differing)
    return f"{was}, not {now}"


def mark_file(job: Job, out: Path) -> Path:
    """The file in the output folder that says to which job it belongs."""
    return out / f"{PREFIX}.job-{job.id}"


def _marked(job: Job, out: Path) -> str:
    """Leave a mark in the output folder, unless there is one; return its content."""
    mark = secrets.token_hex(8).encode()
    with contextlib.suppress(ExistsError), output_errors(out):
        write_files([(mark_file(job, out), mark)], standing=[None])
    left = _mark(job, out)
    if not _HEX.accepts(left):
        problem, remedy = "is no mark of a job", "remove it, or choose another output folder"
        raise OutputError(problem, file=mark_file(job, out), remedy=remedy)
    return left


def _mark(job: Job, out: Path) -> str:
    """The content of the mark in an output folder; empty if there is none, or no regular file."""
    path = mark_file(job, out)
    try:
        return read_own(path).decode("ascii")
    except (FileNotFoundError, ValueError):
        return ""
    except OSError as error:
        if not error.errno:
            return ""
        raise OutputError(f"cannot be read: {error.strerror}", file=path, remedy=REMEDY) from error


def _create(path: Path, table: dict[str, Any]) -> None:
    """Write a new TOML file, whole or not at all. Raises `ExistsError`, `OSError`, and as `_toml`."""
    write_files([(path, _toml(path, table))], standing=[None])


def _toml(path: Path, table: dict[str, Any]) -> bytes:
    """A table as TOML. Raises `UsageError` for a name that is not UTF-8, as TOML has no others."""
    try:
        return tomli_w.dumps(table).encode()
    except UnicodeEncodeError as error:
        name = printable(error.object.split("\n")[error.object.count("\n", 0, error.start)])
        problem = f"cannot name a path or option that is not UTF-8: {name}"
        raise UsageError(problem, file=path, remedy="rename it") from error
