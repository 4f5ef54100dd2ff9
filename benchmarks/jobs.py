"""What a job costs: planning of a shard, and a whole job against one run.

    python benchmarks/jobs.py plan --files 1000000 --shards 1000    # CPU seconds before the first input
    python benchmarks/jobs.py overhead --images 1000                # two processes against one run

`plan` writes the lists of all shards, but the (empty) files of a few shards only, and measures the CPU
time from the claim of a shard until its first input is processed; then the CPU time of a process that
finds every shard done. `overhead` compresses small images with one run of two worker processes, with
one run of two threads, and with a job of two processes, in turn, and compares CPU time.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from vaetools.distributed.lists import ListedFile, write_lists
from vaetools.distributed.shard_runner import ShardResult, ShardRunner
from vaetools.image import Image, encode_image
from vaetools.operation import NoOptions, Operation
from vaetools.runner import RunSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.distributed.job import Job


class Timed(Operation):
    """Notes the CPU time when its first input is processed."""

    name = "timed"
    takes = "file"
    suffixes = (".png",)

    def __init__(self) -> None:
        super().__init__(None, NoOptions())
        self.first: list[float] = []

    def process(self, item: bytes) -> bytes:
        self.first.append(time.process_time())
        return item


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    plan = commands.add_parser("plan")
    plan.add_argument("--files", type=int, default=1_000_000)
    plan.add_argument("--shards", type=int, default=1000)
    plan.add_argument("--sample", type=int, default=9, help="shards to measure [default: 9]")
    plan.add_argument("--flat", action="store_true", help="all files in one folder")
    overhead = commands.add_parser("overhead")
    overhead.add_argument("--images", type=int, default=1000)
    overhead.add_argument("--side", type=int, default=96, help="pixels [default: 96]")
    overhead.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.command == "plan":
            measure_plan(Path(folder), args.files, args.shards, args.sample, flat=args.flat)
        else:
            measure_overhead(Path(folder), args.images, args.side, args.repeat)


def measure_plan(top: Path, files: int, shards: int, sample: int, *, flat: bool) -> None:
    """Print CPU seconds per shard before its first input."""
    size = files // shards
    (top / "in").mkdir()
    started = time.process_time()
    names = (name_of(number, size, flat=flat) for number in range(files))
    job = write_lists(top / "run", top / "in", (ListedFile(n, 0, 0) for n in names), size=size)
    print(f"{files:,} names in {job.shards:,} lists: {time.process_time() - started:.1f} CPU-s")
    operation = Timed()
    runner = ShardRunner(job, operation, RunSettings(top / "out", jobs=1), "benchmark")
    seconds = []
    for shard in range(0, job.shards, max(1, job.shards // sample)):
        create(job, shard, size, flat=flat)
        operation.first.clear()
        before = time.process_time()
        assert runner(shard).state == "done"
        seconds.append(operation.first[0] - before)
    print(
        f"before the first input of a shard, {len(seconds)} shards: "
        f"median {statistics.median(seconds):.3f}, most {max(seconds):.3f} CPU-s"
    )
    for number in range(job.shards):
        job.done_file(number).write_text(json.dumps(ShardResult(number, "done").as_dict()))
    print(f"open the job and list {job.shards:,} results: {scan(job):.3f} CPU-s")


def name_of(number: int, size: int, *, flat: bool) -> str:
    return f"{number:09}.png" if flat else f"{number // size:06}/{number:09}.png"


def create(job: Job, shard: int, size: int, *, flat: bool) -> None:
    for number in range(shard * size, (shard + 1) * size):
        path = job.root / name_of(number, size, flat=flat)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")


def scan(job: Job) -> float:
    """CPU seconds of what a process does before it knows that every shard is done."""
    from vaetools.distributed.job import open_job
    from vaetools.distributed.loop import work

    before = time.process_time()
    runner = ShardRunner(
        open_job(job.folder), Timed(), RunSettings(job.folder.parent / "out", jobs=1), "benchmark"
    )
    work(runner)
    return time.process_time() - before


def measure_overhead(top: Path, images: int, side: int, repeat: int) -> None:
    """Print CPU and wall seconds of one run and of a job."""
    write_images(top / "in", images, side)
    ways = {
        "one run, 2 threads": [["compress", "in", "-o", "{out}", "--jobs", "2"]],
        "one run, 2 workers": [["compress", "in", "-o", "{out}", "--workers", "2", "--jobs", "2"]],
        "job, 2 processes": [["compress", "--job", "{run}", "-o", "{out}", "--jobs", "1"]] * 2,
    }
    figures: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for turn in range(repeat):
        for number, (way, commands) in enumerate(ways.items()):
            names = {"out": f"out{turn}-{number}", "run": f"run{turn}"}
            shards = [["shards", "in", "-o", f"run{turn}", "--size", "100"]]
            cost = run(shards, top) if "{run}" in commands[0] else (0.0, 0.0)
            words = [[word.format(**names) for word in command] for command in commands]
            cpu, wall = run([*words], top)
            figures[way].append((cpu + cost[0], wall + cost[1]))
            written = len(list((top / names["out"]).glob("*.vae")))
            assert written == images, (way, written)
    base = statistics.median(cpu for cpu, _ in figures["one run, 2 workers"])
    print(f"{images:,} images of {side} × {side}, compress; medians of {repeat}")
    for way, costs in figures.items():
        cpu, wall = (statistics.median(values) for values in zip(*costs, strict=True))
        print(f"{way:20} {cpu:7.1f} CPU-s ({100 * (cpu / base - 1):+.1f} %) {wall:7.1f} s")


def run(commands: Sequence[Sequence[str]], folder: Path) -> tuple[float, float]:
    """(CPU seconds, wall seconds) of commands that run at the same time."""
    before, started = used(), time.monotonic()
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "vaetools",
                *words,
                *([] if words[0] == "shards" else ["--quiet"]),
            ],
            cwd=folder,
            stderr=subprocess.DEVNULL,
        )
        for words in commands
    ]
    codes = [process.wait() for process in processes]
    assert not any(codes), codes
    return used() - before, time.monotonic() - started


def used() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def write_images(folder: Path, count: int, side: int) -> None:
    """Crops of a photograph."""
    from skimage import data

    photo = data.astronaut()[:, :, ::-1]
    folder.mkdir()
    space = photo.shape[0] - side
    for number in range(count):
        y, x = number * 37 % space, number * 101 % space
        crop = Image.from_array(photo[y : y + side, x : x + side].copy())
        (folder / f"{number:05}.png").write_bytes(encode_image(crop, "png"))


if __name__ == "__main__":
    main()
