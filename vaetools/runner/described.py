"""What a run does, by name, for people."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np

from vaetools.errors import printable
from vaetools.operation import option_specs
from vaetools.operation.chain import Chain

if TYPE_CHECKING:
    from vaetools.operation import Operation
    from vaetools.runner.settings import RunSettings


def described(operation: Operation, settings: RunSettings) -> dict[str, str]:
    """Operation, model, options and settings that change outputs, by name, for people.

    Options with their default values are included, settings only if they differ from it.
    """
    steps = operation.steps if isinstance(operation, Chain) else (operation,)
    texts: dict[str, str] = {}
    for step in steps:
        prefix = f"{step.name} " if len(steps) > 1 else ""
        manifest = getattr(step.model, "manifest", None)
        if manifest is not None:
            texts[f"{prefix}model"] = str(manifest.id)
        for spec in option_specs(type(step).Options):
            value = getattr(step.options, spec.name)
            if value is not None:
                texts[prefix + spec.name] = _shown(value)
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.name in _DESCRIBED and value != field.default:
            texts[field.name] = _shown(value)
    return {printable(name.replace("_", " ")): text for name, text in texts.items()}


_DESCRIBED = (
    "to", "quality_out", "strip", "strict", "first_frame", "fourcc", "video_quality",
    "include", "exclude", "shard",
)  # fmt: skip


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, np.ndarray):
        return f"array {' × '.join(map(str, value.shape))}"
    if isinstance(value, tuple | list):
        return ", ".join(map(_shown, value))
    return printable(getattr(value, "__name__", None) or str(value))
