"""Devices: their names, and how they are put on a session of ONNX Runtime."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaetools.errors import DeviceError, OptionError
from vaetools.libraries import ORT, installed, reinstall
from vaetools.model.kinds import KINDS, Kind
from vaetools.native import captured_log, cause_of, onnxruntime

if TYPE_CHECKING:
    from types import ModuleType

NAMES = ", ".join(("auto", *KINDS))


@dataclass(frozen=True)
class Device:
    """Where graphs run: a kind of device, and which one of several.

    Attributes:
        kind: Key of `vaetools.model.kinds.KINDS`, such as `cpu` or `cuda`.
        number: Counted from 0.
    """

    kind: str
    number: int = 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}" if self.row.numbered else self.kind

    @property
    def row(self) -> Kind:
        """What is known about its kind."""
        return KINDS[self.kind]

    @property
    def fixed_shapes(self) -> bool:
        """Whether a session is made for each input shape: the device plans or compiles for it."""
        return self.row.fixed_shapes

    @property
    def batches(self) -> bool:
        """Whether calls that wait for it are run together: `vaetools.model.batching`."""
        return self.row.batches

    @property
    def serial(self) -> bool:
        """Whether a session can run only one call at a time."""
        return self.row.serial


def parse_device(text: str) -> Device | None:
    """`auto` -> None; `cpu`, `cuda`, `cuda:1`, `openvino` and so on -> Device.

    Raises:
        OptionError: it is not the name of a device.
    """
    if text == "auto":
        return None
    match = re.fullmatch(r"([a-z]+)(?::(\d{1,3}))?", text)
    kind = KINDS.get(match[1]) if match else None
    if match is None or kind is None or (match[2] and not kind.numbered):
        raise OptionError(
            f"device={text!r} is not one of {NAMES}",
            remedy="a number picks one of several devices: cuda:N",
        )
    return Device(match[1], int(match[2] or 0))


def check_packages() -> None:
    """Raise `DeviceError` where two packages of ONNX Runtime have overwritten each other's files."""
    found = _runtimes(tuple(sys.path))
    if len(found) > 1:
        names = f"both {found[0]} and {found[1]}" if len(found) == 2 else ", ".join(found)
        raise DeviceError(
            f"{names} are installed and overwrite each other, so devices are silently missing",
            remedy=f"pip uninstall -y {' '.join(found)}; pip install {found[-1]}",
        )


@functools.cache
def _runtimes(folders: tuple[str, ...]) -> list[str]:
    """Installed packages of ONNX Runtime, if there may be several: to look for each costs time."""
    names: set[str] = set()
    for folder in folders:
        with contextlib.suppress(OSError):
            names |= {found.name for found in Path(folder).glob("onnxruntime*-info")}
    if len(names) < 2:
        return []
    return [name for name in installed(ORT) if _has_runtime(name)]


def _has_runtime(distribution: str) -> bool:
    """Whether a distribution contains the module `onnxruntime`; some later versions are plugins only."""
    files = importlib.metadata.files(distribution)
    return files is None or any(file.parts[0] == "onnxruntime" for file in files)


def bind(device: Device, options: Any, graph: bytes) -> list[Any] | None:
    """Choose a device for a session.

    Args:
        device: to run on.
        options: the `SessionOptions`, which are changed.
        graph: ONNX bytes of what it will run.

    Returns:
        Providers for the session, the CPU not among them unless it is the device; None where the
        options hold the device already.

    Raises:
        DeviceError: nothing that is installed provides such a device, or there is none.
    """
    kind = device.row
    if kind.serial:
        options.enable_mem_pattern = False
    if kind.provider in onnxruntime().get_available_providers():
        kinds = [kind, KINDS[kind.then]] if kind.then else [kind]
        return [(each.provider, each.options(device.number, graph)) for each in kinds]
    if not kind.plugin:
        problem = f"{device}: the installed package of ONNX Runtime has no {kind.provider}"
        raise DeviceError(problem, remedy=kind.install)
    options.add_provider_for_devices([_plugin_device(device)], {})
    return None


def _plugin_device(device: Device) -> Any:
    """The device as ONNX Runtime lists it, once the library of its plugin is registered."""
    kind = device.row
    try:
        name = _register(importlib.import_module(kind.plugin))
    except ModuleNotFoundError as error:
        if error.name != kind.plugin:
            raise
        wheel = kind.plugin.replace("_", "-")
        raise DeviceError(f"{device}: {wheel} is not installed", remedy=kind.install) from None
    found = [each for each in onnxruntime().get_ep_devices() if each.ep_name == name]
    if device.number < len(found):
        return found[device.number]
    if found:
        listed = ", ".join(f"{device.kind}:{i} ({_hardware(d)})" for i, d in enumerate(found))
        raise DeviceError(f"{device}: there is no such device, only {listed}")
    everything = onnxruntime().get_ep_devices()
    listed = ", ".join(dict.fromkeys(f"{_hardware(d)} by {d.ep_name}" for d in everything))
    raise DeviceError(
        f"{device}: {kind.plugin} finds no device that it supports; ONNX Runtime sees {listed}",
        remedy="use --device cpu or auto",
    )


@functools.cache
def _register(plugin: ModuleType) -> str:
    """Register the library of a plugin once; its execution provider's name."""
    name = str(plugin.get_ep_name())
    with captured_log() as heard:
        try:
            onnxruntime().register_execution_provider_library(name, plugin.get_library_path())
        except Exception as error:  # noqa: BLE001 - onnxruntime raises many unrelated types
            if "already" not in str(error):  # an application may have done it
                cause = heard.cause() or cause_of(str(error))
                distribution = plugin.__name__.replace("_", "-")
                raise DeviceError(
                    f"{distribution} does not load: {cause}", remedy=reinstall(distribution)
                ) from None
    return name


def _hardware(device: Any) -> str:
    """`GPU of Intel Corporation`."""
    return f"{device.device.type.name} of {device.device.vendor}"
