"""The shipped operations give the same files in threads and in worker processes, seeds included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vaetools
from vaetools.cli import main
from vaetools.image import Image, encode_image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vaetools.hub import Hub

pytestmark = pytest.mark.slow

SIZES = ((40, 56), (64, 64), (33, 70), (64, 64), (48, 40))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five images of different sizes, one of them greyscale, and a file that is none."""
    rng = np.random.default_rng(0)
    for index, (height, width) in enumerate(SIZES):
        rows, columns = np.mgrid[:height, :width]
        base = np.stack([rows * 3, columns * 2, rows + columns], axis=2)
        pixels = np.clip(base + rng.normal(0, 12, base.shape), 0, 255).astype(np.uint8)
        path = tmp_path / "in" / str(index % 2) / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.from_array(np.ascontiguousarray(pixels[..., 0] if index == 3 else pixels))
        path.write_bytes(encode_image(image, "png"))
    (tmp_path / "in" / "bad.png").write_bytes(b"no image")
    return tmp_path / "in"


@pytest.fixture
def masks(photos: Path) -> Path:
    """A mask for each image, by its name."""
    folder = photos.parent / "masks"
    for index, size in enumerate(SIZES):
        mask = np.zeros(size, np.uint8)
        mask[10:20, 5:25] = 255
        path = folder / str(index % 2) / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(Image.from_array(mask), "png"))
    return folder


def compared(hub: Hub, op: Any, photos: Path, **options: Any) -> Mapping[str, bytes]:
    """The files that threads write, after comparing files and records with those of workers."""
    trees, records = [], []
    for workers, jobs in ((0, 2), (2, 3)):
        out = photos.parent / f"out{workers}"
        result = hub.map(op, photos, out=out, workers=workers, jobs=jobs, **options)
        trees.append({p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("[!.]*.?*")})
        listed = [json.dumps({**r.as_dict(), "ms": 0, "out": len(r.out)}) for r in result.records]
        records.append(sorted(listed))
        assert result.counts["failed"] == 1
    assert records[0] == records[1]
    assert trees[0] == trees[1]
    return trees[0]


@pytest.mark.parametrize(
    ("op", "options", "files"),
    [
        ("compress", {"quality": 40}, 5),
        ("denoise", {"sigma": "auto", "samples": 2, "seed": 3, "uncertainty": True}, 20),
        ("augment", {"n": 2, "seed": 1, "to": "jpg"}, 10),
    ],
)
def test_operations(
    codec_hub: Hub, photos: Path, op: str, options: Mapping[str, Any], files: int
) -> None:
    assert len(compared(codec_hub, op, photos, **options)) == files


def test_masks_and_chains(codec_hub: Hub, photos: Path, masks: Path) -> None:
    hub = codec_hub
    steps = [hub.op("inpaint", mask=masks, samples=1, seed=5), hub.op("compress", quality=30)]
    written = compared(hub, hub.chain(*steps), photos)
    assert sum(name.endswith(".vae") for name in written) == 10  # the mean and a sample


PLUGIN = """
from dataclasses import dataclass

import vaetools
from vaetools import hookimpl, option


class Grain(vaetools.ImageOperation):
    "Noise of its own."

    name = "grain"

    @dataclass(frozen=True)
    class Options:
        amount: float = option(0.05, min=0, max=1, help="standard deviation")
        seed: int = 0

    def apply(self, image):
        print("grain of", self.key)
        noisy = image + self.options.amount * self.rng.standard_normal(image.shape)
        return noisy.clip(0, 1).astype("float32")


@hookimpl
def register_operations():
    return [Grain]
"""


def test_plugins_from_a_folder(
    photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "grain.py").write_text(PLUGIN)
    hub = vaetools.open("cpu", plugins_dirs=plugins)
    assert len(compared(hub, "grain", photos, seed=4)) == 5
    capfd.readouterr()
    words = ["--plugins-dir", str(plugins), "grain", str(photos), "-o", str(tmp_path / "cli")]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--workers", "2", "--json", "--seed", "4"])
    assert ended.value.code == 1
    printed = capfd.readouterr()
    assert len([json.loads(line) for line in printed.out.splitlines()]) == 6
    assert printed.err.count("grain of") == 5
    for path in (tmp_path / "cli").rglob("[!.]*.png"):
        same = tmp_path / "out0" / path.relative_to(tmp_path / "cli")
        assert path.read_bytes() == same.read_bytes()
