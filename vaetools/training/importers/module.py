"""The user's own network, in Python.

It is an `nn.Module` with two methods, `encode(image)` and `decode(latent)`. On the command line it is
specified by file and name, and the file is executed: this is the only importer that runs code.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from vaetools.errors import UsageError
from vaetools.model.spec import LikelihoodSpec
from vaetools.training.export.foreign import complaint
from vaetools.training.export.graphs import Forward, Outputs
from vaetools.training.export.measure import plan_model
from vaetools.training.export.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from vaetools.model.folder import Model
    from vaetools.training.export.model_plan import ModelPlan


@dataclass(frozen=True)
class Declared:
    """Properties of a network that cannot be measured.

    Attributes:
        size: (height, width), if it takes one size only.
        channels: 3 (RGB) or 1 (grayscale).
        likelihood: `bernoulli`, `gaussian` with the standard deviation `deviation`, or `none`.
        prior: `normal` or `none`; None means `normal` if there is a logvar.
    """

    size: tuple[int, int] | None = None
    channels: int = 3
    likelihood: Literal["none", "bernoulli", "gaussian"] = "none"
    deviation: float = 1.0
    prior: Literal["normal", "none"] | None = None


def export_module(
    module: nn.Module,
    folder: Path,
    *,
    id: str | None = None,  # noqa: A002 - the word of the manifest
    version: str = "1",
    license: str = "unknown",  # noqa: A002
    origin: str = "",
    **declared: Any,
) -> tuple[Model, Mapping[str, float]]:
    """Write a network as a model folder.

    Args:
        module: with `encode(image)`, which returns the mean of the latent or (mean, logvar), and
            `decode(latent)`, which returns the image, or (image, logits) if the likelihood is
            Bernoulli. Images are (N, channels, H, W) float32 in [0, 1]; latents (N, C) or
            (N, C, h, w). The module itself is not changed.
        folder: of the model; its name is the default of `id`.
        license, origin: of the weights.
        declared: the fields of `Declared`.

    Returns:
        As `vaetools.training.export.folder.write_model`.

    Raises:
        UsageError, ModelBrokenError: as `vaetools.training.export.measure.parts`.
        ExistsError: the folder contains something other than a model.
    """
    from vaetools.training.importers import about_of, write

    about = about_of(folder, id=id, version=version, license=license, origin=origin)
    return write(plan_of(module, Declared(**declared)), about, folder)


def read(source: str, **declared: Any) -> ModelPlan:
    """Read `FILE.py:NAME`, an nn.Module or a callable that returns one. The file is executed.

    Args:
        declared: the fields of `Declared`.

    Raises:
        UsageError: the file or the name does not exist, or the code fails.
    """
    name, path = _split(source)
    with _neighbours(path):
        return plan_of(_module(name, path), Declared(**declared))


def plan_of(module: object, declared: Declared) -> ModelPlan:
    """Graphs and manifest of a module. Raises the errors of `export_module`."""
    if not isinstance(module, nn.Module) or not all(
        callable(getattr(module, name, None)) for name in ("encode", "decode")
    ):
        raise UsageError(
            f"{type(module).__name__} is not an nn.Module with methods encode(image) and decode(latent)"
        )
    with complaint(f"{type(module).__name__} cannot be copied"):
        own = copy.deepcopy(module).cpu()
    network = Network(
        encode=_method(own, "encode"),
        decode=_method(own, "decode"),
        channels=declared.channels,
        size=declared.size,
        likelihood=LikelihoodSpec(declared.likelihood, declared.deviation),
        prior=declared.prior,
        summary=f"{type(module).__name__}, a network in Python",
    )
    return plan_model(network)


def _method(module: nn.Module, name: str) -> Forward:
    """A method as a module. Lists that it returns become tuples, and a single output a tensor."""
    method: Callable[[Tensor], Outputs | list[Tensor]] = getattr(module, name)

    def forward(x: Tensor) -> Outputs:
        outputs = method(x)
        if isinstance(outputs, list | tuple):
            return outputs[0] if len(outputs) == 1 else tuple(outputs)
        return outputs

    return Forward(module, forward)


def _module(name: str, path: Path) -> object:
    namespace = _executed(path)
    if not hasattr(namespace, name):
        raise UsageError(f"has no {name!r}", file=path)
    found: object = getattr(namespace, name)
    if isinstance(found, nn.Module) or not callable(found):
        return found  # `plan_of` checks it
    with complaint(f"{name}() failed", file=path):
        return found()


def _split(source: str) -> tuple[str, Path]:
    """(NAME, FILE.py)."""
    file, _, name = source.rpartition(":")
    path = Path(file)
    if not file or not name.isidentifier():
        raise UsageError(f"{source!r} is not FILE.py:NAME")
    if not path.is_file():
        raise UsageError("no such file", file=path)
    return name, path


@contextlib.contextmanager
def _neighbours(path: Path) -> Iterator[None]:
    """Let a file import files in its folder, like a script: also from functions, and later ones."""
    folder = str(path.parent.resolve())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the file may have changed the list as well
            sys.path.remove(folder)


def _executed(path: Path) -> object:
    """Execute a file as a module."""
    name = f"vaetools_imported_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError("is not a Python file", file=path)
    namespace = importlib.util.module_from_spec(spec)
    sys.modules[name] = namespace  # dataclasses look themselves up there
    with complaint("failed", file=path):
        spec.loader.exec_module(namespace)
    return namespace
