"""The checks of a plugin: its operations process small images of every kind."""

from __future__ import annotations

from pathlib import PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.errors import InputError, ModelError
from vaetools.hub import Hub
from vaetools.image import SUFFIXES, Image
from vaetools.kit.finding import Finding
from vaetools.model.registry import default_folders
from vaetools.operation import ImageOperation, Operation, OptionSpec, option_specs, results_of
from vaetools.runner.record import explain
from vaetools.testing import TINY, gradient, write_tiny_vae

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from vaetools.operation import Item
    from vaetools.plugin.host import PluginHost
    from vaetools.plugin.registered import Plugin

TINY_TASKS = ("reconstruct", "generate")

MAX_GENERATED = 2
"""Number of items to check of an operation that generates them."""


def trial(host: PluginHost, plugin: Plugin, models: Path) -> Iterator[Finding]:
    """Check one plugin.

    Args:
        models: an empty folder for the tiny model.
    """
    if plugin.error is not None:
        yield Finding("fail", plugin.name, plugin.error.problem)
        return
    yield Finding("ok", plugin.name, f"loads; hooks: {', '.join(plugin.hooks)}")
    if plugin.commands:
        yield Finding("ok", plugin.name, f"commands: {', '.join(plugin.commands)}")
    write_tiny_vae(models / TINY)
    hub = Hub(host, [models, *default_folders()], device="cpu", threads=1)
    for name in plugin.operations:
        options = ", ".join(_shown(spec) for spec in option_specs(hub.find(name).Options))
        yield Finding("ok", name, f"options: {options or 'none'}")
        yield from _check_operation(hub, name)


def _shown(spec: OptionSpec) -> str:
    bounds = f", {spec.bounds}" if spec.bounds else ""
    return f"{spec.name} ({spec.kind.__name__}{bounds}, default {spec.default})"


def sample_images() -> dict[str, Image]:
    """Small images of every kind, by a description."""
    small = gradient(33, 50)
    alpha = np.tile(np.arange(50, dtype=np.uint8), (33, 1))
    deep = np.dstack([small, alpha]).astype(np.uint16) * 257
    return {
        "8 bit, 48×64": Image.from_array(gradient()),
        "8 bit, grey, 33×50": Image.from_array(small[:, :, 1]),
        "16 bit with alpha, 33×50": Image.from_array(deep),
        "float, 1×1": Image.from_array(np.full((1, 1, 3), 0.5, np.float32)),
    }


def _check_operation(hub: Hub, name: str) -> Iterator[Finding]:
    """Check one operation with default options, and with masks for options that are required."""
    kind = hub.find(name)
    specs = option_specs(kind.Options)
    masks: dict[str, Any] = {
        spec.name: _half for spec in specs if spec.required and spec.kind is np.ndarray
    }
    try:
        model = TINY if kind.task in TINY_TASKS else None
        operation = hub.op(name, model=model, **masks).operation
        if operation.missing:
            names = ", ".join(spec.name for spec in operation.missing)
            yield Finding("note", name, f"not checked: nothing is known to give as {names}")
            return
        if operation.takes == "nothing":
            made = list(operation.items())[:MAX_GENERATED]
            items: dict[str, Any] = {str(item): item for item in made}
        else:
            items = sample_images() if operation.takes == "image" else {}
    except ModelError as error:
        yield Finding("note", name, f"not checked: {error}")
        return
    except Exception as error:  # noqa: BLE001 - whatever a plugin raises
        yield Finding("fail", name, explain(error, name)[1])
        return
    if not items:
        yield Finding("note", name, "not checked: it takes files, or generates nothing")
    for what, item in items.items():
        yield _check_item(operation, what, item)


def _half(image: np.ndarray) -> np.ndarray:
    """A mask of the left half of an image."""
    mask = np.zeros(image.shape[:2], np.bool_)
    mask[:, : (image.shape[1] + 1) // 2] = True
    return mask


def _check_item(operation: Operation, what: str, item: Image | PurePath) -> Finding:
    """Process one item: the input must stay unchanged, and the result must be deterministic."""
    names = [str(item)] * 3 if isinstance(item, PurePath) else ["a.png", "b.png", "a.png"]
    before = _pixels(item)
    try:
        first, _, again = (_results(operation, name, item) for name in names)
        problem = _problem(operation, item, first)
    except InputError as error:
        return Finding("note", operation.name, f"{what}: refused: {error.problem}")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a plugin raises
        return Finding("fail", operation.name, explain(error, what)[1])
    if not np.array_equal(_pixels(item), before):
        problem = "it modifies its input"
    elif not _same(list(first.values()), list(again.values())):
        problem = "the same image gives a different result the second time"
    if problem:
        return Finding("fail", operation.name, f"{what}: {problem}")
    return Finding("ok", operation.name, what)


def _results(operation: Operation, name: str, item: Image | PurePath) -> dict[PurePath, Item]:
    """Results by output name. Raises `PluginError` and whatever the operation raises."""
    bound = operation.on(name)
    names = [PurePosixPath(output) for output in bound.outputs(PurePosixPath(name))]
    return dict(zip(names, results_of(bound, bound.process(item), len(names)), strict=True))


def _problem(
    operation: Operation, item: Image | PurePath, results: dict[PurePath, Item]
) -> str | None:
    """What is wrong with results for one item."""
    for name, result in results.items():
        if isinstance(result, Image) and name.suffix.lower() not in SUFFIXES:
            return f"an image cannot be written as {name}"
        if isinstance(operation, ImageOperation) and isinstance(item, Image):
            wanted, found = _pixels(item), _pixels(result)
            if (found.dtype, found.shape) != (wanted.dtype, wanted.shape):
                return f"returns {found.dtype} of shape {found.shape}"
    return None


def _same(one: Sequence[Item], other: Sequence[Item]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(np.array_equal(_pixels(a), _pixels(b)) for a, b in pairs)


def _pixels(item: Item | PurePath) -> np.ndarray:
    """An item or a result as an array to compare; a name gives an empty one."""
    if isinstance(item, Image):
        return item.to_array()
    return np.frombuffer(item if isinstance(item, bytes) else b"", np.uint8)
