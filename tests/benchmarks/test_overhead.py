"""`benchmarks/overhead.py` measures what it says: the same sessions, with and without the hub."""

from __future__ import annotations

import runpy

import pytest

from tests.paths import BENCHMARKS

BENCHMARK = BENCHMARKS / "overhead.py"


@pytest.fixture
def rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> dict[str, list[str]]:
    """What the benchmark prints: the words of each line by its name."""
    words = ["--size", "320x200", "--channels", "8", "--repeat", "3"]
    monkeypatch.setattr("sys.argv", ["overhead.py", *words])
    runpy.run_path(str(BENCHMARK), run_name="__main__")
    return {line[:15].strip(): line.split() for line in capsys.readouterr().out.splitlines()}


def times(rows: dict[str, list[str]]) -> tuple[float, float]:
    return float(rows["hub.op"][-1]), float(rows["bare sessions"][-1])


def test_the_overhead_is_the_share_of_what_the_hub_adds(rows: dict[str, list[str]]) -> None:
    whole, bare = times(rows)
    assert min(whole, bare) > 0
    rounding = 100 * 0.05 * (1 / bare + whole / bare**2) + 0.05  # times are printed to 0.1 ms
    overhead = float(rows["overhead, %"][-1])
    assert overhead == pytest.approx(100 * (whole - bare) / bare, abs=rounding)


@pytest.mark.timing
def test_the_hub_costs_something(rows: dict[str, list[str]]) -> None:
    whole, bare = times(rows)
    assert bare < whole
