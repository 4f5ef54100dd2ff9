"""Options as values."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from vaetools.errors import OptionError
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


@pytest.mark.parametrize("value", [2.9, np.float32(2.9), np.float64(2.9), Fraction(29, 10)])
def test_a_whole_number_is_never_cut(value: Any) -> None:
    with pytest.raises(OptionError, match="is not a whole number"):
        make_options(Options, {"count": value})
    assert make_options(Options, {"count": type(value)(3)}).count == 3
    assert make_options(Options, {"amount": value}).amount == float(value)


@pytest.mark.parametrize(
    "value", [2**63, 2**64, -(2**64), 10**400, "9" * 5000, 1e300, "1e999", "inf"]
)
def test_numbers_out_of_bounds_are_one_error(value: Any) -> None:
    with pytest.raises(OptionError, match="count="):
        make_options(Options, {"count": value})
    with pytest.raises(OptionError, match="amount="):
        make_options(Options, {"amount": value})
    assert make_options(Options, {"count": 2**63 - 1}).count == 2**63 - 1
