"""Typed access to torch's containers, whose items mypy only knows as modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterator

M = TypeVar("M", bound=nn.Module)


class ModuleList(nn.ModuleList, Generic[M]):
    """`nn.ModuleList` of modules of one type."""

    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[M]: ...

        def __getitem__(self, index: int) -> M: ...  # type: ignore[override]

        def __reversed__(self) -> Iterator[M]: ...


def convolutions(layers: nn.Sequential) -> list[nn.Conv2d]:
    """The convolutions among the layers; those inside of blocks are left out."""
    return [layer for layer in layers if isinstance(layer, nn.Conv2d)]
