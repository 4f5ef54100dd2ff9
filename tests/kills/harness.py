"""Kills runs at random times and checks what they leave behind: with SIGKILL, SIGTERM or SIGHUP.

As a script it is the run that is killed: `python tests/kills/harness.py IN OUT [WORKERS]`.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

KILLS_PER_TREE = 15
"""After this number of kills a tree is completed and compared, and a new one begins."""

OTHERS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
"""Signals of two kills in five; the others are SIGKILL."""

Command = Callable[[Path, Path], list[str]]
"""(inputs, out) -> the command line of a run."""


@dataclass
class Tally:
    """Counts.

    Attributes:
        kills: runs that were killed.
        at_work: killed runs that left finished files.
        trees: output trees that were completed after kills.
        half_written: finished files that differ from those of an uninterrupted run.
        inputs_changed: times that the content or modification time of an input had changed.
        stale_parts: temporary files left in completed trees.
        trees_wrong: completed trees that differ from that of an uninterrupted run.
    """

    kills: int = 0
    at_work: int = 0
    trees: int = 0
    half_written: int = 0
    inputs_changed: int = 0
    stale_parts: int = 0
    trees_wrong: int = 0

    @property
    def is_clean(self) -> bool:
        return not (
            self.half_written or self.inputs_changed or self.stale_parts or self.trees_wrong
        )


def plant_inputs(folder: Path, count: int = 60, seed: int = 0) -> Path:
    """`count` files of random bytes, 1 to 100 kB, in nested folders."""
    rng = random.Random(seed)
    for index in range(count):
        path = folder / f"roll {index % 4}" / f"{index % 3}" / f"picture {index}.raw"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(rng.randint(1_000, 100_000)))
    return folder


def own_command(inputs: Path, out: Path) -> list[str]:
    """Command of a slow operation that copies."""
    return [sys.executable, str(Path(__file__).resolve()), str(inputs), str(out)]


def worker_command(inputs: Path, out: Path) -> list[str]:
    """The same in worker processes."""
    return [*own_command(inputs, out), "2"]


def kill_runs(command: Command, inputs: Path, workplace: Path, kills: int, seed: int) -> Tally:
    """Start runs and kill them until `kills` were killed, completing trees in between.

    Raises:
        RuntimeError: an uninterrupted run failed.
    """
    rng, tally = random.Random(seed), Tally()
    whole = workplace / "whole"
    seconds = _complete(command(inputs, whole))
    wanted, untouched = digests(whole), _state(inputs)
    while tally.kills < kills:
        out = workplace / f"tree {tally.trees}"
        for _ in range(min(KILLS_PER_TREE, kills - tally.kills)):
            pause = rng.uniform(0, 2 * seconds / KILLS_PER_TREE)
            number = signal.SIGKILL if rng.random() < 0.6 else rng.choice(OTHERS)
            early = rng.random() < 0.1
            if not _kill_one(command(inputs, out), out, pause, early=early, number=number):
                break
            tally.kills += 1
            finished = digests(out)
            tally.at_work += bool(finished)
            tally.half_written += sum(wanted.get(name) != sha for name, sha in finished.items())
            tally.inputs_changed += _state(inputs) != untouched
        _complete(command(inputs, out))
        tally.trees += 1
        tally.stale_parts += sum(1 for _ in out.rglob("*.part"))
        tally.trees_wrong += digests(out) != wanted
        tally.inputs_changed += _state(inputs) != untouched
        shutil.rmtree(out)
    return tally


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of all files that are not hidden, by relative name."""
    files = (path for path in folder.rglob("*") if path.is_file())
    named = ((path.relative_to(folder), path) for path in files)
    return {
        str(name): hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in named
        if not any(part.startswith(".") for part in name.parts)
    }


def _state(folder: Path) -> Mapping[str, object]:
    times = {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}
    return {**times, **digests(folder)}


def _complete(command: list[str]) -> float:
    """Run to the end; returns the time in seconds."""
    started = time.monotonic()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"exit {done.returncode} of {command}: {done.stdout} {done.stderr}")
    return time.monotonic() - started


def _kill_one(
    command: list[str], out: Path, pause: float, *, early: bool, number: signal.Signals
) -> bool:
    """Start a run and kill it `pause` seconds after it began to write; False if it ended before.

    Args:
        early: count the pause from the start of the process instead, mostly before it does anything.
    """
    journal = out / ".vaetools.ndjson"
    before = _size(journal)
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True) as process:
        while not early and _size(journal) == before and process.poll() is None:
            time.sleep(0.001)
        time.sleep(pause)
        if process.poll() is not None:
            return False
        os.killpg(process.pid, number)
    return True


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _work(inputs: str, out: str, workers: str = "0") -> int:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from tests.kills.operation import SlowCopy
    from vaetools.runner import RunSettings, run

    return run(SlowCopy(), [inputs], RunSettings(out, jobs=2, workers=int(workers))).exit_code


if __name__ == "__main__":
    sys.exit(_work(*sys.argv[1:]))
