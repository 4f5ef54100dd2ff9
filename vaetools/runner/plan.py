"""What a run will write, known before it writes anything.

`plan` names all outputs and refuses clashes; `settle` looks at what is there already and says for
each input whether it is to be done.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING

from vaetools.errors import (
    ClashError,
    ExistsError,
    PluginError,
    UnreadableError,
    UsageError,
    printable,
)
from vaetools.image import SUFFIXES
from vaetools.runner.inputs import is_folder
from vaetools.runner.journal import FOLDER, Journal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from vaetools.operation import Operation
    from vaetools.runner.inputs import Source
    from vaetools.runner.settings import RunSettings


@dataclass(frozen=True)
class Target:
    """Where outputs go.

    Attributes:
        folder: of all outputs.
        file: the one output's name in that folder, if OUT is a file.
    """

    folder: Path
    file: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One input and the files that it will give.

    Attributes:
        names: relative names of the outputs; keys of the journal.
        outputs: their paths.
        problem: why nothing can be done.
        reason: why nothing needs to be done.
    """

    source: Source
    names: tuple[str, ...] = ()
    outputs: tuple[Path, ...] = ()
    problem: BaseException | None = None
    reason: str = ""

    @property
    def is_work(self) -> bool:
        return self.problem is None and not self.reason


def target_of(out: str | Path, *, one_file: bool) -> Target:
    """OUT as a folder, or as a file: for one named input, a new or present file with a suffix.

    Raises:
        UsageError: a file is there and a folder is needed.
    """
    path = Path(out)
    if is_folder(path) or os.fspath(out).endswith(("/", os.sep)):
        return Target(path)
    is_there = os.path.lexists(path)
    if one_file and (path.suffix or is_there):
        return Target(path.parent, path.name)
    if is_there:
        raise UsageError("is there and is not a folder", file=path)
    return Target(path)


def plan(operation: Operation, sources: Sequence[Source], target: Target) -> list[Step]:
    """A step for each source, with all output names.

    An operation that cannot name the outputs of an input costs that input only.

    Raises:
        ClashError: two inputs would give one output, or an output is an input.
        UsageError: an output outside of the folder, or several where OUT is one file.
    """
    steps = [_step(operation, source, target) for source in sources]
    _refuse_escapes(steps, target)
    _refuse_shared_names(steps)
    refuse_inputs(steps)
    return steps


def _step(operation: Operation, source: Source, target: Target) -> Step:
    if source.problem:
        return Step(source, problem=UnreadableError(source.problem, file=source.path))
    try:
        given = tuple(PurePosixPath(name) for name in operation.outputs(source.relative))
        if not given:
            raise PluginError(f"{operation.name} names no outputs", file=source.path)  # noqa: TRY301
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, even SystemExit
        return Step(source, problem=error)
    if target.file is not None:
        given = (_as_one_file(operation, given, target.file),)
    names = tuple(str(name) for name in given)
    return Step(source, names, tuple(target.folder / name for name in names))


def _as_one_file(operation: Operation, given: Sequence[PurePosixPath], file: str) -> PurePosixPath:
    """OUT's name for the one output that an operation gives, if it says the same kind of file."""
    remedy = f"name a folder instead: {file}/"
    if len(given) > 1:
        raise UsageError(f"{operation.name} gives {len(given)} files", file=file, remedy=remedy)
    kind, wanted = given[0].suffix.lower(), PurePath(file).suffix.lower()
    if wanted != kind and not (kind in SUFFIXES and wanted in SUFFIXES):
        suffix = f"a {kind} file" if kind else "a file without a suffix"
        problem = f"{operation.name} gives {suffix} here"
        raise UsageError(problem, file=file, remedy=remedy)
    return PurePosixPath(file)


def _outputs(steps: Iterable[Step]) -> Iterator[tuple[Step, str, Path]]:
    for step in steps:
        for name, path in zip(step.names, step.outputs, strict=True):
            yield step, name, path


def _refuse_escapes(steps: Sequence[Step], target: Target) -> None:
    """No output may lie outside of the folder, by name or through a link, nor in the journal."""
    top = os.path.realpath(target.folder)
    real: dict[Path, bool] = {}
    for step, name, path in _outputs(steps):
        pure = PurePosixPath(name)
        plain = pure.parts and not pure.is_absolute() and ".." not in pure.parts
        if not plain or pure.parts[0].casefold() == FOLDER or "\0" in name:
            raise UsageError(f"the output {name!r} is not a file below OUT", file=step.source.path)
        if path.parent not in real:
            real[path.parent] = Path(os.path.realpath(path.parent)).is_relative_to(top)
        if not real[path.parent]:
            raise UsageError("leads out of the output folder through a link", file=path.parent)


def _refuse_shared_names(steps: Sequence[Step]) -> None:
    """One output per name, also where case or the form of accents makes no difference."""
    owners: dict[str, tuple[Step, Path]] = {}
    clashes: list[tuple[Step, Path, Step]] = []
    for step, name, path in _outputs(steps):
        first, _ = owners.setdefault(_folded(name), (step, path))
        if owners[_folded(name)][1] is not path:
            clashes.append((first, path, step))
    for step, name, path in _outputs(steps):
        for parent in PurePosixPath(name).parents[:-1]:
            if _folded(str(parent)) in owners:
                clashes.append((owners[_folded(str(parent))][0], path, step))  # noqa: PERF401
    if clashes:
        raise _clash(*clashes[0], more=len(clashes) - 1)


