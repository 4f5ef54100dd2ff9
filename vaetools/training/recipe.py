"""Recipes: what to train and how, as TOML files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from vaetools.errors import UsageError
from vaetools.model.spec import MODEL_ID
from vaetools.tomlfile import Bounds, Pattern, from_table, read_toml

SHIPPED = Path(__file__).parent / "recipes"

Count: TypeAlias = Annotated[int, Bounds(ge=1)]
CountOrNone: TypeAlias = Annotated[int, Bounds(ge=0)]
"""0 turns something off."""

NotNegative: TypeAlias = Annotated[float, Bounds(ge=0)]
Shrink: TypeAlias = Annotated[float, Bounds(ge=1)]
HoldOut: TypeAlias = Annotated[int, Bounds(ge=2)]
Share: TypeAlias = Annotated[float, Bounds(ge=0, le=1)]
Id: TypeAlias = Annotated[
    str, Pattern(MODEL_ID.pattern, "a name of lower-case letters, digits, dots and dashes")
]

T = TypeVar("T")


@dataclass(frozen=True)
class TrainSettings:
    """`[train]`: the optimizer and its schedule.

    Attributes:
        steps: number of optimizer steps.
        optimizer: for `soap` see `vaetools.training.run.soap`; `sgd` with a batch of all images
            (`batch = 0` in `[data]`) is plain gradient descent.
        momentum: of sgd.
        weight_decay: of adamw and sgd.
        basis_every: steps between basis updates of soap.
        warmup, flat: shares of the training at which the linear warm-up and the constant learning rate
            end; after that the learning rate follows a cosine to 0.
        clip: maximum norm of the gradient; 0 for no limit.
        average: decay of the moving average of the weights, which is what is exported; 0 for none.
        patience: number of log rows without an improvement of the validation score after which training
            stops; the exported weights are then those with the best score. 0 to never stop.
        bf16: compute in bfloat16 on GPUs, and on CPUs that multiply bfloat16 matrices natively.
        channels_last: memory layout of images and weights; it suits 1x1 convolutions.
        compile: use torch.compile.
        cuda_graph: on GPUs, record a pass through the network and replay it, for tasks that allow it.
        log_seconds, checkpoint_seconds: time between rows of the log, and between checkpoints.
    """

    steps: Count = 30_000
    optimizer: Literal["adam", "adamw", "sgd", "soap"] = "adam"
    learning_rate: NotNegative = 1e-3
    momentum: NotNegative = 0.0
    weight_decay: NotNegative = 0.0
    basis_every: Count = 20
    warmup: NotNegative = 0.01
    flat: NotNegative = 0.5
    clip: NotNegative = 1.0
    average: NotNegative = 0.999
    patience: CountOrNone = 0
    seed: CountOrNone = 0
    bf16: bool = False
    channels_last: bool = False
    compile: bool = False
    cuda_graph: bool = False
    log_seconds: NotNegative = 60.0
    checkpoint_seconds: NotNegative = 600.0


@dataclass(frozen=True)
class RecipeTable:
    """The keys of a recipe file. The tables without a schema here are read by the task."""

    id: Id
    task: str
    version: str
    summary: str = ""
    network: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    objective: dict[str, Any] = field(default_factory=dict)
    train: TrainSettings = field(default_factory=TrainSettings)


@dataclass(frozen=True, kw_only=True)
class Recipe(RecipeTable):
    """One recipe.

    Attributes:
        file: where it was read from.
        text: the content of that file.
    """

    file: Path
    text: str

    def table(self, name: Literal["network", "data", "objective"], kind: type[T]) -> T:
        """A table as the dataclass of a task.

        Raises:
            UsageError: an unknown key, or a value of another type or out of bounds.
        """
        return from_table(kind, getattr(self, name), UsageError, file=self.file, where=name)


def read_recipe(name: str | Path) -> Recipe:
    """Read a recipe from a file, or a shipped one by its name.

    Raises:
        UsageError: the recipe does not exist, is not TOML, or a key is unknown, missing or invalid.
    """
    path = Path(name)
    if not path.is_file() and (shipped := SHIPPED / f"{name}.toml").is_file():
        path = shipped
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.toml")))
        raise UsageError("no such recipe", file=name, remedy=f"shipped: {known}")
    table = from_table(RecipeTable, read_toml(path, UsageError), UsageError, file=path)
    return Recipe(**vars(table), file=path, text=path.read_text(encoding="utf-8"))
