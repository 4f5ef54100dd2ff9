"""What a page or a program asks for, checked: the options of an operation as JSON values."""

from __future__ import annotations

import math
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.errors import OptionError, VaetoolsError
from vaetools.image import TO
from vaetools.operation.options import make_options, option_specs
from vaetools.web.limits import HttpError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vaetools.operation import Operation
    from vaetools.operation.options import OptionSpec

UPLOAD_ID = "[0-9a-f]{16}"

_IDS = {
    "type": "array",
    "items": {"type": "string", "pattern": f"^{UPLOAD_ID}$"},
    "minItems": 1,
    "uniqueItems": True,
}

FILES_SCHEMA = {
    "type": "object",
    "properties": {
        "uploads": {**_IDS, "maxItems": 5000},
        "folder": {
            "type": "boolean",
            "description": "One file for each input, of the same name. Several files always are.",
        },
        "inputs": {
            **_IDS,
            "description": "The inputs that the files belong to, in the same order. Without it, "
            "names tell: those of the inputs, with or without the folder that all inputs are in.",
        },
    },
    "required": ["uploads"],
    "additionalProperties": False,
}
"""The value of an option that names files."""

OUTPUT_SCHEMA: dict[str, dict[str, Any]] = {
    "to": {"type": "string", "enum": list(TO), "default": "same"},
    "quality_out": {"type": ["integer", "null"], "minimum": 0, "maximum": 100},
    "strip": {"type": "string", "enum": ["none", "gps", "exif", "all"], "default": "none"},
    "strict": {"type": "boolean", "default": True},
    "first_frame": {"type": "boolean", "default": False},
}
"""Fields of `RunSettings` that a request may set."""


@dataclass(frozen=True)
class FileOption:
    """An option whose value is uploaded files.

    Attributes:
        uploads: Their ids.
        folder: Whether the operation gets their folder.
        inputs: Ids of the inputs that they belong to, in the same order; empty if names tell.
    """

    uploads: tuple[str, ...]
    folder: bool
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """A checked request for a run.

    Attributes:
        operation: Its class.
        uploads: Ids of the inputs.
        options: Checked values; those of `files` are missing.
        files: Options that are uploaded files.
        output: Settings of the run.
    """

    operation: type[Operation]
    uploads: tuple[str, ...]
    options: dict[str, Any]
    files: dict[str, FileOption]
    output: dict[str, Any]


def is_file_option(spec: OptionSpec) -> bool:
    """Whether uploads can be its value."""
    return spec.kind in (Path, np.ndarray)


def takes_numbers(spec: OptionSpec) -> bool:
    """Whether an option that is an image may be a number instead."""
    return bool({int, float} & {*typing.get_args(spec.hint)})


def takes_folder(spec: OptionSpec) -> bool:
    """Whether a folder of files can be its value."""
    return spec.kind is np.ndarray or "DIR" in (spec.metavar or "").split("|")


def takes_only_folder(spec: OptionSpec) -> bool:
    """Whether it names only folders."""
    return spec.metavar == "DIR"


def schema_of(spec: OptionSpec) -> dict[str, Any]:
    """The JSON schema of an option's value."""
    schema: dict[str, Any] = {"description": spec.help}
    if spec.kind is bool:
        schema["type"] = "boolean"
    elif spec.kind in (int, float):
        schema |= _number_schema(spec)
    elif spec.kind is tuple:
        items = {"type": "integer"}
        schema |= {
            "type": "array",
            "items": items,
            "minItems": spec.length,
            "maxItems": spec.length,
        }
    elif is_file_option(spec):
        schema |= _file_schema(spec)
    else:
        schema["type"] = "string"
        if spec.choices is not None:
            schema["enum"] = list(spec.choices)
    if spec.optional and not spec.required:
        described = schema.pop("description")
        schema = {"anyOf": [schema, {"type": "null"}], "description": described}
    if isinstance(spec.default, bool | int | float | str):
        schema["default"] = spec.default
    return schema


def _number_schema(spec: OptionSpec) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer" if spec.kind is int else "number"}
    bounds = {"minimum": spec.min, "maximum": spec.max}
    return schema | {name: bound for name, bound in bounds.items() if bound is not None}


def _file_schema(spec: OptionSpec) -> dict[str, Any]:
    kinds: list[dict[str, Any]] = [FILES_SCHEMA]
    if spec.words:
        kinds.append({"type": "string", "enum": list(spec.words)})
    if spec.kind is np.ndarray and takes_numbers(spec):
        kinds.append({"type": "number"})
    return {"anyOf": kinds} if len(kinds) > 1 else dict(FILES_SCHEMA)


