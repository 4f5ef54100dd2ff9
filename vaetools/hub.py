"""The hub: plugins, models and the runner behind one face, for Python and the command line.

import vaetools

hub = vaetools.open(device="auto")
data = hub.compress(bgr, quality=75)                    # array -> bytes
bgr = hub.decompress(data)                              # bytes -> array
drawn = hub.generate(n=16, seed=0)                      # nothing -> list of arrays
step = hub.op("denoise", strength=0.6)                  # a callable for loops and pipelines
both = hub.chain(step, hub.op("compress", quality=60))  # one after the other
result = hub.map("compress", "photos/", out="packed/")  # folders, and video files
for frame in hub.stream("denoise", capture):            # frames, in order
    writer.write(frame)
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self, TypeAlias

from vaetools.errors import UsageError
from vaetools.model.registry import ModelRegistry
from vaetools.model.registry import default_folders as model_folders
from vaetools.model.runtime import Runtime
from vaetools.operation import Operation, make_options
from vaetools.operation.chain import chained, is_chain, read_chain
from vaetools.operation.step import Step
from vaetools.plugin.host import PluginHost
from vaetools.plugin.host import default_folders as plugin_folders
from vaetools.runner import Progress, Record, RunResult, RunSettings
from vaetools.runner import run as run_operation
from vaetools.video import DEPTH, parse_raw, pipe, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import numpy as np

    from vaetools.image import ChannelOrder
    from vaetools.video import Source

Op: TypeAlias = "str | Path | Step | Sequence[str | Path | Step]"
"""An operation or a chain by name, a pipeline file, a step, or a list of such."""

EACH_ITS_OWN = "use hub.chain(hub.op(…), hub.op(…)), or a pipeline file"
"""What to do with options where there are several steps."""

REMEMBERED = 32
"""Steps that a hub keeps for calls such as `hub.compress(frame, quality=75)`."""


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

    def make(self, name: str | Path, /, *, model: str | None = None, **options: Any) -> Operation:
        """An operation with its model, opened for the options.

        Args:
            name: an operation; or several with commas between them, or a pipeline file (`.toml`),
                where options belong to the steps: give them in the file, or see `chain`.

        Raises:
            UsageError: unknown operation, or operations that cannot follow each other.
            OptionError: an option that does not fit.
            ModelNotFoundError: no model for its task, or several and none named.
        """
        if is_chain(name):
            if model is not None or options:
                raise UsageError(
                    f"{name} has several steps: options and models belong to one of them",
                    remedy=EACH_ITS_OWN,
                )
            return chained([self._make(s.op, s.model, s.options) for s in read_chain(name)])
        return self._make(str(name), model, options)

    def _make(self, name: str, model: str | None, options: Mapping[str, Any]) -> Operation:
        """One operation. Raises as `make` does."""
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
        op: Op,
        /,
        *,
        channel_order: ChannelOrder = "bgr",
        **options: Any,
    ) -> Step:
        """A callable that applies an operation to arrays; see `Step`.

        Args:
            op: an operation, or a chain of them as `map` takes it.
            options: `model` and those of the operation.

        Raises:
            as `make` and `chain`.
        """
        return Step(self._operation_of(op, options), channel_order)

    def chain(self, *steps: str | Path | Step, channel_order: ChannelOrder = "bgr") -> Step:
        """Operations one after the other as one step; images stay in memory between them.

        hub.chain("denoise", hub.op("compress", quality=60))(bgr) gives the bytes of a file.

        Args:
            steps: steps with options and models of their own, names of operations, pipeline files.

        Raises:
            UsageError: operations that cannot follow each other; else as `make`.
        """
        made = [s.operation if isinstance(s, Step) else self.make(s) for s in steps]
        return Step(chained(made), channel_order)

    def stream(
        self,
        op: Op,
        source: Source,
        /,
        *,
        depth: int = DEPTH,
        threads: int = 1,
        channel_order: ChannelOrder = "bgr",
        **options: Any,
    ) -> Iterator[Any]:
        """Results for the frames of a source, in order; decoding, work and your own loop overlap.

        Args:
            op: an operation, a chain of them, a step (with its own channel order), or a list.
            source, depth, threads: see `vaetools.video.stream`.
            options: `model` and those of the operation.

        Raises:
            UnreadableError: the video or camera cannot be opened; UsageError: no source; as `make`.
            While it goes on: what a frame raises, in its place. That ends the stream.
        """
        order = op.channel_order if isinstance(op, Step) else channel_order
        step = Step(self._operation_of(op, options), order)
        return stream(step, source, depth=depth, threads=threads)

    def _operation_of(self, op: Op, options: dict[str, Any]) -> Operation:
        """What `op` names or holds. Raises as `make` and `chain` do."""
        if isinstance(op, str | Path):
            return self.make(op, **options)
        if options:
            raise UsageError(
                f"{', '.join(sorted(options))}: options belong to one of the steps",
                remedy=EACH_ITS_OWN,
            )
        return self.chain(*([op] if isinstance(op, Step) else op)).operation

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
        op: Op,
        inputs: str | Path | Sequence[str | Path],
        /,
        *,
        out: str | Path,
        on_record: Callable[[Record], None] | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> RunResult:
        """Apply an operation to files and folders, or to one video; what the command line calls.

        Args:
            op: an operation, a chain of them, a step, or a list.
            inputs: files, folders or globs; `()` for an operation that takes nothing. One video
                file by its name: its frames go through in order and are written to a video.
            out: folder, or a file for one input.
            on_record: called with the record of each input when it is finished.
            progress: told how the run goes; the command line gives a bar on a terminal.
            options: `model` and those of the operation, and any field of `RunSettings`, such as
                `jobs=4`, `on_exists="skip"`, `dry_run=True`. A limit `max_pixels` stays with a step.

        Raises:
            as `make`, and `UsageError`s for clashes and missing inputs, before any work.
        """
        names = {field.name for field in dataclasses.fields(RunSettings)} - {"out", "fingerprint"}
        given = {key: options.pop(key) for key in names & options.keys()}
        operation = self._operation_of(op, options)
        if "max_pixels" in given:
            operation.max_pixels = given["max_pixels"]
        for opened in operation.opened:
            opened.check_files()  # one line now, not one for every picture
        listed = [inputs] if isinstance(inputs, str | Path) else list(inputs)
        settings = RunSettings(out=out, fingerprint=fingerprint(operation), **given)
        return run_operation(operation, listed, settings, on_record=on_record, progress=progress)

    def pipe(
        self,
        op: Op,
        source: BinaryIO,
        sink: BinaryIO,
        /,
        *,
        raw: str,
        depth: int = DEPTH,
        threads: int = 1,
        **options: Any,
    ) -> int:
        """Raw frames from one binary file to another, as FFmpeg writes and reads them.

        Args:
            source, sink: buffered, such as `sys.stdin.buffer` and `sys.stdout.buffer`.
            raw: size and FFmpeg's name of the pixel format, `1280x720:bgr24`.
            depth, threads, options: as for `stream`.

        Returns:
            How many frames it were.

        Raises:
            OptionError: `raw`. UsageError: the operation does not give one image for an image.
            DamagedImageError: the source ends within a frame. As `make`; then what a frame raises.
        """
        layout = parse_raw(raw)
        operation = self._operation_of(op, options)
        return pipe(operation, layout, source, sink, depth=depth, threads=threads)

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
    text = json.dumps(operation.identity(), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
