"""`--config` and `--report`, as a user types them."""

from __future__ import annotations

import json
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from tests.paths import PLUGINS
from vaetools.cli import main
from vaetools.image import Image, encode_image, read_image
from vaetools.testing import gradient


@pytest.fixture
def vaetools(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """`vaetools …` in a folder with pictures and with `my.toml`, which has the text that is given."""
    monkeypatch.setenv("VAETOOLS_PLUGINS_DIR", str(PLUGINS))
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name in ("a.png", "b.png"):
        Path("photos", name).write_bytes(encode_image(Image(gradient()), "png"))

    def call(*words: object, config: str = "") -> SimpleNamespace:
        Path("my.toml").write_text(config)
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return SimpleNamespace(code=int(caught.value.code or 0), out=out, err=err)

    return call


def pixels(path: str) -> np.ndarray:
    return read_image(path).pixels


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("jobs = ", "E002 my.toml: is not TOML"),
        ("jbos = 2", "E004 my.toml: unknown key 'jbos'; did you mean 'jobs'?"),
        ("amount = 0.5", "unknown key 'amount'; options of an operation go into its table"),
        ("debug = true", "unknown key 'debug'"),
        ("config = 'my.toml'", "unknown key 'config'"),
        ("dust = 3", "unknown key 'dust'"),
        ("[nonsense]", "E002 my.toml: there is no operation 'nonsense'; known: "),
        ("[jobs]", "there is no operation 'jobs'"),
        ("[[step]]\nop = 'dust'", "unknown key 'step'"),
        ("jobs = '4'", "E004 my.toml: jobs='4' is not an integer"),
        ("jobs = 2.0", "jobs=2.0 is not an integer"),
        ("jobs = true", "jobs=True is not an integer"),
        ("jobs = 0", "my.toml: jobs: 0 is not in the range"),
        ("interval = '1'", "interval='1' is not a number"),
        ("workers = 1.0", "workers=1.0 is not auto or a whole number"),
        ("force = 1", "force=1 is not true or false"),
        ("device = 0", "device=0 is not text"),
        ("out = ['out']", "out=['out'] is not text"),
        ("include = '*.png'", "include='*.png' is not a list of text"),
        ("exclude = ['a', 1]", "exclude=['a', 1] is not a list of text"),
        ("on-exists = 'maybe'", "my.toml: on_exists: 'maybe' is not one of"),
        ("shard = '3/2'", "my.toml: shard: '3/2' is not I/N"),
        ("max-pixels = 1\nmax_pixels = 2", "the key 'max_pixels' occurs twice"),
        ("[dust]\namuont = 1", "E004 my.toml: [dust] there is no option 'amuont'; options: amount"),
        ("[dust]\namount = 2", "my.toml: [dust] amount=2 is not 0 … 1"),
        ("[dust]\namount = [1]", "my.toml: [dust] amount=list is not a number"),
        ("[dust]\nmodel = 1", "my.toml: [dust] model=1 is not text"),
        ("[dust]\nmodel = 'a'", "my.toml: [dust] model='a' has no effect: dust uses no model"),
        ("[dust]\njobs = 1", "my.toml: [dust] there is no option 'jobs'"),
        ("[pack]\nlevel = 99", "my.toml: [pack] level=99 is not 0 … 9"),  # of another operation
        ("[compress]\nbpp = 1\npsnr = 30", "my.toml: [compress] bpp and psnr exclude each other"),
    ],
)
def test_a_bad_file_is_one_line_and_nothing_is_done(vaetools, config: str, said: str) -> None:
    outcome = vaetools("dust", "photos", "-o", "out", "--config", "my.toml", config=config)
    assert outcome.code == 2 and said in outcome.err
    assert len(outcome.err.splitlines()) == 1 and outcome.out == ""
    assert not Path("out").exists()


@pytest.mark.parametrize("name", ["none.toml", "photos", "photos/a.png"])
def test_a_file_that_is_none(vaetools, name: str) -> None:
    outcome = vaetools("run", "dust,pack", "photos", "-o", "out", "--config", name)
    assert outcome.code == 2 and outcome.err.startswith(f"E002 {name}: ")
    assert len(outcome.err.splitlines()) == 1 and not Path("out").exists()


