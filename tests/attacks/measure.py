"""Run the command line on every hostile model, and measure it: time, memory, exit code, lines.

    python -m tests.attacks.measure

Each model is used once for an image of 64 x 64 pixels, by a process of its own. The last line is a
summary; the exit code is 1 if a process died, or took more than `SECONDS` or `MEMORY`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.attacks.costly import COSTLY
from tests.attacks.hostile import install
from tests.attacks.test_tables import ATTACKS, changed, shipped
from tests.attacks.wrong import WRONG
from vaetools.image import Image, encode_image
from vaetools.model.manifest import FILE_NAME
from vaetools.testing import TINY, gradient, write_tiny_vae

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 10.0
MEMORY = 512 * 2**20

MANIFESTS = {
    "deep arrays": ("version = ", f"x = {'[' * 100_000}\nversion = "),
    "deep tables": ("[size]", f"[{'.'.join(['a'] * 20_000)}]\n[size]"),
    "a long integer": ("version = ", f"x = {'9' * 5000}\nversion = "),
    "a long hexadecimal integer": ("bytes = ", f"bytes = 0x{'f' * 5000} #"),
    "100 MB": ("version = ", f"#{'x' * 100_000_000}\nversion = "),
    "300,000 keys": ("[size]", "".join(f"k{i} = 1\n" for i in range(300_000)) + "[size]"),
    "multiple_of": ("multiple_of = 4", "multiple_of = 16384"),
    "minimum": ("minimum = 4", "minimum = 1000000000000"),
    "fixed": ("minimum = 4", "fixed = [40000, 40000]"),
    "fixed, negative": ("minimum = 4", "fixed = [-4, 8]"),
    "fixed, one side": ("minimum = 4", "fixed = [8]"),
    "halo": ("halo = 0", "halo = 1000000000000"),
    "channels": ("channels = 3\ndown", "channels = 2000000000\ndown"),
    "downscale": ("downscale = 4", "downscale = 1000000000"),
    "scale": ("scale = 1.0", "scale = 1e300"),
    "tiny scale": ("scale = 1.0", "scale = 1e-300"),
    "shift": ("shift = 0.0", "shift = inf"),
    "NUL": ('file = "decode.onnx"', 'file = "a\\u0000b"'),
    "another folder": ('file = "decode.onnx"', 'file = "../decode.onnx"'),
    "a long name": ('file = "decode.onnx"', f'file = "{"x" * 5000}"'),
    "no encoder": ("[graphs.encode]", "[graphs.other]"),
    "deviation": ("deviation = 0.05", "deviation = 5e-324"),
    "a date": ('version = "1"', "version = 1979-05-27"),
    "lists": ("inputs = [", "inputs = [[1],"),
    "true": ("format = 1", "format = true"),
}


@dataclass
class Outcome:
    """What a command did.

    Attributes:
        code: exit code, negative for a signal.
        seconds: of processor time, of all processes together.
        wall: seconds from start to end.
        memory: peak of resident memory of the largest process.
        lines: of stderr and stdout that begin with an error code.
    """

    code: int
    seconds: float
    wall: float
    memory: int
    lines: list[str]


def measured(*words: str) -> Outcome:
    start = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "vaetools", *words], stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        lines = [line for line in output.read().splitlines() if line.startswith("E0")]
    seconds = usage.ru_utime + usage.ru_stime
    wall = time.monotonic() - start
    return Outcome(process.returncode, seconds, wall, usage.ru_maxrss * 1024, lines)


def cases(folder: Path, every: int) -> Iterator[tuple[str, Outcome]]:
    """Each hostile model, or every so many of each kind, used."""
    picture = folder / "picture.png"
    picture.write_bytes(encode_image(Image(gradient(64, 64)), "png"))
    out = str(folder / "out.png")

    def reconstruct(models: Path) -> Outcome:
        words = ["reconstruct", str(picture), "-o", out, "--force", "--model", TINY]
        return measured(*words, "--models-dir", str(models))

    for name, (build, _) in [*WRONG.items(), *COSTLY.items()][::every]:
        models = folder / "models"
        write_tiny_vae(models / TINY)
        install(models, build())
        yield f"graph: {name}", reconstruct(models)
        shutil.rmtree(models)
    for name, (old, new) in [*MANIFESTS.items()][::every]:
        models = folder / "models"
        path = write_tiny_vae(models / TINY) / FILE_NAME
        text = path.read_text()
        assert old in text, name
        path.write_text(text.replace(old, new, 1))
        yield f"manifest: {name}", reconstruct(models)
        shutil.rmtree(models)
    for name, (tables, _) in [*ATTACKS.items()][::every]:
        models = folder / "models"
        shutil.copytree(shipped(), models / "codec")
        changed(models / "codec", "tables", tables())
        words = ["compress", str(picture), "-o", str(folder / "out.vae"), "--force"]
        outcome = measured(*words, "--model", "evil-codec", "--models-dir", str(models))
        yield f"tables: {name}", outcome
        shutil.rmtree(models)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="take every N-th model only")
    every = parser.parse_args().every
    failed = 0
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        for name, outcome in cases(Path(folder), every):
            outcomes.append(outcome)
            wrong = (
                outcome.code != 4
                or len(outcome.lines) != 1
                or outcome.seconds > SECONDS  # of processor time: machines are shared
                or outcome.memory > MEMORY
            )
            failed += wrong
            if wrong:
                print(name, outcome, flush=True)
    facts = {
        "models": len(outcomes),
        "not one line and exit code 4, or over a limit": failed,
        "died": sum(outcome.code < 0 for outcome in outcomes),
        "slowest, s of processor time": round(max(o.seconds for o in outcomes), 1),
        "slowest, s": round(max(outcome.wall for outcome in outcomes), 1),
        "most memory, MiB": max(outcome.memory for outcome in outcomes) >> 20,
    }
    print(json.dumps(facts))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
