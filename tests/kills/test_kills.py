"""The promise: a run that is killed at any time leaves nothing half-written, and can be resumed."""

from pathlib import Path

import pytest

from tests.faults.harness import Scenario, Server
from tests.faults.scenarios import OPERATIONS
from tests.kills.commands import Killed
from tests.kills.harness import Command, Tally, kill_runs, own_command, plant_inputs, worker_command


@pytest.mark.parametrize(
    ("command", "kills"),
    [
        (own_command, 3),
        pytest.param(own_command, 30, marks=pytest.mark.slow),
        pytest.param(worker_command, 20, marks=pytest.mark.slow),
    ],
)
def test_killed_runs_lose_nothing_and_resume_to_the_same_tree(
    tmp_path: Path, command: Command, kills: int
) -> None:
    inputs = plant_inputs(tmp_path / "photos", count=60)
    tally = kill_runs(command, inputs, tmp_path, kills=kills, seed=1)
    assert tally.is_clean, tally
    assert tally.kills == kills
    assert tally.at_work >= kills // 2, tally


@pytest.mark.slow
@pytest.mark.parametrize("scenario", OPERATIONS, ids=lambda scenario: scenario.name)
def test_every_kind_of_run_survives_kills(tmp_path: Path, scenario: Scenario) -> None:
    tally = Tally()
    with Server(None) as server:
        Killed(server, scenario, tmp_path).kill(8, tally)
    assert tally.is_clean, tally
    assert tally.kills == 8
