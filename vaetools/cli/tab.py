"""What the shell offers when TAB is pressed. Nothing heavy is imported, not even click.

The scripts that `vaetools completion` prints call the program with `VAETOOLS_COMPLETE=SHELL` and the
words of the line, of which the last one is not complete. Each line of the answer is a kind, a value
and its help, separated by tabs: `word`, or `file` or `dir`, which the shell completes itself.

All commands, flags and values are remembered in the user's cache as a tree, which is made anew when
something that it depends on has changed: see `vaetools.cli.completion`.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

VARIABLE = "VAETOOLS_COMPLETE"

MAX_AGE = 24 * 3600
"""Seconds after which a tree is made anew in any case."""

ENVIRONMENT = ("VAETOOLS_PLUGINS", "VAETOOLS_PLUGINS_DIR", "VAETOOLS_MODELS", "XDG_DATA_HOME")
"""Variables that decide what there is."""

Item = tuple[str, str, str]
"""Kind, value, help."""


def answer(words: Sequence[str]) -> None:
    """Print what the last of `words` may become."""
    plugins_dirs = _values_of("--plugins-dir", words[:-1])
    tree = _remembered() if not plugins_dirs else None
    if tree is None:
        from vaetools.cli.completion import tree_of

        tree = tree_of(plugins_dirs)
        if not plugins_dirs:
            _remember(tree)
    if os.environ[VARIABLE] == "bash":  # a word of its own there
        words = [word for word in words[:-1] if word != "="] + [
            words[-1] if words[-1] != "=" else ""
        ]
    lines = ["\t".join(" ".join(p.split()) for p in item) for item in completions(tree, words)]
    with contextlib.suppress(OSError):  # the shell did not wait
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()


def completions(tree: Mapping[str, Any], words: Sequence[str]) -> Iterator[Item]:
    """What the last of `words` may become.

    Args:
        tree: As `vaetools.cli.completion.tree_of` makes it: of the program.
        words: Without the name of the program.
    """
    place = _Place(tree)
    for word in words[:-1]:
        place.pass_by(word)
    typed = words[-1] if words else ""
    flag, equals, value = typed.partition("=")
    if place.pending is not None:
        yield from _matching(place.pending["values"], typed)
    elif equals and flag in place.flags:
        yield from (
            (kind, f"{flag}={text}" if kind == "word" else text, shown)
            for kind, text, shown in _matching(place.flags[flag]["values"], value)
        )
    elif typed.startswith("-") and not place.only_arguments:
        found = ((name, one["help"]) for name, one in place.flags.items() if place.is_free(name))
        yield from _matching([["word", *one] for one in found], typed)
    else:
        yield from _matching(place.next_values(typed), typed)


def _matching(items: Sequence[Sequence[str]], typed: str) -> Iterator[Item]:
    for kind, value, shown in items:
        if kind != "word" or value.startswith(typed):
            yield kind, value, shown


class _Place:
    """The command that the words have led to, and what may follow.

    Attributes:
        flags: Of the command, by name.
        pending: The flag that waits for its value.
        only_arguments: Whether no flags follow, after `--`.
    """

    def __init__(self, node: Mapping[str, Any]) -> None:
        self._node = node
        self._root = node
        self._used: set[str] = set()
        self._arguments = 0
        self.only_arguments = False
        self.pending: Mapping[str, Any] | None = None
        self.flags: dict[str, Any] = dict(node["flags"])

    def pass_by(self, word: str) -> None:
        """Go on after a complete word."""
        if self.pending is not None:
            self.pending = None
        elif word == "--":
            self.only_arguments = True
        elif word.startswith("-") and not self.only_arguments:
            flag = self.flags.get(word)
            self._used.add(word.partition("=")[0])
            self.pending = flag if flag is not None and flag["takes_value"] else None
        elif (nodes := self._nodes(word)) is not None:
            self._node = nodes[0]
            self.flags = {name: flag for node in nodes for name, flag in node["flags"].items()}
            self._used, self._arguments = set(), 0
        else:
            self._arguments += 1

    def _nodes(self, word: str) -> list[Mapping[str, Any]] | None:
        """The commands that a word names: several for `run denoise,compress`."""
        if self._node.get("is_chain"):
            chain = [self._root["commands"].get(name) for name in word.split(",")]
            return [node for node in chain if node is not None] or None
        node = self._node["commands"].get(word)
        return None if node is None else [node]

    def is_free(self, name: str) -> bool:
        """Whether a flag may be given again."""
        flag = self.flags[name]
        return flag["repeatable"] or not self._used & {name, *flag["same"]}

    def next_values(self, typed: str) -> list[list[str]]:
        """The commands or the values of the argument that follow."""
        if self._node.get("is_chain"):
            before, comma, _ = typed.rpartition(",")
            operations = self._node["operations"]
            return [["word", f"{before}{comma}{name}", text] for name, text in operations] + [
                ["file", "", ""]
            ]
        if self._node["commands"]:
            return [["word", name, node["help"]] for name, node in self._node["commands"].items()]
        arguments: list[dict[str, Any]] = self._node["arguments"]
        if not arguments:
            return []
        last = arguments[min(self._arguments, len(arguments) - 1)]
        fits = self._arguments < len(arguments) or last["repeatable"]
        found: list[list[str]] = last["values"] if fits else []
        return found


def _values_of(flag: str, words: Sequence[str]) -> list[str]:
    pairs = itertools.pairwise(words)
    joined = [word.partition("=")[2] for word in words if word.startswith(f"{flag}=")]
    return [value for word, value in pairs if word == flag] + joined


def _file() -> str:
    place = [sys.prefix, sys.version, *(os.environ.get(name, "") for name in ENVIRONMENT)]
    return f"completion-{hashlib.sha256(repr(place).encode()).hexdigest()[:16]}.json"


def _remembered() -> dict[str, Any] | None:
    from vaetools.user_cache import read_cache
    from vaetools.version import __version__

    found = read_cache(_file())
    with contextlib.suppress(KeyError, TypeError, ValueError):  # of a damaged file
        is_fresh = found["version"] == __version__ and 0 <= time.time() - found["made"] < MAX_AGE
        if is_fresh and all(stamp_of(path) == stamp for path, stamp in found["depends_on"]):
            tree: dict[str, Any] = found["tree"]
            return tree
    return None


def _remember(tree: Mapping[str, Any]) -> None:
    from vaetools.cli.completion import depends_on
    from vaetools.user_cache import write_cache
    from vaetools.version import __version__

    stamps = [[path, stamp_of(path)] for path in depends_on()]
    content = {"version": __version__, "made": time.time(), "depends_on": stamps, "tree": tree}
    write_cache(_file(), content)


def stamp_of(path: str) -> list[int] | None:
    """Time and size of a file or folder; None if there is none."""
    with contextlib.suppress(OSError):
        status = os.stat(path)  # noqa: PTH116 - pathlib takes time
        return [status.st_mtime_ns, status.st_size]
    return None
