"""`vaetools serve`: a page for all operations in the browser."""

from __future__ import annotations

import webbrowser
from importlib.util import find_spec

import click

from vaetools.cli.context import host_of, hub_of
from vaetools.cli.flags import DEBUG, DEVICE, ISOLATE, MODELS_DIR, THREADS
from vaetools.errors import LibraryError
from vaetools.image import MAX_PIXELS, install_command
from vaetools.record import format_bytes

MODULES = ("starlette", "uvicorn", "python_multipart")


@click.command("serve")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    show_default="a free one",
    help="Port on 127.0.0.1.",
)
@click.option("--browser/--no-browser", default=True, help="Open the page in the browser.")
@click.option(
    "--max-upload",
    type=click.IntRange(min=1),
    metavar="MB",
    default=4000,
    help="Total size of all uploads, in megabytes.",
)
@click.option(
    "--max-files",
    type=click.IntRange(min=1),
    metavar="N",
    default=5000,
    help="Number of uploads.",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    metavar="N",
    default=MAX_PIXELS,
    help="Largest image to accept, in pixels.",
)
@MODELS_DIR
@DEVICE
@THREADS
@ISOLATE
@DEBUG
@click.pass_context
def command(
    ctx: click.Context,
    /,
    port: int,
    browser: bool,
    max_upload: int,
    max_files: int,
    max_pixels: int,
    models_dir: tuple[str, ...],
    device: str,
    threads: int | None,
    isolate: bool | None,
) -> None:
    """Open a page for all operations in the browser.

    Drop images or a folder onto the page, choose an operation and its options, compare before and
    after with a slider, and save the results. The page is only for this machine (127.0.0.1), at an
    address with a random token. Uploads and results are deleted when the command ends, with Ctrl+C.

    \b
    Examples:
      vaetools serve
      vaetools serve --port 8123 --no-browser
    """
    missing = [name for name in MODULES if find_spec(name) is None]
    if missing:
        raise LibraryError(
            f"vaetools serve needs the library {missing[0]}", remedy=install_command("web")
        )
    from vaetools.model.registry import default_folders
    from vaetools.plugin.host import default_folders as plugin_folders
    from vaetools.web.limits import Limits
    from vaetools.web.serve import serve

    host_of(ctx)
    plugins = plugin_folders(ctx.find_root().params.get("plugins_dir") or ())
    settings = {
        "plugins": [str(folder) for folder in plugins],
        "models": [str(folder) for folder in default_folders(models_dir)],
        "device": device,
        "threads": threads,
        "isolate": isolate,
        "max_pixels": max_pixels,
    }
    limits = Limits(upload_bytes=max_upload * 10**6, files=max_files, pixels=max_pixels)

    def ready(address: str, once: str) -> None:
        most = format_bytes(limits.upload_bytes)
        click.echo(f"{address}\nUploads of {most} in all. Press Ctrl+C to end.")
        if browser and not webbrowser.open(once):
            click.echo("No browser was found: open the address above.", err=True)

    with hub_of(ctx, models_dir=models_dir, device=device, isolate=isolate) as hub:
        try:
            serve(hub, limits, settings, port=port, ready=ready)
        except KeyboardInterrupt:
            click.echo("Ended: uploads and results are deleted.")
