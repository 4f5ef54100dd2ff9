"""`augment` and `replay` on folders, from the hub and from the shell."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from tests.codec.miniature import MODEL as MINIATURE
from tests.paths import DOCS
from vaetools.augmentation import CopyRecord, read_records
from vaetools.augmentation.provenance import DIGITAL_SOURCE
from vaetools.cli import main
from vaetools.errors import InputError, ModelNotFoundError, OptionError, UsageError
from vaetools.hub import Hub
from vaetools.image import Image, encode_image, read_image
from vaetools.plugin.host import PluginHost
from vaetools.testing import TINY, gradient, write_tiny_grey_vae, write_tiny_vae

SOURCES = ("cat/1.png", "cat/2.jpeg", "dog/deep.png", "dog/small/grey.png", "top.png")


@pytest.fixture
def tiny(tiny_models: Path) -> Hub:
    return Hub(PluginHost(installed=False), [tiny_models], device="cpu", threads=1)


@pytest.fixture
def codec() -> Hub:
    return Hub(PluginHost(installed=False), [MINIATURE], device="cpu", threads=1)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Pictures in folders for classes: 8 and 16 bit, grey, with alpha, PNG and JPEG."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 56, 4), np.uint8)
    images = [
        Image(noise[..., :3].copy()),
        Image(gradient()),
        Image.from_array(noise.astype(np.uint16) * 257),
        Image(noise[..., 0].copy()),
        Image(noise[..., :3].copy()),
    ]
    for name, image in zip(SOURCES, images, strict=True):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(image, path.suffix[1:]))
    return tmp_path / "photos"


def contents(folder: Path) -> dict[str, bytes]:
    """Visible files of a folder by their names."""
    files = [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".vaetools")]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def test_names_and_folders(tiny: Hub, photos: Path, tmp_path: Path) -> None:
    result = tiny.map("augment", photos, out=tmp_path / "out", n=2)
    assert result.exit_code == 0 and len(result.records) == len(SOURCES)
    stems = [str(Path(name).with_suffix("")) for name in SOURCES]
    assert contents(tmp_path / "out").keys() == {
        f"{s}_aug000{n}.png" for s in stems for n in (1, 2)
    }


@pytest.mark.parametrize("name", ["tiny", "codec"])
def test_depth_grey_and_alpha_survive(
    name: str, photos: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    hub = request.getfixturevalue(name)
    assert hub.map("augment", photos, out=tmp_path / "out", n=1, strength=1).exit_code == 0
    for source in SOURCES:
        before = read_image(photos / source)
        after = read_image(
            (tmp_path / "out" / source).with_name(f"{Path(source).stem}_aug0001.png")
        )
        assert (after.pixels.shape, after.depth) == (before.pixels.shape, before.depth)
        assert (after.pixels != before.pixels).any()
        assert (after.alpha is None) == (before.alpha is None)
        if before.alpha is not None:
            assert (after.alpha == before.alpha).all()


@pytest.mark.parametrize("name", ["tiny", "codec"])
def test_strength_0_is_the_identity(
    name: str, photos: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    hub = request.getfixturevalue(name)
    hub.map("augment", photos, out=tmp_path / "out", n=1, strength=0)
    for source in SOURCES:
        after = read_image(
            (tmp_path / "out" / source).with_name(f"{Path(source).stem}_aug0001.png")
        )
        assert after.to_array().tobytes() == read_image(photos / source).to_array().tobytes()


def test_jobs_order_and_number_do_not_matter(codec: Hub, photos: Path, tmp_path: Path) -> None:
    codec.map("augment", photos, out=tmp_path / "one", n=3, jobs=1)
    codec.map("augment", photos, out=tmp_path / "four", n=3, jobs=4)
    assert contents(tmp_path / "one") == contents(tmp_path / "four")
    codec.map("augment", photos, out=tmp_path / "few", n=1, include=["dog/*"])
    few = contents(tmp_path / "few")
    assert len(few) == 2 and few.items() <= contents(tmp_path / "one").items()
    arrays = [codec.augment(gradient(), n=n, key="a") for n in (1, 3)]
    assert (arrays[0][0] == arrays[1][0]).all()
    assert len({copy.tobytes() for copy in arrays[1]}) == 3
    others = (
        codec.augment(gradient(), n=1, key="b"),
        codec.augment(gradient(), n=1, seed=1, key="a"),
    )
    assert all((other[0] != arrays[0][0]).any() for other in others)


def test_the_manifest(tiny: Hub, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = tiny.map("augment", photos, out=out, n=2, strength=0.25, seed=7, manifest=True)
    assert result.exit_code == 0
    records = read_records(out)
    assert len(records) == 2 * len(SOURCES)
    for record in records:
        assert (
            hashlib.sha256((out / record.output).read_bytes()).hexdigest() == record.output_sha256
        )
        source = (photos / record.source).read_bytes()
        assert hashlib.sha256(source).hexdigest() == record.source_sha256
        assert (record.operation, record.strength, record.seed) == ("augment", 0.25, 7)
        assert (record.model, len(record.model_sha256), record.tagged) == (TINY, 64, False)
    labels = {record.source: record.label for record in records}
    assert labels["cat/1.png"] == "cat" and labels["dog/small/grey.png"] == "small"
    assert labels["top.png"] is None
    assert sorted(r.copy for r in records if r.source == "top.png") == [1, 2]
    # The copies are those that come without a manifest.
    tiny.map("augment", photos, out=tmp_path / "plain", n=2, strength=0.25, seed=7)
    plain = contents(tmp_path / "plain")
    assert {name: data for name, data in contents(out).items() if name in plain} == plain


def test_a_run_that_goes_on_keeps_its_manifest(tiny: Hub, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    tiny.map("augment", photos, out=out, n=2, manifest=True)
    before = contents(out)
    (out / "cat/1_aug.jsonl").unlink()
    (out / "cat/1_aug0002.png").unlink()
    tiny.map("augment", photos, out=out, n=2, manifest=True)
    assert contents(out) == before


@pytest.mark.parametrize("name", ["tiny", "codec"])
def test_replay_gives_the_same_bytes(
    name: str, photos: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    hub = request.getfixturevalue(name)
    out, again = tmp_path / "out", tmp_path / "again"
    hub.map("augment", photos, out=out, n=2, strength=1, levels="all", manifest=True, tag=True)
    result = hub.map("replay", (), out=again, manifest=out, source=photos, jobs=2)
    assert result.exit_code == 0
    pictures = {n: data for n, data in contents(out).items() if n.endswith(".png")}
    assert contents(again) == pictures and len(pictures) == 2 * len(SOURCES)


def test_copies_of_the_first_of_several_frames_can_be_replayed(tiny: Hub, tmp_path: Path) -> None:
    frames = [PillowImage.fromarray(np.full((40, 56), value, np.uint8)) for value in (60, 200)]
    (tmp_path / "in").mkdir()
    frames[0].save(tmp_path / "in/a.gif", save_all=True, append_images=frames[1:])
    out, again = tmp_path / "out", tmp_path / "again"
    made = tiny.map("augment", tmp_path / "in", out=out, n=1, manifest=True, first_frame=True)
    assert made.exit_code == 0, made.records
    result = tiny.map("replay", (), out=again, manifest=out, source=tmp_path / "in")
    assert result.exit_code == 0, result.records
    assert contents(again)["a_aug0001.png"] == contents(out)["a_aug0001.png"]


def test_one_line_is_enough_for_a_replay(tiny: Hub, photos: Path, tmp_path: Path) -> None:
    tiny.map("augment", photos, out=tmp_path / "out", n=3, manifest=True)
    line = (tmp_path / "out/cat/1_aug.jsonl").read_text().splitlines()[1]
    (tmp_path / "one.jsonl").write_text(line)
    options = {"manifest": tmp_path / "one.jsonl", "source": photos}
    tiny.map("replay", (), out=tmp_path / "again", **options)
    wanted = (tmp_path / "out/cat/1_aug0002.png").read_bytes()
    assert contents(tmp_path / "again") == {"cat/1_aug0002.png": wanted}


def test_a_replay_says_what_does_not_fit(tiny: Hub, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    tiny.map("augment", photos / "cat", out=out, n=1, manifest=True)
    (record,) = (r for r in read_records(out) if r.source.endswith("1.png"))
    manifest = tmp_path / "m.jsonl"
    changes = {
        "another SHA-256": {"seed": 1},
        "was made with the model": {"model_sha256": "0" * 64},
        "is not the image": {"source_sha256": "0" * 64},
        "cannot be read": {"source": "gone.png"},
        "strength=3": {"strength": 3.0},
    }
    for problem, change in changes.items():
        manifest.write_text(replace(record, **change).line)
        result = tiny.map(
            "replay", (), out=tmp_path / "again", manifest=manifest, source=photos / "cat"
        )
        assert [problem in r.message for r in result.records] == [True], result.records
    assert contents(tmp_path / "again") == {}


def test_a_manifest_that_is_none(tiny: Hub, tmp_path: Path) -> None:
    record = CopyRecord("a.png", "b.png", "0", None, "augment", 0.5, "fine", 0, 1, "m", "0")
    fields = json.loads(record.line)
    assert CopyRecord.parse(record.line) == record
    bad = [
        "no json",
        "[" * 100_000,
        "[]",
        json.dumps({**fields, "format": 2}),
        json.dumps({**fields, "more": 1}),
        json.dumps({k: v for k, v in fields.items() if k != "seed"}),
        json.dumps({**fields, "copy": "1"}),
        json.dumps({**fields, "tagged": 1}),
        json.dumps({**fields, "output": "../a.png"}),
        json.dumps({**fields, "source": "/etc/passwd"}),
        json.dumps({**fields, "output": ""}),
        json.dumps({**fields, "output": ".vaetools.ndjson"}),
    ]
    manifest = tmp_path / "m.jsonl"
    for line in bad:
        manifest.write_text(f"{record.line}{line}\n")
        with pytest.raises(OptionError, match="line 2"):
            tiny.op("replay", manifest=manifest, source=tmp_path)
    manifest.write_text(record.line + replace(record, copy=2).line)
    with pytest.raises(OptionError, match="different copies have the same name"):
        tiny.op("replay", manifest=manifest, source=tmp_path)
    manifest.write_text(2 * record.line)
    assert len(tiny.op("replay", manifest=manifest, source=tmp_path).operation.items()) == 1
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "empty", tmp_path / "gone.jsonl"):
        with pytest.raises(OptionError, match=place.name):
            tiny.op("replay", manifest=place, source=tmp_path)
    with pytest.raises(OptionError, match="both manifest and source"):
        tiny.op("replay", source=tmp_path)


def test_names_that_are_no_plain_text(tiny: Hub, tmp_path: Path) -> None:
    names = ["caf\u00e9/\u2028.png", os.fsdecode(b"caf\xe9.png")]
    for name in names:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(Image(gradient()), "png"))
    out, again = tmp_path / "out", tmp_path / "again"
    assert tiny.map("augment", tmp_path / "in", out=out, n=1, manifest=True).exit_code == 0
    assert {record.source for record in read_records(out)} == set(names)
    options = {"manifest": out, "source": tmp_path / "in"}
    assert tiny.map("replay", (), out=again, **options).exit_code == 0
    assert len(contents(again)) == 2 and contents(again).items() <= contents(out).items()


def test_the_tag(tiny: Hub, photos: Path, tmp_path: Path) -> None:
    tiny.map("augment", photos, out=tmp_path / "plain", n=1)
    tiny.map("augment", photos, out=tmp_path / "out", n=1, manifest=True, tag=True)
    assert all(record.tagged for record in read_records(tmp_path / "out"))
    for name, data in contents(tmp_path / "plain").items():
        tagged = (tmp_path / "out" / name).read_bytes()
        with PillowImage.open(io.BytesIO(tagged)) as picture:
            picture.load()
            xmp = str(picture.info["XML:com.adobe.xmp"])
        assert DIGITAL_SOURCE in xmp and DIGITAL_SOURCE.encode() not in data
        same = read_image(tmp_path / "plain" / name).to_array()
        assert (read_image(tmp_path / "out" / name).to_array() == same).all()


def test_the_hub_gives_arrays(tiny: Hub, photo: np.ndarray) -> None:
    many = tiny.augment(photo, n=8, seed=0)
    assert len(many) == 8
    assert all(copy.shape == photo.shape and copy.dtype == photo.dtype for copy in many)
    with pytest.raises(InputError, match="SHA-256 of a whole file"):
        tiny.augment(photo, manifest=True)


def test_copies_go_on_in_chains(tiny: Hub, photo: np.ndarray) -> None:
    step = tiny.chain(tiny.op("augment", n=3), "reconstruct")
    assert len(step(photo)) == 3
    with pytest.raises(UsageError, match="cannot follow augment"):
        tiny.chain(tiny.op("augment", manifest=True), "reconstruct")


def test_bad_options(tiny: Hub) -> None:
    for bad in ({"n": 0}, {"strength": 1.1}, {"levels": "coarse"}, {"tag": True}):
        with pytest.raises(OptionError):
            tiny.op("augment", **bad)


def test_the_model(tmp_path: Path) -> None:
    """The codec where there is one, else the only VAE; any by its name."""
    folders = [MINIATURE, write_tiny_vae(tmp_path / "a"), write_tiny_grey_vae(tmp_path / "b")]
    host = PluginHost(installed=False)
    hub = Hub(host, folders, device="cpu", threads=1)
    assert hub.op("augment").operation.model.id == "miniature-codec"
    assert hub.op("augment", model=TINY).operation.model.id == TINY
    with pytest.raises(ModelNotFoundError, match="2 models fit for 'reconstruct'"):
        Hub(host, folders[1:], device="cpu").op("augment")
    with pytest.raises(ModelNotFoundError, match="there is no model for 'compress'"):
        Hub(host, [], device="cpu").op("augment")
    shutil.copytree(MINIATURE, tmp_path / "c")
    text = (tmp_path / "c/model.toml").read_text()
    (tmp_path / "c/model.toml").write_text(text.replace('"compress"', '"other"'))
    with pytest.raises(ModelNotFoundError, match="is not for 'compress' or 'reconstruct'"):
        Hub(host, [tmp_path / "c"], device="cpu").op("augment", model="miniature-codec")


def test_from_the_shell(
    photos: Path, tiny_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--models-dir", str(tiny_models), "--device", "cpu", "--model", TINY]
    words = ["augment", str(photos), "-o", str(tmp_path / "out"), "-n", "2", "--manifest"]
    out = ["-o", str(tmp_path / "again")]
    again = ["replay", *out, "--manifest", str(tmp_path / "out"), "--source", str(photos)]
    for command in (words, again):
        with pytest.raises(SystemExit) as caught:
            main([*command, *common])
        assert not caught.value.code, capsys.readouterr().err
    pictures = contents(tmp_path / "again")
    assert len(pictures) == 2 * len(SOURCES)
    assert pictures.items() <= contents(tmp_path / "out").items()
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main([*words, "--strength", "7", *common])
    error = capsys.readouterr().err
    assert caught.value.code == 2 and "strength" in error and "Traceback" not in error


def test_the_page(
    codec: Hub, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Python of docs/augment.md runs, from top to bottom, and says what it says."""
    page = (DOCS / "augment.md").read_text()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vaetools.open", lambda: codec, raising=False)
    photos.rename("birds")
    Path("photo.png").write_bytes(encode_image(Image(gradient()), "png"))
    names: dict[str, Any] = {}
    for code in re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        exec(compile(code, "augment.md", "exec"), names)
    assert len(names["many"]) == 8 and names["again"].exit_code == 0
    assert contents(Path("again")).items() <= contents(Path("more")).items()
    assert set(names["mixed"].label) == {"wren", "robin"}
    assert names["boxes"] == [(1, 2, 30, 40)] and names["larger"].shape == (8, 784)
    (line,) = re.findall(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert CopyRecord.parse(line).source == "wren/1.jpg"
