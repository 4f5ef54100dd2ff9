"""The command line as a user meets it: words in, lines and an exit code out."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import vaetools_models
from skimage import data as pictures

from tests import needs
from tests.codec.miniature import GOLDEN
from tests.torture import exif_block, write_torture
from vaetools.cli import main
from vaetools.cli.demo import copy_photographs
from vaetools.image import Image, encode_image, format_of, read_image
from vaetools.model.manifest import read_manifest
from vaetools.testing import gradient


class Outcome:
    """What a command printed and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def vaetools(capsys: pytest.CaptureFixture[str]):
    def call(*words: object) -> Outcome:
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Outcome(int(caught.value.code or 0), out, err)

    return call


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.png").write_bytes(encode_image(Image(gradient()), "png"))
    (folder / "deep" / "b.jpg").write_bytes(encode_image(Image(gradient(40, 30)), "jpeg"))
    return folder


def test_compress_decompress_eval_info(vaetools, photos: Path, tmp_path: Path) -> None:
    packed, back = tmp_path / "packed", tmp_path / "back"
    done = vaetools("compress", photos, "-o", packed, "-q", 60)
    assert done.code == 0 and "2 done" in done.err and done.out == ""
    assert sorted(p.name for p in packed.rglob("*.vae")) == ["a.png.vae", "b.jpg.vae"]
    assert vaetools("decompress", packed, "-o", back, "--to", "png").code == 0
    assert read_image(back / "deep" / "b.png").pixels.shape == (40, 30, 3)

    rows = [
        json.loads(line) for line in vaetools("eval", photos, packed, "--json").out.splitlines()
    ]
    assert len(rows) == 2 and all(row["psnr"] > 30 for row in rows)
    table = vaetools("eval", photos, back)
    assert table.code == 0 and "mean" in table.out

    facts = json.loads(vaetools("info", packed / "a.png.vae", "--json").out)
    assert facts["size"] == "64 x 48" and facts["rate_index"] == 60
    assert json.loads(vaetools("info", photos / "a.png", "--json").out)["format"] == "png"


def test_one_file_to_one_file(vaetools, photos: Path, tmp_path: Path) -> None:
    assert vaetools("compress", photos / "a.png", "-o", tmp_path / "small.vae").code == 0
    assert vaetools("decompress", tmp_path / "small.vae", "-o", tmp_path / "big.png").code == 0
    assert read_image(tmp_path / "big.png").pixels.shape == (48, 64, 3)


def test_json_records(vaetools, photos: Path, tmp_path: Path) -> None:
    (photos / "bad.png").write_bytes(b"")
    outcome = vaetools("compress", photos, "-o", tmp_path / "out", "--json")
    assert outcome.code == 1
    records = {Path(r["file"]).name: r for r in map(json.loads, outcome.out.splitlines())}
    assert records["a.png"]["status"] == "done" and records["a.png"]["bytes_out"] > 0
    assert records["bad.png"]["status"] == "failed" and records["bad.png"]["code"] == "E011"
    assert outcome.err.count("E011") == 1


def test_dry_run_writes_nothing(vaetools, photos: Path, tmp_path: Path) -> None:
    outcome = vaetools("compress", photos, "-o", tmp_path / "out", "--dry-run")
    assert outcome.code == 0 and "a.png.vae" in outcome.out
    assert not (tmp_path / "out").exists()


