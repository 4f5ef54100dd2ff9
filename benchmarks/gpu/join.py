"""What `train.sh` brought back -> the folder of a run, to export or to start from.

python benchmarks/gpu/join.py out/ carried/
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def join(out: Path, run: Path) -> None:
    """Put the parts of the weights together, with the recipe and the log."""
    run.mkdir(parents=True)
    parts = sorted(out.glob("weights.pt.*"))
    if not parts:
        raise SystemExit(f"{out}: there are no parts of weights.pt")
    (run / "weights.pt").write_bytes(b"".join(part.read_bytes() for part in parts))
    for name in ("recipe.toml", "log.csv"):
        shutil.copy(out / name, run / name)


if __name__ == "__main__":
    join(*map(Path, sys.argv[1:3]))
