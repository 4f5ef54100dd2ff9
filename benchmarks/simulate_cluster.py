"""How long a job takes on many machines, and what it costs: a simulation with failures and stragglers.

    python benchmarks/simulate_cluster.py                        # the tables of docs/scale.md
    python benchmarks/simulate_cluster.py --images 5000000 --machines 10 --price 0.02

Each machine runs one process with all its cores, as `vaetools OP --job RUN` does: it takes a free shard,
works through it and takes the next one. A machine that fails loses the images in work, and no others:
its shard is free after the lease, and another machine continues it. A new machine starts after a while.
Slow machines stay slow.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, replace

CPU_SECONDS = {"compress": 0.177, "decompress": 0.223, "denoise": 0.635, "inpaint": 0.803}
"""CPU-seconds per JPEG of 768 x 512 pixels, as docs/performance.md has them."""


@dataclass(frozen=True)
class Cluster:
    """A job and the machines that work on it. Times are in seconds.

    Attributes:
        images: Number of images.
        cpu_seconds: CPU time per image.
        shard_size: Images in a shard.
        machines, cores: Number of machines, and cores of each.
        start: From the start of a process until it takes its first shard.
        per_shard: Time to claim and to finish a shard.
        lease: After this time without a sign of life, a shard is free.
        hours_to_failure: Mean time until a machine fails; infinite for never.
        replacement: From a failure until a new machine starts its process.
        slow_part, slow_factor: This part of the machines takes that many times as long.
        seed: Of the failures.
    """

    images: int
    cpu_seconds: float
    shard_size: int = 2000
    machines: int = 100
    cores: int = 16
    start: float = 10.0
    per_shard: float = 0.1
    lease: float = 300.0
    hours_to_failure: float = math.inf
    replacement: float = 300.0
    slow_part: float = 0.0
    slow_factor: float = 1.0
    seed: int = 0

    def seconds_per_image(self, machine: int) -> float:
        """Time that a machine takes for an image, with all of its cores."""
        is_slow = machine < round(self.slow_part * self.machines)
        return self.cpu_seconds / self.cores * (self.slow_factor if is_slow else 1.0)


@dataclass(frozen=True)
class Outcome:
    """What a simulation gives.

    Attributes:
        seconds: Until the last shard is done.
        machine_seconds: Sum of the times that machines were running. One that finds no shard that is
            free, or will be, ends.
        failures: Number of machines that failed.
        retried: Number of attempts at a shard after the first one.
    """

    seconds: float
    machine_seconds: float
    failures: int
    retried: int


def simulate(cluster: Cluster, failures: dict[int, float] | None = None) -> Outcome:
    """Simulate a job.

    Args:
        cluster: What is simulated.
        failures: Time of the first failure of single machines, in place of a random one.
    """
    return _Simulation(cluster, failures or {}).run()


class _Simulation:
    """Events are (time, machine): a machine takes a shard, or has failed."""

    def __init__(self, cluster: Cluster, failures: dict[int, float]) -> None:
        self._cluster = cluster
        self._random = random.Random(cluster.seed)
        whole, rest = divmod(cluster.images, cluster.shard_size)
        self._waiting = deque([cluster.shard_size] * whole + [rest] * bool(rest))
        self._left_behind: list[tuple[float, int]] = []
        self._fails = [failures.get(m, self._lifetime()) for m in range(cluster.machines)]
        self._running_since = [0.0] * cluster.machines
        self._events = [(cluster.start, machine) for machine in range(cluster.machines)]
        self._end = self._paid = 0.0
        self._failed = self._retried = 0

    def run(self) -> Outcome:
        while self._events:
            time, machine = heapq.heappop(self._events)
            if self._fails[machine] <= time:
                self._replace(machine)
            elif (images := self._next(time)) is not None:
                self._work(time, machine, images)
            elif (later := self._soonest()) is not None:
                heapq.heappush(self._events, (later, machine))
            else:
                self._paid += time - self._running_since[machine]
        return Outcome(self._end, self._paid, self._failed, self._retried)

    def _next(self, time: float) -> int | None:
        """The images of a shard that is free now; shards of failed machines come last."""
        if self._waiting:
            return self._waiting.popleft()
        if self._left_behind and self._left_behind[0][0] <= time:
            self._retried += 1
            return heapq.heappop(self._left_behind)[1]
        return None

    def _soonest(self) -> float | None:
        return self._left_behind[0][0] if self._left_behind else None

    def _work(self, time: float, machine: int, images: int) -> None:
        cluster = self._cluster
        each = cluster.seconds_per_image(machine)
        ends = time + cluster.per_shard + images * each
        fails = self._fails[machine]
        if fails >= ends:
            self._end = max(self._end, ends)
            heapq.heappush(self._events, (ends, machine))
            return
        done = max(0, int((fails - time - cluster.per_shard) / each + 1e-9))
        heapq.heappush(self._left_behind, (fails + cluster.lease, images - min(done, images)))
        heapq.heappush(self._events, (fails, machine))

    def _replace(self, machine: int) -> None:
        failed = self._fails[machine]
        self._failed += 1
        self._paid += max(0.0, failed - self._running_since[machine])
        begins = failed + self._cluster.replacement
        self._running_since[machine] = begins
        self._fails[machine] = begins + self._lifetime()
        heapq.heappush(self._events, (begins + self._cluster.start, machine))

    def _lifetime(self) -> float:
        hours = self._cluster.hours_to_failure
        return math.inf if math.isinf(hours) else self._random.expovariate(1 / (hours * 3600))


def usual(cluster: Cluster) -> Cluster:
    """The same with the trouble that is usual: stragglers, and a failure now and then."""
    return replace(cluster, hours_to_failure=500.0, slow_part=0.05, slow_factor=2.0)


def operations_table(cluster: Cluster, price: float) -> str:
    """A Markdown table: what each operation takes."""
    lines = [
        "| operation | CPU-hours per million | hours | USD per million | USD in all |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, seconds in CPU_SECONDS.items():
        outcome = simulate(replace(cluster, cpu_seconds=seconds))
        cost = outcome.machine_seconds / 3600 * cluster.cores * price
        millions = cluster.images / 1e6
        lines.append(
            f"| {name} | {seconds * 1e6 / 3600:.0f} | {outcome.seconds / 3600:.1f} "
            f"| {cost / millions:.2f} | {cost:,.0f} |"
        )
    return "\n".join(lines)


def trouble_table(cluster: Cluster, price: float) -> str:
    """A Markdown table: what failures, stragglers, leases and sizes of shards cost."""
    calm = replace(cluster, hours_to_failure=math.inf, slow_part=0.0)
    cases = {
        "nothing goes wrong": calm,
        "5 % of the machines take twice as long": replace(calm, slow_part=0.05, slow_factor=2.0),
        "a machine fails every 500 hours": replace(calm, hours_to_failure=500.0),
        "a machine fails every 10 hours": replace(calm, hours_to_failure=10.0),
        "every hour": replace(calm, hours_to_failure=1.0),
        "every hour, shards of 20,000": replace(calm, hours_to_failure=1.0, shard_size=20_000),
        "every hour, a lease of 1 hour": replace(calm, hours_to_failure=1.0, lease=3600.0),
    }
    lines = ["| case | hours | failures | retried | USD per million |", "|---|---:|---:|---:|---:|"]
    for name, case in cases.items():
        outcome = simulate(case)
        cost = outcome.machine_seconds / 3600 * case.cores * price / (case.images / 1e6)
        hours = outcome.seconds / 3600
        lines.append(
            f"| {name} | {hours:.2f} | {outcome.failures:,} | {outcome.retried:,} | {cost:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print both tables."""
    args = _arguments()
    images, seconds = args.images, CPU_SECONDS["compress"]
    cluster = usual(Cluster(images, seconds, machines=args.machines, cores=args.cores))
    print(operations_table(cluster, args.price))
    print()
    print(trouble_table(cluster, args.price))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Simulate a job on many machines.")
    parser.add_argument("--images", type=int, default=100_000_000)
    parser.add_argument("--machines", type=int, default=100)
    parser.add_argument("--cores", type=int, default=16, help="of a machine")
    parser.add_argument("--price", type=float, default=0.04, help="USD per core and hour")
    return parser.parse_args()


if __name__ == "__main__":
    main()
