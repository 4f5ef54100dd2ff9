"""A run as one page of HTML, for people: what was done, what failed, and what it looks like.

The page needs nothing else and no scripts. It comes in pieces, so that a hundred thousand records
take no memory. Links are relative: folders that are moved or served together with it stay linked.
"""

from __future__ import annotations

import os
from datetime import datetime
from html import escape
from pathlib import PurePath
from typing import TYPE_CHECKING
from urllib.parse import quote

from vaetools.errors import printable
from vaetools.runner.result import in_bytes, in_time
from vaetools.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from vaetools.runner.result import Record, RunResult

THUMBNAILS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif", ".bmp")
"""Suffixes of the pictures that browsers show."""

ROWS = 300
"""Rows with thumbnails; after them there are links only."""

PICTURES = 9
"""Thumbnails in one row."""

HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8" />
<meta name="generator" content="vaetools report" />
"""
"""How each page begins, and no other file."""

STYLE = """
:root { color-scheme: light dark; --bad: #b3261e; --line: #8885; --faint: #8882; }
@media (prefers-color-scheme: dark) { :root { --bad: #ff8a80; } }
body { font: 1rem/1.45 system-ui, sans-serif; max-width: 72rem; margin: auto; padding: 1rem; }
h1, h2 { line-height: 1.2; }
dl { display: flex; flex-wrap: wrap; gap: 0.5rem; }
dl div { background: var(--faint); border-radius: 0.4rem; padding: 0.4rem 0.8rem; }
dt, small { font-size: 0.85rem; opacity: 0.8; }
dd { margin: 0; }
small { display: block; }
table { border-collapse: collapse; width: 100%; }
tr { border-bottom: 1px solid var(--line); }
th, td { padding: 0.4rem 0.6rem; text-align: left; vertical-align: top; }
td.f, small { overflow-wrap: anywhere; }
td.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.bad { color: var(--bad); }
img { width: 6rem; height: 6rem; margin: 0.1rem; object-fit: contain; background: var(--faint); }
@media (max-width: 45rem) {
  thead { display: none; }
  tr { display: block; padding: 0.6rem 0; }
  td, td.n { display: inline-block; padding: 0 0.8rem 0 0; text-align: left; }
  td.f { display: block; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 9pt; }
  a { color: inherit; text-decoration: none; }
  tr { break-inside: avoid; }
  img { width: 2cm; height: 2cm; }
}
"""


def markup(result: RunResult, folder: Path) -> Iterator[str]:
    """The page in pieces, ASCII links and printable text.

    Args:
        folder: that the page will lie in; links are relative to it.
    """
    links = _Links(folder)
    yield from _summary(result)
    yield from _failures(result, links)
    yield from _inputs(result, links)
    yield "</body>\n</html>\n"


class _Links:
    """Addresses of files, as seen from a folder.

    Names alone decide, and not where links among folders lead: that is how browsers read `..`.
    """

    def __init__(self, base: Path) -> None:
        self._base = os.path.abspath(base)  # noqa: PTH100
        self._folders: dict[str, str] = {}

    def url(self, file: str) -> str:
        folder, name = os.path.split(os.path.abspath(file))  # noqa: PTH100
        if folder not in self._folders:
            self._folders[folder] = self._folder(folder)
        return self._folders[folder] + quote(os.fsencode(name))

    def _folder(self, folder: str) -> str:
        try:
            relative = PurePath(os.path.relpath(folder, self._base))
        except ValueError:  # another drive
            return PurePath(folder).as_uri() + "/"
        parts = [quote(os.fsencode(part)) + "/" for part in relative.parts]
        return "".join(parts)


def _text(text: str) -> str:
    """Any text, on one line, as it may stand in an element."""
    return escape(text if text.isprintable() else printable(text))


def _summary(result: RunResult) -> Iterator[str]:
    title = _text(_values(record.op for record in result.records) or "vaetools")
    yield HEAD
    yield '<meta name="viewport" content="width=device-width, initial-scale=1" />\n'
    yield f"<title>{title}: {_text(result.summary)}</title>\n<style>{STYLE}</style>\n</head>\n"
    yield f"<body>\n<h1>{title}</h1>\n<p>{_text(result.summary)}</p>\n<dl>\n"
    for name, fact in _facts(result).items():
        yield f"<div><dt>{name}</dt><dd>{_text(fact)}</dd></div>\n"
    yield "</dl>\n"


def _facts(result: RunResult) -> dict[str, str]:
    """Counts, sizes, and what it ran on; nothing that is none."""
    counts = result.counts | {"not reached": result.unreached}
    facts = {name: f"{count:,}" for name, count in counts.items() if count}
    if result.bytes_out:
        facts |= {"before": in_bytes(result.bytes_in), "after": in_bytes(result.bytes_out)}
    if result.bytes_out and result.bytes_in:
        facts["after / before"] = f"{result.bytes_out / result.bytes_in:.1%}"
    devices = _values(record.device for record in result.records)
    if devices:
        facts["device"] = devices
    written = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %z")
    return facts | {"time": in_time(result.seconds), "written": written, "vaetools": __version__}


def _values(values: Iterable[str | None]) -> str:
    """Those that occur."""
    return ", ".join(sorted({value for value in values if value}))


def _failures(result: RunResult, links: _Links) -> Iterator[str]:
    failed = [record for record in result.records if record.status == "failed"]
    if not failed:
        return
    yield '<h2 class="bad">What failed</h2>\n'
    yield _table_head("Code", "File", "Why")
    for record in _by_name(failed):
        code, file = _text(record.code), _input(record, links)
        why = _message(record)
        yield f'<tr><td>{code}</td><td class="f">{file}</td><td class="f">{why}</td></tr>\n'
    yield TABLE_END


def _inputs(result: RunResult, links: _Links) -> Iterator[str]:
    if not result.records:
        return
    yield "<h2>All inputs</h2>\n"
    if len(result.records) > ROWS:
        yield f"<p>The first {ROWS} with pictures.</p>\n"
    yield _table_head("File", "Status", "Size", "Pixels", "ms")
    for number, record in enumerate(_by_name(result.records)):
        pictures = _pictures(record, links) if number < ROWS else ""
        files = f"{_input(record, links)}{_outputs(record, links)}"
        yield f'<tr><td class="f">{pictures}{files}</td><td>{_status(record)}</td>'
        size = f"{record.width} × {record.height}" if record.width else ""
        ms = f"{record.ms:,.0f}" if record.ms else ""
        for fact in (_sizes(record), size, ms):
            yield f'<td class="n">{fact}</td>'
        yield "</tr>\n"
    yield TABLE_END


TABLE_END = "</tbody>\n</table>\n"


def _table_head(*names: str) -> str:
    cells = "".join(f'<th scope="col">{name}</th>' for name in names)
    return f"<table>\n<thead><tr>{cells}</tr></thead>\n<tbody>\n"


def _by_name(records: Sequence[Record]) -> list[Record]:
    """Records come in the order in which they ended; nobody finds a file in that."""
    return sorted(records, key=lambda record: record.file)


def _is_written(record: Record) -> bool:
    """Whether its outputs are there."""
    return record.status in ("done", "skipped")


def _input(record: Record, links: _Links) -> str:
    """The input, linked; an item that came out of nothing is no file, and has no bytes."""
    return _link(record.file, links) if record.bytes_in else _text(record.file)


def _outputs(record: Record, links: _Links) -> str:
    """The outputs, linked if they are there."""
    written = _is_written(record)
    files = [_link(file, links) if written else _text(file) for file in record.out]
    return f" → {', '.join(files)}" if files else ""


def _link(file: str, links: _Links) -> str:
    return f'<a href="{links.url(file)}">{_text(file)}</a>'


def _pictures(record: Record, links: _Links) -> str:
    """Thumbnails of input and outputs; of fixed size, as browsers only then load them lazily."""
    files = [record.file] if record.bytes_in and record.status != "failed" else []
    if _is_written(record):
        files += record.out
    urls = [links.url(file) for file in files if file.lower().endswith(THUMBNAILS)][:PICTURES]
    images = [f'<a href="{u}"><img src="{u}" alt="" loading="lazy" /></a>' for u in urls]
    return f"<div>{''.join(images)}</div>" if images else ""


def _status(record: Record) -> str:
    if record.status == "failed":
        return f'<span class="bad">failed {_text(record.code)}</span>'
    message = _message(record)
    return f"{record.status}<small>{message}</small>" if message else record.status


def _message(record: Record) -> str:
    """What the record says, without the name of the file, which stands beside it."""
    return _text(record.message.removeprefix(f"{printable(record.file)}: "))


def _sizes(record: Record) -> str:
    before = in_bytes(record.bytes_in) if record.bytes_in else ""
    after = f"→ {in_bytes(record.bytes_out)}" if record.bytes_out else ""
    return f"{before} {after}".strip()
