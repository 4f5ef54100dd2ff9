"""How commands end: by signals, and where stdout or stderr cannot be written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and /dev/full")

PLUGIN = '''
import time
from pathlib import Path

from vaetools import Operation, hookimpl


class Slow(Operation):
    """Copies slowly."""

    name = "slow"
    takes = "file"
    suffixes = (".txt",)

    def process(self, item):
        with Path("begun").open("a") as file:
            file.write("x")
        time.sleep(0.1)
        if item == b"bad":
            raise ValueError("bad")
        return item


@hookimpl
def register_operations():
    return [Slow]
'''

RESUME = "run the same command again to resume"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "slow.py").write_text(PLUGIN)
    (tmp_path / "in").mkdir()
    for i in range(12):
        (tmp_path / "in" / f"{i:02}.txt").write_bytes(b"data")
    return tmp_path


def start(place: Path, *words: str, options: Sequence[str] = (), **pipes: int) -> subprocess.Popen:  # type: ignore[type-arg]
    command = [sys.executable, "-m", "vaetools", "--plugins-dir", "plugins", *words, *options]
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    return subprocess.Popen(
        command,
        cwd=place,
        env={**os.environ, "PYTHONPATH": path, "VAETOOLS_PLUGINS": ""},
        text=True,
        preexec_fn=_default_signals,  # noqa: PLW1509 - no threads here
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **pipes},  # type: ignore[arg-type]
    )


def _default_signals() -> None:
    """Background jobs of a shell inherit that Ctrl-C is ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


SLOW = ("slow", "in", "-o", "out", "--jobs", "1")


def wait_for_work(place: Path, process: subprocess.Popen[str]) -> None:
    while not (place / "begun").exists() and process.poll() is None:
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
    ],
)
def test_signals_end_a_run_as_ctrl_c_does(place: Path, number: int, code: int) -> None:
    with start(place, *SLOW, "--report", "report.html") as process:
        wait_for_work(place, process)
        process.send_signal(number)
        _, text = process.communicate(timeout=60)
    assert process.returncode == code, text
    assert "; interrupted, " in text.splitlines()[-1]
    assert text.rstrip().endswith(RESUME)
    assert not list(place.rglob("*.part"))
    assert "interrupted" in (place / "report.html").read_text()
    assert 1 <= len(list((place / "out").glob("*.txt"))) < 12
    with start(place, *SLOW) as process:
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(list((place / "out").glob("*.txt"))) == 12


@pytest.mark.slow
def test_early_and_repeated_signals_say_how_to_go_on(place: Path) -> None:
    """At any time after Python has started, one line and no traceback."""
    for delay in (0.1, 0.15, 0.2, 0.3, 0.4, 0.6):
        for count in (1, 2, 5):
            with start(place, *SLOW, "--force") as process:
                time.sleep(delay)
                for _ in range(count):
                    process.send_signal(signal.SIGINT)
                    time.sleep(0.002)
                _, text = process.communicate(timeout=60)
            if RESUME not in text and "vaetools/cli" not in text:
                continue  # Python itself had not started
            assert process.returncode in (130, -signal.SIGINT), (
                delay,
                count,
                text,
            )  # same in a shell
            assert text.rstrip().endswith(RESUME), (delay, count, text)
            assert "Traceback" not in text, (delay, count, text)


@pytest.mark.slow
def test_ignored_signals_stay_ignored(place: Path) -> None:
    command = f"trap '' HUP; exec {sys.executable} -m vaetools --plugins-dir plugins"
    command += " slow in -o out --jobs 2"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "VAETOOLS_PLUGINS": ""}
    with subprocess.Popen(["sh", "-c", command], cwd=place, env=env) as process:
        wait_for_work(place, process)  # type: ignore[arg-type]
        process.send_signal(signal.SIGHUP)
        assert process.wait(60) == 0
    assert len(list((place / "out").glob("*.txt"))) == 12


# Streams that cannot be written.


@pytest.mark.parametrize(
    "stream", ["stdout", *(pytest.param(s, marks=pytest.mark.slow) for s in ("stderr", "both"))]
)
def test_full_streams_do_not_stop_the_work(place: Path, stream: str) -> None:
    (place / "in" / "03.txt").write_bytes(b"bad")
    with Path("/dev/full").open("w") as full:
        pipes = {name: full.fileno() for name in ("stdout", "stderr") if stream in (name, "both")}
        with start(place, *SLOW, "--json", "--jobs", "4", **pipes) as process:
            out, text = process.communicate(timeout=60)
    assert process.returncode == 1
    assert len(list((place / "out").glob("*.txt"))) == 11
    if stream == "stdout":
        *_, problem, summary = text.splitlines()
        assert problem == "E070 <stdout>: cannot be written: No space left on device"
        assert summary.startswith("11 done, 1 failed")
    if stream == "stderr":
        assert len(out.splitlines()) == 12


@pytest.mark.slow
@pytest.mark.parametrize("words", ["models list", "--help", "slow in -o out --dry-run"])
def test_a_full_stdout_is_an_output_error(place: Path, words: str) -> None:
    with (
        Path("/dev/full").open("w") as full,
        start(place, *words.split(), stdout=full.fileno()) as process,
    ):
        _, text = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "E070 <stdout>: cannot be written: No space left on device" in text.splitlines()
    assert "E099" not in text


def test_equal_errors_are_counted(place: Path) -> None:
    for path in (place / "in").iterdir():
        path.write_bytes(b"bad")
    with start(place, *SLOW, "--jobs", "4") as process:
        _, text = process.communicate(timeout=60)
    *named, counted, summary = text.splitlines()
    assert len(named) == 1
    assert all(line.startswith("E099 in/") for line in named)
    assert counted.startswith("E099 11 more inputs: ValueError: bad")
    assert summary.startswith("0 done, 12 failed")
    assert len((place / "out" / ".vaetools.failed.ndjson").read_text().splitlines()) == 12
