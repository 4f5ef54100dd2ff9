"""Types of arguments; apart from the flags, since the program needs them before any command."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem

from vaetools.paths import refuse_other_url, refuse_url


class LocalPath(click.Path):
    """A path of a file or folder on this machine; a URL is refused."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Folders if the value is shown as one, otherwise files and folders."""
        del ctx
        return [CompletionItem(incomplete, type="dir" if param.metavar == "DIR" else "file")]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        refuse_url(value, _name(param, ctx))
        return super().convert(value, param, ctx)


class Place(LocalPath):
    """A path, or the URL of an object store."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        refuse_other_url(value, _name(param, ctx))
        return click.Path.convert(self, value, param, ctx)


def _name(param: click.Parameter | None, ctx: click.Context | None) -> str:
    return "it" if param is None else param.get_error_hint(ctx).strip("'")
