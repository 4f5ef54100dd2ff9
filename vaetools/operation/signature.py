"""Signatures and docstrings of operations, made from their `Options`."""

from __future__ import annotations

import collections.abc
import inspect
import typing
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.image import Image
from vaetools.operation.base import Compound, summary_of
from vaetools.operation.options import option_specs, positional_option

if TYPE_CHECKING:
    from vaetools.operation.base import Operation
    from vaetools.operation.options import OptionSpec

FIRST = {"image": "image", "file": "data"}
"""Name of the first parameter, by what an operation takes."""

METHOD_OPTIONS: dict[str, tuple[str, Any, str]] = {
    "key": ("str", "", "name of the image, which seeds operations that draw random numbers"),
    "model": ("str | None", None, "id of the model, where several fit"),
    "channel_order": ("Literal['bgr', 'rgb']", "bgr", "order of the colours of arrays"),
}
"""Annotation, default and meaning of the options that every method has."""


def signature(operation: type[Operation]) -> inspect.Signature:
    """The signature of `hub.<operation>`; annotations are text, as in a stub file."""
    parameters = []
    positional: Any = inspect.Parameter.POSITIONAL_OR_KEYWORD
    if operation.takes in FIRST:
        hint = "ImageLike" if operation.takes == "image" else "FileLike"
        parameters.append(inspect.Parameter(FIRST[operation.takes], positional, annotation=hint))
    second = positional_option(operation.Options)
    for spec in option_specs(operation.Options):
        follows = second is not None and spec.name == second.name and parameters
        kind = positional if follows else inspect.Parameter.KEYWORD_ONLY
        default = spec.default
        if spec.required and follows and second == spec:
            default = inspect.Parameter.empty
        parameters.append(
            inspect.Parameter(spec.name, kind, default=default, annotation=annotation(spec))
        )
    for name, (hint, default, _) in _common(operation).items():
        keyword = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(name, keyword, default=default, annotation=hint))
    return inspect.Signature(parameters, return_annotation=returns(operation))


def _common(operation: type[Operation]) -> dict[str, tuple[str, Any, str]]:
    """The options of every method that mean something for this one."""
    left_out = {"key": operation.takes == "nothing", "model": operation.task is None}
    return {name: facts for name, facts in METHOD_OPTIONS.items() if not left_out.get(name)}


def annotation(spec: OptionSpec) -> str:
    """The type of an option as a caller may give it, as text."""
    if spec.kind is np.ndarray:
        words = ["MapLike", "float"] if _takes_numbers(spec.hint) else ["MapLike"]
    elif spec.choices is not None:
        words = [f"Literal[{', '.join(map(repr, spec.choices))}]"]
    elif spec.kind is tuple:
        words = [f"tuple[{', '.join(['int'] * spec.length)}]", "str"]
    else:
        words = ["str | Path" if spec.kind.__name__ == "Path" else spec.kind.__name__]
    if spec.optional and not spec.required:
        words.append("None")
    return " | ".join(words)


def _takes_numbers(hint: Any) -> bool:
    return bool({int, float} & {*typing.get_args(hint)})


def returns(operation: type[Operation]) -> str:
    """What a method returns, as text: from the annotation of `process`."""
    text = " | ".join(dict.fromkeys(_returned(_return_hint(operation)))) or "Any"
    return f"list[{text}]" if operation.takes == "nothing" else text


def _return_hint(operation: type[Operation]) -> Any:
    """The annotation of the result alone: others may name what is imported for type checkers."""

    def only() -> None: ...

    process = operation.process
    only.__annotations__ = {"return": process.__annotations__.get("return", Any)}
    names = {name: getattr(collections.abc, name) for name in collections.abc.__all__}
    try:
        return typing.get_type_hints(only, process.__globals__, names)["return"]
    except NameError:
        return Any


def _returned(hint: Any) -> list[str]:
    if hint is Image:
        return ["NDArray[Any]"]
    if hint is bytes:
        return ["bytes"]
    if isinstance(hint, type) and issubclass(hint, Compound):
        return [f"{hint.__name__}[NDArray[Any]]"]
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(origin, type) and issubclass(origin, Compound):
        return [f"{origin.__name__}[NDArray[Any]]"]
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return [f"list[{' | '.join(text for part in inner for text in _returned(part))}]"]
    parts = [text for part in inner for text in _returned(part)]
    return parts or ["Any"]


def documentation(operation: type[Operation]) -> str:
    """A docstring for `hub.<operation>`, with a line for each option.

    Examples in the docstring of the operation are command lines, and are left out.
    """
    text = inspect.cleandoc(operation.__doc__ or "").partition("\nExamples:\n")[0]
    _, _, rest = text.partition("\n")
    lines = [summary_of(operation), *([rest.rstrip()] if rest.strip() else []), "", "Args:"]
    if operation.takes == "image":
        lines.append(
            "    image: array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8, uint16 or float32 in "
            "[0, 1]; or a path or a Pillow image."
        )
    elif operation.takes == "file":
        lines.append("    data: the bytes of a file, or its path.")
    for spec in option_specs(operation.Options):
        bounds = f" [{spec.bounds}]" if spec.bounds else ""
        default = "" if spec.default is None else f" Default: {spec.default!r}."
        lines.append(f"    {spec.name}: {spec.help}{bounds}.{default}".replace("..", "."))
    lines += [f"    {name}: {meaning}." for name, (_, _, meaning) in _common(operation).items()]
    return "\n".join(lines)
