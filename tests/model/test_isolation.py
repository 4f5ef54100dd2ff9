"""Models in processes of their own: the same results, and a failure costs one error."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import pickle
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

from tests.attacks import hostile
from tests.attacks.hostile import add, data_of, ints, node
from vaetools import graphcheck
from vaetools.cli.app import program
from vaetools.device_memory import watched
from vaetools.errors import ModelBrokenError, ModelError, OptionError
from vaetools.image import Image, encode_image
from vaetools.model import child, isolation, worker
from vaetools.model.devices import Device
from vaetools.model.folder import Model
from vaetools.model.isolation import IsolatedSession, Worker
from vaetools.model.manifest import read_manifest
from vaetools.model.registry import ModelRegistry, shipped_folder
from vaetools.model.runtime import Runtime, isolate_by
from vaetools.model.vae import Vae
from vaetools.model.wire import receive, receive_header, send
from vaetools.testing import TINY

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(not isolation.AVAILABLE, reason="no workers on this system")

IMAGE = np.random.default_rng(0).random((1, 3, 24, 36), dtype=np.float32)
LATENT = np.ones((1, 3, 4, 4), np.float32)


def opened(models: Path, isolate: bool | None = True) -> Vae:
    runtime = Runtime("cpu", threads=1, isolate=isolate)
    model = ModelRegistry([models], lambda: runtime).open(TINY)
    assert isinstance(model, Vae)
    return model


def process_of(model: Model) -> Any:
    """The Popen of a model's worker."""
    assert model._worker is not None
    return model._worker._running()._popen


def ended(process: Any, by: signal.Signals) -> None:
    """End a process by a signal, which may take a while to arrive."""
    os.kill(process.pid, by)
    process.wait(30)


def test_results_are_those_of_the_same_process(tiny_models: Path) -> None:
    inside, outside = opened(tiny_models, isolate=False), opened(tiny_models)
    assert isinstance(outside.graph("encode"), IsolatedSession)
    assert outside.graph("encode").input_shapes == inside.graph("encode").input_shapes
    for a, b in zip(inside.encode_batch(IMAGE), outside.encode_batch(IMAGE), strict=True):
        assert a is not None and b is not None and np.array_equal(a, b)
    pixels = np.random.default_rng(1).integers(0, 256, (1, 8, 12, 3), np.uint8)
    mean = [m.graph("encode", pixels=("image",))(pixels)[0] for m in (inside, outside)]
    np.testing.assert_array_equal(*mean)
    back = [m.graph("decode", pixels=("image",))(mean[0])[0] for m in (inside, outside)]
    assert back[0].dtype == np.uint8
    np.testing.assert_array_equal(*back)
    outside.verify()


