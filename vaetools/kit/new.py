"""`vaetools plugins new NAME`: creates a working plugin package to start from."""

from __future__ import annotations

from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from vaetools.errors import ExistsError, OutputError, UsageError
from vaetools.operation import is_operation_name

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

FILES = {
    "pyproject.toml": "pyproject.toml.txt",
    "README.md": "readme.md.txt",
    ".gitignore": "gitignore.txt",
    ".github/workflows/test.yml": "workflow.yml.txt",
    "src/$module/__init__.py": "module.py.txt",
    "tests/conftest.py": "conftest.py.txt",
    "tests/test_$module.py": "test.py.txt",
}
"""Files of the package -> their templates; `$name`, `$module` and `$kind` are filled in."""


def new_plugin(name: str, folder: Path, *, taken: Container[str] = ()) -> Path:
    """Create the package `vaetools-NAME` in `folder`, which may be new; returns the package's folder.

    Args:
        name: name of the operation, lower case with dashes.
        taken: names that other operations and commands have.

    Raises:
        UsageError: the name is not valid, or taken.
        ExistsError: the package exists.
        OutputError: it cannot be written.
    """
    if not is_operation_name(name):
        raise UsageError(
            f"{name!r} is not a valid name",
            remedy="use a-z, 0-9 and dashes, and no Python keyword",
        )
    if name in taken:
        raise UsageError(f"the name {name!r} is taken", remedy="choose another name")
    place = folder / f"vaetools-{name}"
    words = {
        "name": name,
        "module": f"vaetools_{name.replace('-', '_')}",
        "kind": "".join(word.capitalize() for word in name.split("-")),
    }
    try:
        place.mkdir(parents=True)
        for path, template in FILES.items():
            file = place / Template(path).substitute(words)
            file.parent.mkdir(parents=True, exist_ok=True)
            text = files("vaetools.kit").joinpath("template", template).read_text(encoding="utf-8")
            file.write_text(Template(text).substitute(words), encoding="utf-8")
    except FileExistsError:
        raise ExistsError("exists", file=place) from None
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", file=place) from error
    return place