def test_clash_is_found_before_work(vaetools, photos: Path, tmp_path: Path) -> None:
    (photos / "a.jpg").write_bytes(encode_image(Image(gradient()), "jpeg"))
    packed = tmp_path / "packed"
    assert vaetools("compress", photos, "-o", packed).code == 0
    outcome = vaetools("decompress", packed, "-o", tmp_path / "back")
    assert outcome.code == 2 and outcome.err.startswith("E080")
    assert "a.jpg.vae" in outcome.err and "a.png.vae" in outcome.err
    assert not (tmp_path / "back").exists()
    assert vaetools("decompress", packed, "-o", tmp_path / "back", "--to", "same").code == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["compress", "nowhere.png", "-o", "out"], 2, "nowhere.png"),
        (["compress", "empty", "-o", "out"], 3, "E003"),
        (["compress", "photos", "-o", "out", "-q", "101"], 2, "0 … 100"),
        (["compress", "photos", "-o", "out", "-q", "much"], 2, "a number"),
        (
            ["compress", "photos", "-o", "out", "--bpp", "1", "--psnr", "30"],
            2,
            "exclude each other",
        ),
        (["compress", "photos", "-o", "out", "--roi", "nowhere.png"], 2, "no mask nowhere.png"),
        (["compress", "photos", "-o", "out", "--roi-drop", "0"], 2, "1 … 100"),
        (["compress", "photos", "-o", "out", "--model", "nope"], 4, "mnist-mlp, photo-codec"),
        (["compress", "photos", "-o", "out", "--device", "gpu"], 2, "cuda:N"),
        (["compress", "photos", "-o", "out", "--shard", "3/2"], 2, "--shard"),
        (
            ["compress", "photos"],
            2,
            "E002 missing option '-o' / '--out'; see vaetools compress --help",
        ),
        (["compres", "photos"], 2, "E002 there is no command 'compres'; did you mean 'compress'"),
        (["xyzzy"], 2, "E002 there is no command 'xyzzy'; see vaetools --help"),
        (["models", "lst"], 2, "Did you mean 'list'?"),
        (["compress", "photos", "-o", "out", "--frames", "all"], 2, "E002 invalid value for"),
        (["models", "show", "nope"], 4, "E040"),
        (["eval", "photos", "empty"], 3, "E003"),
        (["info", "photos"], 1, "E015"),
        pytest.param(
            ["train", "no-such-recipe", "--data", "photos"],
            2,
            "shipped: mnist-autoencoder",
            marks=needs.TORCH,
        ),
        pytest.param(
            ["export", "photos", "--data", "photos", "--to", "out"],
            2,
            "contains no checkpoint",
            marks=needs.TORCH,
        ),
    ],
)
def test_wrong_use(
    vaetools, photos: Path, words: list[str], code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    (photos.parent / "empty").mkdir()
    outcome = vaetools(*words)
    assert outcome.code == code
    assert said in outcome.err
    assert not (photos.parent / "out").exists()


def test_torture_folder(vaetools, tmp_path: Path) -> None:
    """Every bad input costs its one line and record; every good one is compressed."""
    folder = tmp_path / "torture"
    folder.mkdir()
    expected = write_torture(folder)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    outcome = vaetools("compress", folder, "-o", tmp_path / "out", "--json", "-q", 10, "-v")
    records = [json.loads(line) for line in outcome.out.splitlines()]
    found = {os.path.relpath(r["file"], folder): r["code"] or None for r in records}
    assert found == expected
    assert outcome.code == 1
    failures = [r for r in records if r["status"] == "failed"]
    lines = [line for line in outcome.err.splitlines() if line.startswith("E0")]
    assert len(lines) == len(failures)
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_bad_vae_files(vaetools, photos: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    vaetools("compress", photos / "a.png", "-o", packed)
    good = (packed / "a.png.vae").read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 4
    foreign = good.replace(b"photo-codec", b"other-codec")
    bad = {
        "flipped": (bytes(flipped), "E032"),
        "cut": (good[:-7], "E032"),
        "head": (good[:10], "E032"),
        "empty": (b"", None),
        "junk": (b"GIF89a" * 9, "E030"),
        "newer": (good[:4] + b"\x04" + good[5:], "E031"),
        "renamed": (foreign, "E032"),
    }
    for name, (data, _) in bad.items():
        (packed / f"{name}.vae").write_bytes(data)
    outcome = vaetools("decompress", packed, "-o", tmp_path / "back", "--json")
    records = {Path(r["file"]).stem: r for r in map(json.loads, outcome.out.splitlines())}
    assert outcome.code == 1 and records["a.png"]["status"] == "done"
    for name, (_, code) in bad.items():
        assert records[name]["status"] == "failed"
        assert code is None or records[name]["code"] == code, name


MINIATURE = ["--models-dir", GOLDEN]
"""Knows the codec of the tests, called miniature-codec, beside those that ship."""


def test_a_region_of_interest_and_a_preview(vaetools, photos: Path, tmp_path: Path) -> None:
    masks, packed, back = tmp_path / "masks", tmp_path / "packed", tmp_path / "back"
    masks.mkdir()
    mask = np.zeros((48, 64), np.uint8)
    (masks / "a.png").write_bytes(encode_image(Image(mask), "png"))
    words = ["compress", photos, "-o", packed, *MINIATURE, "--model", "miniature-codec"]
    outcome = vaetools(*words, "-q", 80, "--roi", masks, "--roi-drop", 30)
    assert outcome.code == 1 and "1 done" in outcome.err
    (line,) = (line for line in outcome.err.splitlines() if line.startswith("E"))
    assert line.startswith("E001") and "b.jpg" in line and "no mask called b" in line
    facts = json.loads(vaetools("info", packed / "a.png.vae", "--json").out)
    assert (facts["format"], facts["rate_index"]) == ("vae 2", 80)
    assert facts["sections"].startswith("levels ")

    whole = (packed / "a.png.vae").read_bytes()
    (packed / "a.png.vae").write_bytes(whole[:-1])
    assert vaetools("decompress", packed, "-o", back, *MINIATURE).code == 1
    assert vaetools("decompress", packed, "-o", back, *MINIATURE, "--preview").code == 0
    assert read_image(back / "a.png").pixels.shape == (48, 64, 3)


def test_what_compression_would_make_larger(vaetools, tmp_path: Path) -> None:
    """The warning comes from a process of its own, where it goes where a user sees it."""
    source, packed = tmp_path / "small.jpg", tmp_path / "packed"
    photograph = np.ascontiguousarray(pictures.astronaut()[:200, :200, ::-1])
    source.write_bytes(encode_image(Image(photograph), "jpeg", quality=20))
    words = ["compress", source, "-o", packed, *MINIATURE, "--model", "miniature-codec"]
    command = [sys.executable, "-m", "vaetools", *map(str, words)]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    (line,) = (line for line in told.stderr.splitlines() if "small.jpg" in line)
    sizes = (packed / "small.jpg.vae").stat().st_size, source.stat().st_size
    assert all(str(size) in line for size in sizes) and "--keep-smaller" in line

    assert vaetools(*words, "--keep-smaller").code == 0
    assert sizes[1] < (packed / "small.jpg.vae").stat().st_size < sizes[0]
    facts = json.loads(vaetools("info", packed / "small.jpg.vae", "--json").out)
    assert facts["format"] == "vae 2, a stored file"
    assert vaetools("decompress", packed, "-o", tmp_path / "back").code == 0
    found = read_image(tmp_path / "back" / "small.png")
    assert np.array_equal(found.pixels, read_image(source).pixels)
    assert "1.00000" in vaetools("eval", source, packed / "small.jpg.vae").out


def test_models_and_plugins_and_doctor(vaetools, tmp_path: Path) -> None:
    listed = vaetools("models", "list").out
    codec = read_manifest(Path(vaetools_models.__path__[0]) / "photo-codec").codec
    assert f"compress; stream id {codec.stream_id}" in listed
    assert "[graphs.analysis]" in vaetools("models", "show", "photo-codec").out
    assert "photo-codec: valid" in vaetools("models", "verify").out
    assert "compress, decompress" in vaetools("plugins").out
    (tmp_path / "broken.py").write_text("1 / 0")
    outcome = vaetools("--plugins-dir", tmp_path, "plugins")
    assert outcome.code == 0
    assert "ZeroDivisionError" in outcome.err and "compress" in outcome.out
    assert vaetools("--plugins-dir", tmp_path, "--help").code == 0
    assert vaetools("--plugins-dir", tmp_path, "--strict-plugins", "plugins").code == 1
    doctor = vaetools("doctor")
    assert doctor.code == 0 and "model photo-codec: valid" in doctor.out
    sick = vaetools("--plugins-dir", tmp_path, "doctor")
    assert sick.code == 4 and "plugin broken" in sick.out


def test_an_altered_model_is_refused(
    vaetools, photos: Path, tmp_path: Path, tiny_models: Path
) -> None:
    graph = tiny_models / "tiny-vae" / "encode.onnx"
    graph.write_bytes(graph.read_bytes()[::-1])
    outcome = vaetools("models", "verify", "--models-dir", tiny_models)
    assert outcome.code == 4
    assert "E042" in outcome.err and "photo-codec: valid" in outcome.out


def test_module_runs_and_debug_shows_a_traceback(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "vaetools", "compress", str(tmp_path / "no"), "-o"]
    words.append(str(tmp_path / "x"))
    plain = subprocess.run(words, capture_output=True, text=True, check=False)
    assert plain.returncode == 2 and len(plain.stderr.splitlines()) == 1
    debug = subprocess.run([*words, "--debug"], capture_output=True, text=True, check=False)
    assert "Traceback" in debug.stderr
    (tmp_path / "bad.png").write_bytes(b"")
    words[4] = str(tmp_path / "bad.png")
    for more, shown in (([], False), (["--debug"], True)):
        one = subprocess.run([*words, *more], capture_output=True, text=True, check=False)
        assert "E011" in one.stderr and ("Traceback" in one.stderr) == shown


def test_metadata_survives_the_round_trip(vaetools, tmp_path: Path) -> None:
    alpha = np.arange(48 * 64, dtype=np.uint8).reshape(48, 64)
    source = tmp_path / "a.png"
    source.write_bytes(encode_image(Image(gradient(), alpha=alpha, icc=b"\0" * 64), "png"))
    vaetools("compress", source, "-o", tmp_path / "packed")
    vaetools("decompress", tmp_path / "packed", "-o", tmp_path / "back")
    back = read_image(tmp_path / "back" / "a.png")
    assert np.array_equal(back.alpha, alpha)
    assert back.icc == read_image(source).icc


def test_strip_reaches_what_is_inside_compressed_files(vaetools, tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    source.write_bytes(encode_image(Image(gradient(), icc=b"\0" * 64, exif=exif_block(6)), "png"))
    vaetools("compress", source, "-o", tmp_path / "kept")
    vaetools("compress", source, "-o", tmp_path / "gone", "--strip", "all")
    kept, gone = (
        json.loads(vaetools("info", tmp_path / name / "a.png.vae", "--json").out)["sections"]
        for name in ("kept", "gone")
    )
    assert "icc" in kept and "exif" in kept
    assert "icc" not in gone and "exif" not in gone


def test_each_file_finds_the_model_that_wrote_it(vaetools, photos: Path, tmp_path: Path) -> None:
    """A second codec with other streams: compress asks which, decompress and eval know."""
    shipped = Path(vaetools_models.__file__).parent / "photo-codec"
    other = tmp_path / "models" / "other-codec"
    shutil.copytree(shipped, other)
    text = (other / "model.toml").read_text().replace('id = "photo-codec"', 'id = "other-codec"')
    stream = re.search(r'stream_id = "(\w+)"', text)[1]
    (other / "model.toml").write_text(text.replace(stream, "0123456789abcdef"))
    both = ["--models-dir", tmp_path / "models"]
    packed = tmp_path / "packed"
    asked = vaetools("compress", photos, "-o", packed, *both)
    assert asked.code == 4 and "choose with --model" in asked.err
    for model, name in (("photo-codec", "a.png"), ("other-codec", "deep/b.jpg")):
        outcome = vaetools("compress", photos / name, "-o", packed, "--model", model, *both)
        assert outcome.code == 0
    assert vaetools("decompress", packed, "-o", tmp_path / "back", *both).code == 0
    alone = vaetools("decompress", packed, "-o", tmp_path / "alone", "--json")
    codes = sorted(json.loads(line)["code"] for line in alone.out.splitlines())
    assert alone.code == 1 and codes == ["", "E033"]


def test_a_broken_model_is_one_line(vaetools, photos: Path, tmp_path: Path) -> None:
    shipped = Path(vaetools_models.__file__).parent / "photo-codec"
    bad = tmp_path / "models" / "bad-codec"
    shutil.copytree(shipped, bad)
    text = (bad / "model.toml").read_text().replace('id = "photo-codec"', 'id = "bad-codec"')
    (bad / "model.toml").write_text(text)
    graph = bad / "synthesis.onnx"
    graph.write_bytes(graph.read_bytes()[::-1])
    outcome = vaetools(
        "compress", photos, "-o", tmp_path / "out", "--model", "bad-codec",
        "--models-dir", tmp_path / "models",
    )  # fmt: skip
    assert outcome.code == 4
    assert outcome.err.count("E042") == 1 and len(outcome.err.splitlines()) == 1


def test_progress_shows_on_a_terminal(photos: Path, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    words = [sys.executable, "-m", "vaetools", "compress", photos, "-o", tmp_path / "out", "-q", 1]
    subprocess.run([str(w) for w in words], stderr=slave, check=True)
    os.close(slave)
    shown = os.read(master, 1 << 20).decode(errors="replace")
    os.close(master)
    assert "compress" in shown and "2/2" in shown


def test_endless_and_foreign_files_are_not_read(vaetools, tmp_path: Path) -> None:
    assert vaetools("info", "/dev/zero").err.startswith("E015")
    huge = tmp_path / "huge.vae"
    with huge.open("wb") as file:
        file.truncate(2**36)
    outcome = vaetools("decompress", huge, "-o", tmp_path / "out")
    assert outcome.code == 1 and outcome.err.startswith("E030")
    assert vaetools("eval", huge, huge).err.startswith("E030")


@pytest.mark.parametrize("size", [128, pytest.param(None, marks=pytest.mark.slow)])
def test_demo(vaetools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int | None) -> None:
    """With parts of some of its photographs, and with all of them."""
    originals = copy_photographs(tmp_path / "originals")[::2]

    def copy_parts(folder: Path) -> list[Path]:
        folder.mkdir(parents=True)
        for path in originals:
            image = Image(read_image(path).pixels[:size, :size])
            (folder / path.name).write_bytes(encode_image(image, format_of(path.name)))
        return sorted(folder.iterdir())

    if size is not None:
        monkeypatch.setattr("vaetools.cli.demo.copy_photographs", copy_parts)
    outcome = vaetools("demo", tmp_path / "demo")
    assert outcome.code == 0
    rows = [line.split() for line in outcome.out.splitlines() if line.startswith("astronaut.png")]
    assert [len(row) for row in rows] == [7, 7, 7, 7, 5]
    _, noisy, denoised, scratched, inpainted = rows[-1]
    assert float(denoised) > float(noisy) + 5
    assert float(inpainted) > float(scratched) + 10
    demo = tmp_path / "demo"
    assert (demo / "back-q75" / "coffee.png").exists()
    assert len(list((demo / "augmented").glob("coffee_aug*.png"))) == 2
    assert str(demo / "report.html") in outcome.out.splitlines()[-1]
    page = (demo / "report.html").read_text(encoding="utf-8")
    assert all(f"/{name}" in page for name in ("denoised", "inpainted", "augmented", "packed-q75"))
