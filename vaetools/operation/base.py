"""Operations: what a user asks for, and the options that become flags, keywords and config keys.

A plugin author writes one small class:

    class Grain(ImageOperation):
        name = "grain"
        task = "reconstruct"                       # the kind of model that it needs

        @dataclass(frozen=True)
        class Options:
            amount: float = option(0.5, min=0, max=2, help="posterior standard deviations")
            seed: int = 0

        def apply(self, image):                    # float32 RGB (H, W, 3) in [0, 1]
            ...

and returns it from the hook `register_operations`. Folders, resume, reports and flags follow.
"""

from __future__ import annotations

import copy
import dataclasses
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, ClassVar, Literal, Self, TypeAlias

import numpy as np

from vaetools.errors import OptionError, PluginError
from vaetools.image import MAX_PIXELS, Image, read_image
from vaetools.seeding import seeded_generator

if typing.TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RESERVED_OPTIONS = frozenset(
    {
        "inputs",
        "out",
        "model",
        "models_dir",
        "device",
        "threads",
        "json",
        "as_json",
        "quiet",
        "debug",
        "frames",
        "key",
        "channel_order",
        "on_record",
        "progress",
        "jobs",
        "include",
        "exclude",
        "resume",
        "force",
        "on_exists",
        "dry_run",
        "max_pixels",
        "strict",
        "first_frame",
        "strip",
        "image_quality",
        "memory",
        "fingerprint",
        "shard",
        "report",
        "config",
        "fourcc",
        "raw",
        "depth",
        "op",
    }
)
"""Names that every operation's command, method and step of a chain has already."""

RESERVED_OPERATIONS = frozenset(
    {
        "info",
        "eval",
        "models",
        "plugins",
        "doctor",
        "demo",
        "train",
        "export",
        "run",
        "inspect",
        "report",
        "host",
        "runtime",
        "registry",
        "operation",
        "make",
        "op",
        "chain",
        "map",
        "register",
        "close",
        "stream",
        "pipe",
    }
)
"""Names of commands and of the hub's own methods."""

Item: TypeAlias = Image | bytes
"""What an operation takes or gives: an image, or the bytes of a file."""


def option(
    default: Any,
    *,
    min: float | None = None,  # noqa: A002 - the plain words read best in a plugin
    max: float | None = None,  # noqa: A002
    choices: Sequence[str] | None = None,
    help: str = "",  # noqa: A002
    short: str | None = None,
    metavar: str | None = None,
    group: str | None = None,
) -> Any:
    """A field of an `Options` class, with its bounds and its line of help.

    Args:
        default: the value when nothing is said; the field's annotation gives the type.
        min, max: bounds, both allowed; only for numbers.
        choices: the allowed words.
        help: one line, shown by `--help`.
        short: a short flag such as `-q`.
        metavar: the value's name in the help.
        group: options of one group exclude each other; one that is typed puts aside those of a file.
    """
    metadata = {
        "min": min,
        "max": max,
        "choices": None if choices is None else tuple(choices),
        "help": help,
        "short": short,
        "metavar": metavar,
        "group": group,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class OptionSpec:
    """One option, read from an `Options` class: everything that a command line needs to know.

    Attributes:
        name: the field's name; the flag is `--name` with dashes.
        kind: `bool`, `int`, `float`, `str` or `Path`.
        optional: whether None is a value (annotation `X | None`).
    """

    name: str
    kind: type
    optional: bool
    default: Any
    min: float | None = None
    max: float | None = None
    choices: tuple[str, ...] | None = None
    help: str = ""
    short: str | None = None
    metavar: str | None = None
    group: str | None = None

    def check(self, value: Any) -> Any:
        """`value` converted to the option's type. Raises `OptionError` if it does not fit."""
        if value is None and self.optional:
            return None
        converted = self._convert(value)
        if self.choices is not None and converted not in self.choices:
            raise self._error(value, f"one of {', '.join(self.choices)}")
        too_small = self.min is not None and not converted >= self.min
        too_large = self.max is not None and not converted <= self.max
        if too_small or too_large:
            raise self._error(value, self.bounds)
        return converted

    @property
    def bounds(self) -> str:
        """`0 … 100`, `at least 1`, `at most 2`, or nothing."""
        if self.min is not None and self.max is not None:
            return f"{self.min:g} … {self.max:g}"
        if self.min is not None:
            return f"at least {self.min:g}"
        return "" if self.max is None else f"at most {self.max:g}"

    def _convert(self, value: Any) -> Any:
        if self.kind is bool:
            if isinstance(value, bool):
                return value
            raise self._error(value, "true or false")
        if self.kind in (int, float):
            return self._convert_number(value)
        if isinstance(value, str | Path):
            return self.kind(value)
        if self.kind is str and isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)  # text that may be a number, as it is on a command line
        raise self._error(value, "text")

    def _convert_number(self, value: Any) -> Any:
        wanted = "a whole number" if self.kind is int else "a number"
        if isinstance(value, bool):
            raise self._error(value, wanted)
        try:
            converted = self.kind(value)
        except (TypeError, ValueError, OverflowError):
            raise self._error(value, wanted) from None
        whole = not isinstance(value, float) or value == converted
        if not np.isfinite(converted) or not whole:
            raise self._error(value, wanted)
        return converted

    def _error(self, value: Any, wanted: str) -> OptionError:
        plain = value is None or isinstance(value, str | Path | int | float)
        shown = repr(value) if plain else type(value).__name__  # an array would take many lines
        return OptionError(f"{self.name}={shown} is not {wanted}", remedy=self.help or None)


