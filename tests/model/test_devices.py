"""Devices: their names and table, packages, plugins, and proof that one works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
import pytest

import vaetools
from vaetools.errors import DeviceError, OptionError
from vaetools.libraries import ORT
from vaetools.model import devices, nvidia, proof
from vaetools.model.devices import Device, bind, check_packages, parse_device
from vaetools.model.kinds import KINDS
from vaetools.model.proof import convolution_graph, probe, proven_device
from vaetools.model.registry import ModelRegistry, shipped_folder
from vaetools.model.runtime import Runtime
from vaetools.model.session import Session
from vaetools.native import captured_stderr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CPU = "CPUExecutionProvider"


@pytest.fixture(autouse=True)
def unproven() -> Iterator[None]:
    """Nothing is known about devices before and after a test."""
    known = (proof.proven_device, proof.working_device, proof.automatic_device)
    for each in known:
        each.cache_clear()
    yield
    for each in known:
        each.cache_clear()


def test_devices_are_parsed() -> None:
    assert parse_device("auto") is None
    assert parse_device("cpu") == Device("cpu")
    assert parse_device("cuda:3") == Device("cuda", 3)
    assert parse_device("openvino") == Device("openvino", 0)
    for kind, row in KINDS.items():
        assert parse_device(kind) == Device(kind)
        assert str(Device(kind)) == (f"{kind}:0" if row.numbered else kind)
        assert parse_device(str(Device(kind))) == Device(kind)
    for text in (
        "gpu",
        "cuda:",
        "cuda:-1",
        "CPU",
        "",
        "cpu:0",
        "coreml:1",
        "cuda:1234",
        "cuda:0\n",
    ):
        with pytest.raises(OptionError, match="auto, cpu, cuda, tensorrt"):
            parse_device(text)


def test_devices_that_plan_by_shape_want_fixed_shapes() -> None:
    wanting = [kind for kind in KINDS if Device(kind).fixed_shapes]
    assert wanting == ["cuda", "tensorrt", "coreml", "migraphx"]


@pytest.mark.parametrize("kind", [kind for kind, row in KINDS.items() if row.install])
def test_a_kind_that_is_not_there_is_one_line_with_its_cure(
    kind: str, plain: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Exit code 4, the name as typed, and the command that installs it; nothing else is printed."""
    monkeypatch.setattr(nvidia, "driver_faults", lambda: iter(()))
    monkeypatch.setattr(nvidia, "number_faults", lambda _: iter(()))
    monkeypatch.setattr(nvidia, "link_faults", lambda: iter(()))
    monkeypatch.setitem(sys.modules, KINDS[kind].plugin or "no_such_module", None)
    with pytest.raises(DeviceError) as caught:
        Runtime(kind)
    line = caught.value.line
    assert caught.value.exit_code == 4
    assert line.startswith(f"E060 {kind}") and line.endswith(KINDS[kind].install)
    assert "\n" not in line
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ORT[1:])
def test_packages_that_overwrite_each_other_are_refused(name: str, tmp_path: Path) -> None:
    for package in ("onnxruntime", name):
        info = tmp_path / f"{package.replace('-', '_')}-1.31.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.31.1\n")
        (info / "RECORD").write_text("onnxruntime/__init__.py,,\n")
    for module in ("onnxruntime", "onnxruntime_other"):  # Python 3.12 leaves out missing files
        (tmp_path / module).mkdir()
        (tmp_path / module / "__init__.py").touch()
    paths = [str(tmp_path), *sys.path]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(tmp_path)])
        with pytest.raises(DeviceError, match=f"both onnxruntime and {name} ") as caught:
            check_packages()
        assert caught.value.remedy == (f"pip uninstall -y onnxruntime {name}; pip install {name}")
        (info / "RECORD").write_text("onnxruntime_other/__init__.py,,\n")
        devices._runtimes.cache_clear()
        check_packages()  # a plugin shares the name, but no files
    assert sys.path == paths[1:]


