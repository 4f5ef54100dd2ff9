"""An operation with defaults that a form could easily alter: it does nothing else."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import vaetools
from vaetools import hookimpl


class Defaults(vaetools.ImageOperation):
    """Have defaults of every kind."""

    name: ClassVar = "defaults"

    @dataclass(frozen=True)
    class Options:
        mode: Literal["a", "b"] | None = None
        fast: bool | None = None
        seed: int = 1234567
        count: int | None = 5
        size: tuple[int, int] = (64, 48)

    def apply(self, image):
        return image


@hookimpl
def register_operations():
    return [Defaults]
