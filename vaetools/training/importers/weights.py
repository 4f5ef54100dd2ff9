"""Reading weights from untrusted sources.

A PyTorch file is a pickle, and a pickle is a program. So only tensors are read, by torch's
restricted unpickler (`weights_only`), in a torch whose restricted unpickler is sound; sizes are
checked before. safetensors needs none of this.

References: CVE-2025-32434 (code execution in spite of weights_only, fixed in torch 2.6) and
CVE-2026-24747 (memory corruption in it, fixed in 2.10).
"""

from __future__ import annotations

import contextlib
import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vaetools.errors import ModelBrokenError, UsageError
from vaetools.training.export.foreign import one_line

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

MAX_BYTES = 2**31
"""Larger weights do not fit a single-file ONNX graph."""

MAX_PICKLE = 2**24
"""Bytes of the pickle that describes the tensors of a file; that of a large network has 100,000."""

OLDEST_TORCH = (2, 10)

PICKLES = {".pkl", ".pickle", ".joblib"}
"""Files that hold pickled objects by their nature."""

State = dict[str, Any]
"""Name -> float32 tensor on the CPU."""


def check_torch() -> None:
    """Raise `UsageError` where torch is missing, or too old to read weights safely."""
    oldest = ".".join(map(str, OLDEST_TORCH))
    remedy = "pip install 'vaetools[train]'"
    try:
        import torch
    except ImportError:
        raise UsageError("this needs torch", remedy=remedy) from None
    release = tuple(int(n) for n in re.findall(r"\d+", torch.__version__)[:2])
    if release < OLDEST_TORCH:
        raise UsageError(
            f"torch {torch.__version__} does not read weights safely (CVE-2026-24747); "
            f"{oldest} does",
            remedy=remedy,
        )


def read_weights(path: Path, *, key: str = "") -> State:
    """The tensors of a `.safetensors`, `.pt` or `.pth` file, as float32.

    Args:
        path: the file.
        key: which dictionary, if the file contains a dictionary of dictionaries.

    Raises:
        UsageError: the file does not exist.
        ModelBrokenError: it contains anything but named tensors, values that are not finite, or more
            than `MAX_BYTES`.
    """
    import torch

    check_file(path)
    held = _safetensors(path) if path.suffix == ".safetensors" else _torch_file(path)
    if key:
        held = held.get(key) if isinstance(held, Mapping) else None
    if not isinstance(held, Mapping) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in held.items()
    ):
        raise ModelBrokenError(
            "does not hold named tensors", file=path, remedy="save module.state_dict()"
        )
    _check_size(path, sum(4 * value.numel() for value in held.values()))
    state = {n: v.detach().float() if v.is_floating_point() else v for n, v in held.items()}
    for name, value in state.items():
        if value.is_complex():
            raise ModelBrokenError(f"weights {name!r} are complex numbers", file=path)
        if not torch.isfinite(value).all():
            raise ModelBrokenError(f"weights {name!r} hold NaN or infinite values", file=path)
    return state


@contextlib.contextmanager
def expecting(network: str, path: Path) -> Iterator[None]:
    """Where a network is built from the names and shapes of weights: report those of another one.

    Args:
        network: what the weights should be of.
        path: their file.

    Raises:
        ModelBrokenError: names are missing, or shapes or values do not fit.
    """
    try:
        yield
    except (LookupError, ValueError, TypeError, ArithmeticError, RuntimeError) as error:
        raise ModelBrokenError(
            f"does not hold {network}: {type(error).__name__}: {one_line(error)}", file=path
        ) from None


def check_file(path: Path) -> None:
    """Raise the errors of `read_weights` for a file that must not be read."""
    if path.suffix.lower() in PICKLES:
        raise ModelBrokenError(
            f"a {path.suffix} file holds pickled Python objects, which run code when they are read",
            file=path,
            remedy="save the weights as .safetensors or with torch.save(module.state_dict(), …)",
        )
    if not path.is_file():
        raise UsageError("no such file", file=path)
    _check_size(path, path.stat().st_size)


def _check_size(path: Path, size: int) -> None:
    if size > MAX_BYTES:
        raise ModelBrokenError(
            f"{size / 1e9:.1f} GB of weights are over the limit of {MAX_BYTES / 1e9:.1f} GB",
            file=path,
        )


def _safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelBrokenError(f"is not a safetensors file: {error}", file=path) from None


def _torch_file(path: Path) -> Any:
    import torch

    if zipfile.is_zipfile(path):  # PyTorch before 1.6 wrote a plain sequence, without compression
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
        _check_size(path, sum(part.file_size for part in parts))
        pickled = max((p.file_size for p in parts if p.filename.endswith(".pkl")), default=0)
        if pickled > MAX_PICKLE:
            raise ModelBrokenError(
                f"describes its weights in {pickled} bytes, the limit is {MAX_PICKLE}", file=path
            )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - many types, and all mean that we do not read it
        raise ModelBrokenError(
            _refusal(str(error)),
            file=path,
            remedy="save module.state_dict(), best as .safetensors",
        ) from None


def _refusal(said: str) -> str:
    """Why torch's restricted unpickler refused a file."""
    pickled = re.search(r"GLOBAL ([\w.]+)", said)
    if pickled:
        return f"holds pickled Python ({pickled.group(1)}), which could run any code"
    if "TorchScript" in said:
        return "holds a TorchScript program, not weights"
    return "is damaged, or not a file of PyTorch weights"


def fill(module: nn.Module, state: State, prefix: str) -> None:
    """Load the weights whose names begin with `prefix`, all of them, into `module`.

    The module is built `without_memory`: a config may ask for a network of any size, and only the
    weights that are there take memory.

    Raises:
        RuntimeError: they do not fit.
    """
    own = {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}
    parameters = {name for name, _ in module.named_parameters()}
    module.load_state_dict(
        {name: v.float() if name in parameters else v for name, v in own.items()}, assign=True
    )


def without_memory() -> torch.device:
    """A context in which new modules have shapes, and no memory until `fill` gives them weights."""
    import torch

    return torch.device("meta")
