"""A run with inputs or outputs in object stores."""

from __future__ import annotations

import dataclasses
import random
import time
from typing import TYPE_CHECKING, Any, cast

from vaetools.errors import ClashError, ExistsError, UnreadableError, UsageError
from vaetools.objects.address import ObjectPath
from vaetools.objects.stages import ObjectStages
from vaetools.operation.chain import Chain
from vaetools.operation.masks import places_of
from vaetools.paths import is_object_url
from vaetools.runner.batch import run_pipeline
from vaetools.runner.described import described
from vaetools.runner.inputs import in_shard
from vaetools.runner.journal import Journal
from vaetools.runner.output import check_input
from vaetools.runner.pipeline import Pipeline
from vaetools.runner.plan import Target, plan, refuse_report
from vaetools.runner.progress import Listeners
from vaetools.runner.record import failure, not_processed
from vaetools.runner.report import reserved
from vaetools.runner.result import RunResult
from vaetools.runner.runner import check_libraries, with_report
from vaetools.runner.runner import run as run_local
from vaetools.runner.settings import work_key
from vaetools.runner.sources import find_inputs, refuse_local_only
from vaetools.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from vaetools.objects.inputs import ObjectInputs
    from vaetools.objects.outputs import Outputs
    from vaetools.operation import Operation
    from vaetools.record import Record
    from vaetools.report.previews import Decode
    from vaetools.runner.plan import PlannedItem
    from vaetools.runner.progress import Progress
    from vaetools.runner.settings import RunSettings

_EVERYWHERE = frozenset(
    {
        "out", "jobs", "workers", "include", "exclude", "resume", "force", "on_exists", "dry_run",
        "max_pixels", "strict", "first_frame", "strip", "to", "quality_out", "image_quality",
        "memory", "shard", "report", "files_from", "root",
    }
)  # fmt: skip
"""Settings that have their usual meaning wherever inputs and outputs are."""

_LOCAL_OUT = frozenset({"journal"})
"""Those that need local outputs."""


def uses_objects(inputs: Sequence[str | Path], out: str | Path) -> bool:
    """Whether inputs or OUT of a run are URLs of object stores."""
    return any(map(is_object_url, (out, *inputs)))


def run(
    operation: Operation,
    inputs: Sequence[str | Path],
    settings: RunSettings,
    **options: Any,
) -> RunResult:
    """Apply an operation to files or objects; arguments, result and errors as for `runner.run`.

    Outputs in a store are written with their proof; see `vaetools.objects.outputs`. Several runs may
    work on the same inputs at the same time: each takes what the others have not done.

    Raises:
        UsageError: Also: there is no such bucket, some inputs are local and others are not, or a
            setting has no effect here.
        UnreadableError, OutputError: A bucket cannot be listed. LibraryError: the library of a store
            is not installed.
    """
    remote = [url for url in inputs if is_object_url(url)]
    if len(remote) not in (0, len(inputs)):
        problem = "inputs are either local or in an object store, not both"
        raise UsageError(problem, file=remote[0], remedy="use two runs")
    out = str(settings.out) if is_object_url(settings.out) else None
    _refuse_without_effect(settings, _EVERYWHERE if out else _EVERYWHERE | _LOCAL_OUT)
    if remote:
        _refuse_patterns(operation)
    place = None if out is None else ObjectPath.parse(out)
    elsewhere = _object_inputs(settings, place) if remote else None
    if place is None:
        return run_local(operation, inputs, settings, elsewhere=elsewhere, **options)
    if str(place) in {str(ObjectPath.parse(str(url))) for url in remote}:
        problem = "inputs and outputs cannot share a folder in an object store"
        raise UsageError(problem, file=out, remedy="choose another output folder")
    return _run(operation, inputs, settings, place, elsewhere, **options)


def _object_inputs(settings: RunSettings, out: ObjectPath | None) -> ObjectInputs:
    from vaetools.objects.inputs import ObjectInputs

    return ObjectInputs(settings.max_pixels, out)


def _refuse_without_effect(settings: RunSettings, known: frozenset[str]) -> None:
    """Raise `UsageError` for a setting that would be ignored."""
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        is_used = field.name in known and (field.name != "workers" or value in ("auto", 0))
        if not is_used and value != field.default:
            flag = f"--{field.name.replace('_', '-')}"
            problem = f"{flag} has no effect on runs with an object store"
            raise UsageError(problem, file=settings.out, remedy="leave it out")


def _refuse_patterns(operation: Operation) -> None:
    """Raise `UsageError` for masks that lie next to the images: only local ones are read."""
    steps = operation.steps if isinstance(operation, Chain) else (operation,)
    for step in steps:
        for name, masks in places_of(step.options).items():
            if masks.is_pattern:
                problem = f"{name} {masks.path} is next to the images, which are not local"
                remedy = f"name a local folder: the {name} of a/b.jpg is a/b.png in it"
                raise UsageError(problem, remedy=remedy)


