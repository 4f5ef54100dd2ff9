"""The hooks: what a plugin may register. Each returns values; none has an order that matters.

A plugin is a module (or any object) with functions marked `@vaetools.hookimpl` and named as here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import click

    from vaetools.operation import Operation

PROJECT = "vaetools"
"""Name of the marker and of the entry-point group."""

PLUGIN_API = 1
"""Raised when a hook changes in a way that plugins must follow."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_operations() -> Iterable[type[Operation]]:  # type: ignore[empty-body]
    """Operation classes; each becomes a command and a method of the hub."""


@hookspec
def register_models() -> Iterable[Path]:  # type: ignore[empty-body]
    """Folders that hold model folders, or are model folders themselves."""


@hookspec
def register_commands() -> Iterable[click.Command]:  # type: ignore[empty-body]
    """Click commands for what is not an operation on files."""
