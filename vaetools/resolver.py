"""From names to operations with their models: what every face of vaetools builds on."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from vaetools.errors import OptionError, UsageError, did_you_mean
from vaetools.model.registry import ModelRegistry
from vaetools.model.runtime import Runtime
from vaetools.operation import Operation, make_options, option_specs
from vaetools.operation.chain import chained, is_chain, read_chain
from vaetools.operation.step import Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vaetools.plugin.host import PluginHost

OneOp: TypeAlias = str | Path | type[Operation] | Step[Any]
"""An operation by name or class, a chain by the names of its operations, a pipeline file, a step."""

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
        device, threads: for the runtime, which starts when the first model is needed.
    """

    def __init__(
        self, host: PluginHost, folders: Iterable[Path], device: str, threads: int | None
    ) -> None:
        self.host = host
        self.device = device
        self._folders = [*folders]
        self._threads = threads

    @functools.cached_property
    def runtime(self) -> Runtime:
        """The runtime; started on first use. Raises `DeviceError`."""
        return Runtime(self.device, threads=self._threads)

    @functools.cached_property
    def registry(self) -> ModelRegistry:
        """The models, those of plugins included. Raises `DuplicateModelError`."""
        folders = [*self._folders, *self.host.model_folders]
        return ModelRegistry(folders, lambda: self.runtime)

    def register(self, plugin: object, name: str | None = None) -> None:
        """Add a plugin object. Raises `PluginError`."""
        self.host.register(plugin, name)
        self.__dict__.pop("registry", None)  # it may have brought models

    def close(self) -> None:
        """Release the sessions and their memory."""
        if "runtime" in self.__dict__:
            self.runtime.close()

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
        if isinstance(op, str | Path):
            return chained([self.open(s.op, model=s.model, **s.options) for s in read_chain(op)])
        assert isinstance(op, Sequence)  # a class is an operation alone
        return chained([self.resolve(part, {}) for part in op])

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
        operation.made_by = _opened_again, (self, op, model, options)
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
        """
        kind = self._alone(op)
        if kind is None:
            return  # the steps have their options already
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

    def _alone(self, op: Op) -> str | type[Operation] | None:
        """The name or class of a single operation; None for chains and steps."""
        if isinstance(op, type):
            return op
        return str(op) if isinstance(op, str | Path) and not is_chain(op) else None

    def __reduce__(self) -> Any:
        settings = (self.host, self._folders, self.device, self._threads)
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


def hint(*parts: str | None) -> str:
    """Parts of a remedy that are not None, as one line."""
    return "; ".join(part for part in parts if part)