class Plugin(SimpleNamespace):
    """The module of a plugin wheel; its execution provider is one that ONNX Runtime has."""

    def __init__(self, name: str) -> None:
        super().__init__(
            __name__="onnxruntime_ep_openvino",
            get_ep_name=lambda: name,
            get_library_path=lambda: "/nonexistent/libplugin.so",
        )

    __hash__ = object.__hash__


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of ONNX Runtime without accelerators."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CPU])


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch, plain: None) -> list[tuple[str, str]]:
    """What is registered with ONNX Runtime, which does not try to load it."""
    calls: list[tuple[str, str]] = []
    monkeypatch.setattr(
        ort, "register_execution_provider_library", lambda *words: calls.append(words)
    )
    return calls


def test_a_plugin_is_registered_once_and_its_device_runs_graphs(
    monkeypatch: pytest.MonkeyPatch, registered: list[tuple[str, str]]
) -> None:
    """The CPU in the place of an accelerator: all else is as with a plugin that finds a device."""
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_openvino", Plugin(CPU))
    graph = convolution_graph(uint8=True)
    image = np.random.default_rng(0).random((1, 8, 24, 24), np.float32)
    expected = Session(graph, "probe", Device("cpu"), 1)(image)
    for _ in range(2):
        options = ort.SessionOptions()
        assert bind(Device("openvino"), options, b"") is None
        assert options.has_providers()
        found = ort.InferenceSession(graph, options).run(None, {"image": image})
        assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
    assert registered == [(CPU, "/nonexistent/libplugin.so")]
    with pytest.raises(DeviceError, match=r"no such device, only openvino:0 \(CPU of "):
        bind(Device("openvino", 1), ort.SessionOptions(), b"")


