"""The HTML report of a run: totals, failures, and all inputs with links and thumbnails.

The page is self-contained and has no scripts. It is generated in pieces, so that a report of
100,000 records needs little memory. Links are relative: they stay valid if all folders are moved
together.
"""

from __future__ import annotations

import os
from html import escape
from pathlib import PurePath
from typing import TYPE_CHECKING
from urllib.parse import quote

from vaetools.errors import printable
from vaetools.record import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from vaetools.record import Record

THUMBNAIL_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif", ".bmp")
"""Suffixes of images that browsers display."""

VIDEO_SUFFIXES = (".mp4", ".m4v", ".webm")
"""Suffixes of videos that browsers play."""

THUMBNAIL_ROWS = 300
"""Rows with thumbnails; further rows have links only."""

THUMBNAILS_PER_ROW = 9

PAGE_START = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8" />
<meta name="generator" content="vaetools report" />
"""
"""Every report begins like this: a file that does may be replaced by a new report."""

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
img, video { width: 6rem; height: 6rem; margin: 0.1rem; object-fit: contain; background: var(--faint); }
video { width: 12rem; }
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


def page(
    records: Sequence[Record], summary: str, facts: Mapping[str, str], folder: Path
) -> Iterator[str]:
    """The page in pieces.

    Args:
        records: One per input.
        summary: One line about the run.
        facts: Totals of the run, by name.
        folder: The folder of the page; links are relative to it.
    """
    links = _Links(folder)
    yield from _head(records, summary, facts)
    yield from _failures(records, links)
    yield from _inputs(records, links)
    yield "</body>\n</html>\n"


class _Links:
    """URLs of files relative to a folder.

    Symbolic links are not resolved, because browsers do not resolve them in `..` either.
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
    """Escaped text on one line."""
    return escape(text if text.isprintable() else printable(text))


def _head(records: Sequence[Record], summary: str, facts: Mapping[str, str]) -> Iterator[str]:
    title = _text(", ".join(sorted({record.op for record in records})) or "vaetools")
    yield PAGE_START
    yield '<meta name="viewport" content="width=device-width, initial-scale=1" />\n'
    yield f"<title>{title}: {_text(summary)}</title>\n<style>{STYLE}</style>\n</head>\n"
    yield f"<body>\n<h1>{title}</h1>\n<p>{_text(summary)}</p>\n<dl>\n"
    for name, fact in facts.items():
        yield f"<div><dt>{name}</dt><dd>{_text(fact)}</dd></div>\n"
    yield "</dl>\n"


def _failures(records: Sequence[Record], links: _Links) -> Iterator[str]:
    failed = [record for record in records if record.status == "failed"]
    if not failed:
        return
    yield '<h2 class="bad">Failures</h2>\n'
    yield _table_head("Code", "File", "Reason")
    for record in _by_name(failed):
        code, file = _text(record.code), _input(record, links)
        why = _message(record)
        yield f'<tr><td>{code}</td><td class="f">{file}</td><td class="f">{why}</td></tr>\n'
    yield TABLE_END


def _inputs(records: Sequence[Record], links: _Links) -> Iterator[str]:
    if not records:
        return
    yield "<h2>All inputs</h2>\n"
    if len(records) > THUMBNAIL_ROWS:
        yield f"<p>Thumbnails of the first {THUMBNAIL_ROWS}.</p>\n"
    yield _table_head("File", "Status", "Size", "Pixels", "ms")
    for number, record in enumerate(_by_name(records)):
        thumbnails = _thumbnails(record, links) if number < THUMBNAIL_ROWS else ""
        files = f"{_input(record, links)}{_outputs(record, links)}"
        yield f'<tr><td class="f">{thumbnails}{files}</td><td>{_status(record)}</td>'
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
    """Records sorted by input; they come in the order in which the inputs were finished."""
    return sorted(records, key=lambda record: record.file)


def _has_outputs(record: Record) -> bool:
    return record.status in ("done", "skipped")


def _input(record: Record, links: _Links) -> str:
    """The input with a link; a generated item has no file, and no bytes."""
    return _link(record.file, links) if record.bytes_in else _text(record.file)


def _outputs(record: Record, links: _Links) -> str:
    """The outputs, with links if they exist."""
    exist = _has_outputs(record)
    files = [_link(file, links) if exist else _text(file) for file in record.out]
    return f" → {', '.join(files)}" if files else ""


def _link(file: str, links: _Links) -> str:
    return f'<a href="{links.url(file)}">{_text(file)}</a>'


def _thumbnails(record: Record, links: _Links) -> str:
    """Thumbnails of input and outputs. STYLE fixes their size, so that they can load lazily."""
    files = [record.file] if record.bytes_in and record.status != "failed" else []
    if _has_outputs(record):
        files += record.out
    suffixes = THUMBNAIL_SUFFIXES + VIDEO_SUFFIXES
    shown = [file for file in files if file.lower().endswith(suffixes)][:THUMBNAILS_PER_ROW]
    images = [_thumbnail(links.url(file), file.lower()) for file in shown]
    return f"<div>{''.join(images)}</div>" if images else ""


def _thumbnail(url: str, file: str) -> str:
    if file.endswith(VIDEO_SUFFIXES):
        return f'<video src="{url}" controls="" muted="" preload="none"></video>'
    return f'<a href="{url}"><img src="{url}" alt="" loading="lazy" /></a>'


def _status(record: Record) -> str:
    if record.status == "failed":
        return f'<span class="bad">failed {_text(record.code)}</span>'
    message = _message(record)
    return f"{record.status}<small>{message}</small>" if message else record.status


def _message(record: Record) -> str:
    """The message without the name of the input, which the row has already."""
    return _text(record.message.removeprefix(f"{printable(record.file)}: "))


def _sizes(record: Record) -> str:
    before = format_bytes(record.bytes_in) if record.bytes_in else ""
    after = f"→ {format_bytes(record.bytes_out)}" if record.bytes_out else ""
    return f"{before} {after}".strip()
