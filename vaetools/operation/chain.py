"""Chains: operations one after the other, as one operation; images stay in memory between them.

    denoise,compress            a chain by the names of its operations
    pipeline.toml               a chain in a file, with the options of each step:

        [[step]]
        op = "reconstruct"
        model = "small-photos"

        [[step]]
        op = "compress"
        quality = 60

A chain gives the same results as its operations run one after the other with lossless files between
them: the same names, and the same random numbers, as each step is seeded by the name of its input.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

from vaetools.errors import OptionError, PluginError, UsageError
from vaetools.image import SUFFIXES, Image
from vaetools.operation.base import Compound, Item, Operation, Takes
from vaetools.operation.options import NoOptions
from vaetools.operation.results import outputs_of, results_of
from vaetools.paths import refuse_url
from vaetools.tomlfile import Pattern, from_table, read_toml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.operation.options import OptionSpec

PIPELINE = ".toml"
"""Suffix of the files that hold a chain."""

_TAKEN = {"image": (Image, "an image"), "file": (bytes, "the bytes of a file")}


@dataclass(frozen=True)
class StepSpec:
    """One step of a chain as a user names it.

    Attributes:
        op: name of the operation.
        model: id of its model, or None where only one fits.
        options: those that differ from the defaults; not checked yet.
    """

    op: Annotated[str, Pattern(".+", "the name of an operation")]
    model: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Pipeline:
    """A pipeline file; each step has the keys `op`, `model` and the options of its operation."""

    step: tuple[dict[str, Any], ...] = ()


def is_chain(name: str | Path) -> bool:
    """Whether the name is a chain, not one operation."""
    return "," in str(name) or str(name).lower().endswith(PIPELINE)


def read_chain(name: str | Path) -> list[StepSpec]:
    """The steps that a user named: `denoise,compress`, or the path of a pipeline file.

    Raises:
        UsageError: a step without a name; a file that cannot be read or is not a pipeline.
    """
    refuse_url(name, "a pipeline file")
    if str(name).lower().endswith(PIPELINE):
        return _read_pipeline(Path(name))
    words = [word.strip() for word in str(name).split(",")]
    if not all(words):
        raise UsageError(f"{str(name)!r} has a step without a name")
    return [StepSpec(word) for word in words]


def _read_pipeline(path: Path) -> list[StepSpec]:
    file = from_table(_Pipeline, read_toml(path, UsageError), UsageError, file=path)
    if not file.step:
        raise UsageError("has no steps", file=path, remedy="begin each one with [[step]]")
    return [_step_spec(step, f"step[{number}]", path) for number, step in enumerate(file.step)]


def _step_spec(step: dict[str, Any], where: str, path: Path) -> StepSpec:
    named = {key: step.pop(key) for key in ("op", "model") if key in step}
    return from_table(StepSpec, {**named, "options": step}, UsageError, file=path, where=where)


def chained(operations: Sequence[Operation]) -> Operation:
    """Operations as one; chains among them are taken apart, and one alone stays as it is.

    Raises:
        UsageError: none, or two that cannot follow each other.
    """
    steps: list[Operation] = []
    for operation in operations:
        steps += operation.steps if isinstance(operation, Chain) else [operation]
    if not steps:
        raise UsageError("a chain needs at least one operation")
    return steps[0] if len(steps) == 1 else Chain(steps)


class Chain(Operation):
    """Several operations, one after the other.

    Attributes:
        steps: the operations, each with its model and options.

    Raises:
        UsageError: one of them cannot follow the one before it.
    """

    def __init__(self, steps: Sequence[Operation]) -> None:
        super().__init__(None, NoOptions())
        self.steps: tuple[Operation, ...] = tuple(steps)
        self.name: str = ",".join(step.name for step in steps)
        self.takes: Takes = steps[0].takes
        self.suffixes: tuple[str, ...] = steps[0].suffixes
        self.wants_encoded: bool = steps[0].wants_encoded
        for step in steps[1:]:
            if step.takes == "nothing":
                raise UsageError(f"{step.name} takes nothing, so it can only come first")
        if self.takes != "nothing":  # a name that stands for all inputs; made ones see `items`
            self.outputs(PurePosixPath("input").with_suffix((*self.suffixes, ".png")[0]))

    @property
    def opened(self) -> Sequence[Any]:
        """Every model that one of the steps may use."""
        return [model for step in self.steps for model in step.opened]

    @property
    def missing(self) -> list[OptionSpec]:
        return [spec for step in self.steps for spec in step.missing]

    def with_map(self, values: Any) -> Chain:
        """This chain with the option set that one of its steps still needs.

        Raises:
            OptionError: no step needs one, or several do.
        """
        waiting = [step for step in self.steps if step.missing]
        if len(waiting) != 1:
            raise OptionError(
                f"{self.name}: {'no' if not waiting else 'more than one'} step needs an array",
                remedy="pass it to a step: hub.op(…, mask=…)",
            )
        return Chain([s.with_map(values) if s is waiting[0] else s for s in self.steps])

    def limited(self, max_pixels: int) -> Chain:
        return Chain([step.limited(max_pixels) for step in self.steps])

    def identity(self) -> dict[str, Any]:
        return {"chain": [step.identity() for step in self.steps]}

    def check_head(self, head: bytes) -> None:
        self.steps[0].check_head(head)

    @property
    def never(self) -> Sequence[str]:
        return [glob for step in self.steps for glob in step.never]

    @property
    def apart(self) -> Sequence[Path]:
        return [path for step in self.steps for path in step.apart]

    @property
    def fixed_formats(self) -> Sequence[str]:
        return self.steps[-1].fixed_formats

    def items(self) -> Sequence[PurePath]:
        """Those of the first step. Raises as it does, and `UsageError` as the class."""
        items = self.steps[0].items()
        if items:
            self.outputs(items[0])
        return items

    def outputs(self, source: PurePath) -> Sequence[PurePath]:
        """Names that go through all steps. Raises `UsageError` where one cannot be taken."""
        names = [source]
        for number, step in enumerate(self.steps):
            if number > 0:
                for name in names:
                    _check_follows(self.steps[number - 1], step, name)
            names = [output for name in names for output in outputs_of(step, name)]
        return names

    def files_of(self, key: str, source: Path | None = None) -> Sequence[Path]:
        """Those of each step, for the names that the steps before it give."""
        names: list[PurePath] = [PurePosixPath(key)]
        files: list[Path] = []
        for step in self.steps:
            files += [file for name in names for file in step.files_of(str(name), source)]
            names = [output for name in names for output in outputs_of(step, name)]
        return files

    def process(self, item: Any) -> Item | Sequence[Item] | Compound:
        given = [(self._key, item)]
        for step in self.steps[:-1]:
            given = [made for key, part in given for made in self._apply(step, key, part)]
        last = self.steps[-1]
        if len(given) == 1:  # a compound result of the last step stays one
            bound, result = self._process(last, *given[0], self._output_names)
            if isinstance(result, Compound):
                return result
            results = [made for _, made in self._named(bound, given[0][0], result)]
            return results[0] if len(results) == 1 else results
        names = self._names_of_last([key for key, _ in given])
        return [
            made
            for (key, part), own in zip(given, names, strict=True)
            for _, made in self._apply(last, key, part, own)
        ]

    def _names_of_last(self, keys: Sequence[str]) -> list[Sequence[PurePath]]:
        """The names that a run gives the outputs of the last step, for each of its inputs; empty where
        they are those of `outputs`."""
        rest = iter(self._output_names)
        counts = [len(outputs_of(self.steps[-1], PurePosixPath(key))) if key else 0 for key in keys]
        return [list(itertools.islice(rest, count)) for count in counts]

    def _process(
        self, step: Operation, key: str, item: Any, names: Sequence[PurePath] = ()
    ) -> tuple[Operation, Any]:
        """(the step bound to its input, its result)."""
        if step.takes in _TAKEN and not isinstance(item, _TAKEN[step.takes][0]):
            raise PluginError(
                f"{step.name} takes {_TAKEN[step.takes][1]}, not {type(item).__name__}"
            )
        bound = step.on(key, self.source, names)
        bound.channel_order = self.channel_order
        result = bound.process(item)
        self._notes += bound.notes
        self._remarks += bound.remarks
        self._findings |= bound.findings
        self._lost += bound.lost
        return bound, result

    def _apply(
        self, step: Operation, key: str, item: Any, names: Sequence[PurePath] = ()
    ) -> list[tuple[str, Item]]:
        """(name, result) of each result of a step."""
        bound, result = self._process(step, key, item, names)
        return self._named(bound, key, result)

    def _named(self, bound: Operation, key: str, result: Any) -> list[tuple[str, Item]]:
        # Arrays have no names: neither have the results of one.
        names = [str(name) for name in outputs_of(bound, PurePosixPath(key))] if key else None
        results = results_of(bound, result, None if names is None else len(names))
        return list(zip(names or [""] * len(results), map(_made, results), strict=True))

    def __reduce__(self) -> Any:
        return Chain, (self.steps,)

    def __repr__(self) -> str:
        return f"<{', '.join(repr(step).strip('<>') for step in self.steps)}>"


def _check_follows(before: Operation, step: Operation, name: PurePath) -> None:
    """Refuse a `step` that does not take what `before` gives: images have an image suffix."""
    is_image = name.suffix.lower() in SUFFIXES
    fits = is_image == (step.takes == "image")
    if step.takes == "file" and step.suffixes:
        fits = fits and name.name.lower().endswith(step.suffixes)
    if not fits:
        kinds = f" ({' '.join(step.suffixes)})" if step.suffixes else ""
        gives = "an image" if is_image else f"a {name.suffix or 'nameless'} file"
        raise UsageError(
            f"{step.name} cannot follow {before.name}, which gives {gives}: "
            f"it takes {_TAKEN[step.takes][1]}{kinds}"
        )


def _made(result: Item) -> Item:
    """A result without the source file, which it no longer matches."""
    return replace(result, encoded=None) if isinstance(result, Image) else result