def _run(
    operation: Operation,
    inputs: Sequence[str | Path],
    settings: RunSettings,
    place: ObjectPath,
    elsewhere: ObjectInputs | None,
    *,
    fingerprint: str = "",
    on_record: Callable[[Record], None] | None = None,
    progress: Progress | None = None,
    decode: Decode | None = None,
) -> RunResult:
    """A run whose outputs are objects."""
    from vaetools.objects.outputs import Outputs

    started = time.monotonic()
    found = find_inputs(operation, inputs, settings, Journal(None), elsewhere)
    refuse_local_only(operation, found.sources)
    place, target = _target(place, str(settings.out), one_file=found.one_file)
    items = plan(operation, found.sources, target, to=settings.to, quality_out=settings.quality_out)
    items = [item if _has_keys(item) else _without_keys(item) for item in items]
    _refuse_inputs(items)
    refuse_report(items, settings.report)
    if settings.shard is not None:
        items = [item for item in items if in_shard(item.source.relative, settings.shard)]
    outputs = Outputs(place, work_key(fingerprint, settings), settings.shard)
    with reserved(settings.report), Listeners(on_record, progress) as listeners:
        outputs.look_up([name for item in items for name in item.names])
        resolved = _resolve(items, outputs, settings)
        stopped = _process(operation, resolved, settings, outputs, elsewhere, listeners)
    result = RunResult(
        tuple(listeners.records),
        found.left_alone,
        len(items) - len(listeners.records),
        time.monotonic() - started,
        stopped,
        other_kinds=found.other_kinds,
        options=described(operation, settings),
    )
    return result if settings.report is None else with_report(result, settings.report, decode)


def _target(place: ObjectPath, out: str, *, one_file: bool) -> tuple[ObjectPath, Target]:
    """(folder, the same with the name of the only output); see `vaetools.runner.plan.target_of`."""
    file = None
    if one_file and place.key and place.suffix and not out.endswith("/"):
        place, file = place.parent, place.name
    return place, Target(cast("Path", place), file)  # a plan only appends names to it


def _has_keys(item: PlannedItem) -> bool:
    """Whether its names can be keys and proofs of objects, which are UTF-8."""
    try:
        "".join((str(item.source.relative), *item.names)).encode()
    except UnicodeEncodeError:
        return False
    return True


def _without_keys(item: PlannedItem) -> PlannedItem:
    """The item as one that fails."""
    problem = "its name is not UTF-8, as names in an object store must be"
    error = UnreadableError(problem, file=item.source.path, remedy="rename it")
    return dataclasses.replace(
        item, names=(), outputs=(), standing=(), problem=item.problem or error
    )


def _refuse_inputs(items: Sequence[PlannedItem]) -> None:
    """No output may be an input. Raises `ClashError`."""
    inputs = {str(item.source.path) for item in items if item.source.version}
    for item in items:
        for path in map(str, item.outputs):
            if path in inputs:
                problem = f"the output {printable(path)} is an input"
                remedy = "inputs are never overwritten: choose another output folder"
                raise ClashError(problem, remedy=remedy)


def _resolve(
    items: Sequence[PlannedItem], outputs: Outputs, settings: RunSettings
) -> list[PlannedItem]:
    """Look at the outputs that exist; see `vaetools.runner.plan.resolve_existing`."""
    resolved: list[PlannedItem] = []
    foreign: list[str] = []
    for item in items:
        reason = ""
        if item.is_pending and not settings.force:
            other = outputs.foreign(item)
            if settings.resume and outputs.is_done(item):
                reason = "is already done"
            elif other and settings.on_exists == "error":
                foreign.append(outputs.url(other))
            elif other and settings.on_exists == "skip":
                reason = f"{outputs.url(other)} already exists"
        resolved.append(dataclasses.replace(item, reason=reason))
    if foreign:
        more = f" (and {len(foreign) - 1:,} more)" if len(foreign) > 1 else ""
        problem = f"already exists, and was not made from this input{more}"
        remedy = "nothing was done; use --on-exists skip|replace, or choose another output folder"
        raise ExistsError(problem, file=foreign[0], remedy=remedy)
    return resolved


def _process(
    operation: Operation,
    items: Sequence[PlannedItem],
    settings: RunSettings,
    outputs: Outputs,
    elsewhere: ObjectInputs | None,
    listeners: Listeners,
) -> str:
    """Process all pending items; return why the run stopped early, or an empty string."""
    if settings.dry_run:
        for item in items:
            listeners.add(_preview(operation, item, settings))
        return ""
    check_libraries(operation, items)
    listeners.start(operation.name, len(items))
    for item in items:
        if not item.is_pending:
            listeners.finish(not_processed(item, operation.name))
    pending = [item for item in items if item.is_pending]
    # Runs at the same time then seldom meet at the same input.
    random.shuffle(pending)
    fetch = None if elsewhere is None else elsewhere.fetch
    stages = ObjectStages(operation, settings, outputs, fetch)
    try:
        return run_pipeline(Pipeline(operation.name, pending, stages, None), listeners.finish)
    finally:
        outputs.write_index()


def _preview(operation: Operation, item: PlannedItem, settings: RunSettings) -> Record:
    """What a run would do with an item. Objects are not read: that costs time and money."""
    if item.is_pending and item.source.real:
        try:
            check_input(operation, item.source.path, settings)
        except Exception as error:  # noqa: BLE001 - as in the pipeline
            return failure(item, operation.name, error)
    return not_processed(item, operation.name)
