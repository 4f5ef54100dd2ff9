"""JSON files that accompany weights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from vaetools.errors import ModelBrokenError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


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
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
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
    if "quantization_config" in config:
        raise ModelBrokenError("the weights are quantised; plain ones are needed", file=path)
    return config
