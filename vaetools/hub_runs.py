"""Runs over files and folders: what `Hub.map` and `Hub.watch` do."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from typing import TYPE_CHECKING, Any

from vaetools.errors import UsageError
from vaetools.image import Image, most_bytes, read_file
from vaetools.objects import run as run_objects
from vaetools.objects import uses_objects
from vaetools.operation.chain import Chain
from vaetools.runner import Progress, Record, RunResult, RunSettings, WatchResult, input_paths
from vaetools.runner import run as run_operation
from vaetools.runner import watch as watch_folders
from vaetools.runner.watch import INTERVAL

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from vaetools.operation import Operation
    from vaetools.resolver import Op, Resolver


class Runs:
    """The part of a hub that processes files."""

    _resolver: Resolver

    def map(
        self,
        op: Op,
        inputs: str | Path | Sequence[str | Path],
        /,
        *,
        out: str | Path,
        on_record: Callable[[Record], None] | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> RunResult:
        """Apply an operation to files and folders, videos among them; what the command line calls.

            result = hub.map("compress", "photos/", out="packed/", quality=60, jobs=2)
            result.raise_for_failures()

        Args:
            op: an operation, a chain, a step, or a list.
            inputs: files, folders or globs; or objects, such as `s3://bucket/photos`; `()` for an
                operation that takes nothing, or with `files_from`. The frames of a video are
                processed in order and written to a video.
            out: folder, or a file for one input; either may be a URL.
            on_record: called with the record of each input when it is finished.
            progress: reports how far the run is; the command line shows a bar on a terminal.
            options: `model` and options of the operation, and any field of `RunSettings`, such as
                `jobs=4`, `on_exists="skip"`, `dry_run=True`.

        Raises:
            UsageError: clashes and missing inputs, before any work; otherwise as `op`.
        """
        operation, settings = task_of(self, op, out, options)
        listed = input_paths(inputs)
        run = run_objects if uses_objects(listed, out) else run_operation
        return run(
            operation,
            listed,
            settings,
            fingerprint=fingerprint(operation),
            on_record=on_record,
            progress=progress,
            decode=self.preview,
        )

    def watch(
        self,
        op: Op,
        inputs: str | Path | Sequence[str | Path],
        /,
        *,
        out: str | Path,
        on_record: Callable[[Record], None] | None = None,
        on_problem: Callable[[str], None] | None = None,
        interval: float = INTERVAL,
        stop: threading.Event | None = None,
        **options: Any,
    ) -> WatchResult:
        """`map` for files that arrive in folders, until `stop` is set or Ctrl-C is pressed.

        Args:
            op, inputs, out, on_record, options: as for `map`, but for `dry_run` and `report`.
            on_problem: called with one line if a folder cannot be found any more.
            interval: seconds between two looks; a file that did not change in between is processed.
            stop: ends the watching when it is set.

        Raises:
            UsageError: an input does not exist, or a setting has no effect; otherwise as `op`.
        """
        operation, settings = task_of(self, op, out, options)
        listed = input_paths(inputs)
        if uses_objects(listed, out):
            raise UsageError("object stores cannot be watched", remedy="watch a local folder")
        return watch_folders(
            operation,
            listed,
            settings,
            fingerprint=fingerprint(operation),
            interval=interval,
            on_record=on_record,
            on_problem=on_problem,
            stop=stop,
        )

    def preview(self, path: Path) -> Image | None:
        """The image of a file that is not an image, for reports: of a `.vae` file.

            result.write_report("report.html", decode=hub.preview)

        Returns:
            The image; None for other files.

        Raises:
            BitstreamError: the file is damaged or of an unknown model. UnreadableError.
        """
        kind = self._resolver.host.operations.get("decompress")
        if kind is None or path.suffix.lower() not in kind.suffixes:
            return None
        operation = self._decompress
        most = most_bytes(operation.max_pixels)
        image = operation.process(read_file(path, check_head=operation.check_head, most=most))
        return image if isinstance(image, Image) else None

    @functools.cached_property
    def _decompress(self) -> Operation:
        """Opened once for the previews of all files."""
        return self._resolver.resolve("decompress", {})


def task_of(
    hub: Runs, op: Op, out: str | Path, options: Mapping[str, Any]
) -> tuple[Operation, RunSettings]:
    """The operation and the settings of a run, checked as far as that goes without inputs.

    Args:
        hub: Opens the operation.
        op, out, options: As for `Hub.map`, which also says what is raised.
    """
    resolver = hub._resolver  # noqa: SLF001
    names = _run_settings() - resolver.option_names(op)
    given = {name: value for name, value in options.items() if name in names}
    options = {name: value for name, value in options.items() if name not in names}
    resolver.check_names(op, options, _run_settings())
    operation = resolver.resolve(op, options)
    if "max_pixels" in given:
        operation = operation.limited(given["max_pixels"])
    operation.check_complete()
    _check_models(operation)
    return operation, RunSettings(out=out, **given)


def _check_models(operation: Operation) -> None:
    """Check the files of all models that are used: one error now, not one for every image.

    Where each input chooses its model among several, a damaged one may be one that none of them needs.

    Raises:
        ModelAlteredError: a file is not the one that the manifest names.
    """
    steps = operation.steps if isinstance(operation, Chain) else (operation,)
    for step in steps:
        if not step.many_models or len(step.opened) == 1:
            for opened in step.opened:
                opened.check_files()


@functools.cache
def _run_settings() -> frozenset[str]:
    """Names of the run settings that `map` takes."""
    names = {field.name for field in dataclasses.fields(RunSettings)}
    return frozenset(names - {"out"})


def fingerprint(operation: Operation) -> str:
    """A hash of everything that decides an operation's results: its name, facts and model."""
    text = json.dumps(operation.identity(), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
