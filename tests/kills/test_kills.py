"""The promise: a run that is killed at any time leaves nothing half-written, and can be resumed."""

from pathlib import Path

import pytest

from tests.kills.harness import kill_runs, own_command, plant_inputs


@pytest.mark.parametrize("kills", [6, pytest.param(30, marks=pytest.mark.slow)])
def test_killed_runs_lose_nothing_and_resume_to_the_same_tree(tmp_path: Path, kills: int) -> None:
    inputs = plant_inputs(tmp_path / "photos", count=60)
    tally = kill_runs(own_command, inputs, tmp_path, kills=kills, seed=1)
    assert tally.is_clean, tally
    assert tally.kills == kills
    assert tally.at_work >= kills // 2, tally
