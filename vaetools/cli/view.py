"""`vaetools view FILE…`: `.vae` files in the browser."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from vaetools.cli.arguments import LocalPath
from vaetools.cli.context import hub_of
from vaetools.cli.flags import DEBUG, DEVICE, ISOLATE, MODELS_DIR
from vaetools.errors import EXIT_SOME_FAILED


@click.command("view")
@click.argument("files", nargs=-1, required=True, type=LocalPath(path_type=Path), metavar="FILE...")
@click.option("--browser/--no-browser", default=True, help="Open the page in the browser.")
@click.option(
    "--keep-going",
    is_flag=True,
    help="Show the page even if no file can be displayed, for desktops without a terminal.",
)
@MODELS_DIR
@DEVICE
@ISOLATE
@DEBUG
@click.pass_context
def command(
    ctx: click.Context,
    /,
    files: tuple[Path, ...],
    browser: bool,
    keep_going: bool,
    models_dir: tuple[str, ...],
    device: str,
    isolate: bool | None,
) -> None:
    """Show .vae files in the browser.

    FILE is a .vae file, or a folder of them. The page zooms, and compares a.png.vae with a.png if
    that is next to it. It comes from this machine alone (127.0.0.1), and the command ends when the
    page is closed, or with Ctrl+C.

    \b
    Examples:
      vaetools view photo.png.vae
      vaetools view packed/
    """
    from vaetools.web.shown import Images, described, files_named
    from vaetools.web.view import View

    shown = [described(path) for path in files_named(files)]
    problems = [file.problem for file in shown if file.problem]
    for problem in problems:
        click.echo(problem, err=True)
    if len(problems) == len(shown) and not keep_going:
        ctx.exit(EXIT_SOME_FAILED)
    with (
        hub_of(ctx, models_dir=models_dir, device=device, isolate=isolate) as hub,
        View(Images(shown, hub)) as view,
    ):
        click.echo(f"{view.address}\nClose the page or press Ctrl+C to end.")
        if browser and not webbrowser.open(view.once):
            click.echo("No browser was found: open the address above.", err=True)
        if not view.wait():
            click.echo("No page was opened.", err=True)
    if problems:
        ctx.exit(EXIT_SOME_FAILED)
