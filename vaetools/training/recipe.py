"""Recipes: what to train and how, as TOML."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from vaetools.errors import UsageError

SHIPPED = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class DataSettings:
    """`[data]`: `batch` crops of `crop` pixels; in the last phase fewer ones of `late_crop`."""

    crop: int = 192
    late_crop: int = 256
    batch: int = 8
    shrink: float = 2.0
    hold_out: int = 24


@dataclass(frozen=True)
class TrainSettings:
    """`[train]`: phases (`warmup`, `flat`, `late`) are shares of the whole training."""

    steps: int = 30_000
    learning_rate: float = 1e-3
    warmup: float = 0.01
    flat: float = 0.5
    late: float = 0.85
    clip: float = 1.0
    average: float = 0.999
    seed: int = 0
    compile: bool = False
    log_seconds: float = 60.0
    checkpoint_seconds: float = 300.0


@dataclass(frozen=True)
class Recipe:
    """One recipe file. `network` goes to the task's network as it is."""

    id: str
    task: str
    version: str
    text: str
    network: dict[str, Any] = field(default_factory=dict)
    data: DataSettings = field(default_factory=DataSettings)
    train: TrainSettings = field(default_factory=TrainSettings)


def read_recipe(name: str | Path) -> Recipe:
    """Read a recipe from a file, or a shipped one by its name.

    Raises:
        UsageError: there is no such recipe, it is not TOML, or it has an unknown key.
    """
    path = Path(name)
    if not path.exists() and (SHIPPED / f"{name}.toml").exists():
        path = SHIPPED / f"{name}.toml"
    try:
        text = path.read_text()
        table = tomllib.loads(text)
    except FileNotFoundError:
        known = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.toml")))
        raise UsageError("no such recipe", file=name, remedy=f"shipped: {known}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"recipe is not TOML: {error}", file=path) from None
    try:
        return Recipe(
            text=text,
            data=_settings(DataSettings, table.pop("data", {})),
            train=_settings(TrainSettings, table.pop("train", {})),
            **table,
        )
    except (TypeError, KeyError) as error:
        raise UsageError(f"recipe: {error}", file=path) from None


def _settings(kind: type, table: dict[str, Any]) -> Any:
    unknown = set(table) - {f.name for f in fields(kind)}
    if unknown:
        raise TypeError(f"unknown key {min(unknown)!r} in [{kind.__name__}]")
    return kind(**table)
