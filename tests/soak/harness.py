"""Watches a process and its children while it works through many images."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

MODES = ("run", "workers", "map", "op")

MAX_SLOPE = 1.0
"""MiB per 1,000 images."""


@dataclass(frozen=True)
class Sample:
    """What the process and its children use, summed up.

    Attributes:
        images: Finished so far.
        rss: Resident memory in MiB.
        threads: Number of threads.
        descriptors: Number of open files.
    """

    images: int
    rss: float
    threads: int
    descriptors: int


@dataclass(frozen=True)
class Soak:
    """What a soak found, after the images of the warm-up.

    Attributes:
        images: Number of images, with the warm-up.
        slope: Growth of resident memory in MiB per 1,000 images, by least squares.
        first, last: Means of the first and last fifth of the samples.
        code: Exit code.
    """

    images: int
    slope: float
    first: Sample
    last: Sample
    code: int

    @property
    def is_flat(self) -> bool:
        """Whether memory, threads and open files do not grow."""
        return (
            self.slope < MAX_SLOPE
            and self.last.threads <= self.first.threads + 1
            and self.last.descriptors <= self.first.descriptors + 2
        )

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "is_flat": self.is_flat}


def command(mode: str, op: str, inputs: Path, out: Path) -> list[str]:
    """A command that prints a line on stdout when an image is finished.

    Args:
        mode: `run` and `workers`, the command line; `map` and `op`, the hub in Python.
    """
    if mode in ("map", "op"):
        return [sys.executable, "-m", "tests.soak.loops", mode, op, str(inputs), str(out)]
    words = [op, str(inputs), "-o", str(out), "--json", "--quiet"]
    words += ["--workers", "2"] if mode == "workers" else []
    return [sys.executable, "-m", "vaetools", *words]


def watch(words: Sequence[str], *, warm_up: int = 500, every: int = 50) -> Soak:
    """Run a command of `command` to its end, and sample it after every `every` images.

    Args:
        warm_up: Images that do not count: caches and allocators fill up.
    """
    samples, images = [], 0
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        for _ in process.stdout:
            images += 1
            if images % every == 0 and images > warm_up:
                samples.append(_sample(process.pid, images))
        code = process.wait()
    samples = [sample for sample in samples if sample.rss]  # without those of a process at its end
    fifth = max(1, len(samples) // 5)
    return Soak(images, _slope(samples), _mean(samples[:fifth]), _mean(samples[-fifth:]), code)


def _slope(samples: Sequence[Sample]) -> float:
    counts, sizes = zip(*((sample.images, sample.rss) for sample in samples), strict=True)
    return round(1000 * float(np.polyfit(counts, sizes, 1)[0]), 3)


def _mean(samples: Sequence[Sample]) -> Sample:
    rows = [(s.images, s.rss, s.threads, s.descriptors) for s in samples]
    images, rss, threads, descriptors = np.mean(rows, axis=0)
    return Sample(round(images), round(float(rss), 1), round(threads), round(descriptors))


def _sample(pid: int, images: int) -> Sample:
    found = [_usage(one) for one in _family(pid)]
    rss, threads, descriptors = (sum(values) for values in zip(*found, strict=True))
    return Sample(images, rss / 1024, threads, descriptors)


def _family(pid: int) -> list[int]:
    """A process and all of its descendants."""
    try:
        tasks = [*Path(f"/proc/{pid}/task").iterdir()]
        children = [int(word) for t in tasks for word in (t / "children").read_text().split()]
    except OSError:
        return [pid]
    return [pid, *(one for child in children for one in _family(child))]


def _usage(pid: int) -> tuple[int, int, int]:
    """Resident memory in kB, threads, and open files; zeros for a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        descriptors = len([*Path(f"/proc/{pid}/fd").iterdir()])
        return int(fields["VmRSS"].split()[0]), int(fields["Threads"]), descriptors
    except (OSError, KeyError):
        return 0, 0, 0
