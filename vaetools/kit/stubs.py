"""`vaetools plugins stubs`: typed methods of all operations, for type checkers and editors.

A partial stub package (PEP 561) in the folder of installed packages: mypy and pyright take
`vaetools.hub_methods` from there and everything else from vaetools itself.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from vaetools.errors import ExistsError, OutputError
from vaetools.operation.stubs import methods_module

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vaetools.operation import Operation

PACKAGE = "vaetools-stubs"
COMMAND = "vaetools plugins stubs"
BUILT_IN_COMMAND = f"{COMMAND} --built-in"


def installed_packages() -> Path:
    """The folder of installed packages, where type checkers look."""
    return Path(sysconfig.get_path("purelib"))


def built_in_module(operations: Iterable[type[Operation]]) -> str:
    """Source of `vaetools/hub_methods.pyi`, before it is formatted."""
    return methods_module(operations, BUILT_IN_COMMAND)


def write_stubs(operations: Iterable[type[Operation]], folder: Path) -> Path:
    """Write the stub package for the operations into a folder; returns its place.

    Raises:
        ExistsError: a file of that name is not one that this function wrote.
        OutputError: it cannot be written.
    """
    text = methods_module(operations, COMMAND)
    place = folder / PACKAGE
    stub = place / "hub_methods.pyi"
    mark = text.splitlines()[0]
    try:
        if stub.exists() and not stub.read_text(encoding="utf-8").startswith(mark):
            raise ExistsError("exists and was not generated", file=stub, remedy="remove it")
        place.mkdir(parents=True, exist_ok=True)
        (place / "py.typed").write_text("partial\n", encoding="utf-8")
        stub.write_text(text, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = getattr(error, "strerror", None) or str(error)
        remedy = "choose another folder with -o"
        raise OutputError(f"cannot be written: {problem}", file=place, remedy=remedy) from error
    return place