def option_specs(options: type) -> list[OptionSpec]:
    """The options of an `Options` class, in order.

    Raises:
        TypeError: an option without a default, or of a type that cannot become a flag.
    """
    hints = typing.get_type_hints(options)
    return [_spec(field, hints[field.name]) for field in dataclasses.fields(options)]


def _spec(field: dataclasses.Field[Any], hint: Any) -> OptionSpec:
    default = field.default
    if default is dataclasses.MISSING:
        raise TypeError(f"option {field.name!r} needs a default")
    kind, optional, choices = _kind_of(field.name, hint)
    metadata = dict(field.metadata)
    if choices is not None:
        metadata["choices"] = choices
    return OptionSpec(field.name, kind, optional, default, **metadata)


def _kind_of(name: str, hint: Any) -> tuple[type, bool, tuple[str, ...] | None]:
    """(type, None allowed, choices) of an annotation."""
    members = [hint]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        members = list(typing.get_args(hint))
    optional = type(None) in members
    members = [m for m in members if m is not type(None)]
    if len(members) == 1:
        if typing.get_origin(members[0]) is Literal:
            return str, optional, typing.get_args(members[0])
        if members[0] in (bool, int, float, str, Path):
            return members[0], optional, None
    raise TypeError(
        f"option {name!r}: {hint} is not bool, int, float, str, Path or a Literal of words"
    )


def make_options(options: type, values: Mapping[str, Any]) -> Any:
    """An instance of `options` from checked values.

    Raises:
        OptionError: an unknown name, a wrong type, a value out of bounds, two options of a group.
    """
    specs = {spec.name: spec for spec in option_specs(options)}
    for name in values:
        if name not in specs:
            known = ", ".join(specs) or "none"
            raise OptionError(f"there is no option {name!r}", remedy=f"options: {known}")
    checked = {name: specs[name].check(value) for name, value in values.items()}
    _refuse_rivals(specs.values(), checked)
    return options(**checked)


def _refuse_rivals(specs: Iterable[OptionSpec], values: Mapping[str, Any]) -> None:
    """Only one option of a group may differ from its default. Raises `OptionError`."""
    first: dict[str, str] = {}
    for spec in specs:
        if spec.group is not None and values.get(spec.name, spec.default) != spec.default:
            rival = first.setdefault(spec.group, spec.name)
            if rival != spec.name:
                raise OptionError(f"{rival} and {spec.name} exclude each other")


@dataclass(frozen=True)
class NoOptions:
    """For operations that have nothing to choose."""


