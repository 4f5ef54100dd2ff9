"""From names to operations with their models: what every face of vaetools builds on."""

from __future__ import annotations

import functools
import inspect
import pickle
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from vaetools.errors import OptionError, UsageError, did_you_mean
from vaetools.libraries import library_errors
from vaetools.model.registry import ModelRegistry
from vaetools.model.runtime import Runtime, isolate_by
from vaetools.operation import Operation, make_options, option_specs
from vaetools.operation.chain import chained, is_chain, read_chain
from vaetools.operation.step import Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vaetools.image import ChannelOrder
    from vaetools.plugin.host import PluginHost

OneOp: TypeAlias = str | Path | type[Operation] | Operation | Step[Any]
"""An operation, by name or class or as an object, a chain by the names of its operations, a pipeline
file, a step."""

Op: TypeAlias = OneOp | Sequence[OneOp]
"""Any of these, or a list of them: a chain."""

STEP_OPTIONS_HINT = "use hub.chain(hub.op(…), hub.op(…)), or a pipeline file"
"""How to give options to one of several steps."""


class Resolver:
    """Finds operations by name and opens their models.

    It can be pickled: the other process makes its own, once for equal settings, so that models are
    opened once, however many operations arrive.

    Args:
        host: the plugins.
        folders: search path of the models.
        device, threads, isolate: for the runtime, which starts when the first model is needed.
    """

    def __init__(
        self,
        host: PluginHost,
        folders: Iterable[Path],
        device: str,
        threads: int | None,
        isolate: bool | None = None,
    ) -> None:
        self.host = host
        self.device = device
        self._folders = [*folders]
        self._threads = threads
        self._isolate = isolate_by(isolate)
        self._runtime: Runtime | None = None
        self._registry: ModelRegistry | None = None
        self._lock = threading.RLock()  # the first calls may come from several threads at once

    @property
    def runtime(self) -> Runtime:
        """The runtime; started on first use. Raises `DeviceError`."""
        with self._lock:
            if self._runtime is None:
                self._runtime = Runtime(self.device, threads=self._threads, isolate=self._isolate)
            return self._runtime

    @property
    def registry(self) -> ModelRegistry:
        """The models, those of plugins included. Raises `DuplicateModelError`."""
        with self._lock:
            if self._registry is None:
                folders = [*self._folders, *self.host.model_folders]
                self._registry = ModelRegistry(folders, lambda: self.runtime)
            return self._registry

    def register(self, plugin: object, name: str | None = None) -> None:
        """Add a plugin object. Raises `PluginError`."""
        self.host.register(plugin, name)
        self._registry = None  # it may have brought models

    def close(self) -> None:
        """Release the sessions and their memory."""
        if self._runtime is not None:
            self._runtime.close()

    def step(
        self, op: Op, options: Mapping[str, Any], channel_order: ChannelOrder | None
    ) -> Step[Any]:
        """A step with the channel order, or with that of the steps in `op`. Raises as `resolve`."""
        operation = self.resolve(op, options)
        orders = {*_orders(op)}
        if channel_order is None and len(orders) > 1:
            raise UsageError(
                "the steps have different channel orders", remedy="pass channel_order=…"
            )
        return Step(operation, channel_order if channel_order is not None else [*orders, "bgr"][0])

    @library_errors()
    def resolve(self, op: Op, options: Mapping[str, Any]) -> Operation:
        """The operation, with its model, that `op` names or holds.

        Raises:
            UsageError: unknown operation, operations that cannot follow each other, or options for
                one of several steps.
            OptionError: an option that does not fit.
            ModelNotFoundError: no model for its task, or several and none named.
        """
        kind = self._alone(op)
        if kind is not None:
            return self.open(kind, **options)
        if options:
            raise UsageError(
                f"{', '.join(sorted(options))}: options belong to one of the steps",
                remedy=STEP_OPTIONS_HINT,
            )
        if isinstance(op, Step):
            return op.operation
        if isinstance(op, Operation):
            return op
        if isinstance(op, str | Path):
            return chained([self.open(s.op, model=s.model, **s.options) for s in read_chain(op)])
        parts = cast("Sequence[OneOp]", op)  # a class is an operation alone
        return chained([self.resolve(part, {}) for part in parts])

    def open(
        self, op: str | type[Operation], /, *, model: str | None = None, **options: Any
    ) -> Operation:
        """One operation by name or class. Raises as `resolve`."""
        kind = self.find(op) if isinstance(op, str) else op
        checked = make_options(kind.Options, options)
        if kind.task is None:
            if model is not None:
                raise OptionError(f"{kind.name} uses no model, so model={model!r} does nothing")
            operation = kind(None, checked)
        elif kind.many_models:
            operation = kind(None, checked)
            operation.models = self.registry.all_for_task(kind.task, model)
        else:
            operation = kind(self.registry.for_task(kind.task, model), checked)
        given = {name: getattr(checked, name) for name in options}  # copies of arrays
        operation.made_by = _opened_again, (self, op, model, given)
        return operation

    def find(self, name: str) -> type[Operation]:
        """The operation class of that name. Raises `UsageError`, or the error of a broken plugin."""
        found = self.host.operations.get(name)
        if found is None:
            known = sorted(self.host.operations)
            broken = "".join(f"; not loaded: {p.name}" for p in self.host.broken)
            listed = f"known: {', '.join(known)}{broken}"
            raise UsageError(
                f"there is no operation {name!r}", remedy=hint(did_you_mean(name, known), listed)
            )
        return found

    def check_names(self, op: Op, options: Iterable[str], settings: Iterable[str]) -> None:
        """Refuse names that are not options of the operation.

        Args:
            settings: names that the caller takes as well, for the error.

        Raises:
            OptionError: an unknown name; the error lists options and settings.
            UsageError: any name, where there are several steps or one that has its options.
        """
        kind = self._alone(op)
        if kind is None:  # the steps have their options already
            if options := sorted(options):
                meant = did_you_mean(options[0], settings)
                raise UsageError(
                    f"{', '.join(options)}: options belong to one of the steps",
                    remedy=hint(meant, STEP_OPTIONS_HINT),
                )
            return
        kind = self.find(kind) if isinstance(kind, str) else kind
        names, settings = [spec.name for spec in option_specs(kind.Options)], sorted(settings)
        for name in options:
            if name not in (*names, "model"):
                raise OptionError(
                    f"there is no option {name!r}",
                    remedy=hint(
                        did_you_mean(name, [*names, *settings]),
                        f"options of {kind.name}: {', '.join(names) or 'none'}",
                        f"run settings: {', '.join(settings)}",
                    ),
                )

    def option_names(self, op: Op) -> frozenset[str]:
        """Names of the options that `resolve` takes with `op`, apart from `model`."""
        kind = self._alone(op)
        if kind is None:
            return frozenset()
        kind = self.find(kind) if isinstance(kind, str) else kind
        return frozenset(spec.name for spec in option_specs(kind.Options))

    def _alone(self, op: Op) -> str | type[Operation] | None:
        """The name or class of a single operation; None for chains and steps.

        Raises:
            UsageError: none of these.
        """
        if isinstance(op, type) and issubclass(op, Operation) and not inspect.isabstract(op):
            return op
        if isinstance(op, str | Path):
            return None if is_chain(op) else str(op)
        if isinstance(op, list | tuple | Step | Operation):
            return None
        shown = op if isinstance(op, type | int | bytes) else type(op).__name__
        raise UsageError(
            f"{shown} is not an operation", remedy="pass a name, a class, a step, or a list of them"
        )

    def __reduce__(self) -> Any:
        settings = (self.host, self._folders, self.device, self._threads, self._isolate)
        return _resolver_of, (pickle.dumps(settings),)


@functools.lru_cache(maxsize=4)
def _resolver_of(settings: bytes) -> Resolver:
    """The resolver of this process for pickled settings."""
    return Resolver(*pickle.loads(settings))  # noqa: S301 - part of a pickle already


def _opened_again(
    resolver: Resolver, op: str | type[Operation], model: str | None, options: dict[str, Any]
) -> Operation:
    """An operation of a pickle."""
    return resolver.open(op, model=model, **options)


def _orders(op: Op) -> Iterator[ChannelOrder]:
    """The channel orders of the steps in `op`."""
    if isinstance(op, Step):
        yield op.channel_order
    elif isinstance(op, list | tuple):
        for part in op:
            yield from _orders(part)


def hint(*parts: str | None) -> str:
    """Parts of a remedy that are not None, as one line."""
    return "; ".join(part for part in parts if part)
