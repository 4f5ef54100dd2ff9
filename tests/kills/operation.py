"""What the runs do that are killed: a module of its own, for worker processes."""

from __future__ import annotations

import time
from pathlib import PurePath

from vaetools.operation import NoOptions, Operation


class SlowCopy(Operation):
    """Two outputs for each file of random bytes."""

    name = "slow-copy"
    takes = "file"
    suffixes = (".raw",)

    def __init__(self) -> None:
        super().__init__(None, NoOptions())

    def outputs(self, source: PurePath) -> tuple[PurePath, ...]:
        return source.with_suffix(".copy"), source.with_suffix(".part2")

    def process(self, item: bytes) -> tuple[bytes, bytes]:
        time.sleep(0.02)
        return item[::-1], item[: len(item) // 2]
