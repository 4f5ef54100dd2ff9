"""Recipes: what to train and how, as TOML."""

from __future__ import annotations

import tomllib
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from vaetools.errors import UsageError
from vaetools.model.spec import MODEL_ID

SHIPPED = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class TrainSettings:
    """`[train]`: how to descend. `warmup` and `flat` are shares of the whole training.

    Attributes:
        steps: of the optimiser.
        optimizer: `adam`, `adamw`, `soap` (see `vaetools.training.run.soap`) or `sgd`; with `sgd` and a
            batch of everything (`batch = 0` in `[data]`) it is plain gradient descent.
        momentum: of sgd. weight_decay: of adamw and sgd. basis_every: of soap, steps between two turns
            of its bases.
        warmup, flat: the learning rate rises, stays, and then follows a cosine to 0.
        clip: largest norm of the gradient; 0 for no limit.
        average: decay of the moving average of the weights, which is what is exported; 0 for none.
        patience: stop early after so many logged rows without a better validation score, and take
            the weights that had the best one; 0 for never.
        bf16: compute in bfloat16 where the device is a GPU, or a CPU that multiplies matrices of it.
        channels_last: keep pictures and weights in that order, which suits convolutions of 1x1.
        compile: with torch.compile.
    """

    steps: int = 30_000
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    momentum: float = 0.0
    weight_decay: float = 0.0
    basis_every: int = 20
    warmup: float = 0.01
    flat: float = 0.5
    clip: float = 1.0
    average: float = 0.999
    patience: int = 0
    seed: int = 0
    bf16: bool = False
    channels_last: bool = False
    compile: bool = False
    log_seconds: float = 60.0
    checkpoint_seconds: float = 300.0

    def __post_init__(self) -> None:
        at_least("train", self, steps=1, learning_rate=0, momentum=0, weight_decay=0, clip=0)
        at_least("train", self, warmup=0, flat=0, average=0, patience=0, seed=0, log_seconds=0)
        at_least("train", self, basis_every=1)


@dataclass(frozen=True)
class Recipe:
    """One recipe file. `network`, `data` and `objective` are read by the task."""

    id: str
    task: str
    version: str
    text: str
    summary: str = ""
    network: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    objective: dict[str, Any] = field(default_factory=dict)
    train: TrainSettings = field(default_factory=TrainSettings)


def read_recipe(name: str | Path) -> Recipe:
    """Read a recipe from a file, or a shipped one by its name.

    Raises:
        UsageError: there is no such recipe, it is not TOML, or it has an unknown key.
    """
    path = Path(name)
    if not path.is_file() and (SHIPPED / f"{name}.toml").exists():
        path = SHIPPED / f"{name}.toml"
    try:
        text = path.read_text()
        table = tomllib.loads(text)
    except FileNotFoundError:
        known = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.toml")))
        raise UsageError("no such recipe", file=name, remedy=f"shipped: {known}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe is not TOML: {error}", file=path) from None
    except OSError as error:
        raise UsageError(f"recipe cannot be read: {error.strerror}", file=path) from None
    if "text" in table:
        raise UsageError("recipe: the top level has an unknown key 'text'", file=path)
    if not MODEL_ID.fullmatch(str(table.get("id", "x"))):
        raise UsageError(
            f"recipe: id = {table['id']!r} is not a name of lower-case letters, digits, dots and dashes",
            file=path,
        )
    try:
        return Recipe(
            text=text,
            train=settings(TrainSettings, table.pop("train", {}), "train"),
            **_checked(Recipe, table, "the top level"),
        )
    except TypeError as error:  # a key is missing
        raise UsageError(f"recipe: {error}", file=path) from None


T = TypeVar("T")


def settings(kind: type[T], table: dict[str, Any], name: str) -> T:
    """A table of a recipe as its dataclass.

    Raises:
        UsageError: an unknown key, or a value of another type than the default's.
    """
    return kind(**_checked(kind, table, f"[{name}]"))


def at_least(name: str, table: Any, **bounds: float) -> None:
    """Check numbers of a table `[name]`. Raises `UsageError` for one that is below its bound."""
    for key, bound in bounds.items():
        if not getattr(table, key) >= bound:  # true for NaN as well
            raise UsageError(
                f"recipe: [{name}]: {key} = {getattr(table, key)} is not at least {bound:g}"
            )


def _checked(kind: Any, table: Any, where: str) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise UsageError(f"recipe: {where} is not a table")
    hints = typing.get_type_hints(kind)
    for key, value in table.items():
        if key not in hints:
            known = ", ".join(hints)
            raise UsageError(
                f"recipe: {where} has an unknown key {key!r}", remedy=f"known: {known}"
            )
        wanted = typing.get_origin(hints[key]) or hints[key]
        if not (type(value) is wanted or (wanted is float and type(value) is int)):
            raise UsageError(f"recipe: {where}: {key} = {value!r} is not of type {wanted.__name__}")
    return table
