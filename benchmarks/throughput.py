"""Throughput of folder runs, and where their CPU time goes.

    python benchmarks/throughput.py KODAK                                   # all cases; an hour
    python benchmarks/throughput.py KODAK --op compress --jobs 1 --format jpg --images 4
    python benchmarks/throughput.py KODAK --null                            # as with a very fast GPU
    python benchmarks/throughput.py KODAK --against ../other-checkout       # two versions in turn
    python benchmarks/throughput.py KODAK --others                          # naive loops, other programs

Each case runs in a process of its own, on the CPU with one thread per session, after one image to warm
up. Cases are repeated in turn, and the fastest repetition counts. CPU times compare well on a machine
that does other work; wall times do not.

- MP/s: megapixels of inputs per second of wall time.
- CPU-s/MP: CPU seconds per megapixel, worker processes included.
- networks: their share of the CPU time.
- roof: speed of the networks in percent of ONNX Runtime's own matrix product, measured in each case.
- bus: bytes of inputs and outputs of the sessions that would run on a GPU, per image.
- MiB: largest resident memory of a process.

With `--null`, sessions that would run on a GPU return recorded results, and all images are the same.
What is left is the work of the host. Its ceiling on 16 cores is 16 x MP per CPU-second, if all of it
runs in parallel.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import circumstances
from throughput_folders import KINDS, OPTIONS, Folder, make_folder
from throughput_network import roof, watching
from throughput_others import naive, programs
from throughput_stages import NETWORK, REST, timing

import vaetools

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CORES = 16
"""Cores of the host for which the ceiling is calculated."""

SINGLE = ("write, fsync", "journal")
"""Stages that stay in one process when worker processes do the rest; `null_device.py` measures it."""

NAIVE = "naive loop"


@dataclass(frozen=True)
class Case:
    """One measurement.

    Attributes:
        op: the operation.
        kind, suffix, images: of its folder; see `make_folder`.
        jobs, workers: of the run; `workers` is 0 for none.
        null: replace what a GPU would compute by recorded results.
        program: another program, or the naive loop, in place of vaetools.
    """

    op: str
    kind: str = "same"
    suffix: str = "jpg"
    images: int = 24
    jobs: int = 1
    workers: int = 0
    null: bool = False
    program: str = ""

    def __str__(self) -> str:
        return f"{self.op} {self.kind} {self.suffix}"

    @property
    def runner(self) -> str:
        """What runs it, for the table."""
        if self.program:
            return self.program
        return f"jobs {self.jobs}" + (f", workers {self.workers}" if self.workers else "")


# --- one case, in its own process -----------------------------------------------------------------


def measure(case: Case, made: Folder, scratch: Path) -> dict[str, Any]:
    """The figures of a case; times in seconds, memory in MiB."""
    figures: dict[str, Any] = {"images": made.count, "megapixels": made.megapixels}
    if case.program:
        figures |= _timed(_program(case, made, scratch))
    else:
        figures |= _measure_run(case, made, scratch)
    own, children = (
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    figures["memory"] = max(own, children) / (2**20 if sys.platform == "darwin" else 2**10)
    return figures


def _program(case: Case, made: Folder, scratch: Path) -> Callable[[], None]:
    if case.program == NAIVE:
        loop = naive(case.op)
        first = min(made.inputs.iterdir())
        warm = scratch / "first"
        warm.mkdir(parents=True)
        shutil.copy(first, warm)
        loop(replace(made, inputs=warm), scratch / "warm")
        return lambda: loop(made, scratch / "out")
    (program,) = (found for found in programs(case.op) if found.name == case.program)
    ready = program.prepare(made, scratch / "prepared")
    return lambda: program.run(ready, scratch / "out")


def _measure_run(case: Case, made: Folder, scratch: Path) -> dict[str, Any]:
    """A run of vaetools."""
    with watching(recorded=case.null) as network, vaetools.open("cpu", threads=1) as hub:
        first = min(made.inputs.iterdir())
        _run(hub, case, made, first, scratch / "warm")
        network.reset()
        with timing() as stages:
            figures = _timed(lambda: _run(hub, case, made, made.inputs, scratch / "out"))
    known = sum(stages.seconds.values())
    figures["stages"] = dict(stages.seconds)
    if not case.workers:  # stages of other processes are not seen
        figures["stages"][REST] = figures["cpu"] - known
        figures["network"] = stages.network
        figures["gflops"] = sum(network.flops.values()) / 1e9
        figures["bus"] = network.bytes / made.count
        figures["runs"] = sum(network.runs.values()) / made.count
        figures["roof"] = roof()
    return figures


def _run(hub: vaetools.Hub, case: Case, made: Folder, inputs: Path, out: Path) -> None:
    options: dict[str, Any] = {**made.options, "jobs": case.jobs}
    if "workers" in {field.name for field in fields(vaetools.RunSettings)}:
        options["workers"] = case.workers
    elif case.workers:
        raise SystemExit("this version of vaetools has no worker processes")
    out.mkdir(parents=True)
    hub.map(case.op, inputs, out=f"{out}/", **options).raise_for_failures()


def _timed(work: Callable[[], None]) -> dict[str, Any]:
    """Wall and CPU seconds of a piece of work, child processes included; `parent` without them."""
    started, before = time.perf_counter(), os.times()
    work()
    after = os.times()
    parent = after.user - before.user + after.system - before.system
    children = (
        after.children_user - before.children_user + after.children_system - before.children_system
    )
    return {
        "wall": time.perf_counter() - started,
        "cpu": parent + children,
        "parent": parent,
    }


# --- all cases, in turn ---------------------------------------------------------------------------


def cases(args: argparse.Namespace) -> list[Case]:
    """All combinations of what was asked for."""
    found = []
    for op in args.op:
        for kind in args.folder:
            for suffix in args.format:
                images = args.large_images if kind == "large" else args.images
                if args.null:
                    found.append(Case(op, "one", suffix, images, args.jobs[0], null=True))
                    continue
                base = {"op": op, "kind": kind, "suffix": suffix, "images": images}
                found += [Case(**base, jobs=jobs) for jobs in args.jobs]
                found += [Case(**base, jobs=1, workers=workers) for workers in args.workers]
                if args.others:
                    names = [NAIVE, *(program.name for program in programs(op))]
                    found += [Case(**base, program=name) for name in names]
    return list(dict.fromkeys(found))


class Bench:
    """Runs cases in processes of their own, on folders that are made once.

    Args:
        sources: folder of photographs.
        scratch: for everything that is written.
    """

    def __init__(self, sources: Path, scratch: Path) -> None:
        self._sources = sources
        self._scratch = scratch

    def figures(self, case: Case, tree: Path | None = None) -> dict[str, Any]:
        """The figures of a case, with the vaetools of a checkout, or this one."""
        named = f"{case.op}-{case.kind}-{case.suffix}-{case.images}"
        made = self._scratch / named
        if not made.exists():
            self._call(None, "--make", json.dumps(asdict(case)), str(made))
        line = self._call(tree, "--measure", json.dumps(asdict(case)), str(made))
        figures: dict[str, Any] = json.loads(line)
        return figures

    def _call(self, tree: Path | None, *words: str) -> str:
        """Call this script with the words; returns the last line that it prints."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        if tree is not None:
            paths = [tree, tree / "plugins", tree / "exported_models"]
            environment["PYTHONPATH"] = os.pathsep.join(map(str, paths))
        done = subprocess.run(
            [sys.executable, __file__, str(self._sources), *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(words)}: {done.stderr[-2000:]}")
        return done.stdout.rstrip().rpartition("\n")[2]


def make(case: Case, sources: Path, target: Path) -> None:
    """Write the folder of a case."""
    files = sorted(file for file in sources.iterdir() if file.suffix in (".png", ".jpg"))
    made = make_folder(target, files, case.op, case.kind, case.suffix, case.images)
    (target / "folder.json").write_text(json.dumps({**asdict(made), "inputs": str(made.inputs)}))


def read_folder(target: Path) -> Folder:
    """What `make` has written."""
    found = json.loads((target / "folder.json").read_text())
    return Folder(**{**found, "inputs": Path(found["inputs"])})


def best(repetitions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The repetition with the least CPU time, with the shortest wall time of all."""
    fastest = min(repetitions, key=lambda figures: figures["cpu"])
    return {**fastest, "wall": min(figures["wall"] for figures in repetitions)}


def row(case: Case, version: str, figures: dict[str, Any]) -> list[str]:
    """A row of the table; see the docstring of this script."""
    megapixels, cpu = figures["megapixels"], figures["cpu"]
    cells = [
        str(case),
        f"{case.runner}{version}",
        f"{figures['images'] / figures['wall']:.2f}",
        f"{megapixels / figures['wall']:.2f}",
        f"{cpu:.2f}",
        f"{cpu / megapixels:.3f}",
    ]
    if "network" not in figures:
        return [*cells, "", "", "", f"{figures['memory']:.0f}"]
    network = figures["network"]
    speed = figures["gflops"] / network if network and not case.null else 0.0
    return [
        *cells,
        "" if case.null else f"{100 * network / cpu:.1f} %",
        f"{100 * speed / figures['roof']:.0f} %" if speed else "",
        f"{figures['bus'] / 1e6:.1f} MB in {figures['runs']:.0f}",
        f"{figures['memory']:.0f}",
    ]


HEADER = [
    "case",
    "runner",
    "images/s",
    "MP/s",
    "CPU-s",
    "CPU-s/MP",
    "networks",
    "roof",
    "bus, runs",
    "MiB",
]


def stage_lines(case: Case, version: str, figures: dict[str, Any]) -> list[str]:
    """CPU milliseconds per image of each stage, the longest first."""
    per_image = {k: 1000 * v / figures["images"] for k, v in figures.get("stages", {}).items()}
    ranked = sorted(per_image.items(), key=lambda pair: -pair[1])
    parts = [f"{name.removeprefix(NETWORK)} {ms:.1f}" for name, ms in ranked if abs(ms) >= 0.05]
    lines = [f"- {case}, {case.runner}{version}: {', '.join(parts)}"] if parts else []
    if case.null:
        speed = CORES * figures["megapixels"] / figures["cpu"]
        single = sum(figures["stages"].get(name, 0.0) for name in SINGLE)
        lines.append(
            f"  - ceiling of {CORES} cores: {speed:.0f} MP/s; of what one process must do "
            f"({', '.join(SINGLE)}): {figures['megapixels'] / single:.0f} MP/s"
        )
    return lines


def report(results: Sequence[tuple[Case, str, dict[str, Any]]]) -> list[str]:
    """The table and the stages, in Markdown."""
    rows = [HEADER, ["---"] * 2 + ["---:"] * (len(HEADER) - 2)]
    rows += [row(*result) for result in results]
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    lines += ["", f"CPU ms per image ({NETWORK.strip(': ')}s by their graphs):", ""]
    for result in results:
        lines += stage_lines(*result)
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", type=Path, help="folder of photographs, such as Kodak's")
    parser.add_argument("--op", nargs="+", default=list(OPTIONS), choices=list(OPTIONS))
    parser.add_argument("--folder", nargs="+", default=["same", "mixed"], choices=KINDS)
    parser.add_argument("--format", nargs="+", default=["png", "jpg"], choices=["png", "jpg"])
    parser.add_argument("--jobs", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--workers", nargs="*", type=int, default=[], help="worker processes")
    parser.add_argument("--images", type=int, default=24, help="in a folder")
    parser.add_argument("--large-images", type=int, default=1, help="images of 24 MP")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--null", action="store_true", help="recorded results of networks")
    parser.add_argument("--others", action="store_true", help="naive loops and other programs")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another version, in turn")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also write the report there")
    parser.add_argument("--make", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.make:
        make(Case(**json.loads(args.make[0])), args.sources, Path(args.make[1]))
    elif args.measure:
        made = read_folder(Path(args.measure[1]))
        with tempfile.TemporaryDirectory() as scratch:
            print(json.dumps(measure(Case(**json.loads(args.measure[0])), made, Path(scratch))))
    else:
        compare(args)
    return 0


def compare(args: argparse.Namespace) -> None:
    """Run all cases in turn, and print the report."""
    versions = {"": None} if args.against is None else {", other": args.against, ", this": None}
    plan = [(case, version) for case in cases(args) for version in versions]
    plan = [(case, v) for case, v in plan if not (case.program and v == ", other")]
    found: dict[tuple[Case, str], list[dict[str, Any]]] = {key: [] for key in plan}
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(args.sources, Path(scratch))
        for number in range(args.repeat):
            for case, version in plan:
                found[case, version].append(bench.figures(case, versions[version]))
                done = f"{number + 1}/{args.repeat} {case}, {case.runner}{version}"
                print(done, file=sys.stderr, flush=True)
    results = [(*key, best(times)) for key, times in found.items()]
    lines = [*circumstances("python " + " ".join(sys.argv)), "", *report(results)]
    print("\n".join(lines))
    if args.write is not None:
        args.write.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
