"""What operations return, checked: plugins may return anything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.errors import PluginError, VaetoolsError
from vaetools.image import Image
from vaetools.image.array import DEPTHS
from vaetools.operation.base import Compound
from vaetools.text import describe

if TYPE_CHECKING:
    from vaetools.operation.base import Item, Operation

MOST_OUTPUTS = 100_000
"""Files that one input may give."""


def results_of(operation: Operation, given: Any, count: int | None = None) -> list[Item]:
    """The results of `process` as a list.

    Args:
        count: number of results that its `outputs` named; None if it was not called.

    Raises:
        PluginError: neither images nor bytes, or another number of them; an image that is none.
    """
    if isinstance(given, Compound):
        given = given.parts()
    results = [given] if isinstance(given, Image | bytes) else given
    if not isinstance(results, Sequence) or not all(isinstance(r, Image | bytes) for r in results):
        raise PluginError(f"{operation.name} gave {type(given).__name__}, neither images nor bytes")
    if count is not None and len(results) != count:
        raise PluginError(f"{operation.name} named {count} outputs and gave {len(results)}")
    for result in results:
        if isinstance(result, Image):
            _check_image(operation, result)
    return list(results)


def outputs_of(operation: Operation, source: PurePath) -> tuple[PurePosixPath, ...]:
    """What `outputs` names for an input. Raises `PluginError` if it fails or gives no names."""
    try:
        given = operation.outputs(source)
    except (VaetoolsError, KeyboardInterrupt):
        raise
    except BaseException as error:
        problem = f"{operation.name} cannot name its outputs: {describe(error)}"
        raise PluginError(problem) from error
    return output_names(operation, given)


def output_names(operation: Operation, given: Any) -> tuple[PurePosixPath, ...]:
    """What `outputs` returned, as relative paths. Raises `PluginError` if these are no names."""
    if not isinstance(given, Iterable) or isinstance(given, str | bytes | PurePath):
        raise PluginError(f"{operation.name} named outputs by {type(given).__name__}, not a list")
    names = list(islice(given, MOST_OUTPUTS + 1))
    if not names:
        raise PluginError(f"{operation.name} names no outputs")
    if len(names) > MOST_OUTPUTS:
        raise PluginError(f"{operation.name} names more than {MOST_OUTPUTS:,} outputs")
    for name in names:
        if not isinstance(name, str | PurePath):
            raise PluginError(f"{operation.name} named an output {name!r}, which is no path")
    return tuple(PurePosixPath(name) for name in names)


def _check_image(operation: Operation, image: Image) -> None:
    """Raise `PluginError` unless pixels and alpha have a shape and a dtype that images have."""
    for what, plane, shapes in (
        ("pixels", image.pixels, ((), (3,))),
        ("alpha", image.alpha, ((),)),
    ):
        if plane is None and what == "alpha":
            continue
        if not isinstance(plane, np.ndarray) or plane.dtype not in DEPTHS:
            kind = getattr(plane, "dtype", type(plane).__name__)
            raise PluginError(
                f"{operation.name} gave {what} of {kind}, not uint8, uint16 or float32"
            )
        if plane.ndim < 2 or plane.shape[2:] not in shapes or plane.size == 0:
            raise PluginError(f"{operation.name} gave {what} of shape {plane.shape}")
