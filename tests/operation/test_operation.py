"""Options: one declaration, checked once, the same for flags and keywords."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaetools.errors import OptionError
from vaetools.operation import Operation, make_options, option, option_specs


@dataclass(frozen=True)
class Options:
    amount: float = option(0.5, min=0, max=2, help="how much")
    count: int = option(8, min=1)
    mode: Literal["fast", "best"] = "fast"
    mask: Path | None = None
    loud: bool = False
    limit: float | None = option(None, max=10)


def test_values_are_converted() -> None:
    made = make_options(Options, {"amount": "1.5", "count": "3", "mask": "a.png", "loud": True})
    assert made == Options(amount=1.5, count=3, mask=Path("a.png"), loud=True)
    assert make_options(Options, {"limit": None}).limit is None


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("amount", 2.1, "0 … 2"),
        ("amount", float("nan"), "a number"),
        ("amount", "much", "a number"),
        ("count", 0, "at least 1"),
        ("count", 1.5, "a whole number"),
        ("count", True, "a whole number"),
        ("mode", "slow", "one of fast, best"),
        ("loud", 1, "true or false"),
        ("mask", 3, "text"),
        ("limit", 11, "at most 10"),
        ("volume", 1, "options: amount, count"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_name_and_the_bound(
    name: str, value: object, said: str
) -> None:
    with pytest.raises(OptionError) as caught:
        make_options(Options, {name: value})
    assert name in caught.value.line
    assert said in caught.value.line
    assert caught.value.exit_code == 2


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_bounded_number_is_within_its_bounds_or_an_error(value: float) -> None:
    try:
        made = make_options(Options, {"amount": value})
    except OptionError:
        assert not 0 <= value <= 2
    else:
        assert made.amount == value


def test_a_value_of_a_wrong_type_is_refused_in_one_line() -> None:
    for value, shown in ((np.zeros((99, 99)), "amount=ndarray is not"), ([1, 2], "amount=list is")):
        with pytest.raises(OptionError, match=shown) as error:
            make_options(Options, {"amount": value})
        assert "\n" not in str(error.value)


def test_options_need_defaults_and_known_types() -> None:
    @dataclass(frozen=True)
    class NoDefault:
        x: int

    @dataclass(frozen=True)
    class Strange:
        x: list[int] = field(default_factory=list)

    for kind in (NoDefault, Strange):
        with pytest.raises(TypeError, match="'x'"):
            option_specs(kind)


def test_random_numbers_follow_seed_and_key_only() -> None:
    class Noise(Operation):
        name = "noise"

        @dataclass(frozen=True)
        class Options:
            seed: int = 0

        def process(self, item: bytes) -> bytes:
            return self.rng.bytes(8)

    first = Noise(None, Noise.Options())
    drawn = first.on("a/b.png").process(b"")
    first.on("other").process(b"")
    assert Noise(None, Noise.Options()).on("a/b.png").process(b"") == drawn
    assert first.on("a/c.png").process(b"") != drawn
    assert Noise(None, Noise.Options(seed=1)).on("a/b.png").process(b"") != drawn
    assert first.on("\udcff.png").process(b"")  # a name that is not Unicode
