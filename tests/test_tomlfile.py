"""TOML files become checked dataclasses; each mistake is one line with the path of its key."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest

from vaetools.errors import ManifestError, UsageError
from vaetools.tomlfile import Bounds, Pattern, from_table, read_toml

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Part:
    file: Annotated[str, Pattern(r"[a-z.]+", "lower-case letters")]
    size: Annotated[int, Bounds(ge=1, le=9)] = 1


@dataclass(frozen=True)
class Sheet:
    name: str
    mode: Literal["fast", "exact"] = "fast"
    channels: Literal[1, 3] = 3
    rate: Annotated[float, Bounds(gt=0)] = 1.0
    share: Annotated[float, Bounds(le=1)] = 0.5
    spread: Annotated[float, Bounds(gt=0, le=2)] = 1.0
    knots: tuple[float, ...] = ()
    on: bool = False
    parts: dict[str, Part] = field(default_factory=dict)
    steps: list[Part] = field(default_factory=list)
    extra: Part | None = None
    free: dict[str, Any] = field(default_factory=dict)


def sheet(text: str) -> Sheet:
    return from_table(Sheet, tomllib.loads(f'name = "n"\n{text}'), UsageError, file="s.toml")


def test_tables_become_nested_dataclasses_and_integers_stand_for_floats() -> None:
    made = sheet("""
        rate = 2
        knots = [1, 2.5]
        free = { a = [1, "b"] }
        [parts."x.y"]
        file = "a.b"
        [[steps]]
        file = "c"
        size = 9
        [extra]
        file = "d"
    """)
    assert made == Sheet(
        "n",
        rate=2.0,
        knots=(1.0, 2.5),
        free={"a": [1, "b"]},
        parts={"x.y": Part("a.b")},
        steps=[Part("c", 9)],
        extra=Part("d"),
    )
    assert type(made.rate) is float
    assert type(made.knots[0]) is float
    assert sheet("") == Sheet("n")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nmae = 1", "unknown key nmae; known keys: name, mode, channels, rate"),
        ("[parts.x]\nfile = 'a'\nbytes = 1", "unknown key parts.x.bytes; known keys: file, size"),
        ("[parts.x]", "key parts.x.file is missing"),
        ("[parts.x]\nfile = 'A'", "parts.x.file = 'A' is not lower-case letters"),
        ("[parts.x]\nfile = 'a\\n'\n", "is not lower-case letters"),
        ("[parts.x]\nfile = 'a'\nsize = 0", "parts.x.size = 0 is not 1 … 9"),
        ("[[steps]]\nfile = 'a'\n[[steps]]\n", "key steps[1].file is missing"),
        ("mode = 'slow'", "mode = 'slow' is not one of fast, exact"),
        ("mode = 1", "mode = 1 is not one of fast, exact"),
        ("channels = true", "channels = True is not one of 1, 3"),
        ("channels = 2", "channels = 2 is not one of 1, 3"),
        ("rate = 0", "rate = 0.0 is not above 0"),
        ("rate = nan", "rate = nan is not a finite number"),
        ("rate = inf", "rate = inf is not a finite number"),
        ("rate = true", "rate = True is not a number"),
        ("rate = '1'", "rate = '1' is not a number"),
        (f"rate = {10**400}", "00… is not a number"),
        ("share = 1.5", "share = 1.5 is not at most 1"),
        ("spread = 3", "spread = 3.0 is not above 0 and at most 2"),
        ("knots = [1, '2']", "knots[1] = '2' is not a number"),
        ("knots = 1", "knots = 1 is not an array"),
        ("on = 1", "on = 1 is not true or false"),
        ("extra = 3", "extra = 3 is not a table"),
        ("extra = []", "extra = [] is not a table"),
        ("parts = [1]", "parts = [1] is not a table"),
        ("[parts]\nx = 1", "parts.x = 1 is not a table"),
        ("[knots]\nx = 1", "knots is not an array"),
    ],
)
def test_each_mistake_is_one_line_with_the_path_of_its_key(text: str, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        sheet(text)
    assert problem in caught.value.line
    assert caught.value.line.startswith("E002 s.toml: ")


def test_the_class_of_the_error_and_the_place_are_the_callers() -> None:
    with pytest.raises(ManifestError, match=r"train\.size = 'x' is not an integer"):
        from_table(Part, {"file": "a", "size": "x"}, ManifestError, where="train")
    with pytest.raises(UsageError, match="the file = 3 is not a table"):
        from_table(Part, 3, UsageError)
    with pytest.raises(UsageError, match="key name is missing"):
        from_table(Sheet, {}, UsageError)
    assert from_table(Sheet, {"name": "n", "extra": None}, UsageError).extra is None  # JSON


def test_bounds_hold_for_numbers_that_are_not_numbers() -> None:
    assert not Bounds(ge=0).accepts(math.nan)
    assert not Bounds(gt=0).accepts(math.nan)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"[size", "is not TOML: "),
        (b"a = '\xff'", "is not TOML: "),
        (b"a = 1\na = 2", "is not TOML: Cannot overwrite a value"),
    ],
)
def test_files_that_are_not_toml_are_named(
    tmp_path: Path, data: bytes | None, problem: str
) -> None:
    path = tmp_path / "some.toml"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ManifestError) as caught:
        read_toml(path, ManifestError)
    assert f"{path}: {problem}" in caught.value.line
