"""Masks and maps of single images: a run repeats what they changed, and nothing else."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from vaetools import option
from vaetools.hub import Hub
from vaetools.image import Image, encode_image
from vaetools.operation import ImageOperation
from vaetools.operation.masks import Masks
from vaetools.plugin.host import PluginHost

if TYPE_CHECKING:
    from vaetools.runner import RunResult


class Dim(ImageOperation):
    """Darkens what its mask leaves black; white everywhere for images without a mask."""

    name = "dim"

    @dataclass(frozen=True)
    class Options:
        keep: np.ndarray | str | Path | None = option(None, words=("all",))

    def apply(self, image: np.ndarray) -> np.ndarray:
        return image * np.float32(0.5)

    def process(self, item: Image) -> Image:
        masks = Masks(self.options.keep, name="keep")
        if not masks.candidates(self.key, self.source):
            return item
        return item.with_rgb(item.to_rgb() * self.read_mask(masks, item)[..., None])


PLACES = {"folder": "masks/{}.png", "pattern": "in/{}_mask.png"}


class Desk:
    """Three images and the masks of two of them, in one of the `PLACES`."""

    def __init__(self, top: Path, kind: str) -> None:
        self.top = top
        self.kind = kind
        self.hub = Hub(PluginHost(installed=False), (), device="cpu", threads=1)
        for name in ("a", "b", "deep/c"):
            self.write(f"in/{name}.png", 200)
        for name in ("a", "deep/c"):
            self.draw(name, 255)

    def mask(self, name: str) -> Path:
        return self.top / PLACES[self.kind].format(name)

    def write(self, name: str, value: int) -> None:
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((6, 6), value, np.uint8)
        pixels[0, 0] = 255 - value
        path.write_bytes(encode_image(Image(pixels), "png"))

    def draw(self, name: str, value: int) -> None:
        self.write(str(self.mask(name).relative_to(self.top)), value)

    def run(self, *more: Any) -> RunResult:
        keep = "{stem}_mask.png" if self.kind == "pattern" else self.top / "masks"
        operation = [*more, Dim(None, Dim.Options(keep=keep))]
        chain: Any = operation if more else operation[0]
        return self.hub.map(chain, self.top / "in", out=self.top / "out")

    def done(self, *more: Any) -> list[str]:
        """Names of the images that a run processed; the others were done before."""
        records = self.run(*more).records
        assert {r.status for r in records} <= {"done", "skipped"}, records
        return sorted(Path(r.file).stem for r in records if r.status == "done")


@pytest.fixture(params=sorted(PLACES))
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    return Desk(tmp_path, request.param)


def test_a_new_changed_or_deleted_mask_repeats_its_own_image(desk: Desk) -> None:
    assert desk.done() == ["a", "b", "c"]
    assert desk.done() == []
    desk.draw("b", 255)
    assert desk.done() == ["b"]
    desk.draw("deep/c", 0)
    assert desk.done() == ["c"]
    desk.mask("a").unlink()
    assert desk.done() == ["a"]
    os.utime(desk.mask("b"), (1, 1))
    assert desk.done() == ["b"]
    assert desk.done() == []


def test_an_image_that_comes_later_repeats_nothing_else(desk: Desk) -> None:
    desk.run()
    desk.write("in/d.png", 10)
    desk.draw("d", 255)
    assert desk.done() == ["d"]


def test_other_files_among_the_masks_repeat_nothing(desk: Desk) -> None:
    desk.run()
    for name in (".DS_Store", "._a.png", "notes.txt", "Thumbs.db", "other.png", "deep/x/a.png"):
        path = desk.mask("a").parent / name if desk.kind == "folder" else desk.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    assert desk.done() == []


def test_steps_of_chains_have_their_own_masks(desk: Desk) -> None:
    first = Dim(None, Dim.Options(keep=np.ones((6, 6), np.bool_)))
    assert desk.done(first) == ["a", "b", "c"]
    desk.draw("b", 255)
    assert desk.done(first) == ["b"]


def test_a_folder_of_masks_may_move(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "folder")
    desk.run()
    (tmp_path / "masks").rename(tmp_path / "elsewhere")
    moved = Dim(None, Dim.Options(keep=tmp_path / "elsewhere"))
    result = desk.hub.map(moved, tmp_path / "in", out=tmp_path / "out")
    assert [r.status for r in result.records] == ["skipped"] * 3


def test_words_and_single_masks_are_no_files_of_an_image(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "folder")
    for keep in ("all", "5", desk.mask("a"), np.ones((6, 6), np.bool_)):
        assert Dim(None, Dim.Options(keep=keep)).files_of("a.png", tmp_path / "in/a.png") == []
