"""What the host costs around a device that takes no time: threads beside worker processes.

    python benchmarks/null_device.py photo.png --operations compress,decompress,denoise

Every graph really runs once per process and shape; from then on its session returns copies of the same
outputs at once, as an infinitely fast device would. Exact graphs, which run on the CPU everywhere,
always run. All inputs are copies of one image. Costs are differences between a long and a short run, the
least of several each, so that starting processes and opening models does not count.

For each operation and each way to run it: CPU milliseconds per image, those of the parent process alone
(with processes: what stays in one process, under one GIL), and wall time. The ceiling of a machine with
`--cores` cores is a calculation from these: the CPU time of all cores, or of the parent alone, whichever
is reached first. Wall times mean something only on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import vaetools

if TYPE_CHECKING:
    from collections.abc import Sequence

PLUGIN = """
import threading

from vaetools import hookimpl
from vaetools.model.session import Session

real, recorded, lock = Session.__call__, {}, threading.Lock()


def replayed(session, *values):
    if any(word in session.name for word in EXACT):
        return real(session, *values)
    key = (session.name, *((v.shape, v.dtype.str) for v in values))
    if key not in recorded:
        with lock:
            recorded[key] = real(session, *values)
    return tuple(output.copy() for output in recorded[key])  # a device gives a fresh array each time


EXACT = ("scale_index",)
Session.__call__ = replayed


@hookimpl
def register_operations():
    return []
"""

OPTIONS = {"denoise": {"sigma": 25.0}, "augment": {"n": 2}}

WAYS = {"1 thread": (1, 0), "2 threads": (2, 0), "1 process": (1, 1), "2 processes": (2, 2)}
"""Jobs and workers."""


@dataclass
class Cost:
    """Seconds of a run.

    Attributes:
        parent: CPU time of this process.
        children: CPU time of its worker processes.
        wall: wall time.
    """

    parent: float
    children: float
    wall: float

    def __sub__(self, other: Cost) -> Cost:
        names = ("parent", "children", "wall")
        return Cost(*(getattr(self, n) - getattr(other, n) for n in names))

    @classmethod
    def least(cls, costs: Sequence[Cost]) -> Cost:
        """What other programs disturb makes every time longer, and none shorter."""
        names = ("parent", "children", "wall")
        return cls(*(min(getattr(cost, name) for cost in costs) for name in names))

    def per(self, count: int) -> Cost:
        return Cost(self.parent / count, self.children / count, self.wall / count)


def main() -> int:
    args = _arguments()
    with tempfile.TemporaryDirectory(dir=args.workplace) as name:
        folder = Path(name)
        plugins = folder / "plugins"
        plugins.mkdir()
        (plugins / "null_device.py").write_text(PLUGIN)
        hub = vaetools.open("cpu", threads=1, plugins_dirs=plugins)
        pixels = _pixels(args.image)
        rows = []
        for operation in args.operations.split(","):
            source = _source(operation, args.image, folder)
            rows += _compared(hub, operation, source, folder, args, pixels)
    print(json.dumps(rows, indent=2))
    return 0


def _pixels(image: Path) -> int:
    pixels = vaetools.read_image(image).pixels
    return int(pixels.shape[0] * pixels.shape[1])


def _source(operation: str, image: Path, folder: Path) -> Path:
    """The input of an operation."""
    if operation != "decompress":
        return image
    packed = folder / f"{image.name}.vae"
    if not packed.exists():
        packed.write_bytes(vaetools.open("cpu").compress(image))
    return packed


def _compared(
    hub: vaetools.Hub,
    operation: str,
    source: Path,
    folder: Path,
    args: argparse.Namespace,
    pixels: int,
) -> list[dict[str, object]]:
    inputs = {count: _copies(source, folder, count) for count in (args.few, args.many)}
    costs: dict[str, dict[int, list[Cost]]] = {
        way: {args.few: [], args.many: []} for way in args.ways.split(",")
    }
    for _ in range(args.repeats):
        for way, found in costs.items():
            for count, listed in found.items():
                listed.append(_run(hub, operation, inputs[count], folder, *WAYS[way]))
    rows = []
    for way, found in costs.items():
        few, many = (Cost.least(listed) for listed in found.values())
        cost = (many - few).per(args.many - args.few)
        rows.append(_row(operation, way, cost, args.cores, pixels))
    return rows


def _copies(source: Path, folder: Path, count: int) -> Path:
    inputs = folder / f"in-{source.suffix[1:]}-{count}"
    if not inputs.exists():
        inputs.mkdir()
        for index in range(count):
            shutil.copy(source, inputs / f"{index:04}{source.suffix}")
    return inputs


def _run(
    hub: vaetools.Hub, operation: str, inputs: Path, folder: Path, jobs: int, workers: int
) -> Cost:
    out = folder / "out"
    before, started = _cpu(), time.perf_counter()
    result = hub.map(
        operation, inputs, out=out, jobs=jobs, workers=workers, **OPTIONS.get(operation, {})
    )
    wall, after = time.perf_counter() - started, _cpu()
    result.raise_for_failures()
    shutil.rmtree(out)
    return Cost(after[0] - before[0], after[1] - before[1], wall)


def _cpu() -> tuple[float, float]:
    """CPU seconds of this process, and of its children that have ended."""
    used = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    own, children = (u.ru_utime + u.ru_stime for u in used)
    return own, children


def _row(operation: str, way: str, cost: Cost, cores: int, pixels: int) -> dict[str, object]:
    """Milliseconds per image; for processes, what `cores` cores could do."""
    cpu, parent = 1000 * (cost.parent + cost.children), 1000 * cost.parent
    row = {
        "operation": operation,
        "way": way,
        "cpu ms": round(cpu, 2),
        "parent ms": round(parent, 2),
        "wall ms": round(1000 * cost.wall, 2),
    }
    if WAYS[way][1]:
        images = min(cores * 1000 / cpu, 1000 / parent)
        row |= {"images/s": round(images), "MP/s": round(images * pixels / 1e6)}
        row["limit"] = "parent" if 1000 / parent < cores * 1000 / cpu else "cores"
    print(json.dumps(row), file=sys.stderr)
    return row


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The cost of the host around a fast device.")
    parser.add_argument("image", type=Path)
    parser.add_argument("--operations", default="compress,decompress,denoise")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--few", type=int, default=8, help="images of the short run")
    parser.add_argument("--many", type=int, default=72, help="images of the long run")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cores", type=int, default=16, help="of the machine to calculate for")
    parser.add_argument("--workplace", type=Path, help="folder for the files, on a real disk")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
