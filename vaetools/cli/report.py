"""`vaetools report RUN`: the page and the contact sheet of runs that have ended."""

from __future__ import annotations

from pathlib import Path

import click

from vaetools.cli.arguments import LocalPath
from vaetools.cli.context import hub_of
from vaetools.cli.flags import DEBUG, DEVICE, ISOLATE, MODELS_DIR


@click.command("report")
@click.argument("run", metavar="RUN", type=LocalPath())
@click.option(
    "-o",
    "--out",
    type=LocalPath(),
    metavar="FILE.html",
    show_default="RUN/report.html, or RUN with the suffix .html",
    help="The page.",
)
@click.option(
    "--contact-sheet",
    type=LocalPath(),
    metavar="FILE.png",
    help="Write a PNG image of inputs and outputs; the page only with --out.",
)
@MODELS_DIR
@DEVICE
@ISOLATE
@DEBUG
@click.pass_context
def command(
    ctx: click.Context,
    /,
    run: str,
    out: str | None,
    contact_sheet: str | None,
    models_dir: tuple[str, ...],
    device: str,
    isolate: bool | None,
) -> None:
    """Write an HTML report of runs that have ended.

    RUN is an output folder, or a file with the lines of --json. The page compares inputs and outputs
    with a slider, side by side and as a difference, and lists failures with their remedies. It needs
    no server.

    \b
    vaetools denoise photos/ -o clean/
    vaetools report clean/                                writes clean/report.html
    vaetools report clean/ --contact-sheet sheet.png
    vaetools compress photos/ -o packed/ --json > run.ndjson
    vaetools report run.ndjson -o run.html
    """
    from vaetools.runner import recorded

    result = recorded(run)
    written = []
    with hub_of(ctx, models_dir=models_dir, device=device, isolate=isolate) as hub:
        if contact_sheet is not None:
            result.write_contact_sheet(contact_sheet, decode=hub.preview)
            written.append(contact_sheet)
        if out is not None or contact_sheet is None:
            path = Path(run)
            page = path / "report.html" if path.is_dir() else path.with_suffix(".html")
            result.write_report(out or page, decode=hub.preview)
            written.append(str(out or page))
    click.echo("\n".join(written))
