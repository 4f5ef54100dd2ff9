"""Passes that a GPU can record: the same gradients, whatever way they are calculated."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.training import tiny
from vaetools.errors import UsageError
from vaetools.training.recipe import TrainSettings
from vaetools.training.run.batches import Batches
from vaetools.training.run.gradients import Gradients, RecordedGradients, make_gradients
from vaetools.training.run.trainer import MAX_SKIPPED, Trainer
from vaetools.training.tasks import AnyTask, open_task

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("no_curves")

RECIPES = {
    "codec": tiny.codec_recipe().replace("[data]", "[data]\nmixed = 0.5"),
    "denoise": tiny.restore_recipe(
        "denoise", steps=6, data="camera = 0.3\nexposed = 0.3\neven = 0.2\njpeg = 0.2"
    ),
}
SETTINGS = TrainSettings(clip=0.5)


def task_of(name: str, folder: Path) -> AnyTask:
    torch.manual_seed(0)
    task = open_task(tiny.read(RECIPES[name], folder))
    task.network.train()
    return task


def images(seed: int, count: int = 2) -> Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def passes(gradients: Gradients, network: nn.Module, seeds: list[int]) -> list[list[Tensor]]:
    """The loss and the gradients of some batches."""
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(2)
    found = []
    for seed in seeds:
        figures = gradients(images(seed), generator)
        kept = [p.grad.clone() for p in network.parameters() if p.grad is not None]
        found.append([figures["loss"].clone(), figures["norm"].clone(), *kept])
    return found


@pytest.mark.parametrize("name", RECIPES)
def test_a_recorded_pass_gives_the_same_gradients(name: str, tmp_path: Path) -> None:
    task = task_of(name, tmp_path)
    assert task.recordable
    network = task.network
    eager = passes(Gradients(task, network, SETTINGS, bf16=False), network, [3, 4])
    recorded = passes(RecordedGradients(task, network, SETTINGS, bf16=False), network, [3, 4])
    for one, other in zip(eager, recorded, strict=True):
        torch.testing.assert_close(one, other)
    assert not torch.equal(eager[0][0], eager[1][0])


class NoHost(TorchDispatchMode):
    """Refuses what would wait for a GPU: constants from the host, and numbers for it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        assert func not in (torch.ops.aten.lift_fresh.default, _NUMBER), func
        return func(*args, **(kwargs or {}))


_NUMBER = torch.ops.aten._local_scalar_dense.default


@pytest.mark.parametrize("phase", [0, 1])
@pytest.mark.parametrize("name", RECIPES)
def test_a_loss_that_is_recorded_does_no_work_on_the_host(
    name: str, phase: int, tmp_path: Path
) -> None:
    task = task_of(name, tmp_path)
    task.enter(min(phase, len(task.phases) - 1))
    inputs = (images(3), *task.draws(images(3), torch.Generator().manual_seed(0)))
    task.loss_of(*inputs)  # constants are made once
    with NoHost():
        loss, _ = task.loss_of(*inputs)
        loss.backward()


def test_a_recorded_pass_leaves_zeros_where_a_gradient_is_not_finite(tmp_path: Path) -> None:
    task = task_of("codec", tmp_path)
    gradients = RecordedGradients(task, task.network, SETTINGS, bf16=False)
    generator = torch.Generator().manual_seed(0)
    bad = images(5)
    bad[0, 0, 0, 0] = float("nan")
    for count in (1, 2):
        gradients(bad, generator)
        assert all(not p.grad.any() for p in task.network.parameters() if p.grad is not None)
        gradients.update_count()
        assert gradients.skipped == count
    gradients(images(5), generator)
    gradients.update_count()
    assert gradients.skipped == 0
    assert any(p.grad.any() for p in task.network.parameters() if p.grad is not None)


def test_without_a_gpu_nothing_is_recorded(tmp_path: Path) -> None:
    task = task_of("codec", tmp_path)
    wanted = TrainSettings(cuda_graph=True)
    made = make_gradients(task, task.network, wanted, bf16=False)
    assert not isinstance(made, RecordedGradients)


@pytest.mark.train
def test_a_recorded_training_that_diverged_ends_with_a_row_of_the_log(tmp_path: Path) -> None:
    photos = tiny.write_photos(tmp_path, ["astronaut", "coffee", "chelsea"], 160, 160)
    recipe = tiny.read(tiny.codec_recipe().replace("steps = 6", "steps = 99"), tmp_path)
    trainer = tiny.trainer(recipe, photos, tmp_path / "run")
    recorded = RecordedGradients(trainer.task, trainer.network, SETTINGS, bf16=False)
    trainer.gradients = recorded
    list(trainer.fit(until=2 / 99))
    recorded.unusable.fill_(MAX_SKIPPED)
    with torch.no_grad():
        next(iter(trainer.network.parameters())).fill_(float("nan"))
    with pytest.raises(UsageError, match="diverged"):
        list(trainer.fit(until=4 / 99))


def test_batches_are_those_of_the_task(tmp_path: Path) -> None:
    photos = tiny.write_photos(tmp_path, ["astronaut", "coffee", "chelsea"], 160, 160)
    task = task_of("codec", tmp_path)
    data = task.load(photos)
    one, other = (torch.Generator().manual_seed(0) for _ in range(2))
    batches = Batches(task, data, one, torch.device("cpu"))
    for progress in (0.0, 0.5, 0.95):
        torch.testing.assert_close(batches.take(progress), task.batch(data, other, progress))
        batches.prepare(progress)
        assert torch.equal(batches.state, other.get_state())


@pytest.mark.gpu
@pytest.mark.parametrize("name", RECIPES)
def test_a_gpu_replays_what_it_recorded(name: str, tmp_path: Path) -> None:
    """In float32, where both ways differ by rounding only; noise is drawn anew at each replay."""
    photos = tiny.write_photos(tmp_path, ["astronaut", "coffee", "chelsea"], 160, 160)
    text = RECIPES[name].replace("[train]", '[train]\ncuda_graph = true\noptimizer = "soap"')
    recipe = tiny.read(text, tmp_path)
    task = open_task(recipe)
    device = torch.device("cuda")
    trainer = Trainer(task, task.load(photos), tmp_path / "run", device=device)
    assert isinstance(trainer.gradients, RecordedGradients)
    losses = [row["loss"] for row in trainer.fit()]
    assert len(set(losses)) == len(losses)
    assert all(map(math.isfinite, losses))
    assert trainer.gradients.recordings
