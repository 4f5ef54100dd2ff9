"""Runs over tar files: their members go through an operation, into other tars of the same names.

A tar is written under a temporary name, and is complete when it takes its name. Members that are no
inputs are copied as they are, and so are those that fail, each of which has a record of its own.
`archive` reads tars, `samples` names the results, and `repack` processes one tar.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from vaetools.errors import InputError, UsageError, VaetoolsError, printable
from vaetools.image import SUFFIXES
from vaetools.operation import option_specs
from vaetools.operation.chain import Chain
from vaetools.operation.masks import places_of
from vaetools.record import Record, plural
from vaetools.runner.archive import TAR, Archive
from vaetools.runner.atomic import create_for, discard, publish, set_time, temporary_path
from vaetools.runner.fault import fault_of
from vaetools.runner.in_turn import process_in_turn
from vaetools.runner.inputs import FileFilter
from vaetools.runner.record import facts_of, failed, record_of
from vaetools.runner.repack import Repack, Totals
from vaetools.runner.settings import time_of_outputs
from vaetools.runner.share import TakenOverError
from vaetools.runner.stages import output_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.operation import Operation
    from vaetools.runner.folder import OutputFolder
    from vaetools.runner.journal import Journal
    from vaetools.runner.plan import PlannedItem
    from vaetools.runner.progress import Listeners
    from vaetools.runner.settings import RunSettings

MOST_REMARKS = 3
"""Different notes that the record of a tar repeats."""

INCOMPLETE = "with members that failed"
"""Part of the work key in the journal if members failed: the next run tries that tar again."""


def takes_tars(operation: Operation) -> bool:
    """Whether the tars of a folder are inputs."""
    try:
        check_tars(operation)
    except UsageError:
        return False
    return is_member_operation(operation)


def is_member_operation(operation: Operation) -> bool:
    """Whether a tar stands for its members; otherwise it is a file like others."""
    return operation.takes != "nothing" and TAR not in operation.suffixes


def check_tars(operation: Operation) -> None:
    """Raise `UsageError` if an option names a folder with a file for each image."""
    for step in operation.steps if isinstance(operation, Chain) else (operation,):
        names = [name for name, masks in places_of(step.options).items() if masks.is_per_image]
        for spec in option_specs(type(step).Options):
            value = getattr(step.options, spec.name)
            if isinstance(value, Path) and value.is_dir():
                names.append(spec.name)
        if names:
            problem = (
                f"{names[0]} of {step.name} names a file for each image, and a tar has members"
            )
            raise UsageError(problem, remedy="unpack the tar, or name one file")


def member_suffixes(operation: Operation) -> tuple[str, ...]:
    """Suffixes of the members that are inputs."""
    return tuple(sorted(SUFFIXES if operation.takes == "image" else operation.suffixes))


def tar_output(source: PurePosixPath) -> PurePosixPath:
    """The output of a tar. One that is compressed is not read, but has the name that it would have."""
    if source.suffix.lower() == TAR:
        return source
    return source.with_name(re.sub(r"(\.tar)?\.\w+$", "", source.name, flags=re.IGNORECASE) + TAR)


class Tars:
    """Processes tars one after the other, and the members of each in parallel.

    Attributes:
        extra: Number of records about members.

    Raises:
        UsageError: See `check_tars`.
    """

    def __init__(self, operation: Operation, settings: RunSettings) -> None:
        check_tars(operation)
        self.extra: int = 0
        self._operation = operation
        self._settings = settings
        exclude = (*settings.exclude, *operation.never)
        self._wanted = FileFilter(member_suffixes(operation), settings.include, exclude)

    def with_choice(self, item: PlannedItem) -> PlannedItem:
        """A planned tar that is done again if other members are chosen."""
        chosen = (self._settings.include, self._settings.exclude)
        if not any(chosen):
            return item
        return dataclasses.replace(item, files=hashlib.sha256(repr(chosen).encode()).hexdigest())

    def checked(self, item: PlannedItem) -> PlannedItem:
        """A planned tar, with its problem if it has one: for a dry run."""
        if not item.is_pending:
            return item
        try:
            with self._open(item) as archive:
                self._repack(archive, item)
        except VaetoolsError as error:
            return dataclasses.replace(item, problem=error)
        return item

    def process(
        self,
        items: Sequence[PlannedItem],
        folder: OutputFolder,
        journal: Journal,
        listeners: Listeners,
    ) -> str:
        """Process the tars; return why the run stopped early, or an empty string."""
        folder.enter()

        def record_and_end(item: PlannedItem) -> tuple[Record, str]:
            return self._record(item, folder, journal, listeners)

        return process_in_turn(items, self._operation.name, journal, listeners, record_and_end)

    def _record(
        self, item: PlannedItem, folder: OutputFolder, journal: Journal, listeners: Listeners
    ) -> tuple[Record, str]:
        """The record of a tar, and why no further ones are taken."""
        started, op = time.perf_counter(), self._operation.name
        try:
            return self._written(item, folder, journal, listeners), ""
        except (KeyboardInterrupt, TakenOverError):
            raise
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, even SystemExit
            fault = fault_of(error, item.source.path, folder_is_lost=folder.is_lost)
        code, message, seconds = fault.code, fault.message, time.perf_counter() - started
        record = failed(item, op, code, message, seconds, transient=fault.transient)
        return record, fault.stops

    def _open(self, item: PlannedItem) -> Archive:
        return Archive(item.source.path, strict=self._settings.strict)

    def _repack(self, archive: Archive, item: PlannedItem) -> Repack:
        settings, relative = self._settings, item.source.relative
        return Repack(self._operation, settings, self._wanted, archive, relative)

    def _written(
        self, item: PlannedItem, folder: OutputFolder, journal: Journal, listeners: Listeners
    ) -> Record:
        """Write the output of a tar; return its record."""
        started, source, out = time.perf_counter(), item.source, item.outputs[0]
        op, temporary = self._operation.name, temporary_path(out)

        def on_member(record: Record | None) -> None:
            shown = record or Record(str(source.path), (), op, "done")
            listeners.advance(shown)
            if record is not None:
                self.extra += 1
                listeners.add(record)

        with self._open(item) as archive:
            repack = self._repack(archive, item)
            listeners.start(op, repack.inputs)
            try:
                with output_errors(out):
                    folder.prepare(out.parent)
                    file = create_for(temporary, source.mode, item.standing[0])
                with output_errors(out), file:  # closing it writes, too
                    totals = repack.write(file, out, on_member)
                record = self._done(item, totals, archive.damage, time.perf_counter() - started)
                with output_errors(out):
                    folder.prepare(out.parent)
                    self._publish(item, temporary, totals, record, journal)
            finally:
                discard([temporary])
        return record

    def _publish(
        self, item: PlannedItem, temporary: Path, totals: Totals, record: Record, journal: Journal
    ) -> None:
        """Give the tar its name. Raises `OSError`, `ExistsError` and `TakenOverError`."""
        files = f"{item.files} {INCOMPLETE}" if totals.failed else item.files
        written = {item.names[0]: (totals.size, totals.sha256)}
        entry = journal.entry(item.source, self._operation.name, written, files, totals.device)
        if (mtime_ns := time_of_outputs(item.source, self._settings.times)) is not None:
            set_time(temporary, mtime_ns)
        journal.writing(entry)
        publish(temporary, item.outputs[0], item.standing[0])
        journal.done(entry, facts_of(record))

    def _done(self, item: PlannedItem, totals: Totals, damage: str, seconds: float) -> Record:
        """The record of a tar whose results are complete. Raises `InputError` if there are none."""
        members = plural(totals.done + totals.failed, "member")
        if not totals.done:
            problem = f"none of {members} could be processed; each has a record"
            raise InputError(problem, file=item.source.path)
        parts = [f"{plural(totals.done, 'member')} processed, {totals.copied:,} copied"]
        if totals.failed:
            parts.append(f"{totals.failed:,} failed and copied unchanged")
        if damage:
            parts.append(f"read in part: {damage}")
        parts += [
            f"{remark} ({plural(count, 'member')})"
            for remark, count in totals.remarks.most_common(MOST_REMARKS)
        ]
        lost = [f"{what} ({plural(count, 'member')})" for what, count in totals.lost.most_common()]
        if lost:
            parts.append(f"not kept: {', '.join(lost)}")
        return record_of(
            item,
            self._operation.name,
            "done",
            seconds=seconds,
            message=printable(f"{item.source.path}: {'; '.join(parts)}"),
            noted=bool(totals.failed or damage or totals.remarks),
            unchanged=totals.unchanged == totals.done,
            not_kept=tuple(printable(what) for what in totals.lost),
            bytes_out=totals.size,
            device=totals.device,
        )
