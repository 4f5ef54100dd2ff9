"""Pictures out of a prior: seeds, sizes, grids and files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tests.paths import DOCS
from vaetools.cli.app import program
from vaetools.errors import ModelBrokenError, OptionError, UsageError
from vaetools.hub import Hub
from vaetools.image import read_image
from vaetools.plugin.host import PluginHost
from vaetools.testing import write_tiny_grey_vae

PAGE = DOCS / "plugins.md"
SIZE = {"height": 18, "width": 30}


@pytest.fixture
def colours(tiny_models: Path) -> Hub:
    return Hub(PluginHost(installed=False), [tiny_models], device="cpu", threads=1)


@pytest.fixture
def greys(tmp_path: Path) -> Hub:
    models = write_tiny_grey_vae(tmp_path / "grey")
    return Hub(PluginHost(installed=False), [models], device="cpu", threads=1)


def statuses(hub: Hub, out: Path, **options: Any) -> list[str]:
    records = hub.map("generate", (), out=out, **options).records
    return [record.status for record in sorted(records, key=lambda record: record.file)]


def test_pictures_are_new_arrays_of_the_size(colours: Hub) -> None:
    pictures = colours.generate(n=3, **SIZE)
    assert [(p.shape, p.dtype) for p in pictures] == [((18, 30, 3), np.uint8)] * 3
    assert not np.array_equal(pictures[0], pictures[1])
    swapped = colours.op("generate", n=3, channel_order="rgb", **SIZE)()
    assert all(np.array_equal(a[..., ::-1], b) for a, b in zip(pictures, swapped, strict=True))


def test_seed_and_number_decide(greys: Hub) -> None:
    few, many = greys.generate(n=8, seed=1), greys.generate(n=16, seed=1)
    assert np.array_equal(few, many[:8])
    assert not np.array_equal(few, greys.generate(n=8, seed=2))


def test_temperature_is_the_deviation(greys: Hub) -> None:
    """The tiny decoder shows a latent's four values as they are, so their spread can be seen."""
    assert np.ptp(greys.generate(n=2, temperature=0)) == 0
    for temperature, share in ((1, 0.3085), (2, 0.4013)):  # of N(0, t²) above 0.5
        cells = np.stack(greys.generate(n=500, temperature=temperature))[:, ::4, ::4]
        assert (cells > 127).mean() == pytest.approx(share, abs=0.04)


