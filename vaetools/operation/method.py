"""Operations as methods of a hub: `hub.compress(image, quality=75)`."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from vaetools.errors import UsageError
from vaetools.libraries import library_errors
from vaetools.operation.signature import FIRST, documentation, signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from vaetools.operation.base import Operation

NEEDS = {"image": "an image", "file": "a file"}
"""The first argument in words, by what an operation takes."""


@functools.lru_cache(maxsize=128)
@library_errors()
def method(operation: type[Operation]) -> Callable[..., Any]:
    """`hub.op(name, **options)(image)` as one function of the hub, with signature and docstring.

    A method made of it with `types.MethodType` can be pickled.
    """
    name, expected, first = operation.name, signature(operation), FIRST.get(operation.takes)
    positional = [p.name for p in expected.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]

    def call(hub: Any, /, *items: Any, key: str = "", **options: Any) -> Any:
        for twice, _ in zip(positional, items, strict=False):
            if twice in options:
                raise UsageError(f"{name}: {twice} is given twice")
        if first in options:
            items = (options.pop(first),)
        if first is not None and not items:
            raise UsageError(f"{name} needs {NEEDS[operation.takes]}")
        if len(items) > 2:
            raise UsageError(f"{name} takes two positional arguments at most, not {len(items)}")
        return hub._step(name, options)(*items, key=key)  # noqa: SLF001 - its cache of steps

    call.__name__ = name.replace("-", "_")
    call.__qualname__ = f"Hub.{call.__name__}"
    call.__module__ = "vaetools.hub"
    call.__doc__ = documentation(operation)
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    call.__signature__ = expected.replace(  # type: ignore[attr-defined]
        parameters=[itself, *expected.parameters.values()]
    )
    return call
