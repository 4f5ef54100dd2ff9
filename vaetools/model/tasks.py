"""Which graphs and tables a model needs for the tasks of vaetools' own operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from vaetools.model.spec import Manifest

_VAE = ("encode", "decode")
_DECODER = ("hyper_scale_index", "hyper_mean", "synthesis")

ROLES: dict[str, tuple[str, ...]] = {
    "compress": ("analysis", "hyper_analysis", *_DECODER),
    "decompress": _DECODER,
    "denoise": ("denoise",),
    "generate": _VAE,
    "inpaint": ("inpaint",),
    "reconstruct": _VAE,
}
"""Task -> roles of the graphs that it cannot do without."""

CONTEXT: dict[str, tuple[str, ...]] = {
    "interleaved": ("context_mean",),
    "grid": ("context_1", "context_2", "context_3"),
}
"""Pattern of the context of a codec -> roles of its graphs."""

TABLES = {"compress": "codec", "decompress": "codec", "denoise": "denoise", "inpaint": "inpaint"}
"""Task -> table of the manifest that it cannot do without."""


def missing(manifest: Manifest) -> Iterator[str]:
    """What a model lacks for the tasks that its manifest names; tasks of plugins need nothing here."""
    for task in manifest.tasks:
        table = TABLES.get(task)
        if table is not None and getattr(manifest, table) is None:
            yield f"tasks has {task!r}, which needs the table [{table}]"
        needed = list(ROLES.get(task, ()))
        if manifest.codec is not None and table == "codec":
            needed += CONTEXT[manifest.codec.context]
            if "tables" not in manifest.files:
                yield f"tasks has {task!r}, which needs the file [files.tables]"
        for role in needed:
            if role not in manifest.graphs:
                yield f"tasks has {task!r}, which needs the graph [graphs.{role}]"


def unknown(manifest: Manifest, known: Collection[str]) -> list[str]:
    """Tasks of a model that neither vaetools nor an operation among `known` tasks has."""
    return [task for task in manifest.tasks if task not in ROLES and task not in known]
