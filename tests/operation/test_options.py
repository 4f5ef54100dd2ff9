"""Options as values."""

from __future__ import annotations

from dataclasses import dataclass

from vaetools.operation import make_options, option


@dataclass(frozen=True)
class Options:
    amount: float = option(40, min=0, max=100)
    count: int = 3


def test_a_whole_number_as_the_default_of_a_float_is_a_float() -> None:
    """Otherwise the same work has two fingerprints: the command line gives 40.0."""
    made = make_options(Options, {})
    assert repr(made.amount) == "40.0" and repr(made.count) == "3"
    assert make_options(Options, {"amount": "40"}) == made
