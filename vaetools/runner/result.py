"""The result of a run: all records, totals, a summary line and an exit code."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vaetools.errors import (
    EXIT_DONE,
    EXIT_ENVIRONMENT,
    EXIT_INTERRUPTED,
    EXIT_SOME_FAILED,
    RunError,
)
from vaetools.record import Record, Status, format_bytes, format_seconds, kinds_of_files, plural
from vaetools.report.page import Overview
from vaetools.runner.report import write_contact_sheet, write_page
from vaetools.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from vaetools.report.previews import Decode

INTERRUPTED = "interrupted"
BROKEN_MODEL = "stopped because the model does not work"
BROKEN_LIBRARY = "stopped because a library does not work"
NO_WORKERS = "stopped because its worker processes do not start"

STATUSES: tuple[Status, ...] = ("done", "failed", "skipped", "planned")
PRUNING: tuple[Status, ...] = ("pruned", "obsolete", "kept")


@dataclass(frozen=True)
class Estimate:
    """What a run would need, on this machine and with these settings.

    Attributes:
        seconds: Wall time.
        bytes_out: Total size of the outputs in bytes.
        tried: Number of inputs that were processed for it.
        inputs: Number of inputs that it is about.
    """

    seconds: float
    bytes_out: int
    tried: int
    inputs: int

    def __str__(self) -> str:
        need = f"about {format_seconds(self.seconds)} and {format_bytes(self.bytes_out)}"
        return f"{need}, estimated from {self.tried:,} of {plural(self.inputs, 'input')}"


@dataclass(frozen=True, repr=False)
class RunResult:
    """The outcome of a run: one record per input, and totals.

    A failed input is a record, not an exception; `raise_for_failures` turns it into one.

    Example:

        result = hub.map("compress", "photos/", out="packed/").raise_for_failures()
        print(result.summary, result.device)

    Attributes:
        records: In the order in which the inputs were finished.
        left_alone: Number of files in input folders that were not selected.
        unreached: Number of inputs without a record, because the run stopped early.
        seconds: Wall time in seconds; None if it is not known.
        stopped: Why the run stopped early, such as `interrupted`; empty if it did not.
        problems: One line for each thing beside the inputs that failed, such as a report that could
            not be written.
        options: Operation, model and options of the run, by name, as the report shows them.
        other_kinds: How many of the files that were left alone have which suffix, as in
            `{".heic": 3}`; without those that `exclude` names and outputs of earlier runs.
        estimate: Of a dry run: what the run would need; None if no input could be tried.
    """

    records: tuple[Record, ...]
    left_alone: int = 0
    unreached: int = 0
    seconds: float | None = 0.0
    stopped: str = ""
    problems: tuple[str, ...] = ()
    other_kinds: Mapping[str, int] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    estimate: Estimate | None = None

    def __repr__(self) -> str:
        device = f" on {self.device}" if self.device else ""
        return f"<{type(self).__name__}: {self.summary}{device}>"

    @property
    def counts(self) -> dict[str, int]:
        """Number of inputs by status (`done`, `failed`, `skipped`, `planned`), and `left alone`.

        `pruned`, `obsolete` and `kept` are in it only if there are any.
        """
        seen = Counter(record.status for record in self.records)
        counts: dict[str, int] = {status: seen[status] for status in STATUSES}
        counts |= {status: seen[status] for status in PRUNING if seen[status]}
        return {**counts, "left alone": self.left_alone}

    @property
    def failures(self) -> tuple[Record, ...]:
        """The records of the inputs that failed."""
        return tuple(record for record in self.records if record.status == "failed")

    def raise_for_failures(self) -> Self:
        """Return the result itself if every input was processed.

        Raises:
            RunError: At least one input failed, the run stopped early, or there are `problems`.
                `error.failures` has the records of the failed inputs.
        """
        failures, problems = self.failures, []
        if failures:
            first = f"{failures[0].code} {failures[0].message}"
            total = plural(len(self.records) + self.unreached, "input")
            problems.append(f"{len(failures):,} of {total} failed, first: {first}")
        if self.unreached:
            problems.append(f"{self.stopped}, {plural(self.unreached, 'input')} not processed")
        problems += self.problems
        if problems:
            raise RunError("; ".join(problems), failures=failures)
        return self

    @property
    def device(self) -> str | None:
        """Device that the models ran on, such as `cuda:0`; None if none did.

        If models ran on several devices, their names are joined by commas.
        """
        devices = {d for record in self.records for d in (record.device or "").split(", ")}
        return ", ".join(sorted(filter(None, devices))) or None

    @property
    def onnxruntime(self) -> str | None:
        """Version of ONNX Runtime that the models ran on, such as `1.31.1`; None if none did."""
        return ", ".join(sorted({r.onnxruntime for r in self.records if r.onnxruntime})) or None

    @property
    def not_kept(self) -> dict[str, int]:
        """What metadata of inputs no output has, and for how many inputs; the most frequent first."""
        seen = Counter(what for record in self.records for what in record.not_kept)
        return dict(seen.most_common())

    @property
    def unchanged(self) -> int:
        """Number of inputs with nothing to change; their outputs are copies."""
        return sum(record.unchanged for record in self.records)

    @property
    def bytes_in(self) -> int:
        """Total size of the inputs that are done, in bytes."""
        return sum(record.bytes_in for record in self.records if record.status == "done")

    @property
    def bytes_out(self) -> int:
        """Total size of the outputs of the inputs that are done, in bytes."""
        return sum(record.bytes_out for record in self.records if record.status == "done")

    @property
    def exit_code(self) -> int:
        """Exit code: 0 all done, 1 some failed, 4 broken model or library, 130 interrupted."""
        if self.stopped == INTERRUPTED:
            return EXIT_INTERRUPTED
        if self.stopped in (BROKEN_MODEL, BROKEN_LIBRARY, NO_WORKERS):
            return EXIT_ENVIRONMENT
        failed = self.failures or self.unreached or self.problems
        return EXIT_SOME_FAILED if failed else EXIT_DONE

    @property
    def summary(self) -> str:
        """One line, such as `9,998 done, 2 failed, 812 MB -> 71 MB in 4:22`."""
        counts = self.counts
        parts = [f"{n:,} {what}" for what, n in counts.items() if n > 0 or what == "done"]
        if self.other_kinds:
            parts[-1] += f": {kinds_of_files(self.other_kinds)}"
        if counts["planned"]:
            parts.remove("0 done")
        if self.unchanged:
            parts.append(f"{self.unchanged:,} of {counts['done']:,} unchanged, copied")
        if counts["done"]:
            parts.append(f"{format_bytes(self.bytes_in)} -> {format_bytes(self.bytes_out)}")
        text = ", ".join(parts)
        if self.estimate is not None:
            text += f"; a run needs {self.estimate}"
        elif self.seconds is not None:
            text += f" in {format_seconds(self.seconds)}"
        if not self.stopped:
            return text
        left = f"{plural(self.unreached, 'input')} not processed"
        return f"{text}; {self.stopped}, {left}; run the same command again to resume"

    def write_report(self, path: str | Path, *, decode: Decode | None = None) -> None:
        """Write an HTML page about the run, with previews and links; replaces an earlier report.

        Previews are in the page itself, or in the folder `NAME_files` next to it if they are many.

        `RunSettings.report` does the same at the end of a run, and checks the path before it.

        Args:
            path: Path of the page.
            decode: Takes the path of a file that is not an image, such as a `.vae` file, and returns
                an `Image` for its preview, or None: `hub.preview`. `hub.map(…, report=path)`
                passes it.

        Raises:
            UsageError: The name does not end in `.html` or `.htm`, or it is a folder.
            ExistsError: There is a file that is not a report, or a folder with other files.
            OutputError: The file cannot be written.
        """
        overview = Overview(
            self.summary,
            self._facts(),
            self.options,
            self.not_kept,
            kinds_of_files(self.other_kinds),
        )
        write_page(Path(path), self.records, overview, decode)

    def write_contact_sheet(self, path: str | Path, *, decode: Decode | None = None) -> None:
        """Write a PNG image with small inputs and outputs, their names and what failed.

        Args:
            path: Path of the image, which ends in `.png`; an earlier contact sheet is replaced.
            decode: As for `write_report`.

        Raises:
            UsageError: Another suffix, or it is a folder.
            ExistsError: There is a file that is not a contact sheet.
            OutputError: The file cannot be written.
        """
        write_contact_sheet(Path(path), self.records, self.summary, decode)

    def page(self, path: str | Path) -> None:
        """Deprecated name of `write_report`."""
        warnings.warn("use RunResult.write_report", DeprecationWarning, stacklevel=2)
        self.write_report(path)

    def _facts(self) -> dict[str, str]:
        """Counts, sizes, time and device for the report; zero counts are left out."""
        counts = self.counts | {"unchanged": self.unchanged, "not processed": self.unreached}
        facts = {name: f"{count:,}" for name, count in counts.items() if count}
        if self.bytes_out:
            facts["before"] = format_bytes(self.bytes_in)
            facts["after"] = format_bytes(self.bytes_out)
        if self.bytes_out and self.bytes_in:
            facts["after / before"] = f"{self.bytes_out / self.bytes_in:.1%}"
        if self.estimate is not None:
            facts["a run needs"] = str(self.estimate)
        if self.device:
            facts["device"] = self.device
        if self.onnxruntime:
            facts["ONNX Runtime"] = self.onnxruntime
        written = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %z")
        if self.seconds is not None:
            facts["time"] = format_seconds(self.seconds)
        return facts | {"written": written, "vaetools": __version__}
