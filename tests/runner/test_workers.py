"""Worker processes: the same promises as with threads, and workers that end."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from vaetools.errors import OptionError, UsageError
from vaetools.runner import RunSettings, run
from vaetools.runner.atomic import discard
from vaetools.runner.batch import Batch
from vaetools.runner.folder import OutputFolder
from vaetools.runner.inputs import FileFilter, discover
from vaetools.runner.job import Job
from vaetools.runner.plan import PlannedItem
from vaetools.runner.processes import Processes, pickled

from .operations import Gated
from .test_pipeline import _ctrl_c_works as _ctrl_c_works  # noqa: PLC0414 - a fixture
from .test_pipeline import interrupt
from .worker_operations import Twice, Unready

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vaetools.runner import RunResult
    from vaetools.runner.stages import Publisher

    from .conftest import Plant


def outcome(result: RunResult) -> list[dict[str, Any]]:
    """The records without times, by file."""
    records = sorted((record.as_dict() for record in result.records), key=lambda r: str(r["file"]))
    for record in records:
        record["ms"] = 0
        record["out"] = [Path(path).name for path in record["out"]]
    return records


def tree(out: Path) -> Mapping[str, bytes]:
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("[!.]*.?")}


def parts(folder: Path) -> list[Path]:
    return list(folder.rglob("*.part"))


def failures(result: RunResult) -> dict[str, str]:
    return {Path(record.file).stem: record.message for record in result.failures}


def test_files_records_and_output_are_those_of_threads(
    plant: Plant, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = {f"{i % 3}/{i}.txt": b"data %d" % i for i in range(12)}
    files |= {f"{word}.txt": word.encode() for word in ("print", "damaged", "exit")}
    top = plant("in", files)
    results = {}
    for workers, jobs in ((0, 2), (1, 2)):
        settings = RunSettings(tmp_path / f"out{workers}", workers=workers, jobs=jobs)
        results[workers] = run(Twice(), [top], settings)
        printed = capfd.readouterr()
        assert printed.out == "to stdout\nhalf a line"
        assert printed.err == "to stderr\n"
    assert outcome(results[0]) == outcome(results[1])
    assert len(tree(tmp_path / "out0")) == 26
    assert tree(tmp_path / "out0") == tree(tmp_path / "out1")
    assert failures(results[1]).keys() == {"damaged", "exit"}
    again = run(Twice(), [top], RunSettings(tmp_path / "out1", workers=1))
    assert again.counts["skipped"] == 13
    assert not parts(tmp_path)


def test_an_input_that_ends_its_worker_costs_only_itself(plant: Plant, tmp_path: Path) -> None:
    files = {f"{i}.txt": b"data %d" % i for i in range(10)}
    files |= {f"{word}.txt": word.encode() for word in ("crash", "foreign", "found")}
    top = plant("in", files)
    result = run(Twice(), [top], RunSettings(tmp_path / "out", workers=1, jobs=1))
    assert result.counts["done"] == 12
    assert result.exit_code == 1
    assert {Path(r.file).stem: r.code for r in result.failures} == {"crash": "E099"}
    assert "crash.txt: ended its worker process twice (SIGSEGV)" in failures(result)["crash"]
    found = {Path(r.file).stem: r.found for r in result.records if r.found}
    assert found.keys() == {"foreign", "found"}  # objects that no process gives to another: as text
    assert all(isinstance(text, str) for values in found.values() for text in values.values())
    assert len(tree(tmp_path / "out")) == 24
    assert not parts(tmp_path)


def test_a_worker_that_ended_while_it_waited_is_replaced(plant: Plant, tmp_path: Path) -> None:
    sources = discover([plant("in", {"a.txt": b"a", "b.txt": b"b"})], FileFilter((".txt",))).sources
    settings, folder = RunSettings(tmp_path, workers=1), OutputFolder(tmp_path)
    unused = cast("Publisher", None)
    stages = Processes(pickled(Twice()), "file", settings, folder, unused, 1, 1)
    try:
        for source in sources:
            outputs = tmp_path / "x.a", tmp_path / "x.b"
            job = Job(PlannedItem(source, ("x.a", "x.b"), outputs, standing=(None, None)))
            stages.work(job, lambda _: None)
            assert len(parts(tmp_path)) == 2
            discard(job.temporaries)
            for worker in stages._workers.values():
                worker._process.kill()
                worker._reader.join()
    finally:
        stages.close()


def test_what_a_stream_cannot_encode_is_printed_with_escapes(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Consoles of Windows may have code pages with few characters."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", stream)
    top = plant("in", {"a.txt": b"symbol"})
    result = run(Twice(), [top], RunSettings(tmp_path / "out", workers=1))
    assert result.exit_code == 0
    stream.flush()
    assert stream.buffer.getvalue() == b"a \\u2192 b\n"  # type: ignore[attr-defined]


@pytest.mark.slow
def test_an_input_that_ended_its_worker_gets_another_attempt(plant: Plant, tmp_path: Path) -> None:
    files = {f"{i}.txt": b"data %d" % i for i in range(40)} | {"20.txt": b"die_once"}
    top = plant("in", files)
    result = run(Twice(tmp_path), [top], RunSettings(tmp_path / "out", workers=2, jobs=4))
    assert (result.exit_code, result.counts["done"]) == (0, 40)
    assert len(tree(tmp_path / "out")) == 80


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("die", "its worker process does not start (SIGKILL); use --workers 0"),
        ("raise", "a model: does not open"),
    ],
)
def test_workers_that_do_not_start_end_the_run(
    plant: Plant, tmp_path: Path, how: str, message: str
) -> None:
    top = plant("in", {f"{i}.txt": b"data" for i in range(9)})
    result = run(Unready(how), [top], RunSettings(tmp_path / "out", workers=1, jobs=1))
    assert (result.exit_code, len(result.records)) == (4, 1)
    assert message in result.records[0].message
    assert result.records[0].message.startswith(str(top))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "stopped"),
    [
        ("full", "stopped because the disk is full"),
        ("broken", "stopped because the model does not work"),
        ("move", "stopped because the output folder is gone"),
    ],
)
def test_what_stops_a_run_stops_it(plant: Plant, tmp_path: Path, word: str, stopped: str) -> None:
    top = plant("in", {f"{i:02}.txt": b"data" for i in range(30)} | {"05.txt": word.encode()})
    out = tmp_path / "out"
    settings = RunSettings(out, workers=1, jobs=1)
    result = run(Twice(out), [top], settings)
    assert result.stopped == stopped
    assert 1 <= len(result.failures) <= 4
    assert len(result.records) + result.unreached == 30
    assert result.unreached > 10
    assert not parts(out)


@pytest.mark.slow
@pytest.mark.usefixtures("_ctrl_c_works")
@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c(plant: Plant, tmp_path: Path, presses: int) -> None:
    """What is in work is finished after the first, and abandoned after the second."""
    top = plant("in", {f"{i:02}.txt": b"wait" for i in range(20)})
    gate, out = tmp_path / "gate", tmp_path / "out"
    gate.mkdir()

    def press() -> None:
        while not list(gate.iterdir()):
            time.sleep(0.01)
        for _ in range(presses):
            interrupt()
            time.sleep(0.3)
        (gate / "go").touch()

    thread = threading.Thread(target=press)
    thread.start()
    result = run(Twice(gate), [top], RunSettings(out, workers=1, jobs=1))
    thread.join()
    assert result.exit_code == 130
    assert result.counts["done"] == len(tree(out)) / 2
    assert result.counts["done"] in ((1, 2) if presses == 1 else (0,))
    assert not parts(tmp_path)
    time.sleep(0.1)
    assert not [t for t in threading.enumerate() if t.name == "vaetools worker process"]


def test_what_cannot_be_sent_to_workers_is_refused(plant: Plant, tmp_path: Path) -> None:
    top, out = plant("in", {"a.txt": b"ab"}), tmp_path / "out"
    with pytest.raises(UsageError, match="gated cannot be sent to worker processes: TypeError"):
        run(Gated(), [top], RunSettings(out, workers=1))
    assert not out.exists()
    for wrong in (-1, "many", 1.5, 1025):
        with pytest.raises(OptionError, match="is not auto or 0 … 1024"):
            RunSettings(out, workers=wrong)  # type: ignore[arg-type]


def test_the_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def processes(count: int, **settings: Any) -> int:
        return Batch(Twice(), RunSettings("out", **settings))._processes(count)

    monkeypatch.setattr("vaetools.runner.batch.usable_cores", lambda: 16)
    assert processes(1000) == 0
    assert processes(1000, workers=4) == 4
    assert processes(1000, workers=4, jobs=3) == 3
    assert processes(2, workers=4) == 2
    monkeypatch.setattr("vaetools.runner.batch.device_of", lambda _: "cuda:0")
    assert processes(1000) == 16
    assert processes(99) == 0
    assert processes(1000, workers=0) == 0


@pytest.mark.slow
def test_memory_is_shared_by_all_processes(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sizes of inputs in workers count in the budget of the run, which is empty at its end."""
    from vaetools.runner import pipeline
    from vaetools.runner.budget import Channel

    from .test_pipeline import Watched

    channels: list[Channel[Any]] = []

    def watched(limit: int) -> Channel[Any]:
        channel: Channel[Any] = Channel(limit)
        channel.budget = Watched(limit)
        channels.append(channel)
        return channel

    monkeypatch.setattr(pipeline, "Channel", watched)
    size = 2**20
    top = plant("in", {f"{i}.txt": bytes(size) for i in range(12)})
    settings = RunSettings(tmp_path / "out", workers=2, jobs=4, memory=3 * size)
    assert run(Twice(), [top], settings).counts["done"] == 12
    budget = channels[0].budget
    assert isinstance(budget, Watched)
    assert size < budget.peak <= 3 * (size + 20)
    assert [channel.budget.used for channel in channels] == [0, 0]


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from vaetools.runner import RunSettings, run
from tests.runner.worker_operations import Twice
run(Twice(Path(sys.argv[3])), [sys.argv[1]], RunSettings(sys.argv[2], workers=2, jobs=2))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
def test_workers_end_with_a_parent_that_is_killed(plant: Plant, tmp_path: Path) -> None:
    """No guard of `__main__` is needed, and nothing goes on alone."""
    top = plant("in", {f"{i}.txt": b"wait" for i in range(4)})
    gate = tmp_path / "gate"
    gate.mkdir()
    script = SCRIPT.format(root=str(Path(__file__).parents[2]))
    command = [sys.executable, "-c", script, str(top), str(tmp_path / "out"), str(gate)]
    with subprocess.Popen(command) as process:
        while len(list(gate.iterdir())) < 2:
            time.sleep(0.01)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        started = [int(p) for p in children.read_text(encoding="ascii").split()]
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}/mem").exists() for pid in started):
        assert time.monotonic() < deadline
        time.sleep(0.02)
        for pid in started:  # whoever adopted them
            _reap(pid)
    (gate / "go").touch()
    assert run(Twice(gate), [top], RunSettings(tmp_path / "out")).counts["done"] == 4
    assert not parts(tmp_path)


def _reap(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.waitpid(pid, os.WNOHANG)