def wanted(operation: type[Operation], body: Any) -> Wanted:
    """Check a request for a run.

    Args:
        operation: The class of the operation.
        body: JSON values: `uploads`, `options`, `model`, `output`.

    Raises:
        HttpError: Something does not fit; the message is that of the command line.
    """
    given = _object(body, "the request", {"uploads", "options", "model", "output"})
    uploads = _ids(given.get("uploads", []), "uploads")
    if operation.takes == "nothing" and uploads:
        raise HttpError(422, f"{operation.name} takes no inputs")
    if operation.takes != "nothing" and not uploads:
        raise HttpError(422, "there are no inputs: uploads is empty", "E003")
    specs = {spec.name: spec for spec in option_specs(operation.Options)}
    options: dict[str, Any] = {}
    files: dict[str, FileOption] = {}
    for name, value in _object(given.get("options", {}), "options", None).items():
        spec = specs.get(name)
        if isinstance(value, dict) and spec is not None and is_file_option(spec):
            files[name] = _files(spec, value, uploads)
        else:
            options[name] = value if spec is None else _plain(spec, value)
    _check_options(operation, specs, options, files)
    model = given.get("model")
    if model is not None:
        options["model"] = _model(operation, model)
    return Wanted(operation, uploads, options, files, _output(given.get("output", {})))


def _check_options(
    operation: type[Operation],
    specs: Mapping[str, OptionSpec],
    options: Mapping[str, Any],
    files: Mapping[str, FileOption],
) -> None:
    """Raise `HttpError` with the error that `make_options` has, or for one that is missing."""
    stand_in = dict.fromkeys(files, ".")
    try:
        made = make_options(operation.Options, {**options, **stand_in})
        for spec in specs.values():
            if spec.required and getattr(made, spec.name) is None:
                raise OptionError(f"{spec.name} is not given", remedy=spec.help or None)
    except VaetoolsError as error:
        raise HttpError.of(error.code, error.line.partition(" ")[2]) from error


def _model(operation: type[Operation], model: Any) -> str:
    if not isinstance(model, str) or not model:
        raise HttpError(422, f"model={model!r:.80} is not the id of a model", "E004")
    if operation.task is None:
        raise HttpError(422, f"{operation.name} uses no model, so model={model!r:.80} does nothing")
    return model


def _plain(spec: OptionSpec, value: Any) -> Any:
    """A value that is no file. Raises `HttpError`: text of a browser must not name files of this
    machine."""
    if value is None:
        if spec.optional and not spec.required:
            return None
        raise _misfit(spec.name, value, "a value")
    check: dict[type, Callable[[Any], bool]] = {
        bool: lambda v: isinstance(v, bool),
        int: _is_whole,
        float: _is_number,
        str: lambda v: isinstance(v, str),
        tuple: lambda v: isinstance(v, list) and all(map(_is_whole, v)),
        Path: lambda _: False,
        np.ndarray: lambda v: v in spec.words or (takes_numbers(spec) and _is_number(v)),
    }
    try:
        fits = check[spec.kind](value)
    except TypeError:  # a list among words
        fits = False
    if not fits:
        words = {Path: "uploaded files", np.ndarray: "uploaded files, or what its help says"}
        raise _misfit(spec.name, value, words.get(spec.kind, f"of the type {spec.kind.__name__}"))
    return int(value) if spec.kind is int else value


def _files(spec: OptionSpec, value: Any, inputs: tuple[str, ...]) -> FileOption:
    given = _object(value, spec.name, {"uploads", "folder", "inputs"})
    ids = _ids(given.get("uploads"), spec.name)
    if not ids:
        raise _misfit(spec.name, value, "at least one upload")
    folder = given.get("folder", False)
    if not isinstance(folder, bool):
        raise _misfit(f"{spec.name}.folder", folder, "true or false")
    owners = _ids(given.get("inputs", []), f"{spec.name}.inputs")
    if "inputs" in given and (len(owners) != len(ids) or not {*owners} <= {*inputs}):
        raise _misfit(f"{spec.name}.inputs", list(owners), "one input for each file")
    is_folder = folder or len(ids) > 1 or bool(owners) or takes_only_folder(spec)
    return FileOption(ids, is_folder, owners)


def _output(given: Any) -> dict[str, Any]:
    values = _object(given, "output", {*OUTPUT_SCHEMA})
    for name, value in values.items():
        schema = OUTPUT_SCHEMA[name]
        if "enum" in schema:
            fits = isinstance(value, str) and value in schema["enum"]
        elif schema["type"] == "boolean":
            fits = isinstance(value, bool)
        else:
            fits = value is None or (_is_whole(value) and 0 <= value <= 100)
        if not fits:
            raise _misfit(name, value, f"one of {', '.join(schema.get('enum', ()))}")
    return values


def _object(value: Any, what: str, names: set[str] | None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise HttpError(422, f"{what} is not a JSON object", "E004")
    unknown = sorted(set(value) - names) if names is not None else []
    if unknown:
        raise HttpError(422, f"{what} has no {unknown[0][:80]!a}", "E004")
    return value


def _ids(value: Any, what: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise HttpError(422, f"{what} is not a list of ids of uploads", "E004")
    if len({*value}) != len(value):
        raise HttpError(422, f"{what} names an upload twice", "E004")
    return tuple(value)


def _is_whole(value: Any) -> bool:
    is_number = _is_number(value) and -(2**63) <= value < 2**64  # what NumPy can hold
    return is_number and float(value).is_integer()


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False


def _misfit(name: str, value: Any, expected: str) -> HttpError:
    return HttpError(422, f"{name}={ascii(value)[:80]} is not {expected}", "E004")
