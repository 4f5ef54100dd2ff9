"""`benchmarks/overhead.py` measures what it says: the same sessions, with and without the hub."""

from __future__ import annotations

import runpy

import pytest

from tests.paths import BENCHMARKS

BENCHMARK = BENCHMARKS / "overhead.py"


def test_it_runs_and_the_hub_costs_something(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--size", "320x200", "--channels", "8", "--repeat", "3"]
    monkeypatch.setattr("sys.argv", ["overhead.py", *words])
    runpy.run_path(str(BENCHMARK), run_name="__main__")
    rows = {line[:15].strip(): line.split() for line in capsys.readouterr().out.splitlines()}
    whole, bare = (float(rows[name][-1]) for name in ("hub.op", "bare sessions"))
    assert 0 < bare < whole
    assert float(rows["overhead, %"][-1]) > 0