def _clash(first: Step, path: Path, second: Step, *, more: int) -> ClashError:
    one, other = shown(first.source.path), shown(second.source.path)
    inputs = f"{one} and {other} would both give {shown(path)}"
    if first is second:
        inputs = f"{one} would give {shown(path)} twice"
    rest = f" (and {more:,} more clashes)" if more else ""
    remedy = "nothing was done; leave one out with --exclude, or run them into different folders"
    return ClashError(inputs + rest, remedy=remedy)


def shown(path: str | Path) -> str:
    """A path within a message, on one line."""
    return printable(str(path))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def refuse_inputs(steps: Sequence[Step]) -> None:
    """No output may be an input, nor a link that is one, whichever way either is written."""

    @functools.cache
    def real(folder: Path) -> str:
        return os.path.realpath(folder)

    def place(path: Path) -> str:
        return os.path.join(real(path.parent), path.name)  # noqa: PTH118

    sources = [step.source for step in steps if step.source.real]
    inputs = {name: s for s in sources for name in (s.real, place(s.path))}
    folded = {_folded(name): source for name, source in inputs.items()}
    for _, _, path in _outputs(steps):
        source = inputs.get(place(path))
        alike = folded.get(_folded(place(path)))
        if source is None and alike is not None and _is_same(path, alike.path):
            source = alike  # a disk that takes both names for one
        if source is not None:
            problem = f"the output {shown(path)} is the input {shown(source.path)}"
            remedy = "inputs are never touched: name another output folder"
            raise ClashError(problem, remedy=remedy)


def refuse_report(steps: Sequence[Step], report: str | Path | None) -> None:
    """A report may be no input and no output, nor a folder of one. Raises `ClashError`."""
    if report is None:
        return
    page = _folded(os.path.realpath(report))
    real = functools.cache(os.path.realpath)
    remedy = "nothing was done; name another file"
    for step in steps:
        if step.source.real and _folded(step.source.real) == page:
            raise ClashError("the report is an input", file=report, remedy=remedy)
    for _, _, path in _outputs(steps):
        output = _folded(os.path.join(real(path.parent), path.name))  # noqa: PTH118
        if output == page or output.startswith(page + os.sep) or page.startswith(output + os.sep):
            problem = f"the report is in the way of the output {shown(path)}"
            raise ClashError(problem, file=report, remedy=remedy)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def settle(steps: Sequence[Step], journal: Journal, settings: RunSettings) -> list[Step]:
    """The steps, with a reason in those that need not be done.

    Raises:
        ExistsError: outputs that are there and not known to the journal, with `on_exists="error"`.
        UsageError: a folder stands where an output should.
    """
    settled: list[Step] = []
    strangers: list[tuple[Step, int]] = []
    for step in steps:
        stranger = None
        if _is_proved(step, journal, settings):
            step = dataclasses.replace(step, reason="is done already")  # noqa: PLW2901
        elif not settings.force:
            stranger = _stranger(step, journal)
        if stranger is not None and settings.on_exists == "error":
            strangers.append((step, stranger))
        elif stranger is not None and settings.on_exists == "skip":
            reason = f"{shown(step.outputs[stranger])} is there already"
            step = dataclasses.replace(step, reason=reason)  # noqa: PLW2901
        settled.append(step)
    _refuse_folders(settled)
    if strangers:
        raise _exists(strangers, journal)
    return settled


def _is_proved(step: Step, journal: Journal, settings: RunSettings) -> bool:
    if not step.names or settings.force or not settings.resume:
        return False
    return journal.proves(step.source, settings.work, step.names)


def _stranger(step: Step, journal: Journal) -> int | None:
    """Index of the first output that is there and was not made from this input."""
    for index, (name, path) in enumerate(zip(step.names, step.outputs, strict=True)):
        if os.path.lexists(path) and not journal.owns(name, step.source):
            return index
    return None


def _exists(strangers: Sequence[tuple[Step, int]], journal: Journal) -> ExistsError:
    step, index = strangers[0]
    maker = journal.maker(step.names[index])
    made = "" if maker is None else f", made from {shown(maker)}"
    source = step.source
    if maker is not None and (maker == source.origin or _is_same(Path(maker), source.path)):
        made = ", and was changed since it was written"
    more = f" (and {len(strangers) - 1:,} more)" if len(strangers) > 1 else ""
    remedy = "nothing was done; choose with --on-exists skip|replace, or name another folder"
    return ExistsError(f"is there already{made}{more}", file=step.outputs[index], remedy=remedy)


def _refuse_folders(steps: Sequence[Step]) -> None:
    for step, _, path in _outputs(steps):
        if step.is_work and is_folder(path) and not path.is_symlink():
            raise UsageError("is a folder where a file should be written", file=path)