def test_models_of_one_size_need_none_and_grey_stays_grey(greys: Hub, tmp_path: Path) -> None:
    pictures = greys.generate(n=2)
    assert [picture.shape for picture in pictures] == [(8, 8)] * 2
    greys.map("generate", (), out=tmp_path / "out", n=2)
    assert np.array_equal(read_image(tmp_path / "out" / "0002.png").pixels, pictures[1])
    assert np.array_equal(greys.generate(n=2, height=8, width=8), pictures)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "needs a height and a width"),
        ({"height": 8}, "go together"),
        ({"n": 0}, "1 … 100000"),
        ({"temperature": 2.1}, "0 … 2"),
        ({"height": 2**20, "width": 2**20}, "1,099,512 megapixels are over the limit of 268"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(
    colours: Hub, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(OptionError, match=re.escape(said)):
        colours.generate(**options)
    with pytest.raises(OptionError, match=re.escape(said)):
        colours.map("generate", (), out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_the_limit_of_pixels_is_that_of_the_run(colours: Hub, greys: Hub, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for hub, limit, options in (
        (greys, 64, {}),
        (greys, 18 * 18, {"n": 4, "grid": True}),
        (colours, 18 * 30, SIZE),
    ):
        with pytest.raises(OptionError, match="--max-pixels"):
            hub.map("generate", (), out=out, max_pixels=limit - 1, **options)
        done = hub.map("generate", (), out=out, max_pixels=limit, force=True, **options)
        assert done.exit_code == 0
    assert read_image(out / "grid.png").pixels.shape == (18, 18)


def test_another_size_than_the_only_one_is_refused(greys: Hub) -> None:
    with pytest.raises(OptionError, match="8 x 8"):
        greys.generate(height=8, width=9)


def test_a_model_without_a_prior_is_refused(tmp_path: Path, greys: Hub) -> None:
    manifest = tmp_path / "grey" / "model.toml"
    manifest.write_text(manifest.read_text().replace('prior = "normal"', 'prior = "none"'))
    with pytest.raises(ModelBrokenError, match="no prior") as caught:
        greys.map("generate", (), out=tmp_path / "out")
    assert caught.value.exit_code == 4
    assert not (tmp_path / "out").exists()


def test_nothing_is_taken(greys: Hub, photo: np.ndarray) -> None:
    with pytest.raises(UsageError, match="takes no image"):
        greys.generate(photo)
    with pytest.raises(UsageError, match="no key"):
        greys.generate(key="a")


@pytest.mark.parametrize(("n", "rows", "columns"), [(1, 1, 1), (3, 2, 2), (5, 2, 3), (9, 3, 3)])
def test_a_grid_shows_the_same_pictures(greys: Hub, n: int, rows: int, columns: int) -> None:
    (grid,) = greys.generate(n=n, grid=True)
    assert grid.shape == (10 * rows - 2, 10 * columns - 2) and grid.dtype == np.uint8
    padded = np.pad(grid, (0, 2), constant_values=255)
    cells = padded.reshape(rows, 10, columns, 10).swapaxes(1, 2).reshape(-1, 10, 10)
    assert np.array_equal(cells[:n, :8, :8], greys.generate(n=n))
    cells[:n, :8, :8] = 255
    assert (cells == 255).all()


def test_more_pictures_leave_those_that_are_there(greys: Hub, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert statuses(greys, out, n=2) == ["done"] * 2
    assert statuses(greys, out, n=4) == ["skipped", "skipped", "done", "done"]
    assert statuses(greys, out, n=4, seed=1) == ["done"] * 4
    assert statuses(greys, out, n=4, temperature=0.5) == ["done"] * 4
    assert statuses(greys, out, n=4, grid=True) == ["done"]
    assert statuses(greys, out, n=4, grid=True) == ["skipped"]
    assert statuses(greys, out, n=5, grid=True) == ["done"]


@pytest.mark.parametrize("jobs", [1, 4])
def test_files_are_what_the_hub_gives(colours: Hub, tmp_path: Path, jobs: int) -> None:
    colours.map("generate", (), out=tmp_path / "out", n=6, jobs=jobs, seed=3, **SIZE)
    files = sorted((tmp_path / "out").glob("*.png"))
    assert [file.name for file in files] == [f"{number:04}.png" for number in range(1, 7)]
    wanted = colours.generate(n=6, seed=3, **SIZE)
    assert all(
        np.array_equal(read_image(file).pixels, picture)
        for file, picture in zip(files, wanted, strict=True)
    )


def test_command_line(tmp_path: Path) -> None:
    def call(*words: object) -> Any:
        return CliRunner().invoke(program, ["generate", *(str(word) for word in words)])

    grey = write_tiny_grey_vae(tmp_path / "grey")
    models = ["--models-dir", grey, "--model", "tiny-grey-vae"]
    done = call("-o", tmp_path / "out", "-n", 3, "--json", *models)
    assert done.exit_code == 0, done.output
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert {(r["status"], r["width"], r["height"], r["device"]) for r in records} == {
        ("done", 8, 8, "cpu")
    }
    planned = call("-o", tmp_path / "out", "-n", 4, "--dry-run", *models)
    assert planned.stdout == f"generate/0004.png -> {tmp_path / 'out' / '0004.png'}\n"
    assert call("-o", tmp_path / "all.png", "--grid", *models).exit_code == 0
    assert read_image(tmp_path / "all.png").pixels.shape == (38, 38)
    assert "unexpected extra argument" in call("photos", "-o", tmp_path / "out", *models).output
    assert "--strip" not in call("--help").output
    assert isinstance(call("-o", tmp_path / "none", "-n", 0, *models).exception, OptionError)
    assert not (tmp_path / "none").exists()


def test_the_example_in_the_docs_works(tmp_path: Path) -> None:
    """The operation of docs/plugins.md that takes nothing."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (code,) = (block for block in blocks if 'takes = "nothing"' in block)
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "swatches.py").write_text(code, encoding="utf-8")
    host = PluginHost(builtin=False, installed=False, folders=[tmp_path / "plugins"])
    hub = Hub(host, [], device="cpu")
    swatches = hub.swatches(n=3, seed=1)
    assert len({tuple(swatch[0, 0]) for swatch in swatches}) == 3
    hub.map("swatches", (), out=tmp_path / "out", n=2, seed=1)
    result = hub.map("swatches", (), out=tmp_path / "out", n=3, seed=1)
    assert result.counts["skipped"] == 2
    written = read_image(tmp_path / "out" / "swatch-3.png").pixels
    assert np.array_equal(written, swatches[2])
