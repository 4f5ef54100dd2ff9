"""The oldest versions that pyproject.toml admits: as constraints for pip, and a trial of them.

python -m tests.minimums > oldest.txt
VENV/bin/pip install --constraint oldest.txt .
VENV/bin/python -m tests.minimums --smoke VENV      # the installed package, not this folder
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]

COMMANDS = (
    "doctor --json",
    "demo demo",
    "compress demo/photos -o packed --json",
    "decompress packed -o back --to tiff",
    "denoise back -o clean --sigma 10",
    "mask-dust demo/photos -o masks",
    "inpaint demo/photos -o whole --mask masks",
    "augment demo/photos -o more -n 2 --strength 0.5",
    "eval demo/photos back",
)
"""A little of everything, in a folder of its own."""


def minimums() -> dict[str, str]:
    """The lower bound of each dependency, by its name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = {}
    for line in project["dependencies"]:
        match = re.match(r"([\w.-]+)>=([\d.]+)", line)
        assert match is not None, f"{line!r} has no lower bound"
        found[match[1]] = match[2]
    return found


def constraint(name: str, version: str) -> str:
    """The first releases of a version: 4.12 may be 4.12.0.88."""
    *most, last = version.split(".")
    return f"{name}>={version},<{'.'.join([*most, str(int(last) + 1)])}"


def smoke(program: Path) -> None:
    """Run `COMMANDS`. Raises `CalledProcessError`."""
    with tempfile.TemporaryDirectory() as folder:
        for words in COMMANDS:
            print(f"vaetools {words}", flush=True)
            subprocess.run(
                [program, *words.split()], cwd=folder, check=True, stdout=subprocess.DEVNULL
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--smoke"]:
        smoke(Path(sys.argv[2]).absolute() / "bin" / "vaetools")
    else:
        print("\n".join(constraint(*pair) for pair in minimums().items()))
