"""What a run will write, decided before it writes anything.

`plan` names all outputs and refuses clashes. `resolve_existing` then looks at outputs that already
exist, and decides for each input whether to process it.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any

from vaetools.errors import ClashError, ExistsError, UsageError, printable
from vaetools.image import SUFFIXES, format_of
from vaetools.operation import output_names
from vaetools.paths import refuse_url
from vaetools.report.store import folder_of
from vaetools.runner.atomic import stamp_of
from vaetools.runner.formats import converted, refuse_without_effect
from vaetools.runner.inputs import is_folder, same_file
from vaetools.runner.place import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from vaetools.operation import Operation
    from vaetools.runner.atomic import Stamp
    from vaetools.runner.inputs import Source
    from vaetools.runner.journal import Journal
    from vaetools.runner.settings import RunSettings


@dataclass(frozen=True)
class Target:
    """Where outputs go.

    Attributes:
        folder: The folder of all outputs.
        file: Name of the only output in that folder, if OUT is a file.
    """

    folder: Path
    file: str | None = None


@dataclass(frozen=True, slots=True)
class PlannedItem:
    """One input and its outputs.

    Attributes:
        source: The input.
        names: Relative paths of the outputs; the keys of the journal.
        outputs: Paths of the outputs, in the same order.
        files: Hash of the names, sizes and times of further files that decide the result, such as a
            mask, and of the version of an object; empty without these.
        standing: What stood at these paths when the run was planned, in the same order.
        problem: Why the input cannot be processed.
        reason: Why the input need not be processed; otherwise empty.
    """

    source: Source
    names: tuple[str, ...] = ()
    outputs: tuple[Path, ...] = ()
    files: str = ""
    standing: tuple[Stamp | None, ...] = ()
    problem: BaseException | None = None
    reason: str = ""

    @property
    def is_pending(self) -> bool:
        """Whether the input has to be processed."""
        return self.problem is None and not self.reason

    def __reduce__(self) -> Any:
        values = (self.files, self.standing, self.problem, self.reason)
        return _planned_item, (self.source, self.names, [*map(str, self.outputs)], *values)


def _planned_item(
    source: Source, names: tuple[str, ...], outputs: Sequence[str], *values: Any
) -> PlannedItem:
    """A planned item of a pickle."""
    return PlannedItem(source, names, tuple(map(Path, outputs)), *values)


def target_of(out: str | Path, *, one_file: bool) -> Target:
    """Decide whether OUT is a folder or a file.

    It is a file if there is only one input file, and OUT has a suffix or is an existing file.

    Raises:
        UsageError: A folder is needed, but OUT is an existing file, or it is a URL.
    """
    refuse_url(out, "OUT")
    path = Path(out)
    if is_folder(path) or os.fspath(out).endswith(("/", os.sep)):
        return Target(path)
    exists = os.path.lexists(path)
    if one_file and (path.suffix or exists):
        return Target(path.parent, path.name)
    if exists:
        raise UsageError("exists and is not a folder", file=path)
    return Target(path)


def plan(
    operation: Operation,
    sources: Sequence[Source],
    target: Target,
    *,
    outputs: Callable[[PurePosixPath], Sequence[PurePath]] | None = None,
    to: str = "same",
    quality_out: int | None = None,
) -> list[PlannedItem]:
    """Name the outputs of all inputs.

    If an operation cannot name the outputs of an input, only that input fails.

    Args:
        operation: Names the outputs, unless `outputs` does.
        sources: The inputs.
        target: Where outputs go.
        outputs: Takes the relative path of an input and returns those of its outputs.
        to: Format of the images that are written; see `RunSettings`.
        quality_out: Quality of the images that are written; see `RunSettings`.

    Raises:
        ClashError: Two inputs have the same output, or an output is an input.
        UsageError: An output outside of the output folder, or several outputs and OUT is a file, or
            no output is an image that could have another format or quality.
    """

    items = [planned_item(operation, source, target, to, outputs) for source in sources]
    refuse_without_effect((n for i in items for n in i.names), operation, to, quality_out)
    _refuse_escapes(items, target)
    _refuse_shared_names(items, operation)
    _refuse_inputs(items)
    return items


def planned_item(
    operation: Operation,
    source: Source,
    target: Target,
    to: str,
    outputs: Callable[[PurePosixPath], Sequence[PurePath]] | None = None,
) -> PlannedItem:
    """One input with its outputs; arguments as for `plan`. What the operation raises is its problem."""
    if source.problem:
        return PlannedItem(source, problem=source.error())
    try:
        given = output_names(operation, (outputs or operation.outputs)(source.relative))
        fixed = operation.fixed_formats
        paths = tuple(PurePosixPath(converted(name, to, fixed)) for name in given)
        files = identity_of(operation, source)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, even SystemExit
        return PlannedItem(source, problem=error)
    if target.file is not None:
        paths = (_as_one_file(operation, paths, target.file, to),)
    names = tuple(str(path) for path in paths)
    locations = tuple(target.folder / name for name in names)
    return PlannedItem(source, names, locations, files, standing=(None,) * len(names))


def identity_of(operation: Operation, source: Source) -> str:
    """See `PlannedItem.files`."""
    found = operation.files_of(str(source.relative), source.path if source.real else None)
    stats = [(file.name, file.stat()) for file in found]
    rows = [source.version] if source.version else []
    rows += [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats]
    return hashlib.sha256(os.fsencode("\n".join(rows))).hexdigest() if rows else ""


def _as_one_file(
    operation: Operation, paths: Sequence[PurePosixPath], file: str, to: str
) -> PurePosixPath:
    """The name of OUT for the only output of an operation, if its suffix fits."""
    remedy = f"use a folder instead: {file}/"
    if len(paths) > 1:
        raise UsageError(f"{operation.name} writes {len(paths)} files", file=file, remedy=remedy)
    suffix, wanted = paths[0].suffix.lower(), PurePath(file).suffix.lower()
    if to != "same" and wanted in SUFFIXES and format_of(wanted) != format_of(to):
        raise UsageError(f"the output ends in {wanted}, but the format is --to {to}", file=file)
    if wanted != suffix and not (suffix in SUFFIXES and wanted in SUFFIXES):
        kind = f"a {suffix} file" if suffix else "a file without a suffix"
        raise UsageError(f"{operation.name} writes {kind} here", file=file, remedy=remedy)
    return PurePosixPath(file)


def _outputs(items: Iterable[PlannedItem]) -> Iterator[tuple[PlannedItem, str, Path]]:
    for item in items:
        for name, path in zip(item.names, item.outputs, strict=True):
            yield item, name, path


def _refuse_escapes(items: Sequence[PlannedItem], target: Target) -> None:
    """No output may lie outside of the folder, by name or through a link, nor be a file of the run."""
    top = os.path.realpath(target.folder)
    seen: set[str] = set()
    for item, name, path in _outputs(items):
        parts = name.split("/")
        is_below = parts[0] not in ("", ".") and ".." not in parts and "\0" not in name
        if not is_below or parts[0].casefold().startswith(PREFIX):
            raise UsageError(f"the output {name!r} is not a file below OUT", file=item.source.path)
        folder = os.path.dirname(path)  # noqa: PTH120 - there may be 100,000 outputs
        if folder not in seen:
            seen.add(folder)
            if not Path(os.path.realpath(folder)).is_relative_to(top):
                raise UsageError("leads out of the output folder through a link", file=folder)


def _refuse_shared_names(items: Sequence[PlannedItem], operation: Operation) -> None:
    """Output names must differ even if case and the form of accents are ignored."""
    owners: dict[str, tuple[PlannedItem, Path]] = {}
    clashes: list[tuple[PlannedItem, Path, PlannedItem]] = []
    folders: dict[str, tuple[PlannedItem, Path]] = {}
    for item, name, path in _outputs(items):
        key = folded(name)
        first, other = owners.setdefault(key, (item, path))
        if other is not path:
            clashes.append((first, path, item))
        folders.setdefault(key.rpartition("/")[0], (item, path))
    for folder, (item, path) in folders.items():
        for parent in (folder, *map(str, PurePosixPath(folder).parents)):
            if parent in owners:
                clashes.append((owners[parent][0], path, item))  # noqa: PERF401
    if clashes:
        raise clash_error(*clashes[0], more=len(clashes) - 1, operation=operation)


def clash_error(
    first: PlannedItem, path: Path, second: PlannedItem, *, more: int, operation: Operation
) -> ClashError:
    one, other = shown(first.source.path), shown(second.source.path)
    problem = f"{one} and {other} would both be written to {shown(path)}"
    if first is second:
        problem = f"{one} would be written to {shown(path)} twice"
    rest = f" (and {more:,} more)" if more else ""
    remedy = "nothing was done"
    if operation.takes != "nothing":
        remedy += "; leave one out with --exclude, or use different output folders"
    return ClashError(problem + rest, remedy=remedy)


def shown(path: str | Path) -> str:
    """A path as printable text, for messages."""
    return printable(str(path))


def folded(name: str) -> str:
    """A name in the form in which file systems may compare it: without case and kind of accents."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _refuse_inputs(items: Sequence[PlannedItem]) -> None:
    """No output may be an input, or a link that is an input, however either path is written."""
    location = _locator()
    sources = [item.source for item in items if item.source.real]
    inputs = {name: s for s in sources for name in (s.real, location(s.path))}
    by_folded = {folded(name): source for name, source in inputs.items()}
    for _, _, path in _outputs(items):
        place = location(path)
        source = inputs.get(place)
        similar = by_folded.get(folded(place))
        if source is None and similar is not None and same_file(path, similar.path):
            source = similar  # a file system that ignores case or the form of accents
        if source is not None:
            problem = f"the output {shown(path)} is the input {shown(source.path)}"
            remedy = "inputs are never overwritten: choose another output folder"
            raise ClashError(problem, remedy=remedy)


