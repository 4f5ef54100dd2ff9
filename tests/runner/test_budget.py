"""Queues are bounded in bytes."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from random import Random

from vaetools.runner.budget import MIN_CHARGE, ByteBudget, Channel


def test_never_more_than_the_limit_is_in_flight() -> None:
    budget, rng, peaks = ByteBudget(100), Random(0), list[int]()

    def use(count: int) -> None:
        budget.acquire(count)
        peaks.append(budget.used)
        time.sleep(0.0005)
        budget.release(count)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, [rng.randint(1, 60) for _ in range(200)]))
    assert budget.used == 0
    assert 60 < max(peaks) <= 100  # more than one at a time, never too many


def test_something_larger_than_the_limit_passes_alone() -> None:
    budget = ByteBudget(10)
    budget.acquire(5)
    passed = threading.Event()

    def large() -> None:
        budget.acquire(50)
        passed.set()

    thread = threading.Thread(target=large)
    thread.start()
    assert not passed.wait(0.05)
    budget.release(5)
    assert passed.wait(5)
    thread.join()
    assert budget.used == 50


def test_a_large_item_is_not_overtaken_for_ever() -> None:
    budget = ByteBudget(10)
    budget.acquire(6)
    order: list[int] = []

    def take(count: int) -> None:
        budget.acquire(count)
        order.append(count)

    threads = [threading.Thread(target=take, args=(count,)) for count in (10, 1)]
    threads[0].start()
    while not budget._first_in_line.locked():
        time.sleep(0.001)
    threads[1].start()
    time.sleep(0.05)  # time to overtake
    assert order == []
    budget.release(6)
    threads[0].join(5)
    budget.release(10)
    threads[1].join(5)
    assert order == [10, 1]


def test_a_guess_is_corrected_without_waiting() -> None:
    channel: Channel[str] = Channel(10 * MIN_CHARGE)
    charge = channel.reserve(MIN_CHARGE * 2)
    charge = channel.correct(charge, MIN_CHARGE * 20)
    channel.put("large", charge)
    assert channel.get() == ("large", MIN_CHARGE * 20)
    channel.release(charge)
    assert channel.budget.used == 0
    assert channel.reserve(3) == MIN_CHARGE
