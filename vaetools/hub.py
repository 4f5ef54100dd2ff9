"""The hub: plugins, models and the runner behind one face, for Python and the command line.

import vaetools

hub = vaetools.open(device="auto")
data = hub.compress(bgr, quality=75)                    # array -> bytes
bgr = hub.decompress(data)                              # bytes -> array
whole = hub.inpaint(bgr, mask)                          # arrays in, array out
drawn = hub.generate(n=16, seed=0)                      # a list of arrays
step = hub.op("denoise", strength=0.6)                  # a callable for loops and pipelines
both = hub.chain(step, hub.op("compress", quality=60))  # one after the other
result = hub.map("compress", "photos/", out="packed/")  # folders, and video files
for frame in hub.stream("denoise", capture):            # frames, in order
    writer.write(frame)
"""

from __future__ import annotations

import types
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self, TypeVar, overload

from vaetools.errors import did_you_mean
from vaetools.hub_runs import Runs, fingerprint
from vaetools.model.registry import default_folders as model_folders
from vaetools.operation.method import method
from vaetools.paths import refuse_url
from vaetools.plugin.host import PluginHost
from vaetools.plugin.host import default_folders as plugin_folders
from vaetools.resolver import Resolver, hint
from vaetools.video import DEPTH, parse_raw, pipe, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from vaetools.hub_methods import HubMethods
    from vaetools.image import ChannelOrder
    from vaetools.model.registry import ModelRegistry
    from vaetools.model.runtime import Runtime
    from vaetools.operation import Operation
    from vaetools.operation.step import Step
    from vaetools.resolver import OneOp, Op
    from vaetools.video import Source
else:
    HubMethods = object

__all__ = ["Hub", "fingerprint", "open"]

R = TypeVar("R")

STEP_CACHE_SIZE = 32
"""Steps kept for calls such as `hub.compress(frame, quality=75)`."""


def open(  # noqa: A001 - `vaetools.open()`
    device: str = "auto",
    *,
    models_dirs: str | Path | Iterable[str | Path] = (),
    plugins_dirs: str | Path | Iterable[str | Path] = (),
    threads: int | None = None,
    isolate: bool | None = None,
) -> Hub:
    """Open the toolkit: `vaetools.open()`.

    Args:
        device: `auto` (CUDA where it works, else the CPU), `cpu`, `cuda`, `cuda:N`, or another of
            docs/devices.md.
        models_dirs: folder or folders with models, searched before the default ones.
        plugins_dirs: folder or folders with plugin files. Plugins are programs: load only what you
            trust.
        threads: threads within one call of a network; None for one per core.
        isolate: run models in processes of their own, with limits of time and memory: True for all,
            False for none, None for those that did not come with vaetools.
    """
    host = PluginHost(folders=plugin_folders(_listed(plugins_dirs)))
    folders = model_folders(_listed(models_dirs))
    return Hub(host, folders, device=device, threads=threads, isolate=isolate)


