"""Fixtures of tests that train."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def no_curves() -> Iterator[None]:
    """Drawing takes longer than most of these trainings; other tests draw."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vaetools.training.run.trainer.draw_curves", lambda run: None)
        yield
