"""How a process of an engine makes its shard runner."""

from __future__ import annotations

import functools
import os
import pickle
import platform
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaetools.distributed.dispatch import Unusable
from vaetools.distributed.job import open_job
from vaetools.distributed.shard_runner import ShardRunner
from vaetools.errors import UsageError, VaetoolsError
from vaetools.hub import open as open_hub
from vaetools.hub_runs import fingerprint, task_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vaetools.distributed.dispatch import Outcome
    from vaetools.distributed.parts import Part
    from vaetools.operation.chain import StepSpec


def _own_environment() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if name.startswith("VAETOOLS_")}


@dataclass(frozen=True)
class Recipe:
    """Everything that another process needs to work on a job. Models are found there again.

    Attributes:
        job: The job folder.
        root: The folder of the inputs; None for that of the job.
        steps: The operations.
        out: The output folder.
        settings: Fields of `RunSettings`.
        opened: Keyword arguments of `vaetools.open`.
        folder: The working folder, which relative paths are relative to.
        environment: Environment variables of vaetools.
    """

    job: str
    root: str | None
    steps: tuple[StepSpec, ...]
    out: str
    settings: Mapping[str, Any]
    opened: Mapping[str, Any]
    folder: str = field(default_factory=os.getcwd)
    environment: Mapping[str, str] = field(default_factory=_own_environment)

    @property
    def device(self) -> str:
        """The device that is asked for."""
        return str(self.opened.get("device", "auto"))

    def on(self, device: str, *, jobs: int) -> Recipe:
        """The recipe for processes with a device, and with a number of cores unless `jobs` is set."""
        settings = {**self.settings, "jobs": self.settings.get("jobs") or jobs}
        return replace(self, opened={**self.opened, "device": device}, settings=settings)

    def runner(self) -> ShardRunner:
        """The shard runner. Raises as `ShardRunner`, `Hub.op` and `open_job`."""
        try:
            os.chdir(self.folder)
        except OSError as error:
            problem = f"cannot be entered on {platform.node()}: {error.strerror}"
            remedy = "all machines must see the same files at the same place"
            raise UsageError(problem, file=self.folder, remedy=remedy) from None
        os.environ.update(self.environment)
        job = open_job(self.job)
        if self.root is not None:
            job = replace(job, root=Path(self.root))
        hub = open_hub(**self.opened)
        step = hub.chain(*(hub.op(s.op, model=s.model, **s.options) for s in self.steps))
        operation, settings = task_of(hub, step, self.out, self.settings)
        return ShardRunner(job, operation, settings, fingerprint(operation))


def run_part(recipe: bytes, part: Part, engine: str) -> Outcome:
    """Process a part of a shard in a process of an engine; returns errors of vaetools.

    Args:
        recipe: Pickled.
        part: What to process.
        engine: See `vaetools.distributed.claims.take`.
    """
    try:
        try:
            runner = _runner(recipe)
        except UsageError as error:
            return Unusable(error)
        return runner(part.shard, part=part, engine=engine)
    except VaetoolsError as error:
        return error


@functools.lru_cache(maxsize=1)
def _runner(recipe: bytes) -> ShardRunner:
    """The shard runner of this process, with its open models."""
    made: Recipe = pickle.loads(recipe)  # noqa: S301 - our own
    return made.runner()
