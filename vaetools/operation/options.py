"""Options of operations: one declaration becomes a flag, a keyword argument and a config key.

An `Options` class is a frozen dataclass. The annotation of a field gives its kind:

    bool, int, float, str, Path     a value
    Literal["white", "black"]       one of these words
    tuple[int, int, int, int]       that many integers; `10,20,64,48` on the command line
    np.ndarray | str | Path         an image: an array in Python, a path on the command line

`X | None` admits None as well, as the default for "not given".
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vaetools.errors import OptionError
from vaetools.operation.mask_levels import pillow_mask
from vaetools.paths import refuse_url

if typing.TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SCALARS = (bool, int, float, str, Path)
"""Types of options that hold one value."""


def option(
    default: Any,
    *,
    min: float | None = None,  # noqa: A002 - the plain words read best in a plugin
    max: float | None = None,  # noqa: A002
    choices: Sequence[str] | None = None,
    words: Sequence[str] = (),
    help: str = "",  # noqa: A002
    short: str | None = None,
    metavar: str | None = None,
    group: str | None = None,
    required: bool = False,
) -> Any:
    """A field of an `Options` class, with its bounds and its line of help.

    Args:
        default: the value of an option that is not given; the field's annotation gives the kind.
        min: inclusive lower bound of a number.
        max: inclusive upper bound of a number.
        choices: the words that are allowed.
        words: for an option that is an image: words with a meaning of their own, which are no paths.
        help: one line, shown by `--help` and in docstrings.
        short: a short flag such as `-q`.
        metavar: the name of the value in the help.
        group: options in a group are mutually exclusive; one given on the command line overrides
            the config file.
        required: the operation cannot run without it. The default must be None. An array may still
            be given with each call: `hub.op("inpaint")(image, mask)`.
    """
    metadata = {
        "min": min,
        "max": max,
        "choices": None if choices is None else tuple(choices),
        "words": tuple(words),
        "help": help,
        "short": short,
        "metavar": metavar,
        "group": group,
        "required": required,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class OptionSpec:
    """One option of an `Options` class: everything that a command line needs to know.

    Attributes:
        name: the field's name; the flag is `--name` with dashes.
        kind: `bool`, `int`, `float`, `str`, `Path`, `tuple` (of integers) or `np.ndarray`.
        optional: whether None is a value.
        hint: the annotation.
        length: number of integers of a tuple.
    """

    name: str
    kind: type
    optional: bool
    default: Any
    hint: Any = None
    length: int = 0
    min: float | None = None
    max: float | None = None
    choices: tuple[str, ...] | None = None
    words: tuple[str, ...] = ()
    help: str = ""
    short: str | None = None
    metavar: str | None = None
    group: str | None = None
    required: bool = False

    def check(self, value: Any) -> Any:
        """`value` converted to the option's kind. Raises `OptionError` if it does not fit."""
        if value is None and self.optional:
            return None
        if self.required and isinstance(value, str) and not value:
            return None
        converted = self._convert(value)
        if self.choices is not None and converted not in self.choices:
            raise self._error(value, f"one of {', '.join(self.choices)}")
        too_small = self.min is not None and not converted >= self.min
        too_large = self.max is not None and not converted <= self.max
        if too_small or too_large:
            raise self._error(value, self.bounds)
        return converted

    def is_default(self, value: Any) -> bool:
        """Whether an option with this value was left alone."""
        if isinstance(value, np.ndarray):
            return False
        return bool(value == self.default)

    @property
    def bounds(self) -> str:
        """`0 … 100`, `at least 1`, `at most 2`, or an empty text."""
        if self.min is not None and self.max is not None:
            return f"{self.min:g} … {self.max:g}"
        if self.min is not None:
            return f"at least {self.min:g}"
        return "" if self.max is None else f"at most {self.max:g}"

    @property
    def takes_numbers(self) -> bool:
        """Whether a number is a value of an option for an image, such as a noise level."""
        return bool({int, float} & {*typing.get_args(self.hint)})

    def means_number(self, value: Any) -> bool:
        """Whether a value stands for a number: a text that is one does, even if a file has that name."""
        if not self.takes_numbers:
            return False
        try:
            float(str(value))
        except ValueError:
            return False
        return True

    def _convert(self, value: Any) -> Any:
        if self.kind is bool:
            if isinstance(value, bool):
                return value
            raise self._error(value, "true or false")
        if self.kind in (int, float):
            return self._number(value)
        if self.kind is tuple:
            return self._integers(value)
        if self.kind is np.ndarray:
            return self._image(value)
        return self._text(value)

    def _text(self, value: Any) -> Any:
        if self.kind is Path and isinstance(value, str | Path):
            refuse_url(value, self.name)
            return Path(value)
        if isinstance(value, str | Path):
            return str(value)
        if self.kind is not Path and _is_number(value):
            return str(value)  # as on a command line
        raise self._error(value, "text")

    def _number(self, value: Any) -> Any:
        wanted = "a whole number" if self.kind is int else "a number"
        if isinstance(value, bool):
            raise self._error(value, wanted)
        try:
            converted = self.kind(value)
        except (TypeError, ValueError, OverflowError):
            raise self._error(value, wanted) from None
        whole = self.kind is float or isinstance(value, str) or bool(value == converted)
        if not whole or (self.kind is float and not math.isfinite(converted)):
            raise self._error(value, wanted)
        if self.kind is int and not -(2**63) <= converted < 2**63:  # as in TOML
            raise self._error(value, "a whole number of at most 64 bits")
        return converted

    def _integers(self, value: Any) -> tuple[int, ...]:
        """`10,20,64,48`, or a sequence of integers such as `cv2.boundingRect` gives."""
        wanted = self.metavar or f"{self.length} whole numbers"
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = dataclasses.astuple(value)
        parts = value.split(",") if isinstance(value, str) else value
        try:
            numbers = tuple(int(part) for part in parts)
            exact = isinstance(value, str) or all(
                a == b for a, b in zip(numbers, parts, strict=True)
            )
        except (TypeError, ValueError, OverflowError):
            raise self._error(value, wanted) from None
        if len(numbers) != self.length or not exact:
            raise self._error(value, wanted)
        return numbers

    def _image(self, value: Any) -> Any:
        """An array (copied), a function that gives one for each image, or text."""
        pixels = pillow_mask(value, self.name)
        if pixels is not None:
            value = pixels
        if isinstance(value, np.ndarray):
            return check_map(self.name, value)
        if isinstance(value, str | Path) and str(value):
            refuse_url(value, self.name)
            return value
        if callable(value):
            return value
        if _is_number(value):
            return str(value)  # as on a command line
        words = "a number, text, " if self.takes_numbers else ""
        raise self._error(value, f"{words}an array, a path, a Pillow image or a function")

    def _error(self, value: Any, wanted: str) -> OptionError:
        plain = value is None or isinstance(value, str | Path | int | float | tuple)
        shown = repr(value) if plain else type(value).__name__  # an array would take many lines
        return OptionError(f"{self.name}={shown} is not {wanted}", remedy=self.help or None)