def test_defaults_come_from_the_file_and_what_is_typed_wins(vaetools) -> None:
    config = """
        out = "out"
        include = ["b*"]
        max_pixels = 100_000
        on-exists = "replace"
        json = true
        resume = false
        [dust]
        amount = 0
        [halve]
    """
    words = ["dust", "photos", "--config", "my.toml"]
    done = vaetools(*words, config=config)
    assert done.code == 0
    assert [json.loads(line)["status"] for line in done.out.splitlines()] == ["done"]
    assert np.array_equal(pixels("out/b.png"), gradient()) and not Path("out/a.png").exists()
    again = vaetools(*words, "--resume", "--include", "*", "--amount", 0.5, config=config)
    assert "2 done" in again.err  # other work; and the typed list takes the place of the file's
    assert not np.array_equal(pixels("out/b.png"), gradient())
    small = vaetools(*words, "--max-pixels", 10, "-o", "small", config=config)
    assert small.code == 1 and "E013" in small.err
    assert vaetools("--help", config=config).code == 0


def test_every_flag_takes_a_value_of_its_type(vaetools) -> None:
    config = (
        "jobs = 1\nworkers = 0\ninterval = 1.5\nmax-pixels = 100_000\nshard = '1/1'\nforce = true"
    )
    assert vaetools("dust", "photos", "-o", "out", "--config", "my.toml", config=config).code == 0
    config = "interval = 2\nworkers = 'auto'"
    assert vaetools("dust", "photos", "-o", "b", "--config", "my.toml", config=config).code == 0


@pytest.mark.parametrize("config", ["dry_run = true", "prune = true", "report = 'r.html'"])
def test_a_watched_folder_refuses_what_a_file_asks_for(vaetools, config: str) -> None:
    outcome = vaetools(
        "dust", "photos", "-o", "out", "--watch", "--config", "my.toml", config=config
    )
    assert outcome.code == 2 and "watched folder" in outcome.err.splitlines()[-1]
    assert not Path("out").exists()


def test_each_step_of_a_chain_has_its_table(vaetools) -> None:
    config = "[dust]\namount = 0\nseed = 3\n[pack]\nlevel = 0\n"
    assert vaetools(
        "run", "dust,dust,pack", "photos", "-o", "out", "--config", "my.toml", config=config
    ).code == 0  # fmt: skip
    flat = Path("out/a.png.pak").read_bytes()
    assert len(flat) > gradient().size and flat.endswith(gradient().tobytes()[-100:] + flat[-4:])
    words = ["--dust.2.amount", 1, "--level", 9]
    vaetools(
        "run", "dust,dust,pack", "photos", "-o", "b", "--config", "my.toml", *words, config=config
    )
    words = ["--dust.2.amount", 1, "--dust.2.seed", 3, "--dust.1.amount", 0, "--level", 9]
    vaetools("run", "dust,dust,pack", "photos", "-o", "c", *words)
    assert Path("b/a.png.pak").read_bytes() == Path("c/a.png.pak").read_bytes() != flat


def test_a_pipeline_file_is_nearer_than_the_config(vaetools) -> None:
    Path("pipeline.toml").write_text('[[step]]\nop = "dust"\namount = 0\n')
    outcome = vaetools(
        "run", "pipeline.toml", "photos", "-o", "out", "--config", "my.toml",
        config="[dust]\namount = 1\nseed = 4\n",
    )  # fmt: skip
    assert outcome.code == 0 and np.array_equal(pixels("out/a.png"), gradient())


@pytest.mark.parametrize("where", ["config", "pipeline"])
def test_a_typed_aim_puts_that_of_a_file_aside(vaetools, where: str) -> None:
    aim = "quality = 3\n"
    Path("pipeline.toml").write_text('[[step]]\nop = "compress"\n' + aim)
    words = {"config": ["compress", "--config", "my.toml"], "pipeline": ["run", "pipeline.toml"]}
    typed = vaetools(
        *words[where], "photos/a.png", "-o", "a.vae", "--psnr", 30, config=f"[compress]\n{aim}"
    )
    assert typed.code == 0, typed.err
    assert vaetools("compress", "photos/a.png", "-o", "b.vae", "--psnr", 30).code == 0
    assert Path("a.vae").read_bytes() == Path("b.vae").read_bytes()
    both = vaetools("compress", "photos/a.png", "-o", "c.vae", "--psnr", 30, "--quality", 3)
    assert both.code == 2 and "quality and psnr exclude each other" in both.err


