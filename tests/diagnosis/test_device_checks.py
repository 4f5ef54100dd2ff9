"""The checks of `vaetools doctor` that run on a device."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import onnxruntime
import pytest

from vaetools.diagnosis import content, devices
from vaetools.diagnosis.finding import Installation
from vaetools.errors import DeviceError, ModelBrokenError
from vaetools.hub import Hub
from vaetools.model import nvidia
from vaetools.model.devices import Device
from vaetools.model.folder import Model
from vaetools.plugin.host import PluginHost

if TYPE_CHECKING:
    from pathlib import Path

    from vaetools.diagnosis.finding import Finding


def checked(models: Path, device: str = "auto") -> list[Finding]:
    """Findings about models in one folder; all run on the CPU, whatever the device is called."""
    host = PluginHost(installed=False)

    def hub(_: str) -> Hub:
        return Hub(host, [models], device="cpu", threads=1)

    return list(content.models(Installation(lambda: host, hub, device)))


def test_models_are_tested_on_the_device_that_commands_use(
    tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "working_device", lambda: (Device("cuda", 0), ""))
    assert {one.state for one in checked(tiny_models)} == {"ok"}
    assert all(" passed on cuda:0 in " in one.text for one in checked(tiny_models))
    assert all(" passed on openvino in " in one.text for one in checked(tiny_models, "openvino"))


def test_a_device_that_computes_wrongly_is_not_the_fault_of_the_files(
    tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verify(_: Model) -> None:
        raise ModelBrokenError("self-test of decode: 1 where 2 was exported")

    monkeypatch.setattr(Model, "verify", verify)
    (on_gpu, *_), (on_cpu, *_) = checked(tiny_models, "cuda"), checked(tiny_models, "cpu")
    assert on_gpu.state == on_cpu.state == "fail"
    assert "--device cpu" in on_gpu.cure and "driver of cuda" in on_gpu.cure
    assert "rm -r" in on_cpu.cure


def test_a_self_test_that_hangs_is_a_finding_and_the_last_one(
    tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = threading.Event()
    monkeypatch.setattr(content, "SECONDS", 0.05)
    monkeypatch.setattr(Model, "verify", lambda _: never.wait(30) and None)
    (found,) = checked(tiny_models, "cuda")
    never.set()
    assert found.state == "fail" and "takes longer than 0 s on cuda" in found.text
    assert "--device cpu" in found.cure


@pytest.mark.parametrize(("device", "state"), [("auto", "fail"), ("cpu", "note")])
def test_missing_libraries_of_cuda_are_no_failure_where_the_cpu_is_asked_for(
    device: str, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [nvidia.Fault("cudnn", "cuDNN 9 is missing", "pip install 'vaetools[cuda]'")]
    for driver, links in ((faults, []), ([], faults)):
        monkeypatch.setattr(nvidia, "driver_faults", lambda found=driver: found)
        monkeypatch.setattr(nvidia, "link_faults", lambda found=links: found)
        found = list(devices.cuda(Installation(PluginHost, Hub, device)))
        assert [one.state for one in found] == [state]


def test_other_devices_are_named_when_their_wheels_are_there_or_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def proven(device: Device) -> Device:
        if device.kind == "webgpu":
            raise DeviceError("webgpu:0: no device")
        return device

    def found(device: str) -> list[tuple[str, str]]:
        installation = Installation(PluginHost, Hub, device)
        return [(one.state, one.subject) for one in devices.others(installation)]

    monkeypatch.setattr(devices, "proven_device", proven)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(devices, "_has", lambda module: module == "onnxruntime_ep_webgpu")
    assert found("auto") == found("cpu") == [("note", "webgpu")]
    assert found("webgpu") == [("fail", "webgpu")]
    assert found("openvino:1") == [("ok", "openvino:1"), ("note", "webgpu")]
