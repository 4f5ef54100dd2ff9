"""Runs that are cut into pieces: compact copies, stops, and a decay that begins when asked for."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from click.testing import CliRunner

from tests.training.tiny import restore_recipe, write_photos
from vaetools.cli.train import command
from vaetools.errors import InputError, UsageError
from vaetools.training.recipe import Recipe, read_recipe
from vaetools.training.run import checkpoint
from vaetools.training.run.checkpoint import CHECKPOINT, read_checkpoint
from vaetools.training.run.compact import COMPACT, read_compact
from vaetools.training.run.curves import LOG, read_log
from vaetools.training.run.optimizer import learning_rate
from vaetools.training.run.trainer import Trainer
from vaetools.training.tasks import open_task

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("no_curves")

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    return write_photos(folder, ["astronaut", "coffee", "chelsea"], 96, 96)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    text = restore_recipe("denoise", steps=6).replace("[train]", '[train]\noptimizer = "soap"')
    path = tmp_path / "recipe.toml"
    path.write_text(text.replace("log_seconds = 1000.0", "log_seconds = 0.0"))
    return read_recipe(path)


def opened(recipe: Recipe, photos: Path, run: Path, **options: Any) -> Trainer:
    torch.set_num_threads(1)
    task = open_task(recipe)
    return Trainer(task, task.load(photos), run, device=CPU, **options)


def run_to(trainer: Trainer, until: float = 1.0) -> Trainer:
    list(trainer.fit(until=until))
    return trainer


def test_a_compact_copy_is_small_and_holds_the_optimizer(recipe, photos, tmp_path) -> None:
    run = run_to(opened(recipe, photos, tmp_path / "run"), 0.5).run
    assert (run / COMPACT).stat().st_size < 0.45 * (run / CHECKPOINT).stat().st_size
    whole, compact = read_checkpoint(run, CPU), read_compact(run, CPU)
    assert compact["step"] == whole["step"] == 3
    for name, value in whole["average"].items():
        torch.testing.assert_close(compact["average"][name], value, rtol=1e-3, atol=1e-4)
    for number, values in whole["optimizer"]["state"].items():
        restored = compact["optimizer"]["state"][number]
        assert restored.keys() == values.keys()
        assert restored["step"] == values["step"]
        assert not restored["mean"].any()
        for name in values.keys() - {"step", "mean", "rows", "columns"}:
            assert relative(restored[name], values[name]) < 0.01, name
        for side in values.keys() & {"rows", "columns"}:
            basis = restored[f"{side} basis"]
            unit = torch.eye(basis.shape[-1]).expand_as(basis)
            torch.testing.assert_close(basis.mT @ basis, unit, rtol=0, atol=1e-4)
            eigenvalues = [
                (basis * (moment @ basis)).sum(dim=1) for moment in (restored[side], values[side])
            ]
            assert relative(*eigenvalues) < 0.02, side


def relative(value: torch.Tensor, wanted: torch.Tensor) -> float:
    assert value.dtype == wanted.dtype
    return float((value - wanted).norm() / wanted.norm().clamp(min=1e-20))


def test_a_run_goes_on_from_its_compact_copy(recipe, photos, tmp_path) -> None:
    run = run_to(opened(recipe, photos, tmp_path / "run"), 0.5).run
    (run / CHECKPOINT).unlink()
    trainer = opened(recipe, photos, run)
    assert trainer.step == 3
    assert trainer.optimizer.state
    run_to(trainer)
    assert trainer.step == 6
    assert (run / CHECKPOINT).exists()


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_damaged_compact_copy_is_one_clear_line(recipe, photos, tmp_path, damage) -> None:
    run = run_to(opened(recipe, photos, tmp_path / "run"), 0.5).run
    (run / CHECKPOINT).unlink()
    if damage == "cut":
        data = (run / COMPACT).read_bytes()
        (run / COMPACT).write_bytes(data[: len(data) // 2])
    else:
        torch.save({"step": 1}, run / COMPACT)
    with pytest.raises(UsageError, match=r"compact\.pt cannot be read"):
        opened(recipe, photos, run)


def test_a_constant_rate_decays_when_asked_for(recipe, photos, tmp_path) -> None:
    train = replace(recipe.train, steps=1000, warmup=0.0, flat=1.0)
    recipe = replace(recipe, train=train)
    run = run_to(opened(recipe, photos, tmp_path / "run"), 0.003).run
    trainer = opened(recipe, photos, run, decay=4)
    begun = trainer.progress
    run_to(trainer, begun + 0.5 * (1 - begun))
    assert trainer.step == 5
    resumed = opened(recipe, photos, run)
    rates = []
    step = resumed.optimizer.step
    resumed.optimizer.step = lambda: (  # type: ignore[assignment,method-assign]
        rates.append(resumed.optimizer.param_groups[0]["lr"] / train.learning_rate),
        step(),
    )
    run_to(resumed)
    assert resumed.step == 7
    assert rates == pytest.approx([0.5, 0.5 * (1 - 2**-0.5)])
    assert opened(recipe, photos, run, decay=4).progress == 1  # the same command once more
    with pytest.raises(UsageError, match="decays since step 3"):
        opened(recipe, photos, run, decay=5)
    with pytest.raises(UsageError, match="decays since step 3"):
        opened(recipe, photos, run, minutes=5.0)


def test_a_decay_may_begin_when_all_steps_are_done(recipe, photos, tmp_path) -> None:
    recipe = replace(recipe, train=replace(recipe.train, steps=3, warmup=0.0, flat=1.0))
    run = run_to(opened(recipe, photos, tmp_path / "run")).run
    assert run_to(opened(recipe, photos, run, decay=2)).step == 5


def test_a_decay_may_begin_with_a_phase(recipe, photos, tmp_path) -> None:
    train = replace(recipe.train, steps=10, warmup=0.0, flat=1.0)
    recipe = replace(recipe, train=train)
    ends = open_task(recipe).phases
    assert len(ends) == 2
    run = run_to(opened(recipe, photos, tmp_path / "run"), ends[0]).run
    trainer = run_to(opened(recipe, photos, run, decay=2))
    assert (trainer.step, trainer.phase) == (round(10 * ends[0]) + 2, 1)


def test_minutes_are_kept(recipe, photos, tmp_path) -> None:
    trainer = opened(recipe, photos, tmp_path / "run", minutes=60.0)
    trainer.seconds = 1800.0
    trainer.save()
    resumed = opened(recipe, photos, trainer.run)
    assert (resumed.minutes, resumed.progress) == (60.0, 0.5)
    assert opened(recipe, photos, trainer.run, minutes=120.0).progress == 0.25
    (trainer.run / CHECKPOINT).unlink()
    assert opened(recipe, photos, trainer.run).progress == 0.5


@pytest.mark.parametrize("damage", ["cut", "altered", "other", "text"])
def test_a_damaged_checkpoint_gives_way_to_its_compact_copy(
    recipe, photos, tmp_path, damage, caplog
) -> None:
    run = run_to(opened(recipe, photos, tmp_path / "run"), 0.5).run
    data = bytearray((run / CHECKPOINT).read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "altered":
        data[len(data) // 2] ^= 255
    elif damage == "text":
        data = bytearray(b"hello\n")
    (run / CHECKPOINT).write_bytes(data)
    if damage == "other":
        torch.save({"step": 1}, run / CHECKPOINT)
    trainer = opened(recipe, photos, run)
    assert trainer.step == 3
    assert trainer.optimizer.state
    assert "checkpoint.pt cannot be read; continuing from compact.pt" in caplog.text
    (run / COMPACT).unlink()
    with pytest.raises(UsageError, match=r"checkpoint\.pt cannot be read"):
        opened(recipe, photos, run)


def test_a_full_disk_costs_a_checkpoint_and_not_the_run(
    recipe, photos, tmp_path, monkeypatch, caplog
) -> None:
    recipe = replace(recipe, train=replace(recipe.train, checkpoint_seconds=0.0))
    real, calls = checkpoint.os.fsync, []

    def full(number: int) -> None:
        calls.append(number)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(number)

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    run = run_to(opened(recipe, photos, tmp_path / "run")).run
    assert read_checkpoint(run, CPU)["step"] == 6
    assert "no checkpoint: [Errno 28] No space left on device" in caplog.text
    assert not list(run.glob("*.part"))


def test_a_run_that_cannot_be_saved_at_its_end_says_so(recipe, photos, tmp_path) -> None:
    trainer = opened(recipe, photos, tmp_path / "run")
    trainer.weights_file = tmp_path / "none" / "w.pt"
    with pytest.raises(OSError, match="No such file"):
        run_to(trainer)


def test_a_damaged_log_does_not_stop_a_run(recipe, photos, tmp_path) -> None:
    run = run_to(opened(recipe, photos, tmp_path / "run"), 0.5).run
    whole = (run / LOG).read_text()
    for text in ("", whole[:-20], whole + "\0\0\0", whole + "4,x\n"):
        (run / LOG).write_text(text)
        opened(recipe, photos, run)
        assert len(read_log(run)) <= 3
    run_to(opened(recipe, photos, run))
    assert [row["step"] for row in read_log(run)][-3:] == [4, 5, 6]


def test_a_copy_without_its_recipe_is_one_clear_line(recipe, photos, tmp_path) -> None:
    run = run_to(opened(recipe, photos, tmp_path / "run"), 0.2).run
    (run / "recipe.toml").unlink()
    with pytest.raises(UsageError, match=r"a checkpoint without recipe\.toml"):
        opened(recipe, photos, run)
    with pytest.raises(UsageError, match="is not a folder"):
        opened(recipe, photos, tmp_path / "recipe.toml")


def test_the_large_images_are_not_all_held_out(recipe, photos, tmp_path) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(photos, folder)
    write_photos(folder, ["rocket"], 128, 128)
    wanted = replace(open_task(recipe).data, late_crop=128, hold_out=4)
    with pytest.raises(InputError, match="128 x 128 pixels but for those held out"):
        wanted.load(folder)


def test_a_constant_rate_needs_no_decay() -> None:
    assert learning_rate(0.999, warmup=0.0, flat=1.0) == 1.0
    assert learning_rate(1.0, warmup=0.0, flat=1.0) == 1.0


def test_a_schedule_in_minutes_has_its_own_decay(recipe, photos, tmp_path) -> None:
    task = open_task(recipe)
    with pytest.raises(UsageError, match="follows the time"):
        Trainer(task, task.load(photos), tmp_path / "r", device=CPU, minutes=1.0, decay=5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_a_run_with_a_whole_checkpoint(
    recipe, photos, tmp_path, monkeypatch, number
) -> None:
    validate = Trainer.validate

    def terminated(trainer: Trainer) -> dict[str, float]:
        os.kill(os.getpid(), number)
        return validate(trainer)

    before = signal.getsignal(number)
    monkeypatch.setattr(Trainer, "validate", terminated)
    run = tmp_path / "run"
    words = [str(tmp_path / "recipe.toml"), "--data", str(photos), "--run", str(run)]
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.output
    assert "stopped at step 1, 16.7% done" in result.output
    assert read_checkpoint(run, CPU)["step"] == 1
    assert signal.getsignal(number) is before


def test_a_run_stops_at_a_share_and_goes_on(recipe, photos, tmp_path) -> None:
    run = tmp_path / "run"
    words = [str(tmp_path / "recipe.toml"), "--data", str(photos), "--run", str(run)]
    result = CliRunner().invoke(command, [*words, "--until", "0.5"])
    assert "stopped at step 3, 50.0% done" in result.output
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.output
    assert read_checkpoint(run, CPU)["step"] == 6
