"""`vaetools inspect` as a user meets it."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.inspection.models import draws, orthogonal
from vaetools.cli import main
from vaetools.image import Image, encode_image, read_image
from vaetools.testing import gradient

FIGURES = {
    "traversal.png",
    "effects.png",
    "samples.png",
    "correlation.png",
    "uncertainty.png",
    "novelty.png",
}


class Outcome:
    """What a command printed and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err
        self.errors = [line for line in err.splitlines() if re.match(r"E\d\d\d ", line)]


@pytest.fixture
def inspect(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> Outcome:
        with pytest.raises(SystemExit) as caught:
            main(["inspect", *map(str, words), "--device", "cpu", "--threads", "1"])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Outcome(int(caught.value.code or 0), out, err)

    return call


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A linear VAE of grey pictures of 6 × 4 pixels."""
    return orthogonal().write(tmp_path / "models" / "linear")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """100 pictures that the model knows."""
    folder = tmp_path / "data"
    folder.mkdir()
    for number, image in enumerate(draws(orthogonal(), 100)):
        pixels = np.round(255 * image[0]).astype(np.uint8)
        (folder / f"{number:03}.png").write_bytes(encode_image(Image(pixels), "png"))
    return folder


def idx(path: Path, size: tuple[int, int] = (6, 4), count: int = 90) -> Path:
    images = np.round(255 * draws(orthogonal(size=size), count)).astype(np.uint8)
    head = struct.pack(">4I", 0x0803, count, *size)
    path.write_bytes(gzip.compress(head + images.tobytes()))
    return path


def test_a_model_alone(inspect, model: Path, tmp_path: Path) -> None:
    done = inspect(model)
    out = tmp_path / "inspect-linear"
    assert done.code == 0 and done.err == ""
    wanted = {"inspection.json", "traversal.png", "effects.png", "samples.png"}
    assert {path.name for path in out.iterdir()} == wanted
    assert all(name in done.out for name in wanted)
    assert read_image(out / "traversal.png").width > 11 * 64
    report = json.loads((out / "inspection.json").read_text())
    assert report["kl"] is None and "--data" in report["unknown"]["kl"]


def test_a_model_with_pictures(inspect, model: Path, data: Path, tmp_path: Path) -> None:
    reference = idx(tmp_path / "held-idx3-ubyte.gz")
    done = inspect(model, "--data", data, "--reference", reference, "-o", "out")
    assert done.code == 0 and done.err == ""
    report = json.loads((tmp_path / "out" / "inspection.json").read_text())
    assert {path.name for path in (tmp_path / "out").iterdir()} == FIGURES | {"inspection.json"}
    assert report["active_units"] == 2 and report["unknown"] == {}
    assert report["novelty"]["reference_pictures"] == 90
    assert report["novelty"]["verdict"] == "known"
    rows = [line.split() for line in done.out.splitlines() if re.match(r" +\d ", line)]
    assert [row[0] for row in rows] == ["0", "1", "2"]
    assert [row[3] for row in rows] == ["yes", "yes", "no"]
    for row, facts in zip(rows, report["latents"], strict=True):
        assert float(row[1]) == pytest.approx(facts["kl"], abs=6e-4)
    assert "active       2 of 3 latents" in done.out
    assert "the model knows images like these" in done.out


def test_one_line_for_each_broken_picture(inspect, model: Path, data: Path) -> None:
    (data / "000.png").write_bytes(b"")
    (data / "001.png").write_bytes((data / "001.png").read_bytes()[:-9])
    (data / "002.png").write_bytes(encode_image(Image(gradient(6, 4)), "png"))
    (data / "003.png").write_bytes(encode_image(Image(np.zeros((4, 6), np.uint8)), "png"))
    os.mkfifo(data / "004.jpg")
    done = inspect(model, "--data", data, "-o", "out")
    assert done.code == 1
    failed = {re.search(r"(\d{3})\.", line)[0]: line[:4] for line in done.errors}
    assert failed == {
        "000.": "E011",
        "001.": "E012",
        "002.": "E016",
        "003.": "E016",
        "004.": "E015",
    }
    assert len(done.err.splitlines()) == 5
    report = json.loads(Path("out/inspection.json").read_text())
    assert report["pictures"]["used"] == 96
    assert sorted(one["code"] for one in report["pictures"]["failed"]) == sorted(failed.values())


def test_pictures_of_another_size(inspect, model: Path, tmp_path: Path) -> None:
    other = idx(tmp_path / "other-idx3-ubyte.gz", (12, 8))
    done = inspect(model, "--data", other)
    assert done.code == 1 and len(done.errors) == 2
    assert "6 x 4 pixels only, not 12 x 8" in done.errors[0] and "--resize" in done.errors[0]
    assert "none of the images" in done.errors[1]
    assert not (tmp_path / "inspect-linear").exists()
    assert inspect(model, "--data", other, "--resize").code == 0
    report = json.loads(Path("inspect-linear/inspection.json").read_text())
    assert report["settings"]["resize"] is True and report["pictures"]["used"] == 90


def test_the_report_on_stdout(inspect, model: Path, data: Path) -> None:
    done = inspect(model, "--data", data, "--json", "--limit", 30, "--samples", 2, "--seed", 4)
    assert json.loads(done.out) == json.loads(Path("inspect-linear/inspection.json").read_text())
    report = json.loads(done.out)
    assert report["pictures"]["used"] == 30 and report["pictures"]["found"] == 100
    assert report["settings"]["seed"] == 4
    again = inspect(model, "--data", data, "--json", "--limit", 30, "--samples", 2, "--seed", 4)
    assert again.out == done.out


def test_traversal_of_a_picture(inspect, model: Path, data: Path) -> None:
    picture = data / "007.png"
    report = json.loads(inspect(model, "--image", picture, "--json").out)
    assert report["traversal"]["around"] == f"the code of {picture}"
    picture.write_bytes(b"")
    failed = inspect(model, "--image", picture)
    assert failed.code == 1 and failed.errors[0].startswith("E011")


def test_models_by_id_and_by_folder(inspect, model: Path, tmp_path: Path) -> None:
    assert inspect("linear", "--models-dir", model.parent).code == 0
    # A copy of a model that is also found is no duplicate, and an id goes before a folder.
    copy = shutil.copytree(model, tmp_path / "elsewhere" / "linear")
    assert inspect(copy, "--models-dir", model.parent).code == 0
    (tmp_path / "linear").mkdir()
    (tmp_path / "linear" / "model.toml").write_text("not toml at all")
    assert inspect("linear", "--models-dir", model.parent).code == 0
    broken = inspect("./linear")
    assert broken.code == 4 and broken.errors[0].startswith("E041")


def test_an_earlier_report_is_replaced_whole(inspect, model: Path, data: Path) -> None:
    out = Path("inspect-linear")
    assert inspect(model, "--data", data).code == 0
    (out / "notes.txt").write_text("mine")
    assert inspect(model).code == 0
    left = {path.name for path in out.iterdir()}
    assert left == {
        "inspection.json",
        "traversal.png",
        "effects.png",
        "samples.png",
        "notes.txt",
    }


def test_files_of_others_are_left_alone(inspect, model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "samples.png").write_bytes(b"mine")
    done = inspect(model, "-o", "mine")
    assert done.code == 2 and done.errors[0].startswith("E081")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["samples.png"]
    (tmp_path / "file").write_bytes(b"")
    assert inspect(model, "-o", "file").errors[0].startswith("E070")


def test_reports_inside_the_data_are_not_data(inspect, model: Path, data: Path) -> None:
    counts = []
    for _ in range(2):
        done = inspect(model, "--data", data, "-o", data / "out", "--json")
        assert done.code == 0
        counts.append(json.loads(done.out)["pictures"]["found"])
    assert counts == [100, 100]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nope"], 4, "there is no model 'nope'"),
        (["photo-codec"], 2, "is not a VAE"),
        (["models/linear", "--reference", "data"], 2, "add --data"),
        (["models/linear", "--data", "nowhere"], 2, "nowhere"),
        (["models/linear", "--data", "empty"], 3, "no images found"),
        (["models/linear", "--data", "empty/*.png"], 3, "no images found"),
        (["models/linear", "--data", "data", "--reference", "empty"], 3, "no images found"),
        (["models/linear", "--samples", "1"], 2, "--samples"),
        (["models/linear", "--data", "data", "--limit", "0"], 2, "--limit"),
        (["models/linear", "--data", "bad-idx3-ubyte"], 1, "E012"),
    ],
)
def test_wrong_use(
    inspect, model: Path, data: Path, tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad-idx3-ubyte").write_bytes(b"\0\0\x08\x03")
    outcome = inspect(*words)
    assert outcome.code == code and said in outcome.err
    assert not list(tmp_path.glob("inspect-*"))


def test_resize_is_for_models_of_one_size(inspect, tiny_models: Path) -> None:
    outcome = inspect("tiny-vae", "--models-dir", tiny_models, "--resize")
    assert outcome.code == 2 and "any size" in outcome.err


def test_grey_is_kept_on_request(inspect, data: Path, tmp_path: Path) -> None:
    model = orthogonal(likelihood="bernoulli").write(tmp_path / "b", "b")
    drawn = json.loads(inspect(model, "--data", data, "--json").out)
    grey = json.loads(inspect(model, "--data", data, "--json", "--no-binarise").out)
    assert (drawn["binarisation"], grey["binarisation"]) == ("dynamic", "none")
    assert grey["kl"] != drawn["kl"] and grey["bound"] is None


def test_broken_models_are_one_line(inspect, model: Path, data: Path) -> None:
    graph = model / "encode.onnx"
    whole = graph.read_bytes()
    graph.write_bytes(whole[::-1])
    altered = inspect(model)
    assert altered.code == 4 and altered.errors[0].startswith("E042")
    # A graph that gives no numbers, with a manifest that says it shall be so.
    graph.write_bytes(whole)
    shutil.rmtree(model)
    orthogonal(offset=np.array([0, np.nan, 0])).write(model)
    nans = inspect(model, "--data", data)
    assert nans.code == 4 and "not finite" in nans.errors[0] and len(nans.errors) == 1


def test_a_graph_that_is_none_is_one_line(inspect, model: Path) -> None:
    junk = b"this is no graph"
    (model / "decode.onnx").write_bytes(junk)
    text = (model / "model.toml").read_text()
    head, tail = text.split("[graphs.decode]")
    tail = re.sub(
        r'sha256 = "\w+"', f'sha256 = "{hashlib.sha256(junk).hexdigest()}"', tail, count=1
    )
    tail = re.sub(r"bytes = \d+", f"bytes = {len(junk)}", tail, count=1)
    (model / "model.toml").write_text(f"{head}[graphs.decode]{tail}")
    outcome = inspect(model)
    assert outcome.code == 4 and outcome.errors[0].startswith("E044")
    assert len(outcome.err.splitlines()) == 1


def test_help_says_what_there_is(inspect) -> None:
    shown = inspect("--help").out
    for word in ("--data", "--reference", "--image", "--resize", "--samples", "--limit", "--seed"):
        assert word in shown
