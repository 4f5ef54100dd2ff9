"""What a run says about itself: one record per input, and a result with one line of summary."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from vaetools.errors import (
    EXIT_DONE,
    EXIT_ENVIRONMENT,
    EXIT_INTERRUPTED,
    EXIT_SOME_FAILED,
    UNEXPECTED,
    PluginError,
    VaetoolsError,
    printable,
)

VERSION = 1
INTERRUPTED = "interrupted"
BROKEN_MODEL = "stopped because the model does not work"

Status: TypeAlias = Literal["done", "failed", "skipped", "planned"]


@dataclass(frozen=True, slots=True)
class Record:
    """What became of one input; a dry run says `planned` where work would be done.

    Attributes:
        file: the input, as a path; `generate/0001.png` for an item that came out of nothing.
        out: the outputs, as paths.
        op: the operation's name.
        code: `E0xx` of a failure, else empty.
        message: one line that names the file, for `failed` and `skipped`; with `done`, what the user
            should know about it; else empty.
        bytes_in, bytes_out: sizes of the files.
        width, height: of the picture, where there is one, pixels.
        ms: milliseconds of reading, work and writing, without waiting.
        device: what the model ran on, where the model says so.
    """

    file: str
    out: tuple[str, ...]
    op: str
    status: Status
    code: str = ""
    message: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    width: int | None = None
    height: int | None = None
    ms: float = 0.0
    device: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For one line of NDJSON; write it with ASCII escapes, as names may not be Unicode."""
        facts = {"v": VERSION, **asdict(self)}
        return {name: fact for name, fact in facts.items() if name != "device" or fact is not None}


class Progress(Protocol):
    """What a run tells while it goes on; all calls come from the thread that called `run`."""

    def start(self, op: str, total: int) -> None: ...

    def advance(self, record: Record) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class RunResult:
    """All records and what they add up to.

    Attributes:
        left_alone: files of the input folders that were not picked.
        unreached: inputs that the run did not get to, because it stopped early.
        seconds: wall time.
        stopped: why it stopped early, else empty; `INTERRUPTED` if the user did that.
    """

    records: tuple[Record, ...]
    left_alone: int = 0
    unreached: int = 0
    seconds: float = 0.0
    stopped: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """`done`, `failed`, `skipped`, `planned` and `left alone`."""
        seen = Counter(record.status for record in self.records)
        statuses: tuple[Status, ...] = ("done", "failed", "skipped", "planned")
        return {status: seen[status] for status in statuses} | {"left alone": self.left_alone}

    def page(self, path: str | Path) -> None:
        """Write the result as one page of HTML, for people. An earlier page there is replaced.

        `RunSettings.report` does the same at the end of a run, and refuses a bad path before it.

        Raises:
            UsageError: no name of a page, or a folder. ExistsError: a file that is no such page.
            OutputError: it cannot be written.
        """
        from vaetools.runner.report import write_page

        write_page(self, Path(path))

    @property
    def bytes_in(self) -> int:
        return sum(record.bytes_in for record in self.records if record.status == "done")

    @property
    def bytes_out(self) -> int:
        return sum(record.bytes_out for record in self.records if record.status == "done")

    @property
    def exit_code(self) -> int:
        if self.stopped == INTERRUPTED:
            return EXIT_INTERRUPTED
        if self.stopped == BROKEN_MODEL:
            return EXIT_ENVIRONMENT
        some_failed = self.counts["failed"] > 0 or self.unreached > 0
        return EXIT_SOME_FAILED if some_failed else EXIT_DONE

    @property
    def summary(self) -> str:
        """`9,998 done, 2 failed, 812 MB -> 71 MB in 4:22; interrupted, 3 not reached: …`."""
        counts = self.counts
        parts = [f"{n:,} {what}" for what, n in counts.items() if n > 0 or what == "done"]
        if counts["planned"]:
            parts.remove("0 done")
        if counts["done"]:
            parts.append(f"{in_bytes(self.bytes_in)} -> {in_bytes(self.bytes_out)}")
        text = f"{', '.join(parts)} in {in_time(self.seconds)}"
        if not self.stopped:
            return text
        return f"{text}; {self.stopped}, {self.unreached:,} not reached: the same command resumes"


def explain(error: BaseException, file: str | Path) -> tuple[str, str]:
    """(code, one line that names the input `file`) of anything that an operation may raise.

    The error itself is left as it is: some raise one and the same for many inputs.
    """
    if isinstance(error, VaetoolsError):
        code, problem, remedy = error.code, error.problem, error.remedy
        if error.file not in (None, str(file)):
            problem = f"{error.file}: {problem}"
    elif isinstance(error, SystemExit):
        code, problem, remedy = PluginError.code, f"the operation tried to exit ({error})", None
    else:
        code, problem, remedy = UNEXPECTED, _unexpected(error), _remedy(error)
    line = str(VaetoolsError(problem, file=file, remedy=remedy))
    return code, printable(" ".join(line.split()))


def _unexpected(error: BaseException) -> str:
    kind = type(error).__name__
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a plugin's exception may be broken as well
        text = ""
    return f"{kind}: {text}" if text else kind


def _remedy(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "use fewer --jobs, or smaller pictures"
    return "a defect of the operation or of vaetools, please report it; --debug shows more"


def in_bytes(count: int) -> str:
    """`999 B`, `71 MB`, `1.2 GB`: decimal units, two digits at least."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.1f} {unit}" if size < 9.95 and unit != "B" else f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def in_time(seconds: float) -> str:
    """`0.4 s`, `4:22`, `1:04:22`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
