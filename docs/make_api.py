"""Write docs/api.md from `vaetools.__all__`, signatures and docstrings: `python docs/make_api.py`."""

from __future__ import annotations

import inspect
import re
import textwrap
from functools import cached_property
from pathlib import Path
from typing import Any

import vaetools

PAGE = Path(__file__).with_name("api.md")
WIDTH = 100

HEAD = """# Python API

Every public name of `vaetools`: what is on this page follows the
[deprecation policy](../RELEASING.md#deprecation-policy), and everything else may change. The page
is generated from the docstrings by [`make_api.py`](make_api.py). For a tour with examples, see
[embed.md](embed.md).
"""

TOPICS = {
    "Opening and running": "hub operation.step operation.chain record runner video",
    "Images": "image metrics",
    "Models": "model",
    "Operations and plugins": "operation plugin",
    "Codec": "codec",
    "Denoising and inpainting": "restoration",
    "Augmentation": "augmentation",
    "Errors": "errors",
    "Other": "",
}

SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|References):$")


def main() -> None:
    PAGE.write_text(page())


def page() -> str:
    """The page, from the package as it is."""
    entries: dict[str, list[str]] = {topic: [] for topic in TOPICS}
    for name in sorted(vaetools.__all__, key=str.lower):
        value = getattr(vaetools, name)
        entries[_topic(name, value)].append(_entry(name, value))
    parts = [f"## {topic}\n\n" + "\n".join(found) for topic, found in entries.items() if found]
    return "\n".join([HEAD, *parts])


def _topic(name: str, value: Any) -> str:
    """The topic with the longest module name that fits the name's home."""
    home = getattr(value, "__module__", None) or "vaetools"
    if name == "hookimpl":
        home = "vaetools.plugin"
    home = f"{home.removeprefix('vaetools.')}."
    fits = [(m, t) for t, ms in TOPICS.items() for m in ms.split() if home.startswith(f"{m}.")]
    return max(fits, key=lambda fit: len(fit[0]))[1] if fits else "Other"


def _entry(name: str, value: Any) -> str:
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        note = "" if name != "hookimpl" else "Decorator for the hooks of a plugin: `@hookimpl`.\n"
        return f"### {name}\n\n{note or f'`{value!r}`'}\n".replace("\n\n\n", "\n\n")
    lines = [f"### {name}", "", "```text", _signature(name, value), "```", "", *_prose(value)]
    if inspect.isclass(value) and not issubclass(value, Exception):
        lines += _members(value)
    return "\n".join(lines).rstrip() + "\n"


def _signature(name: str, value: Any, *, brief: bool = False) -> str:
    """`name(a: int, b: str = 'x') -> float`, on several lines if it is long.

    The brief form has no types.
    """
    try:
        signature = inspect.signature(value)
    except ValueError:  # a builtin
        return name
    parts, seen_star = [], False
    for parameter in signature.parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not seen_star:
            parts.append("*")
            seen_star = True
        seen_star |= parameter.kind is parameter.VAR_POSITIONAL
        parts.append(
            _parameter(
                parameter.replace(annotation=inspect.Parameter.empty) if brief else parameter
            )
        )
    gives = signature.return_annotation
    tail = "" if inspect.isclass(value) or gives is signature.empty else f" -> {_type(gives)}"
    line = f"{name}({', '.join(parts)}){tail}"
    if brief or len(line) <= WIDTH - 10:
        return line.removesuffix(tail) if brief else line
    return f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){tail}"


def _parameter(parameter: inspect.Parameter) -> str:
    star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    kind = "" if parameter.annotation is parameter.empty else f": {_type(parameter.annotation)}"
    if parameter.default is parameter.empty:
        return f"{star}{parameter.name}{kind}"
    default = repr(parameter.default)
    default = "…" if default.startswith("<") else default
    return f"{star}{parameter.name}{kind}" + (f" = {default}" if kind else f"={default}")


def _type(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _prose(value: Any) -> list[str]:
    """The docstring as Markdown: sections become bold titles with lists."""
    if inspect.isclass(value) and not value.__doc__:  # an error: its base has the text
        return [f"Code `{value.code}`. Bases: `{value.__mro__[1].__name__}`.", ""]
    text = inspect.getdoc(value) or ""
    lines: list[str] = []
    for block in re.split(r"\n\s*\n", text):
        title, _, rest = block.partition("\n")
        if SECTION.match(title):
            lines += [f"**{title.removesuffix(':')}**", "", *_items(textwrap.dedent(rest)), ""]
        elif block.startswith("    "):
            lines += ["```text", *textwrap.dedent(block).splitlines(), "```", ""]
        else:
            lines += [*textwrap.wrap(" ".join(block.split()), WIDTH, break_on_hyphens=False), ""]
    return lines


def _items(text: str) -> list[str]:
    """`name: meaning` entries, whose further lines are indented."""
    items: list[str] = []
    for entry in re.split(r"\n(?=\S)", text):
        name, colon, meaning = " ".join(entry.split()).partition(": ")
        code = colon and re.fullmatch(r"[\w*]+(, [\w*]+)*", name)
        line = f"- `{name}`: {meaning}" if code else f"- {name}{colon}{meaning}"
        items += textwrap.wrap(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    return items


def _own(value: type) -> dict[str, Any]:
    """Attributes of a class, then those of its mixins: bases of ours that have no constructor."""
    found = dict(vars(value))
    for base in value.__mro__[1:]:
        if base.__module__.startswith("vaetools.") and "__init__" not in vars(base):
            found |= {name: member for name, member in vars(base).items() if name not in found}
    return found


def _members(value: type) -> list[str]:
    """Public methods and properties with the first sentence of their docstrings."""
    lines: list[str] = []
    for name, member in _own(value).items():
        function = getattr(member, "__func__", member)
        lazy = isinstance(member, (property, cached_property))
        if name.startswith("_") or not (lazy or inspect.isroutine(function)):
            continue
        shown = name if lazy else _signature(name, function, brief=True)
        summary = " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
        text = f"- `{shown}`: {summary}".removesuffix(": ")
        lines += textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    return ["**Members**", "", *lines, ""] if lines else []


if __name__ == "__main__":
    main()
