"""Checks of devices: the driver, the libraries of CUDA, and a convolution that is really computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaetools.diagnosis.finding import Finding, Installation
from vaetools.errors import DeviceError
from vaetools.model import nvidia
from vaetools.model.devices import Device
from vaetools.model.proof import proven_device
from vaetools.model.session import usable_cores

if TYPE_CHECKING:
    from collections.abc import Iterator


def cpu(_: Installation) -> Iterator[Finding]:
    """The cores that may be used."""
    yield Finding("ok", "cpu", f"{usable_cores()} cores")


def cuda(_: Installation) -> Iterator[Finding]:
    """Each link of the chain from the driver to a convolution, so that broken ones are named."""
    for fault in nvidia.driver_faults():
        text = f"{fault.text}; the CPU is used"
        if fault.absent:
            yield Finding("ok", "cuda", text)
        else:
            yield Finding("fail", fault.subject, text, fault.cure)
        return
    faults = [Finding("fail", f.subject, f.text, f.cure) for f in nvidia.link_faults()]
    yield from faults
    if not faults:
        try:
            proven_device(Device("cuda"))
        except DeviceError as error:
            yield Finding("fail", "cuda", error.problem, error.remedy or "")
        else:
            yield Finding("ok", "cuda", "the GPU computes a convolution as the CPU does")
