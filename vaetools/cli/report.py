"""`vaetools report RUN`: the page and the contact sheet of runs that have ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vaetools.cli.arguments import LocalPath
from vaetools.cli.context import hub_of
from vaetools.cli.flags import DEBUG, DEVICE, ISOLATE, JSON, MODELS_DIR

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vaetools.record import Record
    from vaetools.runner import RunResult


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
@JSON
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
    as_json: bool,
    models_dir: tuple[str, ...],
    device: str,
    isolate: bool | None,
) -> None:
    """Write an HTML report of runs that have ended.

    RUN is an output folder, a file with the lines of --json, or the folder of a job. The page
    compares inputs and outputs with a slider, side by side and as a difference, and lists failures
    with their remedies. It needs no server. For a job the exit code is that of the whole: 0 all done,
    1 some inputs failed, 5 shards are missing.

    \b
    Examples:
      vaetools report clean/
      vaetools report clean/ --contact-sheet sheet.png
      vaetools report run.ndjson -o run.html
      vaetools report run/ --json > all.ndjson
    """
    from vaetools.distributed.merged import JobResult, retries

    result = _result(run)
    if as_json:
        for record in _records(run, result):
            click.echo(json.dumps(record.as_dict()))
    written = []
    with hub_of(ctx, models_dir=models_dir, device=device, isolate=isolate) as hub:
        if contact_sheet is not None:
            result.write_contact_sheet(contact_sheet, decode=hub.preview)
            written.append(contact_sheet)
        if out is not None or (contact_sheet is None and not as_json):
            path = Path(run)
            page = path / "report.html" if path.is_dir() else path.with_suffix(".html")
            result.write_report(out or page, decode=hub.preview)
            written.append(str(out or page))
    if written:
        click.echo("\n".join(written), err=as_json)
    if isinstance(result, JobResult):
        for line in (*retries(result.retried), *result.problems, result.summary):
            click.echo(line, err=True)
        ctx.exit(result.exit_code)


def _records(run: str, result: RunResult) -> Iterable[Record]:
    """All records of runs or of a job, of which `result` may have only the first ones."""
    from vaetools.distributed.job import is_job, open_job
    from vaetools.distributed.merged import all_records

    return all_records(open_job(run)) if is_job(run) else result.records


def _result(run: str) -> RunResult:
    """The result of runs or of a job. Raises as `recorded` and `open_job`."""
    from vaetools.distributed.job import is_job, open_job
    from vaetools.distributed.merged import merged
    from vaetools.runner import recorded

    return merged(open_job(run)) if is_job(run) else recorded(run)
