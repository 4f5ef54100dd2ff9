"""The hooks: what a plugin may register. Each returns values; the order of plugins does not matter.

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
"""Name of the pluggy project and of the entry-point group."""

PLUGIN_API = 1
"""Version of the hooks; increased when plugins must be changed."""

hookspec: pluggy.HookspecMarker = pluggy.HookspecMarker(PROJECT)
hookimpl: pluggy.HookimplMarker = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_operations() -> Iterable[type[Operation]]:  # type: ignore[empty-body]
    """Operation classes; each becomes a command and a method of the hub."""


@hookspec
def register_models() -> Iterable[Path]:  # type: ignore[empty-body]
    """Model folders, or folders that contain model folders."""


@hookspec
def register_commands() -> Iterable[click.Command]:  # type: ignore[empty-body]
    """Click commands for anything that is not an operation on files."""