def _locator() -> Callable[[Path], str]:
    """A function for the absolute path of a file; links are resolved, except the file itself."""
    real = functools.cache(os.path.realpath)

    def location(path: Path) -> str:
        folder, name = os.path.split(path)
        return os.path.join(real(folder), name)  # noqa: PTH118

    return location


def refuse_report(items: Sequence[PlannedItem], report: str | Path | None) -> None:
    """The report may not be an input, an output, or a folder of an output. Raises `ClashError`."""
    if report is None:
        return
    page = folded(os.path.realpath(report))
    previews = folded(os.path.realpath(folder_of(Path(report))))
    location = _locator()
    remedy = "nothing was done; choose another file"
    for item in items:
        if item.source.real and folded(item.source.real) == page:
            raise ClashError("the report is an input", file=report, remedy=remedy)
    for _, _, path in _outputs(items):
        output = folded(location(path))
        if any(_within(output, own) or _within(own, output) for own in (page, previews)):
            problem = f"the report and the output {shown(path)} cannot both exist"
            raise ClashError(problem, file=report, remedy=remedy)


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + os.sep)


def resolve_existing(
    items: Sequence[PlannedItem], journal: Journal, settings: RunSettings
) -> list[PlannedItem]:
    """Look at the outputs that exist.

    An item that need not be processed because of them gets a reason. The others remember what stands
    at their outputs: nothing else is replaced later.

    Raises:
        ExistsError: Outputs exist that no run made from the same input, and `on_exists="error"`.
        UsageError: There is a folder at the path of an output.
    """
    resolved: list[PlannedItem] = []
    unowned_outputs: list[tuple[PlannedItem, int]] = []
    taken = _taken(items, journal)
    for item in items:
        unowned = None
        clash = next((taken[name] for name in item.names if name in taken), None)
        item = dataclasses.replace(item, standing=tuple(map(stamp_of, item.outputs)))  # noqa: PLW2901
        if _is_completed(item, journal, settings):
            item = dataclasses.replace(item, reason="is already done")  # noqa: PLW2901
        elif clash is not None:
            item = dataclasses.replace(item, problem=clash)  # noqa: PLW2901
        elif not settings.force:
            unowned = _unowned_output(item, journal)
        if unowned is not None and settings.on_exists == "error":
            unowned_outputs.append((item, unowned))
        elif unowned is not None and settings.on_exists == "skip":
            reason = f"{shown(item.outputs[unowned])} already exists"
            item = dataclasses.replace(item, reason=reason)  # noqa: PLW2901
        resolved.append(item)
    _refuse_folders(resolved)
    if unowned_outputs:
        raise _exists(unowned_outputs, journal)
    return resolved