class Hub(Runs, HubMethods):
    """What `vaetools.open()` returns; also a context manager. Operations are methods by their name.

    A hub can be pickled: the other process opens its own, once for equal settings.

    Args:
        host: the plugins.
        folders: search path of the models.
        device: of the runtime, which starts when the first model is needed.
        threads: of the runtime.
        isolate: of the runtime; see `open`.
    """

    def __init__(
        self,
        host: PluginHost,
        folders: Sequence[Path],
        *,
        device: str = "auto",
        threads: int | None = None,
        isolate: bool | None = None,
    ) -> None:
        self._resolver = Resolver(host, folders, device, threads, isolate)
        self._steps: dict[Any, Step[Any]] = {}

    @property
    def host(self) -> PluginHost:
        """The plugins."""
        return self._resolver.host

    @property
    def runtime(self) -> Runtime:
        """The runtime; started on first use. Raises `DeviceError`."""
        return self._resolver.runtime

    @property
    def registry(self) -> ModelRegistry:
        """The models, those of plugins included. Raises `DuplicateModelError`."""
        return self._resolver.registry

    def find(self, name: str) -> type[Operation]:
        """The operation class of that name. Raises `UsageError`, or the error of a broken plugin."""
        return self._resolver.find(name)

    @overload
    def op(self, op: Step[R], /, *, channel_order: ChannelOrder | None = ...) -> Step[R]: ...
    @overload
    def op(
        self, op: Op, /, *, channel_order: ChannelOrder | None = ..., **options: Any
    ) -> Step[Any]: ...
    def op(
        self, op: Op, /, *, channel_order: ChannelOrder | None = None, **options: Any
    ) -> Step[Any]:
        """A callable that applies an operation to images; see `Step`.

        Args:
            op: an operation by name or class, or a chain as `map` takes it.
            channel_order: `bgr` or `rgb`, of arrays that come in and go out; by default that of
                the steps in `op`, and `bgr` where there are none.
            options: `model`, and those of the operation.

        Raises:
            UsageError: unknown operation, or operations that cannot follow each other.
            OptionError: an option that does not fit.
            ModelNotFoundError: no model for its task, or several and none named.
        """
        return self._resolver.step(op, options, channel_order)

    def chain(
        self,
        *steps: OneOp,
        channel_order: ChannelOrder | None = None,
    ) -> Step[Any]:
        """Operations one after the other as one step; images stay in memory between them.

            hub.chain("denoise", hub.op("compress", quality=60))(bgr)   # the bytes of a file

        Args:
            steps: steps with options and models of their own, operations, pipeline files.
            channel_order: as for `op`.

        Raises:
            UsageError: operations that cannot follow each other; otherwise as `op`.
        """
        return self._resolver.step(steps, {}, channel_order)

    @overload
    def stream(
        self,
        op: Step[R],
        source: Source,
        /,
        *,
        depth: int = ...,
        threads: int = ...,
        channel_order: ChannelOrder | None = ...,
    ) -> Generator[R]: ...
    @overload
    def stream(
        self,
        op: Op,
        source: Source,
        /,
        *,
        depth: int = ...,
        threads: int = ...,
        channel_order: ChannelOrder | None = ...,
        **options: Any,
    ) -> Generator[Any]: ...
    def stream(
        self,
        op: Op,
        source: Source,
        /,
        *,
        depth: int = DEPTH,
        threads: int = 1,
        channel_order: ChannelOrder | None = None,
        **options: Any,
    ) -> Generator[Any]:
        """Results for the frames of a source, in order; decoding, work and your own loop overlap.

            for frame in hub.stream("inpaint", capture, mask=lambda frame: logo):
                ...

        Args:
            op: an operation, a chain, a step, or a list.
            source: the path of a video, a `cv2.VideoCapture`, the number of a camera, or an iterable
                of frames or of pairs (frame, mask).
            depth: frames in flight at once, which bounds memory.
            threads: frames worked on at once.
            channel_order: as for `op`.
            options: `model`, and those of the operation. An option that is an array may be a
                function, called with each frame.

        Raises:
            UnreadableError: the video or camera cannot be opened. UsageError: not a source. Otherwise
            as `op`. While it runs: the error of a frame in that frame's place, which ends the stream.
        """
        step = self._resolver.step(op, options, channel_order)
        return stream(step, source, depth=depth, threads=threads)

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
            source: buffered, such as `sys.stdin.buffer`.
            sink: buffered, such as `sys.stdout.buffer`.
            raw: size and FFmpeg's name of the pixel format, `1280x720:bgr24`.
            depth: as for `stream`.
            threads: as for `stream`.
            options: as for `stream`.

        Returns:
            Number of frames written.

        Raises:
            OptionError: `raw`. UsageError: the operation does not give one image for an image.
            DamagedImageError: the source ends within a frame. Otherwise as `stream`.
        """
        layout = parse_raw(raw)
        operation = self._resolver.resolve(op, options)
        operation.check_complete()
        return pipe(operation, layout, source, sink, depth=depth, threads=threads)

    # Operations as methods: `hub.compress(image, quality=75)`. Type checkers see `HubMethods`.

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Callable[..., Any]:
            if name.startswith("_"):  # consoles probe for these
                problem = f"{type(self).__name__!r} object has no attribute {name!r}"
                raise AttributeError(problem, name=name, obj=self)
            operations = self._resolver.host.operations
            operation = name.replace("_", "-")
            if operation not in operations:
                problem = f"the hub has no operation {name!r}"
                raise AttributeError(
                    hint(problem, did_you_mean(operation, operations)),
                    name=name,
                    obj=self,
                )
            return types.MethodType(method(operations[operation]), self)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(n.replace("-", "_") for n in self.host.operations)})

    def _step(self, name: str, options: dict[str, Any]) -> Step[Any]:
        """`op`, cached: a loop over `hub.compress(frame)` must not open anything twice."""
        if any(map(callable, options.values())):  # may hold frames, and is often new in each call
            return self.op(name, **options)
        wanted = (name, *((key, type(options[key]), options[key]) for key in sorted(options)))
        try:
            step = self._steps.get(wanted)
        except TypeError:  # an option without a hash, such as an array
            return self.op(name, **options)
        if step is None:
            if len(self._steps) >= STEP_CACHE_SIZE:
                self._steps.clear()
            step = self._steps[wanted] = self.op(name, **options)
        return step

    def register(self, plugin: object, name: str | None = None) -> None:
        """Add a plugin object of your own. Raises `PluginError`."""
        self._resolver.register(plugin, name)
        # It may have brought a model, so that what was chosen before is not the only choice any more.
        self._steps.clear()
        self.__dict__.pop("_decompress", None)

    def close(self) -> None:
        """Release the sessions and their memory. The hub opens them again when it is used."""
        self._resolver.close()

    def operation(self, name: str) -> type[Operation]:
        """Deprecated: use `hub.find(name)`."""
        warnings.warn("Hub.operation is deprecated", DeprecationWarning, stacklevel=2)
        return self.find(name)

    def make(self, name: str | Path, /, **options: Any) -> Operation:
        """Deprecated: use `hub.op(name, **options).operation`."""
        warnings.warn(
            "Hub.make is deprecated: use op(…).operation", DeprecationWarning, stacklevel=2
        )
        return self._resolver.resolve(name, options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        return _hub_of, (self._resolver,)

    def __repr__(self) -> str:
        names = ", ".join(sorted(self.host.operations))
        return f"Hub(device={self._resolver.device!r}, operations: {names})"


def _hub_of(resolver: Resolver) -> Hub:
    """A hub of a pickle."""
    hub = Hub.__new__(Hub)
    hub._resolver, hub._steps = resolver, {}  # noqa: SLF001
    return hub


def _listed(folders: str | Path | Iterable[str | Path]) -> list[str | Path]:
    listed = [folders] if isinstance(folders, str | Path) else [*folders]
    for folder in listed:
        refuse_url(folder, "a folder")
    return listed