@pytest.mark.parametrize("where", ["config", "pipeline"])
@pytest.mark.parametrize("region", ["[0, 0, 8, 6]", '"0,0,8,6"'])
def test_numbers_in_a_row_may_be_in_a_file(vaetools, where: str, region: str) -> None:
    photo = Image(np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8))
    Path("photos/a.png").write_bytes(encode_image(photo, "png"))
    assert vaetools("compress", "photos/a.png", "-o", "a.vae").code == 0
    Path("pipeline.toml").write_text(f'[[step]]\nop = "decompress"\nregion = {region}\n')
    words = {"config": ["decompress", "--config", "my.toml"], "pipeline": ["run", "pipeline.toml"]}
    done = vaetools(
        *words[where], "a.vae", "-o", "part.png", config=f"[decompress]\nregion = {region}\n"
    )
    assert done.code == 0, done.err
    assert pixels("part.png").shape == (6, 8, 3)


def test_typed_inputs_put_the_list_of_a_file_aside(vaetools) -> None:
    Path("list.txt").write_text("photos/b.png\n")
    config = "files-from = 'list.txt'\nroot = '.'\n"
    words = ["dust", "-o", "out", "--config", "my.toml"]
    assert vaetools(*words, config=config).code == 0
    assert [path.name for path in Path("out").rglob("*.png")] == ["b.png"]
    typed = vaetools("dust", "photos/a.png", "-o", "a.png", "--config", "my.toml", config=config)
    assert typed.code == 0 and Path("a.png").exists(), typed.err


def test_the_format_of_a_file_holds_for_operations_that_choose_one(vaetools) -> None:
    assert vaetools("compress", "photos", "-o", "packed").code == 0
    words = ["decompress", "packed", "--config", "my.toml", "-o"]
    assert vaetools(*words, "out", config="to = 'jpg'").code == 0
    assert {path.suffix for path in Path("out").glob("[ab]*")} == {".jpg"}
    config = "to = 'jpg'\n[decompress]\nto = 'webp'"
    assert vaetools(*words, "nearer", config=config).code == 0
    assert {path.suffix for path in Path("nearer").glob("[ab]*")} == {".webp"}


def test_operations_without_inputs_leave_keys_about_inputs_alone(vaetools) -> None:
    config = 'strict = false\nout = "drawn"\n[generate]\nmodel = "mnist-conv"\nn = 2\n'
    assert vaetools("generate", "--config", "my.toml", config=config).code == 0
    assert len(list(Path("drawn").glob("*.png"))) == 2


# The page.


def test_a_report_of_a_run_and_of_a_video(vaetools) -> None:
    Path("photos/bad.png").write_bytes(b"")
    done = vaetools("dust", "photos", "-o", "out", "--report", "out/report.html")
    text = unescape(Path("out/report.html").read_text(encoding="utf-8"))
    assert done.code == 1 and done.err.splitlines()[-1] in text
    assert "E011" in text and 'href="../photos/a.png"' in text and 'href="a.png"' in text
    assert text.count('src="data:image/') == 2 * 2  # before and after of two images
    writer = cv2.VideoWriter("clip.avi", cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    writer.write(gradient())
    writer.release()
    words = ["run", "negative", "clip.avi", "-o", "out.mp4", "--report"]
    assert vaetools(*words, "out.mp4/page.html").err.startswith("E080 out.mp4/page.html: ")
    assert not Path("out.mp4").exists()
    assert vaetools(*words, "page.html").code == 0
    assert 'href="out.mp4"' in Path("page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("words", [["dust"], ["run", "dust,pack"]])
def test_a_report_that_cannot_be_is_one_line(vaetools, words: list[str]) -> None:
    outcome = vaetools(*words, "photos", "-o", "out", "--report", "photos/a.png")
    assert outcome.code == 2 and outcome.err.startswith(
        "E002 photos/a.png: the report is an HTML file"
    )
    assert len(outcome.err.splitlines()) == 1 and not Path("out").exists()


def test_raw_frames_have_no_report(vaetools) -> None:
    words = ["run", "dust", "-", "-o", "-", "--raw", "6x4:bgr24"]
    outcome = vaetools(*words, "--report", "page.html")
    assert outcome.code == 2 and "--report has no effect on raw frames" in outcome.err