def test_a_plugin_without_a_device_says_what_there_is(
    monkeypatch: pytest.MonkeyPatch, registered: list[tuple[str, str]]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_openvino", Plugin("NoProvider"))
    with pytest.raises(DeviceError, match=r"finds no device.* ONNX Runtime sees CPU of ") as caught:
        Runtime("openvino")
    assert caught.value.exit_code == 4 and registered


def test_a_plugin_whose_library_does_not_load_is_reinstalled(
    plain: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_openvino", Plugin("OtherProvider"))
    with pytest.raises(DeviceError, match=r"libplugin\.so") as caught:
        Runtime("openvino")
    assert caught.value.line.endswith("--no-deps onnxruntime-ep-openvino")
    assert capfd.readouterr() == ("", "")


def test_a_serial_device_runs_one_call_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    running, most, both = 0, 0, threading.Barrier(2)

    def run(*_: Any) -> list[np.ndarray]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        threading.Event().wait(0.05)
        running -= 1
        return []

    monkeypatch.setattr(Session, "_opened", lambda *_: SimpleNamespace(run=run))
    session = Session(convolution_graph(uint8=True), "probe", Device("dml"), 1)

    def call() -> None:
        both.wait()
        session.run([np.zeros((1, 8, 24, 24), np.float32)])

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_the_probe_passes_on_the_cpu_and_refuses_other_results(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    probe(Device("cpu"))
    real, calls = proof._opened, []

    def wrong(graph: bytes, device: Device) -> Any:
        """A device that computes right the first time, and wrong after that."""
        session = real(graph, Device("cpu"))
        if device.kind == "cpu":
            return session

        def run(*words: Any) -> Any:
            calls.append(device)
            values, levels = session.run(*words)
            return [values + (0.02 if len(calls) == 2 else 0.005), levels]

        return SimpleNamespace(run=run)

    monkeypatch.setattr(proof, "_opened", wrong)
    with pytest.raises(DeviceError, match=r"cuda:0 computes wrongly: .* off by 0\.02"):
        probe(Device("cuda"))
    assert len(calls) == 2


def test_the_probe_refuses_a_session_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """No provider but the CPU is there: nothing but the check of the placement can notice."""
    monkeypatch.setattr(proof, "bind", lambda *_: None)
    with pytest.raises(Exception, match="CPU"):
        probe(Device("migraphx"))


@pytest.mark.skipif(not nvidia.cuda_version(), reason="this package of ONNX Runtime has no CUDA")
def test_what_native_code_prints_becomes_the_cause(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """ONNX Runtime itself fails to load its provider; the loader's message names the library."""
    if next(nvidia.driver_faults(), None) is None:
        pytest.skip("a driver answers here")
    for name in ("driver_faults", "link_faults"):
        monkeypatch.setattr(nvidia, name, lambda: iter(()))
    with pytest.raises(DeviceError, match=r"cuda:0 does not work: .*\.so\.\d+") as caught:
        proven_device(Device("cuda"))
    assert "LD_LIBRARY_PATH" in caught.value.line or "pip install" in caught.value.line
    assert capfd.readouterr() == ("", "")


def test_stderr_is_captured_below_python_and_given_back(capfd: pytest.CaptureFixture[str]) -> None:
    os.write(2, b"before\n")
    with captured_stderr() as heard:
        os.write(2, b"plugin: INFO ready\n")
        assert heard.cause() == ""
        os.write(2, b"Could not load library libcudnn_graph.so.9\n")
        assert heard.cause() == "Could not load library libcudnn_graph.so.9"
        os.write(
            2,
            b"\x1b[1;31m2026-11-28 00:00:00.1 [E:onnxruntime:Default, a.cc:1 F] lib.so gone\x1b[m\n",
        )
        with captured_stderr() as inner:
            os.write(2, b"inner\n")
        assert heard.cause() == "lib.so gone"
    os.write(2, b"after\n")
    assert inner.text() == "inner\n"
    assert capfd.readouterr().err == "before\nafter\n"


def test_libraries_are_found_in_target_installs_torch_and_conda(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, conda = tmp_path / "target", tmp_path / "conda"
    places = [target / "nvidia/cudnn/lib", target / "nvidia/cu13/lib", target / "torch/lib"]
    places.append(conda / "lib")
    for place in places:
        place.mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(target)])
    monkeypatch.setenv("CONDA_PREFIX", str(conda))
    monkeypatch.setattr(nvidia, "WINDOWS", False)
    found = nvidia.library_folders()
    assert [each for each in found if each.is_relative_to(tmp_path)] == [
        target / "nvidia/cu13/lib",
        target / "nvidia/cudnn/lib",
        *places[2:],
    ]


def test_engines_are_kept_where_nobody_else_can_put_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT runs what it finds there."""
    monkeypatch.setenv("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME", str(tmp_path))
    options = KINDS["tensorrt"].options(1, b"graph")
    folder = tmp_path / "vaetools" / "tensorrt"
    assert options["device_id"] == "1" and folder.is_dir()
    assert Path(options["trt_engine_cache_path"]).parent == folder
    assert options["trt_timing_cache_path"] == str(folder)
    if os.name == "posix":
        folder.chmod(0o777)
        assert KINDS["tensorrt"].options(1, b"graph") == {"device_id": "1"}


@pytest.mark.parametrize(
    ("kind", "option"), [("tensorrt", "trt_engine_cache_path"), ("coreml", "ModelCacheDirectory")]
)
def test_what_is_compiled_belongs_to_a_graph_with_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, option: str
) -> None:
    """Their own keys leave out the weights: a new version of a model would run with the old ones."""
    monkeypatch.setenv("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME", str(tmp_path))
    one, same, other = (KINDS[kind].options(0, graph)[option] for graph in (b"1", b"1", b"2"))
    assert one == same != other


def driver(monkeypatch: pytest.MonkeyPatch, *, init: int = 0, version: int = 13000) -> None:
    """An NVIDIA driver for two GPUs."""

    def put(value: int) -> Callable[[Any], int]:
        def call(reference: Any) -> int:
            reference._obj.value = value
            return 0

        return call

    functions = {"cuDriverGetVersion": put(version), "cuDeviceGetCount": put(2)}
    made = SimpleNamespace(cuInit=lambda _: init, **functions)
    monkeypatch.setattr(nvidia, "_driver", lambda: made)
    monkeypatch.setattr(nvidia, "cuda_version", lambda: 13)


@pytest.mark.parametrize(
    ("name", "facts", "problem", "cure"),
    [
        ("cuda", {"init": 999}, "cuda:0: the NVIDIA driver does not start (cuInit: 999)", "reboot"),
        ("cuda", {"init": 100}, "cuda:0: an NVIDIA driver, but no GPU", "--device cpu or auto"),
        ("cuda:2", {}, "cuda:2: there is no such GPU, only cuda:0, cuda:1", "choose one of these"),
        ("tensorrt:7", {}, "tensorrt:7: there is no such GPU, only cuda:0", "choose one of these"),
        (
            "cuda:1",
            {"version": 12040},
            "supports CUDA 12.4, ONNX Runtime needs 13",
            "nvidia-driver-580",
        ),
    ],
)
def test_a_driver_that_does_not_do_is_one_line_with_its_cure(
    name: str,
    facts: dict[str, int],
    problem: str,
    cure: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    driver(monkeypatch, **facts)
    monkeypatch.setattr(nvidia, "load_libraries", lambda _: [])
    with pytest.raises(DeviceError) as caught:
        Runtime(name)
    assert caught.value.exit_code == 4
    assert problem in caught.value.line and cure in caught.value.line
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("facts", "missing", "said"),
    [
        ({"init": 100}, [], ""),
        ({"init": 999}, [], "cuda:0: the NVIDIA driver does not start (cuInit: 999)"),
        ({"version": 12040}, [], "cuda:0: the NVIDIA driver is too old"),
        ({}, ["libcudnn.so.9"], "cuda:0: cuDNN 9 is missing (libcudnn.so.9)"),
        ({}, ["libcurand.so.10"], "cuda:0: the libraries of CUDA 13 are missing (libcurand.so.10)"),
    ],
)
def test_auto_says_once_why_a_gpu_is_not_used(
    facts: dict[str, int],
    missing: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A machine without a GPU is no news; a GPU that does not work is, with the cause and the cure."""
    driver(monkeypatch, **facts)
    monkeypatch.setattr(nvidia, "WINDOWS", False)
    monkeypatch.setattr(nvidia, "load_libraries", lambda _: missing)
    monkeypatch.setattr(nvidia, "_has_cuda", lambda _: False)
    assert [str(Runtime("auto").device) for _ in range(2)] == ["cpu", "cpu"]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == bool(said)
    for line in lines:
        assert line.startswith(said) and line.endswith("; using the CPU") and "\n" not in line
        assert line.count(";") >= 2  # a cure between the cause and the consequence


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "cpu"])
def test_every_shipped_model_passes_its_self_test(kind: str) -> None:
    """On each kind of device that is here; pixels are within one level of the CPU's."""
    try:
        runtime = Runtime(kind)
    except DeviceError as error:
        pytest.skip(error.line)
    folder = shipped_folder()
    assert folder is not None
    registry = ModelRegistry([folder], lambda: runtime)
    for model_id in registry.ids():
        registry.open(model_id).verify()
    image = np.random.default_rng(0).integers(0, 256, (96, 160, 3), np.uint8)
    found, expected = (
        [hub.decompress(hub.compress(image, quality=60)), hub.denoise(image, sigma=20)]
        for hub in (vaetools.open(kind), vaetools.open("cpu"))
    )
    for one, other in zip(found, expected, strict=True):
        assert np.abs(np.subtract(one, other, dtype=np.int16)).max() <= 1


@pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="a library is built with cc"
)
def test_a_library_next_to_a_target_install_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loaded once by its path, it is found by its name: so ONNX Runtime finds it."""
    name = "libvaetools_test.so.9"
    folder = tmp_path / "nvidia" / "cudnn" / "lib"
    folder.mkdir(parents=True)
    words = ["cc", "-shared", "-x", "c", "-", f"-Wl,-soname,{name}", "-o", folder / name]
    subprocess.run(words, input=b"int unused;", check=True)
    assert not nvidia._found(name)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert nvidia._found(name)
    monkeypatch.undo()
    assert nvidia._load(name) is not None
