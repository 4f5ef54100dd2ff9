"""Typed methods of operations as a stub file, for type checkers and editors."""

from __future__ import annotations

import inspect
import textwrap
from typing import TYPE_CHECKING

from vaetools.operation.options import option_specs
from vaetools.operation.signature import documentation, signature

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vaetools.operation.base import Operation

HEADER = '''\
# The operations of a hub as typed methods. Generated; do not edit.
#
#   {command}

from pathlib import Path
from typing import Any, Literal, overload

from numpy.typing import NDArray

from vaetools.operation.step import FileLike, ImageLike, MapLike
from vaetools.restoration import Restored

class HubMethods:
    """What type checkers see of `Hub`; at run time it makes these methods from the plugins."""
'''


def methods_module(operations: Iterable[type[Operation]], command: str) -> str:
    """Source of a stub file with the class `HubMethods`.

    Args:
        command: how to generate it again.
    """
    kinds = sorted(operations, key=lambda kind: kind.name)
    return HEADER.format(command=command) + "".join(f"\n{_methods(kind)}" for kind in kinds)


def _methods(kind: type[Operation]) -> str:
    """The method of one operation, with overloads where its result depends on options."""
    expected = signature(kind)
    if not kind.result_depends_on:
        return _definition(kind, expected)
    plain, *others = str(expected.return_annotation).split(" | ")
    defaults = {spec.name: spec.default for spec in option_specs(kind.Options)}
    alone = [
        p.replace(annotation=_only(defaults[p.name])) if p.name in kind.result_depends_on else p
        for p in expected.parameters.values()
    ]
    first = expected.replace(parameters=alone, return_annotation=plain)
    second = expected.replace(return_annotation=" | ".join(others))
    return "".join(f"    @overload\n{_definition(kind, each)}" for each in (first, second))


def _definition(kind: type[Operation], expected: inspect.Signature) -> str:
    name = kind.name.replace("-", "_")
    lines = [f"    def {name}(", "        self,"]
    keyword_only = False
    for parameter in expected.parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            lines.append("        *,")
        empty = parameter.default is inspect.Parameter.empty
        default = "" if empty else f" = {parameter.default!r}"
        lines.append(f"        {parameter.name}: {parameter.annotation}{default},")
    lines.append(f"    ) -> {expected.return_annotation}:")
    return "\n".join([*lines, textwrap.indent(_docstring(kind), " " * 8), ""])


def _only(default: object) -> str:
    """The type of a default value alone."""
    return "None" if default is None else f"Literal[{default!r}]"


def _docstring(kind: type[Operation]) -> str:
    """The docstring, wrapped: paragraphs of the class docstring, one entry for each argument."""
    text, _, arguments = documentation(kind).partition("\nArgs:\n")
    wrapped = [textwrap.fill(paragraph, 88) for paragraph in text.split("\n\n")]
    entries = [
        textwrap.fill(line, 88, initial_indent="    ", subsequent_indent="        ")
        for line in map(str.strip, arguments.splitlines())
    ]
    return '"""' + "\n".join(["\n\n".join(wrapped).rstrip(), "", "Args:", *entries]) + '\n"""'
