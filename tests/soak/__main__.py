"""Work through many images and watch memory, threads and open files.

    python -m tests.soak --images 10000
    python -m tests.soak --images 10000 --modes workers,op --op denoise

Prints JSON per mode. The exit status is 1 if anything grows.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from pathlib import Path

from tests.soak.harness import MODES, command, watch
from tests.soak.inputs import plant


def main() -> int:
    args = _arguments()
    is_flat = True
    with tempfile.TemporaryDirectory(prefix="soak-", dir=args.workplace) as name:
        broken = plant(Path(name, "photos"), args.images)
        for mode in args.modes.split(","):
            started = time.monotonic()
            soak = watch(command(mode, args.op, Path(name, "photos"), Path(name, mode)))
            is_flat &= soak.is_flat and soak.images == args.images
            seconds = round(time.monotonic() - started, 1)
            report = {"mode": mode, "op": args.op, "broken": broken, "seconds": seconds}
            system = {"system": platform.platform()}
            print(json.dumps({**report, **soak.as_dict(), **system}), flush=True)
    return 0 if is_flat else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Work through many images.")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--modes", default=",".join(MODES), help="separated by commas")
    parser.add_argument("--op", default="compress")
    parser.add_argument("--workplace", type=Path, help="folder, on a real disk")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
