"""The simulation against calculations by hand, against a real job, and against docs/scale.md."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.benchmarks.scripts import benchmark_script
from tests.distributed.conftest import make_job, runner_of
from tests.paths import DOCS
from tests.runner.operations import Copy
from vaetools.distributed.loop import work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["make_job", "runner_of"]


@pytest.fixture(scope="module")
def script() -> Iterator[Any]:
    with benchmark_script("simulate_cluster") as module:
        yield module


def cluster(script: Any, **changes: Any) -> Any:
    """Thirty images of a second in shards of ten, on machines with one core."""
    facts = {"images": 30, "cpu_seconds": 1.0, "shard_size": 10, "machines": 1, "cores": 1}
    return script.Cluster(**{**facts, "start": 0.0, "per_shard": 0.0, "lease": 30.0, **changes})


@pytest.mark.parametrize(
    ("changes", "seconds", "machine_seconds"),
    [
        ({}, 30, 30),
        ({"start": 5.0, "per_shard": 1.0}, 5 + 3 * 11, 5 + 3 * 11),
        ({"cores": 2}, 15, 15),
        ({"machines": 2}, 20, 20 + 10),
        ({"machines": 3}, 10, 30),
        ({"images": 25, "machines": 2}, 15, 15 + 10),
        # The slow one takes 40 s for its shard; the other one does two meanwhile.
        ({"machines": 2, "slow_part": 0.5, "slow_factor": 4.0}, 40, 40 + 20),
    ],
    ids=str,
)
def test_without_failures(
    script: Any, changes: dict[str, Any], seconds: float, machine_seconds: float
) -> None:
    outcome = script.simulate(cluster(script, **changes))
    assert (outcome.seconds, outcome.machine_seconds) == (seconds, machine_seconds)
    assert (outcome.failures, outcome.retried) == (0, 0)


def test_a_shard_of_a_failed_machine_is_continued_after_the_lease(script: Any) -> None:
    """Machine 0 does shards 1 and 3 by 20 s. Machine 1 fails at 5 s with 5 of 10 images done; its
    shard is free at 35 s, and machine 0 does the rest by 40 s."""
    outcome = script.simulate(cluster(script, machines=2, replacement=1000.0), {1: 5.0})
    assert (outcome.seconds, outcome.failures, outcome.retried) == (40, 1, 1)
    assert outcome.machine_seconds == 40 + 5


def test_a_new_machine_takes_the_place_of_a_failed_one(script: Any) -> None:
    """Alone, it fails at 12.5 s: one shard and 2 images are done. A new machine begins at 20 s, does
    the third shard by 30 s, waits for the lease until 42.5 s, and needs 8 s more."""
    outcome = script.simulate(cluster(script, replacement=7.5), {0: 12.5})
    assert (outcome.seconds, outcome.failures, outcome.retried) == (50.5, 1, 1)
    assert outcome.machine_seconds == 12.5 + (50.5 - 20)


def test_random_failures_depend_on_the_seed_and_lose_no_image(script: Any) -> None:
    facts = {"images": 10_000, "shard_size": 100, "machines": 5, "hours_to_failure": 0.2}
    first, again, other = (
        script.simulate(cluster(script, **facts, replacement=60.0, seed=seed)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert first.failures > 5
    assert first.seconds >= 10_000 / 5
    calm = script.simulate(cluster(script, **{**facts, "hours_to_failure": math.inf}))
    assert calm.seconds == 10_000 / 5


@pytest.mark.slow
def test_the_tables_of_the_page_are_those_of_the_script(script: Any) -> None:
    page = (DOCS / "scale.md").read_text(encoding="utf-8")
    calm = script.Cluster(100_000_000, script.CPU_SECONDS["compress"])
    usual = script.usual(calm)
    assert script.operations_table(usual, 0.04) in page
    assert script.trouble_table(usual, 0.04) in page


class Sleeping(Copy):
    """Takes a twentieth of a second."""

    def process(self, item: bytes) -> bytes:
        time.sleep(0.05)
        return super().process(item)


@pytest.mark.slow
@pytest.mark.timing
def test_a_real_job_takes_as_long_as_the_simulation_says(
    script: Any, make_job: Callable[..., Any], runner_of: Callable[..., Any]
) -> None:
    """The simulation gets the time per image, and says how two workers share eight shards."""
    job = make_job({f"{number:03}.txt": b"data" for number in range(80)}, size=10)
    runners = [runner_of(job, Sleeping()) for _ in range(2)]
    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        works = [*pool.map(work, runners)]
    seconds = time.monotonic() - started
    results = [result for done in works for result in done.results]
    each = sum(result.seconds for result in results) / 80
    facts = {"images": 80, "cpu_seconds": each, "shard_size": 10, "machines": 2, "cores": 1}
    simulated = script.simulate(script.Cluster(**facts, start=0.0, per_shard=0.0)).seconds
    assert seconds == pytest.approx(simulated, rel=0.3)
