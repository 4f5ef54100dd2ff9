"""`--watch`, in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_endings import place, start
from vaetools.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["place"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

WATCH = ("slow", "in", "-o", "out", "--watch", "--interval", "0.2")
SECONDS = 120


def until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def outputs(place: Path) -> list[str]:
    out = place / "out"
    return sorted(str(path.relative_to(out)) for path in out.rglob("*.txt"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_it_takes_what_arrives_and_ends_cleanly(place: Path, number: int, code: int) -> None:
    with start(place, *WATCH) as process:
        until(lambda: len(outputs(place)) == 12, process)
        (place / "in" / "new").mkdir()
        (place / "in" / "new" / "a.txt.part").write_text("from elsewhere")
        (place / "in" / "new" / "a.txt.part").rename(place / "in" / "new" / "a.txt")
        (place / "in" / "00.txt").write_bytes(b"bad")
        until(lambda: "new/a.txt" in outputs(place), process)
        until((place / "out" / ".vaetools.failed.ndjson").exists, process)
        process.send_signal(number)
        out, text = process.communicate(timeout=SECONDS)
    assert process.returncode == code, text
    first, *rest, last = text.splitlines()
    assert first == "watching in; Ctrl-C ends it" and not out
    assert any(line.startswith("in/new/a.txt -> out/new/a.txt, 14 B -> 14 B in ") for line in rest)
    assert [line for line in rest if line.startswith("E")] == [
        line for line in rest if line.startswith("E099 in/00.txt: ValueError: bad")
    ]
    assert last.startswith("13 done, 1 failed, 62 B -> 62 B, watched for ")
    assert last.endswith("; interrupted; run the same command again to go on")
    assert not list(place.rglob("*.part"))


@pytest.mark.slow
def test_a_killed_watch_is_continued(place: Path) -> None:
    with start(place, *WATCH, "--jobs", "1") as process:
        until(lambda: len(outputs(place)) >= 3, process)
        process.kill()
        process.communicate(timeout=SECONDS)
    before = len(outputs(place))
    assert before < 12
    with start(place, *WATCH, "--json") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(12)]
        process.send_signal(signal.SIGINT)
        out, text = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, text
    assert out == "" and len(outputs(place)) == 12
    statuses = [json.loads(line)["status"] for line in lines]
    assert statuses.count("done") + statuses.count("skipped") == 12
    assert statuses.count("skipped") >= before - 1, "one may have been done, but not noted"
    assert not list(place.rglob("*.part"))


@pytest.mark.slow
def test_a_slow_writer_is_waited_for(place: Path) -> None:
    """Copied in pieces, with pauses that are longer than the interval."""
    code = (
        "import sys, time\n"
        "with open('in/copy.txt', 'wb', buffering=0) as file:\n"
        "    for _ in range(4): file.write(b'piece '); time.sleep(1)\n"
    )
    with start(place, *WATCH) as process:
        until(lambda: len(outputs(place)) == 12, process)
        subprocess.run([sys.executable, "-c", code], cwd=place, check=True)
        until(lambda: "copy.txt" in outputs(place), process)
        process.send_signal(signal.SIGINT)
        _, text = process.communicate(timeout=SECONDS)
    assert (place / "out" / "copy.txt").read_bytes() == 4 * b"piece "
    if sys.platform == "linux":  # elsewhere a pause is taken for the end
        assert text.count("copy.txt ->") == 1, text


def test_flags_that_make_no_sense_with_it(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)

    def error(*words: str) -> str:
        with pytest.raises(SystemExit) as caught:
            main(["denoise", "in", "-o", "out", *words])
        assert caught.value.code == 2
        return capsys.readouterr().err

    assert error("--watch", "--dry-run") == (
        "E002 --dry-run has no effect on a watched folder; leave it out\n"
    )
    assert error("--interval", "3") == (
        "E002 --interval has no effect on a run without --watch; leave it out\n"
    )
    assert error("--watch", "--interval", "0").startswith("E002 invalid value for '--interval'")
    assert not os.path.lexists("out")
