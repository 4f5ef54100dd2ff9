"""JSON files that accompany weights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from vaetools.errors import ModelBrokenError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


MAX_BYTES = 2**20
"""Size of a config."""

MAX_SIZE = 2**16
"""Largest number of channels, pixels and the like in a config."""

MAX_LAYERS = 128
"""Most layers of a block, and most blocks."""

LOGVAR_RANGE = -30.0, 20.0
"""To which diffusers clamps ln(variance)."""


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that contains an object.

    Raises:
        UsageError: the file does not exist.
        ModelBrokenError: it contains something else.
    """
    if not path.is_file():
        raise UsageError("no such file", file=path)
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ModelBrokenError(f"has {size} bytes, the limit is {MAX_BYTES}", file=path)
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ModelBrokenError("is nested too deeply", file=path) from None
    except ValueError as error:
        raise ModelBrokenError(f"is not JSON: {error}", file=path) from None
    if not isinstance(held, dict):
        raise ModelBrokenError("is not a JSON object", file=path)
    return held


def read_diffusers_config(folder: Path, classes: tuple[str, ...]) -> dict[str, Any]:
    """`config.json` of one of the classes of diffusers. Raises as `read_json`, and
    `ModelBrokenError` for other classes and for quantised weights."""
    path = folder / "config.json"
    config = read_json(path)
    if config.get("_class_name") not in classes:
        raise ModelBrokenError(
            f"names the class {config.get('_class_name')!r}",
            file=path,
            remedy=f"known: {', '.join(classes)}",
        )
    for key, value in config.items():
        _check_sizes(path, key, value)
    if "quantization_config" in config:
        raise ModelBrokenError("the weights are quantised; plain ones are needed", file=path)
    return config


def _check_sizes(path: Path, key: str, value: object) -> None:
    """Raise `ModelBrokenError` for numbers and lists that no network has."""
    values = value if isinstance(value, list) else [value]
    most = MAX_LAYERS if "layers" in key else MAX_SIZE
    numbers = [n for n in values if isinstance(n, int | float)]
    if any(not -MAX_SIZE <= n <= most for n in numbers) or len(values) > MAX_SIZE:
        raise ModelBrokenError(f"{key} is out of range: at most {most}", file=path)
    if "block" in key and len(values) > MAX_LAYERS:
        raise ModelBrokenError(
            f"{key} has {len(values)} entries, the limit is {MAX_LAYERS}", file=path
        )
