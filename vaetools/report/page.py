"""The report of a run as an HTML page: failures first, then charts and a table of all inputs.

The page needs no server and makes no request beyond the images of the run. Without scripts it is a
plain table with links. A content security policy allows its one script and its one style sheet by
their hashes. It is generated in pieces, so that a report of 100,000 records needs little memory.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vaetools.explanations import explanations
from vaetools.report.charts import HEIGHT, WIDTH, Chart, histogram, size_text, time_text
from vaetools.report.rows import Row, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jinja2 import Environment
    from jinja2.environment import TemplateStream
    from markupsafe import Markup

    from vaetools.record import Record
    from vaetools.report.links import Links
    from vaetools.report.previews import Shot

PAGE_START = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8" />
<meta name="generator" content="vaetools report" />
"""
"""Every report begins like this: a file that does may be replaced by a new report."""

_CSP = (
    "default-src 'none'; img-src 'self' data: file:; media-src 'self' file:; "
    "style-src 'sha256-{style}'; script-src 'sha256-{script}'; base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True)
class Overview:
    """What a report says about the run as a whole.

    Attributes:
        summary: One line about the run.
        facts: Totals of the run, by name.
        options: Operation, model and options of the run, by name.
        not_kept: What metadata of inputs no output has, and for how many inputs.
        left_alone: Files of the input folders that were not selected, in words.
    """

    summary: str
    facts: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    not_kept: Mapping[str, int] = field(default_factory=dict)
    left_alone: str = ""


def page(
    records: Sequence[Record],
    overview: Overview,
    links: Links,
    shots: Sequence[Sequence[Shot]] = (),
) -> Iterator[str]:
    """The page in pieces.

    Args:
        records: One per input, in the order of the table.
        overview: What the page says about the run as a whole.
        links: URLs of files, relative to the folder of the page.
        shots: The previews of the first records.
    """
    environment = _environment()
    style = "".join(source(f"{name}.css") for name in ("base", "viewer", "page"))
    script = f"//<![CDATA[\n{source('viewer.js')}{source('page.js')}//]]>\n"
    policy = _CSP.format(style=_hash(style), script=_hash(script))
    stream: TemplateStream = environment.get_template("page.html").stream(
        page_start=PAGE_START,
        policy=policy,
        style=style,
        script=script,
        title=one_line(", ".join(sorted({record.op for record in records}))) or "vaetools",
        overview=overview,
        failures=_failures(records, links),
        charts=_charts(records),
        chart_width=WIDTH,
        chart_height=HEIGHT,
        count=len(records),
        previewed=len(shots),
        rows=_rows(records, links, shots),
    )
    stream.enable_buffering(64)
    yield from stream


def _rows(
    records: Sequence[Record], links: Links, shots: Sequence[Sequence[Shot]]
) -> Iterator[Row]:
    for number, record in enumerate(records):
        yield Row(record, links, shots[number] if number < len(shots) else ())


@dataclass(frozen=True)
class _Failures:
    """The inputs that failed with one code."""

    code: str
    meaning: str
    remedy: str
    rows: Sequence[Row]


def _failures(records: Sequence[Record], links: Links) -> list[_Failures]:
    """Failed inputs by code, the most frequent code first."""
    by_code: defaultdict[str, list[Row]] = defaultdict(list)
    for record in records:
        if record.status == "failed":
            by_code[record.code].append(Row(record, links))
    known = explanations()
    return [
        _Failures(
            code,
            known[code].meaning if code in known else "",
            known[code].remedy if code in known else "",
            rows,
        )
        for code, rows in sorted(by_code.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


def _charts(records: Sequence[Record]) -> list[Chart]:
    done = [record for record in records if record.status == "done"]
    sizes = {
        "input": [float(record.bytes_in) for record in done],
        "output": [float(record.bytes_out) for record in done],
    }
    times = {"time": [record.ms for record in done]}
    charts = [
        histogram("File size", sizes, size_text),
        histogram("Time per input", times, time_text),
    ]
    return [chart for chart in charts if chart is not None]


def _with_code(text: str) -> Markup:
    """Text with `code` in backticks as HTML."""
    from markupsafe import Markup

    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else part
        for index, part in enumerate(parts)
    )


def _hash(text: str) -> str:
    """A hash as content security policies have it."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        loader=PackageLoader("vaetools.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(line=one_line, code=_with_code)
    return environment


def source(name: str) -> str:
    """The text of a style sheet or a script."""
    environment = _environment()
    loader: Any = environment.loader
    text: str = loader.get_source(environment, name)[0]
    return text
