"""The promise: a run that is killed at any time leaves nothing half-written, and can be resumed."""

from pathlib import Path

from tests.kills.harness import kill_runs, own_command, plant_inputs


def test_killed_runs_lose_nothing_and_resume_to_the_same_tree(tmp_path: Path) -> None:
    inputs = plant_inputs(tmp_path / "photos", count=60)
    tally = kill_runs(own_command, inputs, tmp_path, kills=15, seed=1)
    assert tally.is_clean, tally
    assert tally.kills == 15
    assert tally.at_work >= 8, tally
