"""Templates, style sheets and scripts of the pages; the report's are found as well."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

ASSETS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
"""Kinds of files that pages load."""

POLICY = (
    "default-src 'none'; img-src 'self' blob: data:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Content security policy: everything comes from the server itself."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of every response."""


@functools.cache
def environment() -> Environment:
    """Jinja's environment. Text is escaped."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    from vaetools.report.rows import one_line

    made = Environment(
        autoescape=True,
        loader=ChoiceLoader([PackageLoader("vaetools.web"), PackageLoader("vaetools.report")]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(line=one_line)
    return made


def page(template: str, **values: Any) -> str:
    """An HTML page."""
    return environment().get_template(template).render(**values)


def forward(path: str) -> str:
    """A page that opens another one of this server.

    A redirect would lose a strict cookie if another site links to the address.
    """
    return (
        '<!DOCTYPE html><html lang="en"><title>vaetools</title>'
        f'<meta http-equiv="refresh" content="0; url={path}"><a href="{path}">vaetools</a></html>'
    )


@functools.cache
def asset(name: str) -> tuple[str, bytes] | None:
    """(media type, content) of a style sheet or script; None if there is none of this name."""
    from jinja2 import TemplateNotFound

    kind = ASSETS.get(name[name.rfind(".") :])
    loader = environment().loader
    if kind is None or loader is None or "/" in name:
        return None
    try:
        return kind, loader.get_source(environment(), name)[0].encode()
    except TemplateNotFound:
        return None
