"""What the commands share: the plugin host and the hub of an invocation, and warnings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from vaetools.errors import PluginError, VaetoolsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vaetools.hub import Hub
    from vaetools.plugin.host import PluginHost


COMMAND = "vaetools.command"
"""Key in click's `meta`: the command that runs, the innermost one."""


_COMMAND = re.compile(r"\b(vaetools|pip|apt-get) ")


def host_of(ctx: click.Context, *, retry: bool = False) -> PluginHost:
    """The plugin host of this invocation, created on first use; broken plugins go to stderr.

    Args:
        retry: try installed plugins again that did not work when they were tried last.

    Raises:
        PluginError: a plugin is broken, and `--strict-plugins` is set.
    """
    root = ctx.find_root()
    if root.obj is None:
        from vaetools.plugin.host import PluginHost, default_folders
        from vaetools.plugin.probe import probed_offers

        folders = default_folders(root.params.get("plugins_dir") or ())
        root.obj = PluginHost(folders=folders, cache=probed_offers(retry=retry))
        for plugin in root.obj.broken:
            warn(plugin.error)
        if root.obj.broken and root.params.get("strict_plugins"):
            raise PluginError(f"{len(root.obj.broken)} plugins are broken")
    host: PluginHost = root.obj
    return host


def hub_of(
    ctx: click.Context,
    *,
    models_dir: Iterable[str] = (),
    device: str = "auto",
    threads: int | None = None,
    isolate: bool | None = None,
) -> Hub:
    """A hub with the plugins of this invocation."""
    from vaetools.hub import Hub
    from vaetools.model.registry import default_folders

    folders = default_folders(models_dir)
    return Hub(host_of(ctx), folders, device=device, threads=threads, isolate=isolate)


def warn(error: VaetoolsError | None) -> None:
    """Print an error on stderr as one line; nothing for None."""
    if error is not None:
        ctx = click.get_current_context(silent=True)
        fit_remedy(error, None if ctx is None else ctx.command)
        click.echo(error.line, err=True)


def fit_remedy(error: VaetoolsError, command: click.Command | None) -> None:
    """Remove a remedy that names an option which the command does not have.

    An error does not know which command it ends: `--max-pixels` helps with an operation on files, but
    `vaetools eval` has no such option. A remedy that is a whole command, of vaetools or of another
    program, stays.
    """
    if command is None or error.remedy is None or _COMMAND.search(error.remedy):
        return
    flags = {flag for p in command.params for flag in (*p.opts, *p.secondary_opts)}
    flags |= {f"--{flag.rpartition('.')[2]}" for flag in flags}  # --dust.amount in a chain
    if not set(re.findall(r"(?<!\S)--[a-z][a-z-]*", error.remedy)) <= flags:
        error.remedy = None
