"""The form of an operation: one field for each of its options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.operation import summary_of
from vaetools.operation.options import option_specs
from vaetools.web.requests import is_file_option, takes_folder, takes_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.hub import Hub
    from vaetools.operation import Operation
    from vaetools.operation.options import OptionSpec


@dataclass(frozen=True)
class Field:
    """One input of a form.

    Attributes:
        name: Of the option.
        kind: `check`, `truth` (that may be None), `choice`, `number`, `whole`, `numbers`, `text` or
            `files`.
        label: In words.
        help: A sentence.
        default: Text of the default value; empty for None.
        checked: Whether a check box is checked by default.
        minimum, maximum: Of a number, as text.
        choices: Values of a choice, or words that an option for files admits.
        numbers: Whether an option for files admits a number.
        text: Whether an option for files admits text at all.
        folder: Whether it takes a folder of files.
        drawn: Whether the files may be masks that are drawn on the inputs.
        required: Whether it must be given.
        optional: Whether None can be sent.
        blank: Whether a choice may be none of its values.
        placeholder: What stands in an empty field.
    """

    name: str
    kind: str
    label: str
    help: str
    default: str = ""
    checked: bool = False
    minimum: str = ""
    maximum: str = ""
    choices: tuple[str, ...] = ()
    numbers: bool = False
    text: bool = False
    folder: bool = False
    drawn: bool = False
    required: bool = False
    optional: bool = False
    blank: bool = False
    placeholder: str = ""


@dataclass(frozen=True)
class Form:
    """The form of an operation.

    Attributes:
        name: Of the operation.
        summary: One line.
        takes: `image`, `file` or `nothing`.
        fields: Alone, and in groups of which only one may be given.
        groups: Fields that exclude each other.
        models: Ids to choose from, if there are several.
        names_outputs: Whether it has an option `to` of its own.
    """

    name: str
    summary: str
    takes: str
    fields: Sequence[Field]
    groups: Sequence[Sequence[Field]]
    models: Sequence[str]
    names_outputs: bool


def forms_of(hub: Hub) -> list[Form]:
    """The forms of all operations of a hub. Aliases of one class are shown once."""
    return [form_of(hub, kind) for kind in hub.host.operations.values()]


def form_of(hub: Hub, operation: type[Operation]) -> Form:
    """The form of an operation."""
    specs = option_specs(operation.Options)
    groups: dict[str, list[Field]] = {}
    alone = []
    for spec in specs:
        if spec.group is None:
            alone.append(field_of(spec))
        else:
            groups.setdefault(spec.group, []).append(field_of(spec))
    return Form(
        operation.name,
        sentence(summary_of(operation)),
        operation.takes,
        sorted(alone, key=lambda field: not field.required),
        [*groups.values()],
        models_of(hub, operation),
        any(spec.name == "to" for spec in specs),
    )


def models_of(hub: Hub, operation: type[Operation]) -> list[str]:
    """Models to choose from; empty where there is no choice."""
    if operation.task is None or operation.many_models:
        return []
    tasks = (operation.task,) if isinstance(operation.task, str) else operation.task
    found = next((ids for ids in map(hub.registry.ids, tasks) if ids), [])
    return found if len(found) > 1 else []


def field_of(spec: OptionSpec) -> Field:
    """The field of an option."""
    facts: dict[str, Any] = {"default": _text(spec.default)}
    facts |= {"required": spec.required, "optional": spec.optional and not spec.required}
    facts |= {"blank": spec.optional or spec.default is None}
    if spec.kind is bool and facts["blank"]:
        facts |= {"kind": "truth", "choices": ("true", "false")}
    elif spec.kind is bool:
        facts |= {"kind": "check", "checked": bool(spec.default), "default": ""}
    elif spec.choices is not None:
        facts |= {"kind": "choice", "choices": spec.choices}
    elif spec.kind in (int, float):
        facts |= {"kind": "whole" if spec.kind is int else "number"}
        facts |= {"minimum": _text(spec.min), "maximum": _text(spec.max)}
    elif spec.kind is tuple:
        facts |= {"kind": "numbers", "placeholder": spec.metavar or ""}
    elif is_file_option(spec):
        facts |= _of_files(spec)
    else:
        facts |= {"kind": "text"}
    facts["placeholder"] = facts.get("placeholder") or spec.bounds
    label = spec.name.replace("_", " ").capitalize()
    return Field(spec.name, label=label, help=sentence(spec.help), **facts)


def _of_files(spec: OptionSpec) -> dict[str, Any]:
    numbers = spec.kind is np.ndarray and takes_numbers(spec)
    return {
        "kind": "files",
        "choices": spec.words,
        "numbers": numbers,
        "text": numbers or bool(spec.words),
        "folder": takes_folder(spec),
        "drawn": spec.kind is np.ndarray and not numbers,
    }


def _text(value: Any) -> str:
    """A value as the form has it, with all digits; empty for None."""
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    if isinstance(value, bool):
        return str(value).lower()
    text = "" if value is None else str(value)
    return text.removesuffix(".0") if isinstance(value, float) else text


def sentence(text: str) -> str:
    """Help as a sentence."""
    return text and text[0].upper() + text[1:].rstrip(".") + "."
