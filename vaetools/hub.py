"""The hub: plugins, models and the runner behind one face, for Python and the command line.

import vaetools

hub = vaetools.open(device="auto")
data = hub.compress(bgr, quality=75)                    # array -> bytes
bgr = hub.decompress(data)                              # bytes -> array
drawn = hub.generate(n=16, seed=0)                      # nothing -> list of arrays
step = hub.op("denoise", strength=0.6)                  # a callable for loops and pipelines
result = hub.map("compress", "photos/", out="packed/")  # folders
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from vaetools.errors import UsageError
from vaetools.host import PluginHost
from vaetools.host import default_folders as plugin_folders
from vaetools.image import MAX_PIXELS, Image
from vaetools.operation import Operation, make_options
from vaetools.registry import ModelRegistry
from vaetools.registry import default_folders as model_folders
from vaetools.runner import Progress, Record, RunResult, RunSettings
from vaetools.runner import run as run_operation
from vaetools.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

REMEMBERED = 32
"""Steps that a hub keeps for calls such as `hub.compress(frame, quality=75)`."""

ChannelOrder = Literal["bgr", "rgb"]


def open_hub(
    device: str = "auto",
    *,
    models_dirs: Iterable[str | Path] = (),
    plugins_dirs: Iterable[str | Path] = (),
    threads: int | None = None,
) -> Hub:
    """Open the toolkit: `vaetools.open()`.

    Args:
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        models_dirs: folders with models, searched before the usual ones.
        plugins_dirs: folders with plugin files. Plugins are programs: load only what you trust.
        threads: threads within one call of a network; None for one per core.
    """
    host = PluginHost(folders=plugin_folders(plugins_dirs))
    return Hub(host, model_folders(models_dirs), device=device, threads=threads)


class Step:
    """An operation bound to its model and options: a callable for loops and pipelines.

    Arrays are (H, W), (H, W, 3) or (H, W, 4), uint8, uint16 or float32 in [0, 1]; the same dtype,
    shape and channel order come back, as a new array. Safe to call from several threads.

    Operations that take nothing are called without an item and give a list with the result of each
    item that they make; `generate` gives uint8, (H, W, 3), or (H, W) where the model is grey.
    """

    def __init__(self, operation: Operation, channel_order: ChannelOrder) -> None:
        self.operation = operation
        self.channel_order: ChannelOrder = channel_order

    def __call__(self, item: np.ndarray | bytes | None = None, *, key: str = "") -> Any:
        """Apply to one array (or to the bytes of a file); `key` seeds operations that draw noise.

        Raises:
            UsageError: an item of the wrong kind, or one where the operation takes nothing.
        """
        if self.operation.takes == "nothing":
            return self._made(item, key)
        bound = self.operation.on(key)
        if bound.takes == "file":
            if not isinstance(item, bytes | bytearray | memoryview):
                raise UsageError(
                    f"{bound.name} takes the bytes of a file, not {type(item).__name__}"
                )
            return self._out(bound.process(bytes(item)))
        if not isinstance(item, np.ndarray):
            raise UsageError(f"{bound.name} takes a numpy array, not {type(item).__name__}")
        return self._out(bound.process(Image.from_array(item, channel_order=self.channel_order)))

    def _made(self, item: object, key: str) -> list[Any]:
        """All items of an operation that takes nothing, the same as `map` writes."""
        operation = self.operation
        if item is not None or key:
            raise UsageError(f"{operation.name} takes no array and no key: its items have names")
        names = [PurePosixPath(name) for name in operation.items()]
        return [self._out(operation.on(str(name)).process(name)) for name in names]

    def _out(self, result: Any) -> Any:
        if isinstance(result, Image):
            return result.to_array(channel_order=self.channel_order)
        if isinstance(result, bytes):
            return result
        return [self._out(part) for part in result]


class Hub:
    """What `vaetools.open()` returns; also a context manager. Operations are methods by their name.

    Args:
        host: the plugins.
        folders: search path of the models.
        device, threads: for the runtime, which starts when the first model is needed.
    """

    def __init__(
        self,
        host: PluginHost,
        folders: Sequence[Path],
        *,
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        self.host = host
        self._folders = [*folders]
        self._device = device
        self._threads = threads
        self._steps: dict[Any, Step] = {}

    @functools.cached_property
    def runtime(self) -> Runtime:
        """The runtime; started on first use. Raises `DeviceError`."""
        return Runtime(self._device, threads=self._threads)

    @functools.cached_property
    def registry(self) -> ModelRegistry:
        """The models, those of plugins included. Raises `DuplicateModelError`."""
        folders = [*self._folders, *self.host.model_folders]
        return ModelRegistry(folders, lambda: self.runtime)

    def operation(self, name: str) -> type[Operation]:
        """The operation class of that name. Raises `UsageError`, or the error of a broken plugin."""
        found = self.host.operations.get(name)
        if found is None:
            known = ", ".join(sorted(self.host.operations))
            broken = "".join(f"; not loaded: {p.name}" for p in self.host.broken)
            raise UsageError(f"there is no operation {name!r}", remedy=f"known: {known}{broken}")
        return found

    def make(self, name: str, *, model: str | None = None, **options: Any) -> Operation:
        """An operation with its model, opened for the options.

        Raises:
            UsageError: unknown operation. OptionError: an option that does not fit.
            ModelNotFoundError: no model for its task, or several and none named.
        """
        kind = self.operation(name)
        checked = make_options(kind.Options, options)
        if kind.task is None:
            return kind(None, checked)
        if not kind.many_models:
            return kind(self.registry.for_task(kind.task, model), checked)
        operation = kind(None, checked)
        operation.models = self.registry.all_for_task(kind.task, model)
        return operation

    def op(
        self,
        name: str,
        *,
        model: str | None = None,
        channel_order: ChannelOrder = "bgr",
        **options: Any,
    ) -> Step:
        """A callable that applies an operation to arrays; see `Step`. Raises as `make` does."""
        if channel_order not in ("bgr", "rgb"):
            raise UsageError(f"channel_order={channel_order!r} is not bgr or rgb")
        return Step(self.make(name, model=model, **options), channel_order)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """`hub.compress(array, quality=75)` is `hub.op("compress", quality=75)(array)`, and
        `hub.generate(n=4)` is `hub.op("generate", n=4)()`."""
        operation = name.replace("_", "-")
        if name.startswith("_") or operation not in self.host.operations:
            raise AttributeError(f"the hub has no operation {name!r}")

        def apply(item: np.ndarray | bytes | None = None, *, key: str = "", **options: Any) -> Any:
            return self._step(operation, **options)(item, key=key)

        return apply

    def _step(self, name: str, **options: Any) -> Step:
        """`op`, remembered: a loop over `hub.compress(frame)` shall not open anything twice."""
        wanted = (name, *sorted(options.items()))
        try:
            step = self._steps.get(wanted)
        except TypeError:  # an option that has no hash, such as an array
            return self.op(name, **options)
        if step is None:
            if len(self._steps) >= REMEMBERED:
                self._steps.clear()
            step = self._steps[wanted] = self.op(name, **options)
        return step

    def map(
        self,
        name: str,
        inputs: str | Path | Sequence[str | Path],
        *,
        out: str | Path,
        model: str | None = None,
        on_record: Callable[[Record], None] | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> RunResult:
        """Apply an operation to files and folders; what the command line calls.

        Args:
            name: the operation.
            inputs: files, folders or globs; `()` for an operation that takes nothing.
            out: folder, or a file for one input.
            on_record: called with the record of each input when it is finished.
            progress: told how the run goes; the command line gives a bar on a terminal.
            options: those of the operation, and any field of `RunSettings`, such as `jobs=4`,
                `on_exists="skip"`, `dry_run=True`.

        Raises:
            as `make`, and `UsageError`s for clashes and missing inputs, before any work.
        """
        names = {field.name for field in dataclasses.fields(RunSettings)} - {"out", "fingerprint"}
        settings = {key: options.pop(key) for key in names & options.keys()}
        operation = self.make(name, model=model, **options)
        operation.max_pixels = settings.get("max_pixels", MAX_PIXELS)
        for opened in operation.opened:
            opened.check_files()  # one line now, not one for every picture
        listed = [inputs] if isinstance(inputs, str | Path) else list(inputs)
        return run_operation(
            operation,
            listed,
            RunSettings(out=out, fingerprint=fingerprint(operation), **settings),
            on_record=on_record,
            progress=progress,
        )

    def register(self, plugin: object, name: str | None = None) -> None:
        """Add a plugin object of your own. Raises `PluginError`."""
        self.host.register(plugin, name)
        self.__dict__.pop("registry", None)  # it may have brought models

    def close(self) -> None:
        """Give back the sessions and their memory."""
        if "runtime" in self.__dict__:
            self.runtime.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def fingerprint(operation: Operation) -> str:
    """Of everything that decides an operation's results: its name, facts and model."""
    model = operation.model
    facts = {
        "operation": f"{type(operation).__module__}.{operation.name}",
        "options": operation.facts(),
        "model": None if model is None else model.manifest.fingerprint,
    }
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
