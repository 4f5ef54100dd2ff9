"""`benchmarks/overhead.py` measures what it says: the same sessions, with and without the hub."""

from __future__ import annotations

import runpy

import pytest

from tests.paths import BENCHMARKS

BENCHMARK = BENCHMARKS / "overhead.py"

NAMES = ("hub.op", "bare sessions", "overhead, %")


@pytest.fixture
def rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> dict[str, list[str]]:
    """What the benchmark prints: the words of each line by its name."""
    words = ["--size", "320x200", "--channels", "8", "--repeat", "3"]
    monkeypatch.setattr("sys.argv", ["overhead.py", *words])
    runpy.run_path(str(BENCHMARK), run_name="__main__")
    return {line[:15].strip(): line.split() for line in capsys.readouterr().out.splitlines()}


def test_the_overhead_is_the_share_of_what_the_hub_adds(rows: dict[str, list[str]]) -> None:
    whole, bare, overhead = (float(rows[name][-2]) for name in NAMES)  # of the fastest frames
    rounding = 100 * 0.05 * (1 / bare + whole / bare**2) + 0.05  # times are printed to 0.1 ms
    assert min(whole, bare) > 0
    assert overhead == pytest.approx(100 * (whole - bare) / bare, abs=rounding)


@pytest.mark.timing
def test_the_hub_costs_something(rows: dict[str, list[str]]) -> None:
    whole, bare, overhead = (float(rows[name][-1]) for name in NAMES)
    assert 0 < bare < whole
    assert overhead > 0