def _taken(items: Sequence[PlannedItem], journal: Journal) -> Mapping[str, ClashError]:
    """Why outputs belong to other shares of a job, by their names."""
    standing = {
        name: item.source.path
        for item, name, path in _outputs(items)
        if journal.is_share and os.path.lexists(path) and not journal.owns(name, item.source)
    }
    return journal.clashes(standing) if standing else {}


def _is_completed(item: PlannedItem, journal: Journal, settings: RunSettings) -> bool:
    if not item.names or settings.force or not settings.resume:
        return False
    return journal.has_completed(item.source, item.names, item.files)


def _unowned_output(item: PlannedItem, journal: Journal) -> int | None:
    """Index of the first output that exists and was not made from this input by a run."""
    for index, (name, path) in enumerate(zip(item.names, item.outputs, strict=True)):
        if os.path.lexists(path) and not journal.owns(name, item.source):
            return index
    return None


def _exists(unowned_outputs: Sequence[tuple[PlannedItem, int]], journal: Journal) -> ExistsError:
    item, index = unowned_outputs[0]
    maker = journal.source_of(item.names[index])
    made = "" if maker is None else f", made from {shown(maker)}"
    source = item.source
    if maker is not None and (maker == source.origin or same_file(maker, source.path)):
        made = ", and was changed after it was written"
    more = f" (and {len(unowned_outputs) - 1:,} more)" if len(unowned_outputs) > 1 else ""
    remedy = "nothing was done; use --on-exists skip|replace, or choose another output folder"
    return ExistsError(f"already exists{made}{more}", file=item.outputs[index], remedy=remedy)


def _refuse_folders(items: Sequence[PlannedItem]) -> None:
    for item, _, path in _outputs(items):
        if item.is_pending and is_folder(path) and not os.path.islink(path):
            raise UsageError("is a folder; a file was expected", file=path)