def test_a_worker_says_that_it_used_the_cpu(
    tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = opened(tiny_models).graph("encode")
    assert isinstance(session, IsolatedSession)
    session.device = Device("cuda")
    with watched() as shortages:
        monkeypatch.setattr(Worker, "ask", lambda *_: ({"used_cpu": True}, [IMAGE] * 2))
        session.run([IMAGE])
    assert shortages.remarks == ["cuda:0 had too little memory: parts were computed on the CPU"]


def test_only_models_that_did_not_come_with_vaetools_are_isolated(tiny_models: Path) -> None:
    assert isinstance(opened(tiny_models, isolate=None).graph("encode"), IsolatedSession)
    assert not isinstance(opened(tiny_models, isolate=False).graph("encode"), IsolatedSession)
    shipped = shipped_folder()
    assert shipped is not None
    manifest = read_manifest(shipped / "mnist-mlp")
    model = Model(manifest, shipped / "mnist-mlp", Runtime("cpu", threads=1, isolate=None))
    assert not isinstance(model.graph("encode"), IsolatedSession)


def test_the_environment_sets_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for word, expected in {"auto": None, "always": True, "never": False}.items():
        monkeypatch.setenv("VAETOOLS_ISOLATE", word)
        assert isolate_by(None) is expected
        assert isolate_by(wanted=False) is False
    monkeypatch.setenv("VAETOOLS_ISOLATE", "perhaps")
    with pytest.raises(OptionError, match="is not one of auto, always, never"):
        isolate_by(None)


def test_errors_are_those_of_the_same_process(tiny_models: Path) -> None:
    model = opened(tiny_models)
    with pytest.raises(ModelBrokenError, match=r"decode\.onnx: graph failed"):
        model.graph("decode")(IMAGE[0])
    with pytest.raises(ModelBrokenError, match="has no graph for 'prior'"):
        model.graph("prior")
    hostile.install(tiny_models, hostile.loop())
    with pytest.raises(ModelBrokenError, match="operator 'Loop' is not allowed") as caught:
        opened(tiny_models).graph("decode")
    assert caught.value.file is not None and caught.value.file.endswith("decode.onnx")


def test_a_killed_worker_costs_one_error(tiny_models: Path) -> None:
    model = opened(tiny_models)
    model.graph("decode")(LATENT)
    ended(process_of(model), signal.SIGSEGV)
    with pytest.raises(ModelBrokenError, match=r"graph ended its process \(SIGSEGV\)"):
        model.graph("decode")(LATENT)
    model.graph("decode")(LATENT)


@pytest.mark.slow
def test_a_call_that_ends_the_process_costs_others_nothing(
    tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that shared it are repeated, each in a process of its own."""
    model = opened(tiny_models)
    expected = model.graph("decode")(LATENT)
    session = model.graph("decode")
    process, together = process_of(model), threading.Barrier(3)
    real, calls = isolation.receive, itertools.count()

    def receive(channel: Any) -> Any:
        if next(calls) < 3:
            together.wait(10)  # all have sent their request
            ended(process, signal.SIGKILL)
            raise EOFError
        return real(channel)

    monkeypatch.setattr(isolation, "receive", receive)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: session(LATENT), range(3)))
    for results in found:
        for one, wanted in zip(results, expected, strict=True):
            np.testing.assert_array_equal(one, wanted)
    assert process_of(model) is not process


def test_a_process_that_another_call_has_ended_costs_nothing(tiny_models: Path) -> None:
    model = opened(tiny_models)
    expected = model.graph("decode")(LATENT)
    assert model._worker is not None
    running = model._worker._running()
    running.kill()
    for one, wanted in zip(model.graph("decode")(LATENT), expected, strict=True):
        np.testing.assert_array_equal(one, wanted)


def test_a_model_that_was_altered_meanwhile_says_so(tiny_models: Path) -> None:
    model = opened(tiny_models)
    (file,) = tiny_models.rglob("model.toml")
    file.write_text(file.read_text().replace("format = 1", "format = 9"))
    with pytest.raises(ModelError, match="format") as caught:
        model.graph("decode")
    assert "ended its process" not in str(caught.value)


def test_a_worker_that_stops_answering_is_ended(
    tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alarm of a worker needs nothing of it: here, the process ends by the signal."""
    model = opened(tiny_models)
    model.graph("decode")(LATENT)
    ended(process_of(model), signal.SIGALRM)
    with pytest.raises(ModelBrokenError, match="took longer than an image of this size can need"):
        model.graph("decode")(LATENT)


@pytest.mark.slow
def test_threads_share_a_worker(tiny_models: Path) -> None:
    model = opened(tiny_models)
    model.graph("decode")(LATENT)
    process = process_of(model)
    images = [np.full((1, 3, 8, 8 * n), n / 10, np.float32) for n in range(1, 9)]
    with ThreadPoolExecutor(4) as pool:
        means = [mean for mean, _ in pool.map(model.encode_batch, images * 5)]
    for image, mean in zip(images * 5, means, strict=True):
        np.testing.assert_allclose(mean, np.full(mean.shape, image.flat[0]), rtol=1e-6)
    assert process_of(model) is process and process.poll() is None


@pytest.mark.slow
def test_a_worker_ends_with_its_runtime_and_starts_again(tiny_models: Path) -> None:
    model = opened(tiny_models)
    model.graph("decode")(LATENT)
    process = process_of(model)
    model.runtime.close()
    assert process.poll() is not None
    model.graph("decode")(LATENT)
    assert process_of(model) is not process


def test_a_large_image_may_follow_a_small_one(tiny_models: Path) -> None:
    """Its arrays take more than what was granted for the small one."""
    model = opened(tiny_models)
    model.graph("encode")(IMAGE)
    process = process_of(model)
    mean, _ = model.graph("encode")(np.zeros((1, 3, 4096, 4096), np.float32))
    assert mean.shape == (1, 3, 1024, 1024) and process_of(model) is process


def test_arrays_that_are_not_wanted_are_skipped() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        arrays = [np.zeros(2**17 + 3, np.uint8), IMAGE]
        sender = threading.Thread(target=lambda: [send(ours, {"n": n}, arrays) for n in (1, 2)])
        sender.start()
        header, announced = receive_header(theirs)
        assert header["n"] == 1 and announced.shapes == (arrays[0].shape, IMAGE.shape)
        announced.finish()
        announced.finish()
        header, found = receive(theirs)
        assert header["n"] == 2 and np.array_equal(found[1], IMAGE)
        sender.join()


@pytest.mark.slow
def test_a_pickled_model_is_isolated_as_well(tiny_models: Path) -> None:
    model = pickle.loads(pickle.dumps(opened(tiny_models)))
    assert isinstance(model.graph("decode"), IsolatedSession)
    model.graph("decode")(LATENT)


def _decoded(model: Model, results: Any) -> None:
    results.put(float(model.graph("decode")(LATENT)[0].sum()))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_forked_process_has_its_own_worker(tiny_models: Path) -> None:
    model = opened(tiny_models)
    expected = float(model.graph("decode")(LATENT)[0].sum())
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    children = [context.Process(target=_decoded, args=(model, results)) for _ in range(2)]
    for process in children:
        process.start()
    assert [results.get(timeout=60) for _ in children] == [expected, expected]
    for process in children:
        process.join(60)
    assert float(model.graph("decode")(LATENT)[0].sum()) == expected


@pytest.mark.slow
def test_a_worker_ends_with_its_parent(tiny_models: Path) -> None:
    context = multiprocessing.get_context("spawn")
    parent, child = context.Pipe()
    process = context.Process(target=_wait_for_ever, args=(str(tiny_models), child))
    process.start()
    pid = parent.recv()
    process.kill()
    process.join()
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if _is_zombie(pid):
            return
        time.sleep(0.05)
    pytest.fail("the worker lives on")


def _is_zombie(pid: int) -> bool:
    """A process whose parent is gone may wait for someone who reaps it."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
        return text.rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _wait_for_ever(models: str, pipe: Any) -> None:
    model = opened(Path(models))
    model.graph("decode")(LATENT)
    pipe.send(process_of(model).pid)
    threading.Event().wait()


# --- limits: what gets past the check, which is switched off here ----------------------------------


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], None]:
    """Makes the worker believe that every graph was checked."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "unchecked.py").write_text(
        "from vaetools import graphcheck\n"
        "from vaetools.graphcheck import estimate\n"
        "graphcheck.check_graph = lambda *_, **__: None\n"
        "estimate.STEPS_PER_PIXEL = estimate.MEMORY_PER_PIXEL = 2**60\n"
        "from vaetools.model import worker\n"
        "worker.STEPS_PER_SECOND = 1e15\n"
        "worker.RUN_MEMORY_FACTOR = 0\n"
        "worker.RUN_SECONDS = 0.5\n"
    )
    monkeypatch.syspath_prepend(str(site))
    program = child.PROGRAM.replace("from {module}", "import unchecked\nfrom {module}")
    monkeypatch.setattr(child, "PROGRAM", program)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own-cache"))
    assert graphcheck.VERSION and worker.RUN_MEMORY
    return lambda: None


BLANK = data_of(
    [node("Max", "latent,,latent", "x"), node("Resize", "x,,s", "image", mode="nearest")],
    [hostile.floats("s", 1, 1, 4, 4)],
)
"""ONNX Runtime reads the blank input."""

EMPTY = data_of(
    [node("OneHot", "latent,e,v", "big"), node("ReduceMean", "big", "m", keepdims=0), add("m")],
    [ints("e"), hostile.floats("v", 0, 1)],
)
"""ONNX Runtime aborts while it opens this."""

STEPS = ["x", *(f"y{i}" for i in range(60))]

SLOW = data_of(
    [
        *hostile.expanded(),
        *(node("MatMul", f"{a},x", b) for a, b in itertools.pairwise(STEPS)),
        node("ReduceMean", STEPS[-1], "big", keepdims=0),
        add("big"),
    ],
    [ints("shape", 1024, 1024)],
)

LARGE = data_of(
    [*hostile.expanded(), node("Relu", "x", "y"), node("Add", "x,y", "z"),
     node("ReduceMean", "z", "big", keepdims=0), add("big")],
    [ints("shape", 2**14, 2**13)],
)  # fmt: skip


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(BLANK, r"graph ended its process \(SIGSEGV\)", id="segmentation fault"),
        pytest.param(
            EMPTY, r"graph ended its process \(SIGABRT\)", id="abort", marks=pytest.mark.slow
        ),
        pytest.param(
            SLOW,
            r"graph took longer than \d s|took longer than an image",
            id="slow",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            LARGE,
            "graph needs more than 160 MiB for this image",
            id="large",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_passes_the_check_costs_one_error(tiny_models: Path, data: bytes, said: str) -> None:
    hostile.install(tiny_models, data)
    model = opened(tiny_models)
    with pytest.raises(ModelBrokenError, match=said) as caught:
        model.graph("decode")(LATENT)
    assert caught.value.line.isprintable()
    model.encode_batch(IMAGE)  # in a new process, if the old one ended


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_the_command_line_stops_with_one_line(
    tiny_models: Path, tmp_path: Path, photo: np.ndarray
) -> None:
    hostile.install(tiny_models, BLANK)
    source = tmp_path / "a.png"
    source.write_bytes(encode_image(Image(photo), "png"))
    words = ["reconstruct", str(source), "-o", str(tmp_path / "b.png"), "--model", TINY]
    result = CliRunner().invoke(
        program, [*words, "--models-dir", str(tiny_models), "--isolate"], catch_exceptions=True
    )
    lines = [line for line in result.output.splitlines() if line.startswith("E0")]
    assert len(lines) == 1
    assert "graph ended its process (SIGSEGV)" in lines[0]
    assert not (tmp_path / "b.png").exists()


def test_calls_in_the_same_process_end_as_well(
    tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vaetools.model import session

    monkeypatch.setattr(graphcheck, "check_graph", lambda *_, **__: None)
    monkeypatch.setattr(session, "SECONDS", 0.3)
    monkeypatch.setattr(session, "ELEMENTS_PER_SECOND", 1e9)
    hostile.install(tiny_models, SLOW)
    with pytest.raises(ModelBrokenError, match="graph took longer than 0 s for this image"):
        opened(tiny_models, isolate=False).graph("decode")(LATENT)


@pytest.mark.slow
@pytest.mark.parametrize("roles", [("encode", "decode")])
def test_nonsense_from_a_worker_is_one_error(
    tiny_models: Path, monkeypatch: pytest.MonkeyPatch, roles: tuple[str, ...]
) -> None:
    """A worker that a model has taken over can send anything."""
    model = opened(tiny_models)
    session = model.graph(roles[0])
    for answer in ({"error": 5}, {"error": ["os", "x", None, None]}, {"error": []}):
        monkeypatch.setattr(isolation, "receive", lambda _, answer=answer: (answer, []))
        with pytest.raises(ModelBrokenError):
            session(IMAGE)
    monkeypatch.setattr(isolation, "receive", lambda _: ({}, []))
    with pytest.raises(ModelBrokenError, match="its process sent nonsense"):
        session(IMAGE)


def test_a_worker_without_a_process_says_what_helps(
    tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/does/not/exist")
    with pytest.raises(Exception, match="--no-isolate"):
        opened(tiny_models).graph("decode")


@pytest.mark.slow
def test_workers_are_forgotten(tiny_models: Path) -> None:
    manifest = read_manifest(tiny_models / TINY)
    made = Worker(tiny_models / TINY, manifest.fingerprint, Runtime("cpu").device, 1)
    made.session("decode", (), "decode")(LATENT)
    process = made._running()._popen
    del made
    assert process.poll() is not None
