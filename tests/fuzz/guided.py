"""Fuzz the readers in `tests.fuzz.targets`, guided by coverage where atheris is installed.

    pip install '.[fuzz]'
    python -m tests.fuzz.guided all --cases 20000          # as CI does
    python -m tests.fuzz.guided pixels --minutes 60        # an hour

Without atheris, the same targets get random mutations of their seeds. A defect ends the run: the
exit status is 1, and the input is kept in a file; `--replay FILE` repeats it. Found inputs become
tests in `tests/fuzz/test_guided.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.fuzz.mutations import cut, double, flip, overwrite, splice
from tests.fuzz.run import peak_memory

SECONDS = 4.0
"""CPU time that one input may take."""

ROOM = 256 * 2**20
"""Resident memory that one input may take beyond what the process had before."""

MUTATIONS = (flip, flip, overwrite, overwrite, cut, double, splice)


class Defect(Exception):
    """What a target must not do."""


os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
warnings.filterwarnings("ignore", module=r"PIL\.")


def attempt(name: str, data: bytes) -> str:
    """Feed one input: `read`, or the code of the error. Raises `Defect`."""
    from tests.fuzz.targets import TARGETS

    target, before, began = TARGETS[name], peak_memory(), time.process_time()
    outcome = "read"
    try:
        target.read(data)
    except target.allowed as error:
        outcome = error.code
        if "\n" in error.line or not error.line.isprintable():
            raise Defect(f"the error is not one printable line: {error.line!r}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise Defect(traceback.format_exc()) from error
    spent, grown = time.process_time() - began, peak_memory() - before
    if spent > SECONDS:
        raise Defect(f"took {spent:.1f} s")
    if grown > ROOM:
        raise Defect(f"took {grown / 2**20:.0f} MiB")
    return outcome


def mutated(name: str, seeds: list[bytes], rng: random.Random) -> bytes:
    """A mutation of a seed, in half of the cases with right checksums."""
    from tests.fuzz.targets import TARGETS

    data, target = rng.choice(seeds), TARGETS[name]
    for _ in range(rng.choice([0, 1, 1, 2, 4, 8])):
        data = rng.choice(MUTATIONS)(data, rng, rng.choice(seeds))[: target.largest]
    return target.repair(data, rng) if rng.random() < 0.5 else data


def random_cases(name: str, seed: int) -> Iterator[bytes]:
    """The seeds, then mutations of them, without an end; each depends on the seed and its number."""
    from tests.fuzz.targets import TARGETS

    seeds = list(TARGETS[name].seeds())
    yield from seeds
    for number in itertools.count():
        yield mutated(name, seeds, random.Random(f"{name} {seed} {number}"))


def run_random(name: str, cases: int, minutes: float, seed: int, keep: Path) -> int:
    """Feed random mutations. Returns the exit status."""
    began = time.monotonic()
    outcomes: dict[str, int] = {}
    count = 0
    for data in random_cases(name, seed):
        if count >= cases or (minutes and time.monotonic() - began > 60 * minutes):
            break
        try:
            outcome = attempt(name, data)
        except Defect as defect:
            return report(name, data, defect, keep)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        count += 1
    found = ", ".join(f"{outcome} {n}" for outcome, n in sorted(outcomes.items()))
    print(f"{name}: {count} cases at random, seed {seed}: {found}")
    return 0


def run_guided(name: str, cases: int, minutes: float, seed: int, keep: Path) -> int:
    """Feed what libFuzzer makes of the seeds. Does not return: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["vaetools", "PIL"], enable_loader_override=False):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]

    def mutate(data: bytes, most: int, number: int) -> bytes:
        rng = random.Random(number)
        made = bytes(atheris.Mutate(data, most))
        return target.repair(made, rng)[:most] if number % 2 else made

    def read(data: bytes) -> None:
        try:
            attempt(name, data)
        except Defect as defect:
            report(name, data, defect, keep)
            raise

    with tempfile.TemporaryDirectory(prefix="vaetools-corpus-") as corpus:
        for number, data in enumerate(target.seeds()):
            (Path(corpus) / f"seed{number:03}").write_bytes(data)
        options = [
            f"-runs={cases}",
            f"-max_total_time={round(60 * minutes)}",
            f"-seed={seed + 1}",
            f"-max_len={target.largest}",
            f"-artifact_prefix={keep}/",
            "-rss_limit_mb=3000",
            "-timeout=30",
            "-verbosity=0",
            "-print_final_stats=1",
        ]
        atheris.Setup([sys.argv[0], *options, corpus], read, custom_mutator=mutate)
        atheris.Fuzz()
    return 0


def report(name: str, data: bytes, defect: Defect, keep: Path) -> int:
    """Keep the input and say how to repeat it."""
    path = keep / f"defect-{name}"
    path.write_bytes(data)
    print(f"python -m tests.fuzz.guided {name} --replay {path}\n{defect}", file=sys.stderr)
    return 1


def driver() -> Callable[[str, int, float, int, Path], int]:
    """`run_guided` where atheris is installed."""
    with contextlib.suppress(ImportError):
        import atheris  # noqa: F401

        return run_guided
    return run_random


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("target", help="a name in tests.fuzz.targets, or all")
    parser.add_argument("--cases", type=int, default=10**9, metavar="N")
    parser.add_argument("--minutes", type=float, default=0.0, metavar="X")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument("--random", action="store_true", help="not guided, even with atheris")
    parser.add_argument("--keep", type=Path, default=Path(), metavar="DIR")
    parser.add_argument("--replay", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.replay is not None:
        print(attempt(options.target, options.replay.read_bytes()))
        return 0
    if options.target == "all":
        from tests.fuzz.targets import TARGETS

        words = [w for w in sys.argv[1:] if w != "all"]
        base = [sys.executable, "-m", "tests.fuzz.guided"]
        codes = [subprocess.run([*base, name, *words], check=False).returncode for name in TARGETS]
        return int(any(codes))
    run = run_random if options.random else driver()
    return run(options.target, options.cases, options.minutes, options.seed, options.keep)


if __name__ == "__main__":
    sys.exit(main())