def check_map(name: str, array: np.ndarray) -> np.ndarray:
    """A read-only copy of an array with one value per pixel.

    Args:
        name: of the option, for the error.
        array: (H, W) or (H, W, 1); bool, integer or float.

    Returns:
        (H, W), the dtype unchanged but for the byte order.

    Raises:
        OptionError: another shape or dtype, an empty array, NaN or infinity.
    """
    shape = array.shape
    if array.ndim == 3 and shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2 or array.size == 0:
        raise OptionError(f"{name} has shape {shape}; expected one value per pixel, (H, W)")
    if array.dtype.kind not in "biuf":
        raise OptionError(f"{name} has dtype {array.dtype}; expected bool, uint8 or a float")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise OptionError(f"{name} contains NaN or infinity")
    copied = np.array(array, array.dtype.newbyteorder("="))
    copied.flags.writeable = False
    return copied


def option_specs(options: type) -> list[OptionSpec]:
    """The options of an `Options` class, in order.

    Raises:
        TypeError: an option without a default, or of a type that cannot become a flag.
    """
    return list(_specs(options))


@functools.lru_cache(maxsize=256)
def _specs(options: type) -> tuple[OptionSpec, ...]:
    """`option_specs`, once per class: a step looks at them for every frame."""
    hints = typing.get_type_hints(options)
    return tuple(_spec(field, hints[field.name]) for field in dataclasses.fields(options))


def positional_option(options: type) -> OptionSpec | None:
    """The option that follows the image in a call, `hub.inpaint(image, mask)`: the first one, if it
    is an array."""
    specs = option_specs(options)
    return specs[0] if specs and specs[0].kind is np.ndarray else None


def _spec(field: dataclasses.Field[Any], hint: Any) -> OptionSpec:
    default = field.default
    if default is dataclasses.MISSING:
        raise TypeError(f"option {field.name!r} needs a default")
    kind, optional, more = _kind_of(field.name, hint)
    return OptionSpec(field.name, kind, optional, default, hint=hint, **{**field.metadata, **more})


def _kind_of(name: str, hint: Any) -> tuple[type, bool, dict[str, Any]]:
    """(kind, None allowed, further facts) of an annotation."""
    members = [hint]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        members = list(typing.get_args(hint))
    optional = type(None) in members
    members = [m for m in members if m is not type(None)]
    if any(_is_array(member) for member in members):
        return np.ndarray, optional, {}
    if len(members) == 1:
        member = members[0]
        if typing.get_origin(member) is Literal:
            return str, optional, {"choices": typing.get_args(member)}
        if typing.get_origin(member) is tuple and {*typing.get_args(member)} == {int}:
            return tuple, optional, {"length": len(typing.get_args(member))}
        if member in SCALARS:
            return member, optional, {}
    raise TypeError(
        f"option {name!r}: {hint} is not bool, int, float, str, Path, a Literal of words, "
        "a tuple of integers or a union with np.ndarray"
    )


def _is_array(hint: Any) -> bool:
    return hint is np.ndarray or typing.get_origin(hint) is np.ndarray


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


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
    # A default such as `40` of a float: 40.0 on the command line must be the same work.
    whole = {
        s.name: float(s.default)
        for s in specs.values()
        if s.kind is float and type(s.default) is int
    }
    return options(**{**whole, **checked})


def _refuse_rivals(specs: Iterable[OptionSpec], values: Mapping[str, Any]) -> None:
    """Only one option of a group may differ from its default. Raises `OptionError`."""
    first: dict[str, str] = {}
    for spec in specs:
        if spec.group is not None and not spec.is_default(values.get(spec.name, spec.default)):
            rival = first.setdefault(spec.group, spec.name)
            if rival != spec.name:
                raise OptionError(f"{rival} and {spec.name} exclude each other")


@dataclass(frozen=True)
class NoOptions:
    """For operations without options."""
