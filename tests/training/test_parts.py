"""Parts of a batch that are computed at the same time."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from tests.training import tiny
from vaetools.errors import UsageError
from vaetools.training.recipe import TrainSettings, read_recipe
from vaetools.training.run.gradients import Gradients
from vaetools.training.run.parts import SplitGradients, refuse_parts, single_threads
from vaetools.training.run.soap import Soap
from vaetools.training.run.trainer import Trainer
from vaetools.training.tasks import AnyTask, open_task

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("no_curves")

RECIPES = {
    "codec": tiny.codec_recipe(),
    "denoise": tiny.restore_recipe("denoise", steps=6),
    "inpaint": tiny.restore_recipe("inpaint", steps=6),
}
SETTINGS = TrainSettings(clip=0.5)


class Certain:
    """A task without random numbers: the square of what the network makes of an image."""

    splits = True
    recipe = read_recipe("mnist-mlp")

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.network = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 3, 1)
        )
        self.threads: set[int] = set()

    def draws(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        return (torch.rand(len(images), 1, 1, 1, generator=generator),)

    def loss_of(self, images: Tensor, weight: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        self.threads.add(threading.get_ident())
        values = weight * self.network(images) ** 2
        return values.mean(), {"each": values.detach().mean(dim=(1, 2, 3))}

    def loss(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        return self.loss_of(images, *self.draws(images, generator))


def split_of(task: Any, pool: ThreadPoolExecutor, parts: int) -> SplitGradients:
    return SplitGradients(task, task.network, SETTINGS, bf16=False, pool=pool, parts=parts)


def images(count: int) -> Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize(("count", "parts"), [(8, 2), (7, 3), (2, 4), (1, 2)])
def test_the_gradients_are_those_of_the_batch(count: int, parts: int) -> None:
    task = Certain()
    found = []
    with single_threads(parts) as pool:
        whole = Gradients(task, task.network, SETTINGS, bf16=False)  # type: ignore[arg-type]
        split = split_of(task, pool, parts)
        for gradients in (whole, split):
            task.threads.clear()
            figures = gradients(images(count), torch.Generator().manual_seed(5))
            kept = [p.grad.clone() for p in task.network.parameters() if p.grad is not None]
            found.append([figures["loss"], figures["norm"], figures["each"].mean(), *kept])
            assert gradients.usable
    torch.testing.assert_close(found[0], found[1])
    assert (threading.get_ident() in task.threads) is False


def test_threads_of_the_pool_use_no_others() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with single_threads(2) as pool:
            assert torch.get_num_threads() == 3
            torch.set_num_threads(4)  # for this thread, as the trainer may do later
            for _ in range(2):
                assert {*pool.map(lambda _: torch.get_num_threads(), range(12))} == {1}
            assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


def test_a_gradient_that_is_not_finite_is_skipped() -> None:
    task = Certain()
    with single_threads(2) as pool:
        split = split_of(task, pool, 2)
        bad = images(4)
        bad[3, 0, 9, 9] = float("nan")
        split(bad, torch.Generator())
        assert not split.usable and split.skipped == 1
        split(images(4), torch.Generator())
        assert split.usable and split.skipped == 0


@pytest.mark.parametrize("name", RECIPES)
def test_tasks_that_split(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    task: AnyTask = open_task(tiny.read(RECIPES[name], tmp_path))
    task.network.train()
    with single_threads(2) as pool:
        split = split_of(task, pool, 2)
        losses = {}
        for gradients in (split, Gradients(task, task.network, SETTINGS, bf16=False)):
            some = [gradients(images(8), torch.Generator().manual_seed(i)) for i in range(12)]
            losses[type(gradients).__name__] = float(torch.stack([f["loss"] for f in some]).mean())
    one, other = losses.values()
    assert one == pytest.approx(other, rel=0.4)  # the noise is another one


def test_soap_takes_the_same_step_in_threads() -> None:
    shapes = [(16, 24), (16, 24), (32, 16), (12,), (20, 20, 3, 3)]

    def after(steps: int, *, threads: bool) -> list[Tensor]:
        generator = torch.Generator().manual_seed(0)
        weights = [torch.nn.Parameter(torch.randn(s, generator=generator)) for s in shapes]
        optimizer = Soap(weights, lr=0.01, every=2)
        with single_threads(2) as pool:
            if threads:
                optimizer.pool = pool
            for _ in range(steps):
                for weight in weights:
                    weight.grad = torch.randn(weight.shape, generator=generator)
                optimizer.step()
        return [weight.detach() for weight in weights]

    torch.testing.assert_close(after(5, threads=True), after(5, threads=False))


def test_what_cannot_be_computed_in_parts(tmp_path: Path) -> None:
    vae = open_task(read_recipe("mnist-mlp"))
    codec = open_task(tiny.read(RECIPES["codec"], tmp_path))
    compiled = open_task(tiny.read(RECIPES["codec"] + "\ncompile = true\n", tmp_path))
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    refuse_parts(codec, cpu)
    for task, device, said in (
        (vae, cpu, "the loss of mnist-mlp is not computed in parts"),
        (codec, gpu, "a batch on a GPU is not computed in parts"),
        (compiled, cpu, "a compiled loss is not computed in parts"),
    ):
        with pytest.raises(UsageError, match=said):
            refuse_parts(task, device)


def test_a_run_is_refused_before_it_has_a_folder(tmp_path: Path) -> None:
    task = open_task(read_recipe("mnist-mlp"))
    with pytest.raises(UsageError, match="not computed in parts"):
        Trainer(task, None, tmp_path / "run", device=torch.device("cpu"), parts=2)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_an_interrupted_step_of_soap_ends_whole() -> None:
    """What saves the weights after Ctrl-C must find no thread that still changes them."""

    class Interrupted(Soap):
        ended = 0

        def _step(self, parameters: list[Tensor], group: dict[str, Any], turn: int) -> None:
            if parameters[0].ndim == 1:
                raise KeyboardInterrupt
            time.sleep(0.05)
            super()._step(parameters, group, turn)
            self.ended += 1

    weights = [torch.nn.Parameter(torch.ones(s)) for s in ((8, 8), (9, 9), (10, 10), (7,))]
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizer = Interrupted(weights, lr=0.1)
    with single_threads(2) as pool:
        optimizer.pool = pool
        with pytest.raises(KeyboardInterrupt):
            optimizer.step()
        assert optimizer.ended == 3
