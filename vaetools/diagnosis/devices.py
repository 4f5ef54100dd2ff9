"""Checks of devices: the driver, the libraries of CUDA, and a convolution that is really computed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from vaetools.diagnosis.finding import Finding, Installation
from vaetools.errors import DeviceError
from vaetools.model import nvidia
from vaetools.model.devices import Device, parse_device
from vaetools.model.kinds import KINDS
from vaetools.model.proof import proven_device
from vaetools.model.session import usable_cores
from vaetools.native import onnxruntime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vaetools.diagnosis.finding import State


def cpu(_: Installation) -> Iterator[Finding]:
    """The cores that may be used."""
    yield Finding("ok", "cpu", f"{usable_cores()} cores")


def cuda(installation: Installation) -> Iterator[Finding]:
    """Each link of the chain from the driver to a convolution, so that broken ones are named. They are
    no failure where the CPU was asked for."""
    state: State = "note" if installation.device == "cpu" else "fail"
    for fault in nvidia.driver_faults():
        text = f"{fault.text}; the CPU is used"
        if fault.absent:
            yield Finding("ok", "cuda", text)
        else:
            yield Finding(state, fault.subject, text, fault.cure)
        return
    faults = [Finding(state, f.subject, f.text, f.cure) for f in nvidia.link_faults()]
    yield from faults
    if not faults:
        try:
            proven_device(Device("cuda"))
        except DeviceError as error:
            yield Finding(state, "cuda", error.problem, error.remedy or "")
        else:
            yield Finding("ok", "cuda", "the GPU computes a convolution as the CPU does")


def others(installation: Installation) -> Iterator[Finding]:
    """Other kinds of devices: the one that was named, and those whose wheels are installed."""
    built_in = onnxruntime().get_available_providers()
    named = installation.device
    installed = [
        kind
        for kind, row in KINDS.items()
        if not row.nvidia and kind != "cpu" and (row.provider in built_in or _has(row.plugin))
    ]
    for name in dict.fromkeys([*([] if named in ("auto", "cpu") else [named]), *installed]):
        state: State = "fail" if name == named else "note"
        try:
            device = proven_device(parse_device(name) or Device("cpu"))
        except DeviceError as error:
            yield Finding(state, name, error.problem, error.remedy or "")
        else:
            yield Finding("ok", name, f"{device} computes a convolution as the CPU does")


def _has(module: str) -> bool:
    return bool(module) and find_spec(module) is not None
