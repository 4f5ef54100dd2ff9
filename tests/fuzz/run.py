"""Runs a decoder over mutated files, and reports what it did with them."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from tests.fuzz.mutations import Case, mutated
from vaetools.codec.container import Container
from vaetools.errors import BitstreamError

_ARENA_MAX = -8  # M_ARENA_MAX of malloc.h

ROOM = 128 * 2**20
"""Address space that all cases together may use beyond that of the good files."""

GROWTH = 64 * 2**20
"""Resident memory that the worst case may use beyond that of the good files."""


@dataclass
class Tally:
    """Outcomes of the cases."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)
    slowest: float = 0.0
    grown: int = 0

    def line(self, cases: int, seed: int, seconds: float) -> str:
        refused = {k: n for k, n in sorted(self.outcomes.items()) if k.startswith("E")}
        codes = ", ".join(f"{code} {n}" for code, n in refused.items())
        return (
            f"{cases} cases, seed {seed}: {self.outcomes['decoded']} decoded, "
            f"{sum(refused.values())} refused ({codes}), {len(self.failures)} failed; "
            f"slowest {1000 * self.slowest:.0f} ms, +{self.grown / 2**20:.0f} MiB, {seconds:.1f} s"
        )


Decode: TypeAlias = "Callable[[bytes, bool, random.Random], Container]"
"""(bytes, preview, generator) -> the decoded file; raises `BitstreamError` for damaged files."""


def attempt(
    case: Case, files: Sequence[Container], decode: Decode, rng: random.Random
) -> tuple[str, str]:
    """Decode a case: (`decoded` or the error code, a description of the defect or "")."""
    try:
        found = decode(case.data, rng.random() < 1 / 3, rng)
    except BitstreamError as error:
        return error.code, ""
    if case.is_forged or was_written(found, files):
        return "decoded", ""
    return "decoded", "decoded a damaged file"


def was_written(found: Container, files: Sequence[Container]) -> bool:
    """Whether a decoded file is one of the valid files, possibly truncated."""
    return any(
        replace(found, sections=()) == replace(file, sections=())
        and set(found.sections) <= set(file.sections)
        for file in files
    )


def fuzz(
    cases: range,
    seed: int,
    files: Sequence[Container],
    decode: Decode,
    *,
    seconds: float,
) -> Tally:
    """Run cases; each depends only on the seed and its own number.

    Args:
        cases: their numbers.
        seed: of all cases.
        files: valid files.
        decode: the decoder.
        seconds: limit on the CPU time of a case.
    """
    for file in files:
        decode(file.pack(), False, random.Random(0))
    limit_memory(ROOM)
    tally, before = Tally(), peak_memory()
    for case in cases:
        rng = random.Random(f"{seed} {case}")
        mutation = mutated(files, rng)
        began = time.process_time()
        try:
            outcome, problem = attempt(mutation, files, decode, rng)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            outcome, problem = "failed", traceback.format_exc()
        spent = time.process_time() - began
        tally.outcomes[outcome] += 1
        tally.slowest = max(tally.slowest, spent)
        if spent > seconds:
            problem = problem or f"took {spent:.1f} s"
        grown = peak_memory() - before
        if grown > max(GROWTH, tally.grown):
            problem = problem or f"took {grown / 2**20:.0f} MiB"
        tally.grown = grown
        if problem:
            tally.failures.append((case, problem))
    return tally


def limit_memory(room: int) -> None:
    """Limit further memory to `room` bytes; on Linux only."""
    with contextlib.suppress(ImportError, OSError):
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        ceiling = pages * resource.getpagesize() + room
        _one_arena()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (ceiling, hard))


def _one_arena() -> None:
    """Let all threads allocate from one arena: glibc reserves 64 MiB of addresses for each further
    one, which would count as memory, and how many there are depends on chance."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def peak_memory() -> int:
    """Peak resident size of this process in bytes; 0 if unknown."""
    with contextlib.suppress(ImportError):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return 0


def run(description: str, files: Sequence[Container], decode: Decode, *, seconds: float) -> int:
    """Command line of a fuzzer. Returns the exit status."""
    parser = argparse.ArgumentParser(description=description.split("\n", maxsplit=1)[0])
    parser.add_argument("--cases", type=int, default=100_000, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument(
        "--first", type=int, default=0, metavar="N", help="number of the first case"
    )
    options = parser.parse_args()
    cases = range(options.first, options.first + options.cases)
    began = time.perf_counter()
    tally = fuzz(cases, options.seed, files, decode, seconds=seconds)
    print(tally.line(options.cases, options.seed, time.perf_counter() - began))
    for case, problem in tally.failures[:10]:
        print(f"--seed {options.seed} --first {case} --cases 1\n{problem}", file=sys.stderr)
    return 1 if tally.failures else 0