class Operation(ABC):
    """Something that a user asks for, applied to one input at a time.

    Class attributes (a chain has a name, `takes` and `suffixes` of its own in each object):
        name: the command's name, lower case with dashes.
        summary: one line for lists and help; the class docstring's first line if not given.
        task: the model task that it needs, or None if it works without a model. Several: the first one
            that there are models for.
        many_models: choose among all models of the task for each input: they are `self.models`,
            and `self.model` is None.
        takes: `image` (the runner decodes the file), `file` (it hands over the bytes), or `nothing`:
            it makes pictures or files out of its options and model, those that `items` names.
        suffixes: with `takes = "file"`: which files of a folder are meant, such as `(".vae",)`.
        Options: a frozen dataclass; its fields become flags, keyword arguments and config keys.

    Instances are shared between threads: `process` must not change `self`.
    """

    name: str
    summary: ClassVar[str] = ""
    task: ClassVar[str | tuple[str, ...] | None] = None
    takes: Literal["image", "file", "nothing"] = "image"
    many_models: ClassVar[bool] = False
    suffixes: tuple[str, ...] = ()
    Options: ClassVar[type] = NoOptions

    max_pixels: int = MAX_PIXELS
    """Limit for operations that decode files themselves or make pictures; the runner sets it."""

    wants_encoded: bool = False
    """With `takes = "image"`: be given each picture's own file as well, as `Image.encoded`, unless the
    user wants metadata stripped or accepts damaged files."""

    def __init__(self, model: Any, options: Any) -> None:
        self.model = model
        self.models: Sequence[Any] = ()
        self.options = options
        self._key = ""
        self._file: Path | None = None
        self._notes: list[str] = []

    @property
    def opened(self) -> Sequence[Any]:
        """Every model that it may use."""
        return self.models if self.model is None else (self.model,)

    def outputs(self, source: PurePath) -> Sequence[PurePath]:
        """Names of the files that `source` will give, relative as it is. Called before any work."""
        return (source,)

    def items(self) -> Sequence[PurePath]:
        """With `takes = "nothing"`: the items that it makes, by the names of their files.

        An item's name is what `outputs` and `process` are given and what seeds `rng`. So an item stays
        the same when there are more of them, if its name does. Called before any work: what it raises
        ends the run.
        """
        return ()

    def facts(self) -> dict[str, Any]:
        """What decides the result of one input, beside the model: other facts are other work.

        All options, if not said otherwise. Leave out what changes no single result, such as how many
        items there are; put the content of a file in the place of its name. Values are for JSON.
        """
        return dataclasses.asdict(self.options)

    def identity(self) -> dict[str, Any]:
        """What decides all its results: which operation it is, its `facts` and its model. For JSON."""
        return {
            "operation": f"{type(self).__module__}.{self.name}",
            "options": self.facts(),
            "model": None if self.model is None else self.model.manifest.fingerprint,
        }

    def read_image(self, path: str | Path, *, keep_encoded: bool = False) -> Image:
        """A further picture, that an option names; limits are those of the run.

        Args:
            keep_encoded: keep the file's bytes in `Image.encoded`.

        Raises:
            InputError: it cannot be read, or is no picture that we take.
        """
        return read_image(path, max_pixels=self.max_pixels, keep_encoded=keep_encoded)

    def check_head(self, head: bytes) -> None:  # noqa: B027 - most operations take any file
        """With `takes = "file"`: raise if a file that begins like this is none of ours.

        The rest is then never read. `head` has `vaetools.image.HEAD_SIZE` bytes, fewer for short files.
        """

    @abstractmethod
    def process(self, item: Any) -> Item | Sequence[Item]:
        """The work: an `Image`, the bytes of a file, or the name of an item to make; as many results
        out as `outputs` names."""

    def on(self, key: str, source: Path | None = None) -> Self:
        """This operation for the input called `key`, which seeds `rng`; `source` is its file."""
        bound = copy.copy(self)
        bound.__dict__.update(_key=key, _file=source, _notes=[])
        bound.__dict__.pop("_rng", None)
        return bound

    @property
    def key(self) -> str:
        """What the input is called: its path in the run, or what a caller said; empty if nothing."""
        return self._key

    @property
    def source(self) -> Path | None:
        """The file that the input comes from, for what lies beside it; None for arrays."""
        return self._file

    def note(self, text: str) -> None:
        """Say something about this input that is no error: its record will tell."""
        self._notes.append(text)

    @property
    def notes(self) -> Sequence[str]:
        """What was said about this input."""
        return tuple(self._notes)

    @property
    def never(self) -> Sequence[str]:
        """Globs of files in a folder that are never its inputs, though their suffix fits."""
        return ()

    @property
    def rng(self) -> np.random.Generator:
        """Random numbers that depend only on the option `seed` and on the input's key.

        So the result of one input is the same in any order, with any number of workers.
        """
        if "_rng" not in self.__dict__:
            self._rng = seeded_generator(getattr(self.options, "seed", 0), self._key)
        return self._rng


class ImageOperation(Operation):
    """Image in, image out; only colours change.

    `apply` sees float32 RGB (H, W, 3) in [0, 1]. Depth, grey, alpha, channel order, ICC and EXIF are
    taken off before and put back after, so that no operation has to think of them.
    """

    def process(self, item: Image) -> Image:
        rgb = item.to_rgb()
        result = np.asarray(self.apply(rgb))
        if result.shape != rgb.shape:
            raise PluginError(f"{self.name} gave the shape {result.shape} for {rgb.shape}")
        if not np.isfinite(result).all():
            raise PluginError(f"{self.name} gave values that are not finite")
        return item.with_rgb(np.clip(result, 0.0, 1.0))

    @abstractmethod
    def apply(self, image: np.ndarray) -> np.ndarray:
        """float32 RGB (H, W, 3) in [0, 1] -> the same shape; values are clipped to [0, 1] afterwards."""


def results_of(operation: Operation, given: Any, count: int | None = None) -> list[Item]:
    """What `process` gave, as a list.

    Args:
        count: how many results its `outputs` named; None where nobody asked.

    Raises:
        PluginError: neither images nor bytes, or another number of them.
    """
    results = [given] if isinstance(given, Image | bytes) else given
    if not isinstance(results, Sequence) or not all(isinstance(r, Image | bytes) for r in results):
        raise PluginError(f"{operation.name} gave {type(given).__name__}, neither images nor bytes")
    if count is not None and len(results) != count:
        raise PluginError(f"{operation.name} named {count} outputs and gave {len(results)}")
    return list(results)


def summary_of(operation: type[Operation]) -> str:
    """The operation's one-line summary."""
    return operation.summary or (operation.__doc__ or operation.name).strip().splitlines()[0]
