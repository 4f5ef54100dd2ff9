"""All together: findings, JSON, text and figures for each kind of model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.inspection.models import Linear, draws, opened, orthogonal
from vaetools.errors import InputError, VaetoolsError
from vaetools.image import Image, decode_image, encode_image
from vaetools.inspection import Findings, Settings, facts, figures, look, text
from vaetools.inspection.novelty import DRAWS
from vaetools.inspection.sheets import by_novelty
from vaetools.model.registry import ModelRegistry
from vaetools.model.runtime import Runtime
from vaetools.testing import gradient, write_tiny_vae

ALL = {
    "traversal.png",
    "effects.png",
    "samples.png",
    "correlation.png",
    "uncertainty.png",
    "novelty.png",
}


def save(folder: Path, images: np.ndarray) -> list[Path]:
    """(N, 1, H, W) in [0, 1] as 16-bit PNG files."""
    folder.mkdir()
    files = [folder / f"{i:03}.png" for i in range(len(images))]
    for file, image in zip(files, images, strict=True):
        file.write_bytes(encode_image(Image(np.round(65535 * image[0]).astype(np.uint16)), "png"))
    return files


def report(findings: Findings) -> dict:
    """The facts as they come back from a JSON file."""
    return json.loads(json.dumps(facts(findings), allow_nan=False))


def test_a_vae_with_everything(tmp_path: Path) -> None:
    linear = orthogonal()
    images = draws(linear, 120)
    files = save(tmp_path / "data", images)
    held = save(tmp_path / "held", draws(linear, 90, seed=9))
    stages = []
    findings = look(
        opened(linear.write(tmp_path / "m")),
        Settings(samples=4),
        data=files,
        reference=held,
        tell=lambda *words: stages.append(words),
    )
    found = report(findings)
    assert found["unknown"] == {}
    assert found["pictures"] == {"found": 120, "used": 120, "failed": []}
    assert found["order"] == [0, 1, 2]
    expected = linear.kl(images).mean(axis=0)
    assert [row["kl"] for row in found["latents"]] == pytest.approx(expected, abs=1e-4)
    assert found["kl"] == pytest.approx(expected.sum(), abs=1e-4)
    assert (found["active_units"], found["collapsed"]) == (2, False)
    effect = np.abs(linear.decode).mean(axis=0)
    assert [row["effect"] for row in found["latents"]] == pytest.approx(effect, abs=1e-5)
    bound = found["bound"]
    assert bound["nats"] == pytest.approx(bound["reconstruction_nats"] + bound["kl_nats"])
    assert bound["kl_nats"] == pytest.approx(found["kl"])
    bits = bound["nats"] / 24 / np.log(2) + np.log2(255)
    assert bound["bits_per_dimension"] == pytest.approx(bits)
    novelty = found["novelty"]
    assert (novelty["reference"], novelty["reference_pictures"]) == ("held pictures", 90)
    assert novelty["verdict"] == "known" and novelty["share_unlike"] <= 0.1
    assert len(found["scores"]) == 120 and found["scores"][0]["file"] == str(files[0])
    assert found["scores"][0]["unlike"] in (True, False)
    assert found["correlation"][0][0] == 1
    assert found["binarisation"] is None
    assert found["reconstruction_unit"] == "nats per dimension"
    assert len(found["uncertainty"]) == 8
    spread = np.sqrt(((linear.decode**2) @ linear.deviation**2).mean())
    deviations = [one["deviation"] for one in found["uncertainty"]]
    assert np.mean(deviations) == pytest.approx(spread, rel=0.1)
    assert figures(findings).keys() == ALL
    assert {stage for stage, _, _ in stages} >= {"images", "reference images", "traversal"}
    shown = text(findings)
    assert "active       2 of 3 latents" in shown and "collapse" not in shown
    assert "the model knows images like these" in shown and "unavailable" not in shown


def test_without_pictures(tmp_path: Path) -> None:
    findings = look(opened(orthogonal().write(tmp_path / "m")), Settings())
    found = report(findings)
    assert figures(findings).keys() == {"traversal.png", "effects.png", "samples.png"}
    assert found["order"] == [0, 1, 2]  # by effect
    assert found["traversal"]["around"] == "the mean of the prior"
    for name in ("kl", "correlation", "bound", "novelty", "uncertainty", "active_units"):
        assert found[name] is None
        assert "--data" in found["unknown"][name.removesuffix("_units")]
    assert found["scores"] == []
    shown = text(findings)
    assert "KL nats" not in shown and "effect" in shown and "unavailable" in shown


def test_the_models_own_draws_are_the_reference_where_none_is_given(tmp_path: Path) -> None:
    linear = orthogonal()
    model = opened(linear.write(tmp_path / "m"))
    alike = look(model, Settings(), data=save(tmp_path / "a", draws(linear, 100)))
    found = report(alike)["novelty"]
    assert (found["reference"], found["reference_pictures"]) == ("the model's own draws", DRAWS)
    assert found["verdict"] == "typical"
    assert "pass images that it should know: --reference" in text(alike)
    noise = np.random.default_rng(0).random((30, 1, 6, 4))
    strange = look(model, Settings(), data=save(tmp_path / "b", noise))
    found = report(strange)
    assert found["novelty"]["verdict"] == "untypical"
    assert found["novelty"]["share_unlike"] == 1
    assert found["scores"][0]["strangest"] == "high reconstruction"
    assert "hard to reconstruct" in text(strange)


def test_draws_of_a_bernoulli_model_are_black_and_white(tmp_path: Path) -> None:
    """Pictures from the model itself are typical of it; grey means of it would not be."""
    rng = np.random.default_rng(0)
    decode = rng.standard_normal((24, 3))
    linear = orthogonal(likelihood="bernoulli", decode=decode, centre=np.zeros(24))
    latents = rng.standard_normal((60, 3))
    chances = 1 / (1 + np.exp(-latents @ decode.T))
    images = (rng.random(chances.shape) < chances).reshape(60, 1, 6, 4).astype(float)
    model = opened(linear.write(tmp_path / "m"))
    findings = look(model, Settings(), data=save(tmp_path / "a", images))
    found = report(findings)["novelty"]
    assert found["verdict"] == "typical"
    assert 25 < found["median_percentiles"]["reconstruction"] < 75


def test_only_what_is_unlike_is_called_strange(tmp_path: Path) -> None:
    linear = orthogonal()
    images = draws(linear, 100)
    noise = np.random.default_rng(0).random((1, 6, 4))
    images[7], images[4] = noise, 0.5 + 0.6 * (noise - 0.5)
    files = save(tmp_path / "a", images)
    held = save(tmp_path / "held", draws(linear, 400, seed=9))
    model = opened(linear.write(tmp_path / "m"))
    findings = look(model, Settings(), data=files, reference=held)
    unlike = {one.name for one in findings.scored if one.unlike}
    # Both are beyond all of the reference; the distance says which is stranger.
    assert [one.name for one in by_novelty(findings)[:2]] == [str(files[7]), str(files[4])]
    lines = [line for line in text(findings).splitlines() if "percentile" in line]
    assert lines[0].strip().startswith(f"{files[7]}: hard to reconstruct")
    assert {line.strip().split(": ")[0] for line in lines} <= unlike
    ordinary = [
        file
        for file, one in zip(files, findings.scored, strict=True)
        if one.comparison.p_value > 0.5
    ]
    calm = look(model, Settings(), data=ordinary, reference=held)
    assert not any(one.unlike for one in calm.scored)
    assert "percentile" not in text(calm)


def test_a_small_reference_gives_no_verdict(tmp_path: Path) -> None:
    linear = orthogonal()
    files = save(tmp_path / "a", draws(linear, 20))
    findings = look(
        opened(linear.write(tmp_path / "m")), Settings(), data=files, reference=files[:10]
    )
    found = report(findings)
    assert found["novelty"]["verdict"] is None and found["novelty"]["share_unlike"] is None
    assert found["scores"][0]["unlike"] is None
    assert found["scores"][0]["percentiles"].keys() == {"reconstruction", "kl"}
    assert "10 reference images are too few; at least 80 are needed" in found["unknown"]["verdict"]


def test_a_plain_autoencoder(tmp_path: Path) -> None:
    linear = orthogonal(deviation=None, prior="none", likelihood="none")
    images = draws(orthogonal(), 50)
    files = save(tmp_path / "a", images)
    model = opened(linear.write(tmp_path / "m"))
    findings = look(model, Settings(), data=files)
    found = report(findings)
    means = linear.means(images)
    assert [row["variance"] for row in found["latents"]] == pytest.approx(
        means.var(axis=0), abs=1e-4
    )
    for name in ("kl", "active", "posterior_deviation"):
        assert all(row[name] is None for row in found["latents"])
        assert "plain autoencoder" in found["unknown"][name]
    # A step is the deviation of the codes, so the effect is that times the decoder's column.
    effect = np.abs(linear.decode).mean(axis=0) * means.std(axis=0)
    assert [row["effect"] for row in found["latents"]] == pytest.approx(effect, abs=1e-4)
    assert found["traversal"]["around"] == f"the code of {files[0]}"
    assert "--reference" in found["unknown"]["novelty"]
    assert found["scores"][0]["percentiles"] is None
    assert found["scores"][0]["psnr"] > 20
    assert found["reconstruction_unit"] == "mean squared error"
    assert figures(findings).keys() == ALL - {"samples.png", "uncertainty.png"}
    assert "KL nats" not in text(findings)

    compared = report(look(model, Settings(), data=files, reference=files))
    assert compared["novelty"]["verdict"] == "known"
    assert compared["scores"][0]["percentiles"].keys() == {"reconstruction"}
    nothing = look(model, Settings())
    assert figures(nothing) == {}
    assert report(nothing)["latents"][2]["effect"] is None
    assert "at least two images" in report(nothing)["unknown"]["traversal"]


def test_black_and_white_is_drawn_for_a_bernoulli_model(tmp_path: Path) -> None:
    linear = orthogonal(likelihood="bernoulli", scales=(9.0, 5.0, 0.1), centre=np.zeros(24))
    files = save(tmp_path / "a", draws(orthogonal(), 30))
    model = opened(linear.write(tmp_path / "m"))
    drawn = look(model, Settings(), data=files)
    found = report(drawn)
    assert found["binarisation"] == "dynamic" and "dynamic binarisation" in text(drawn)
    bits = found["bound"]["nats"] / 24 / np.log(2)
    assert found["bound"]["bits_per_dimension"] == pytest.approx(bits)
    assert set(np.unique(drawn.uncertain[0].original)) <= {0, 1}
    grey = report(look(model, Settings(binarise=False), data=files))
    assert grey["binarisation"] == "none"
    assert grey["bound"] is None and "not binarised" in grey["unknown"]["bound"]
    assert grey["kl"] is not None and grey["kl"] != found["kl"]


def test_a_grid_of_latents_and_pictures_of_all_sizes(tmp_path: Path) -> None:
    folder = write_tiny_vae(tmp_path / "tiny", deviation=0.5)
    model = ModelRegistry([folder], lambda: Runtime("cpu", threads=1)).open("tiny-vae")
    files = []
    for i, size in enumerate([(48, 64), (48, 64), (30, 21), (300, 280)]):
        files.append(tmp_path / f"{i}.png")
        files[-1].write_bytes(encode_image(Image(gradient(*size)), "png"))
    findings = look(model, Settings(samples=2), data=files)
    found = report(findings)
    assert len(found["latents"]) == 3 and found["settings"]["window"] == 256
    assert [one["dimensions"] for one in found["scores"]] == [
        3 * 48 * 64,
        3 * 48 * 64,
        3 * 32 * 24,
        3 * 256 * 256,
    ]
    assert [row["posterior_deviation"] for row in found["latents"]] == pytest.approx([0.5] * 3)
    assert found["kl"] == pytest.approx(np.mean([one["kl"] for one in found["scores"]]))
    assert findings.rows.images[0].shape[1:3] == (64, 64)
    assert figures(findings).keys() == ALL
    around = look(model, Settings(), image=files[2])
    assert around.rows.around == f"the code of {files[2]}"
    assert around.rows.images[0].shape[1:3] == (30, 21)
    padded = look(model, Settings(samples=2), data=files[2:])
    assert padded.effects.shape == (3, 30, 21)
    assert padded.uncertain[0].deviation.shape == (30, 21)


def test_one_picture_has_no_variance(tmp_path: Path) -> None:
    linear = orthogonal()
    files = save(tmp_path / "a", draws(linear, 1))
    findings = look(opened(linear.write(tmp_path / "m")), Settings(), data=files)
    found = report(findings)
    assert found["kl"] is not None
    for name in ("active", "variance", "correlation"):
        assert found["unknown"][name] == "needs at least two images"
    assert "correlation.png" not in figures(findings)


def test_collapse_is_said(tmp_path: Path) -> None:
    linear = orthogonal(scales=(0.0,) * 5 + (0.4,), noise=0.05)
    files = save(tmp_path / "a", draws(linear, 40))
    findings = look(opened(linear.write(tmp_path / "m")), Settings(), data=files)
    assert report(findings)["collapsed"] is True
    assert report(findings)["order"][0] == 5
    assert "collapse     fewer than 20%" in text(findings)


def test_failures_are_told_and_kept(tmp_path: Path) -> None:
    linear = orthogonal()
    files = save(tmp_path / "a", draws(linear, 3))
    files[1].write_bytes(files[1].read_bytes()[:-20])
    told: list[VaetoolsError] = []
    model = opened(linear.write(tmp_path / "m"))
    found = report(look(model, Settings(), data=files, failed=told.append))
    assert [one.code for one in told] == ["E012"]
    assert found["pictures"]["used"] == 2
    assert found["pictures"]["failed"][0]["file"] == str(files[1])
    with pytest.raises(InputError, match="none of the images can be used"):
        look(model, Settings(), data=files[1:2])
    with pytest.raises(InputError, match="none of the reference images"):
        look(model, Settings(), data=files, reference=files[1:2])


def test_the_seed_decides_everything(tmp_path: Path) -> None:
    linear = orthogonal()
    files = save(tmp_path / "a", draws(linear, 30))
    model = opened(linear.write(tmp_path / "m"))
    runs = [look(model, Settings(samples=2, limit=20, seed=seed), data=files) for seed in (0, 0, 1)]
    assert facts(runs[0]) == facts(runs[1]) != facts(runs[2])
    assert figures(runs[0]) == figures(runs[1])
    chosen = [[one.name for one in run.scored] for run in runs]
    assert chosen[0] == chosen[1] != chosen[2]


def test_traversal_rows_show_what_they_say(tmp_path: Path) -> None:
    """The middle column of every row of the PNG is the same image, the mean picture."""
    linear = Linear(
        **{**vars(orthogonal(size=(8, 8))), "centre": np.linspace(0.2, 0.8, 64)}
    )  # 8 pixels become 96
    findings = look(opened(linear.write(tmp_path / "m")), Settings())
    sheet = decode_image(figures(findings)["traversal.png"]).pixels
    middle = np.round(255 * np.linspace(0.2, 0.8, 64).reshape(8, 8)).astype(np.uint8)
    wanted = middle.repeat(12, axis=0).repeat(12, axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(sheet[..., 0], (96, 96))
    hits = (windows[..., 0, 0] == wanted[0, 0]) & (windows[..., -1, -1] == wanted[-1, -1])
    exact = [tuple(p) for p in np.argwhere(hits) if np.array_equal(windows[tuple(p)], wanted)]
    assert len({column for _, column in exact}) >= 1
    assert len({row for row, _ in exact}) == 3  # one per latent
