"""The promise: whatever a disk does, nothing is lost, and a later run completes the work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults import shim
from tests.faults.harness import Server, Tally, Trial
from tests.faults.scenarios import FAULTS, SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.harness import Scenario
    from tests.faults.shim import Fault

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shim.IS_POSSIBLE, reason="needs Linux and a C compiler"),
]

STEP = 41
"""Every call of this number fails; `python -m tests.faults` takes all of them."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(shim.build(tmp_path_factory.mktemp("shim"))) as server:
        yield server


@pytest.fixture(scope="module", params=SCENARIOS, ids=lambda scenario: scenario.name)
def trial(
    server: Server, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Trial:
    scenario: Scenario = request.param
    return Trial(server, scenario, tmp_path_factory.mktemp(scenario.name))


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_no_fault_loses_anything(trial: Trial, fault: Fault) -> None:
    tally = Tally()
    trial.fail_each(fault, tally, step=STEP)
    assert not tally.wrong, tally.wrong[0]


def test_calls_are_made_to_fail(server: Server, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    trial, tally = Trial(server, SCENARIOS[0], tmp_path / "folder"), Tally()
    assert trial.count(shim.Fault("write", "EIO")) > len("abc")
    assert trial.fail(shim.Fault("write", "EIO"), 1, tally)
    assert (tally.faults, tally.codes) == (1, {1: 1})
    assert not trial.fail(shim.Fault("write", "EIO"), 10_000, tally)
