"""`vaetools desktop install|uninstall|thumbnail`."""

from __future__ import annotations

from pathlib import Path

import click

from vaetools.cli.arguments import LocalPath
from vaetools.cli.context import hub_of
from vaetools.cli.flags import DEBUG
from vaetools.desktop import install, thumbnail, uninstall

MAX_SIZE = 4096
"""Pixels: file managers ask for 128 to 1024."""


@click.group("desktop")
@DEBUG
def command() -> None:
    """Show .vae files as images in file managers (Linux).

    \b
    Examples:
      vaetools desktop install
      vaetools desktop uninstall
    """


@command.command("install")
@DEBUG
def install_files() -> None:
    """Register the MIME type, a thumbnailer and a viewer for this user.

    Writes to $XDG_DATA_HOME, by default ~/.local/share. Running it again changes nothing.

    \b
    Examples:
      vaetools desktop install
    """
    for line in install():
        click.echo(line)


@command.command("uninstall")
@DEBUG
def uninstall_files() -> None:
    """Remove what install wrote.

    \b
    Examples:
      vaetools desktop uninstall
    """
    for line in uninstall():
        click.echo(line)


@command.command("thumbnail")
@click.argument("source", metavar="IN", type=LocalPath(path_type=Path))
@click.argument("target", metavar="OUT", type=LocalPath(path_type=Path))
@click.argument("size", type=click.IntRange(1, MAX_SIZE))
@DEBUG
@click.pass_context
def make_thumbnail(ctx: click.Context, source: Path, target: Path, size: int) -> None:
    """Write a PNG file of at most SIZE x SIZE pixels, as file managers ask for it.

    Of a .vae file that is cut short, the preview is shown.

    \b
    Examples:
      vaetools desktop thumbnail packed/photo.jpg.vae thumbnail.png 256
    """
    thumbnail(source, target, size, hub_of(ctx, device="cpu"))
