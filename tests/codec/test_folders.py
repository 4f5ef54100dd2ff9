"""`compress` and `decompress` over files: what is stored, masks next to images, beginnings of files."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.codec.miniature import GOLDEN, MODEL
from tests.torture import exif_block, saved
from vaetools import Codec
from vaetools.codec.container import SectionKind, read_header, unpack
from vaetools.codec.lossless import lossless_file
from vaetools.errors import ChecksumError, InputError, ModelError
from vaetools.hub import Hub
from vaetools.image import Image, Metadata, decode_image, encode_image, read_image
from vaetools.operation import Operation
from vaetools.operation.step import Step
from vaetools.plugin.host import PluginHost


@pytest.fixture
def photos(tmp_path, astronaut):
    """Two photographs, one of them in a folder."""
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for name, box in {"a.png": np.s_[40:140, 150:280], "deep/b.png": np.s_[:70, :60]}.items():
        (folder / name).write_bytes(encode_image(Image(astronaut[box].copy()), "png"))
    return folder


def flat(dtype, *, alpha):
    """An image that PNG needs a hundred bytes for."""
    value = np.iinfo(dtype).max // 3
    opacity = np.full((31, 45), np.iinfo(dtype).max, dtype)
    opacity[:9] = value
    return Image(np.full((31, 45, 3), value, dtype), alpha=opacity if alpha else None)


def turned():
    """Four colours, lying on their side."""
    quarters = np.kron(np.arange(4, dtype=np.uint8).reshape(2, 2), np.ones((12, 20), np.uint8))
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]], np.uint8)
    return saved(colours[quarters], "PNG", exif=exif_block(6))


SIMPLE = {
    "plain.png": encode_image(flat(np.uint8, alpha=False), "png"),
    "deep.png": encode_image(flat(np.uint16, alpha=False), "png"),
    "alpha.png": encode_image(flat(np.uint8, alpha=True), "png"),
    "deep-alpha.png": encode_image(flat(np.uint16, alpha=True), "png"),
    "turned.png": turned(),
    "grey.tif": encode_image(Image(np.full((20, 20), 7, np.uint8)), "tiff"),
}
"""Files that are smaller than what a codec for photographs makes of them."""


@pytest.fixture
def simple(tmp_path):
    folder = tmp_path / "simple"
    folder.mkdir()
    for name, data in SIMPLE.items():
        (folder / name).write_bytes(data)
    return folder


def is_stored(path):
    return read_header(path.read_bytes()).fields.stored


def test_a_damaged_codec_stops_no_files_of_others(mini_hub, photos, tmp_path):
    packed = tmp_path / "packed"
    mini_hub.map("compress", photos, out=packed)
    other = tmp_path / "models" / "other"
    shutil.copytree(MODEL, other)
    text = (other / "model.toml").read_text()
    stream_id = mini_hub.registry.for_task("compress").manifest.codec.stream_id
    text = text.replace(stream_id, "0" * 16).replace('id = "', 'id = "other-', 1)
    (other / "model.toml").write_text(text)
    (other / "synthesis.onnx").write_bytes(b"damaged")
    hub = Hub(PluginHost(installed=False), [GOLDEN, other.parent], device="cpu", threads=1)
    assert hub.map("decompress", packed, out=tmp_path / "back").exit_code == 0
    named = hub.op("decompress", model=hub.registry.ids()[-1])
    with pytest.raises(ModelError, match=r"synthesis\.onnx"):
        hub.map(named, packed, out=tmp_path / "again")


# --- what is larger than its source ---------------------------------------------------------------


def test_what_would_be_larger_is_stored_and_comes_back_exactly(mini_hub, simple, tmp_path):
    packed, back = tmp_path / "packed", tmp_path / "back"
    assert mini_hub.map("compress", simple, out=packed, keep_smaller=True).exit_code == 0
    assert mini_hub.map("decompress", packed, out=back).exit_code == 0
    for name, data in SIMPLE.items():
        path = packed / f"{name}.vae"
        assert is_stored(path)
        assert path.stat().st_size < len(data) + 80
        source = read_image(simple / name)
        found = read_image((back / name).with_suffix(".png"))
        assert found.pixels.dtype == source.pixels.dtype
        np.testing.assert_array_equal(found.pixels, source.pixels)
        if source.alpha is not None:
            np.testing.assert_array_equal(found.alpha, source.alpha)
        assert (found.alpha is None, found.icc) == (source.alpha is None, source.icc)
    lying = read_image(back / "turned.png")
    assert (lying.height, lying.width) == (40, 24)
    assert lying.exif is not None


@pytest.fixture
def small(tmp_path, astronaut):
    """Photographs in JPEG files of so low a quality that they are smaller than a coded image."""
    folder = tmp_path / "small"
    folder.mkdir()
    for number in range(2):
        part = np.ascontiguousarray(astronaut[number : number + 200, :200])
        (folder / f"{number}.jpg").write_bytes(encode_image(Image(part), "jpeg", quality=20))
    return folder


def test_a_source_that_is_smaller_is_kept_byte_for_byte(mini_hub, small, tmp_path):
    packed, back = tmp_path / "packed", tmp_path / "back"
    mini_hub.map("compress", small, out=packed, quality=100, keep_smaller=True)
    mini_hub.map("decompress", packed, out=back, to="same")
    for path in small.iterdir():
        assert is_stored(packed / f"{path.name}.vae")
        assert (back / path.name).read_bytes() == path.read_bytes()


def test_a_source_that_not_every_reader_has_is_not_stored(mini_hub, tmp_path, astronaut, caplog):
    part = Image(np.ascontiguousarray(astronaut[:200, :200]))
    (tmp_path / "a.avif").write_bytes(encode_image(part, "avif", quality=10))
    with caplog.at_level(logging.WARNING):
        mini_hub.map("compress", tmp_path, out=tmp_path / "out", quality=100, keep_smaller=True)
    assert not is_stored(tmp_path / "out" / "a.avif.vae")
    assert "more than the source's" in caplog.text and "--keep-smaller" not in caplog.text
    file = mini_hub.registry.for_task("compress")
    stored = Codec(file).store(read_image(tmp_path / "a.avif"), (tmp_path / "a.avif").read_bytes())
    with pytest.raises(ChecksumError, match="is avif, which no stored file holds"):
        mini_hub.decompress(stored)


def drawing(height: int, width: int, kind: str) -> Image:
    """Flat areas and sharp edges, as in a screenshot."""
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 256, (height // 20 + 1, width // 20 + 1, 4), np.uint8)
    whole = cells.repeat(20, axis=0).repeat(20, axis=1)[:height, :width]
    for row in range(5, height, 9):
        whole[row, :, :3] = 255 - whole[row, :, :3]
    depth = np.uint16(257) if "16" in kind else np.uint8(1)
    pixels = whole[..., 0] if "grey" in kind else whole[..., :3]
    alpha = whole[..., 3] * depth if "alpha" in kind else None
    if "opaque" in kind:
        alpha = np.full((height, width), 255, np.uint8)
    return Image(np.ascontiguousarray(pixels) * depth, alpha=alpha)


@pytest.mark.parametrize("kind", ["colour", "grey", "alpha", "opaque", "16", "16 grey alpha"])
def test_a_lossless_file_has_the_same_pixels(kind):
    image = drawing(120, 150, kind)
    file = lossless_file(image)
    assert file is not None
    found = decode_image(file)
    assert found.pixels.dtype == image.pixels.dtype
    np.testing.assert_array_equal(found.pixels, image.pixels)
    assert (found.alpha is None) == (image.alpha is None)
    if image.alpha is not None:
        np.testing.assert_array_equal(found.alpha, image.alpha)


def test_drawings_come_back_exactly(mini_hub, tmp_path):
    """A lossless file of the same pixels is smaller than what a codec for photographs makes."""
    source = drawing(120, 150, "colour")
    (tmp_path / "a.png").write_bytes(encode_image(source, "png"))
    packed, back = tmp_path / "packed", tmp_path / "back"
    assert mini_hub.map("compress", tmp_path / "a.png", out=packed).exit_code == 0
    assert is_stored(packed / "a.png.vae")
    assert mini_hub.map("decompress", packed, out=back, to="same").exit_code == 0
    np.testing.assert_array_equal(read_image(back / "a.png").pixels, source.pixels)


def test_exact_pixels_reach_targets(mini_hub):
    """That the codec cannot: its smallest file is larger, and its best not exact."""
    image = drawing(128, 128, "colour").to_array()
    exact = len(mini_hub.compress(image))
    for target in (
        {"target_size": str(exact)},
        {"target_size": str(100 * exact)},
        {"psnr": 60},
        {"bpp": 8 * exact / 128**2},
    ):
        file = mini_hub.compress(image, **target)
        assert (unpack(file).stored, len(file)) == (True, exact), target
    for short in ({"target_size": "200"}, {"bpp": 0.05}):
        with pytest.raises(InputError, match="at quality 0"):
            mini_hub.compress(image, **short)


@pytest.mark.parametrize("target", [{"psnr": 60}, {"bpp": 24}, {"target_size": "1M"}, {}])
def test_a_missing_mask_fails_also_where_exact_pixels_would_do(mini_hub, tmp_path, target):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(encode_image(drawing(128, 128, "colour"), "png"))
    (tmp_path / "masks").mkdir()
    result = mini_hub.map(
        "compress", tmp_path / "in", out=tmp_path / "out", roi=tmp_path / "masks", **target
    )
    assert [(r.status, r.code) for r in result.records] == [("failed", "E001")]
    assert "no roi called a" in result.records[0].message or "no mask" in result.records[0].message


def test_metadata_that_webp_cannot_hold_survive_in_a_drawing(mini_hub):
    image = replace(
        drawing(120, 150, "colour"),
        metadata=Metadata(iptc=b"\x1c\x02\x78\x00\x04cats", icc=None),
    )
    file = lossless_file(image)
    assert file is not None and decode_image(file).metadata.iptc == image.metadata.iptc


def test_photographs_and_float_images_are_never_tried(astronaut):
    assert lossless_file(Image(astronaut)) is None
    assert lossless_file(Image(np.zeros((80, 80, 3), np.float32))) is None


def test_photographs_are_not_stored(mini_hub, photos, tmp_path):
    packed = tmp_path / "packed"
    assert mini_hub.map("compress", photos, out=packed, keep_smaller=True).exit_code == 0
    assert not any(is_stored(path) for path in packed.rglob("*.vae"))


@pytest.mark.parametrize("strip", ["gps", "exif", "all"])
def test_a_source_with_what_shall_be_stripped_is_never_stored(
    mini_hub, simple, small, tmp_path, strip
):
    """The source holds what the user wants gone."""
    packed, stored = tmp_path / "packed", {f"{name}.vae" for name in SIMPLE}
    options = {"keep_smaller": True, "quality": 100, "strip": strip}
    for folder in (simple, small):
        assert mini_hub.map("compress", folder, out=packed, **options).exit_code == 0
    files = list(packed.rglob("*.vae"))
    assert len(files) == len(SIMPLE) + 2
    for path in files:
        assert is_stored(path) == (path.name in stored)  # their exact pixels
        file = unpack(path.read_bytes())
        if strip != "gps":
            assert file.one(SectionKind.EXIF) is None
        if is_stored(path):
            source = file.one(SectionKind.SOURCE)
            assert source is not None and (strip == "gps" or decode_image(source).exif is None)


def test_damaged_images_are_never_stored(mini_hub, tmp_path, astronaut):
    """With `--lenient` half a JPEG is compressed as far as it goes; nobody could read its file again."""
    half = encode_image(Image(astronaut), "jpeg", quality=5)[:3000]
    (tmp_path / "half.jpg").write_bytes(half)
    packed, back = tmp_path / "packed", tmp_path / "back"
    options = {"keep_smaller": True, "quality": 100, "strict": False}
    assert mini_hub.map("compress", tmp_path / "half.jpg", out=packed, **options).exit_code == 0
    assert (packed / "half.jpg.vae").stat().st_size > len(half)
    assert mini_hub.map("decompress", packed, out=back).exit_code == 0
    assert read_image(back / "half.png").pixels.shape == astronaut.shape


def test_a_larger_result_is_a_warning_that_names_both_sizes(mini_hub, small, tmp_path, caplog):
    packed = tmp_path / "packed"
    with caplog.at_level(logging.WARNING, "vaetools_plugins"):
        assert mini_hub.map("compress", small, out=packed, quality=100).exit_code == 0
    said = {record.getMessage() for record in caplog.records}
    sources = {path.name: path.read_bytes() for path in small.iterdir()}
    assert len(said) == len(sources)
    for name, data in sources.items():
        size = (packed / f"{name}.vae").stat().st_size
        (line,) = (line for line in said if line.startswith(f"{name}: "))
        assert f"{size} bytes" in line and f" {len(data)};" in line and "--keep-smaller" in line


def test_a_smaller_result_is_no_warning(mini_hub, photos, tmp_path, caplog):
    mini_hub.map("compress", photos, out=tmp_path / "packed")
    assert not caplog.records


def test_the_other_faces_read_stored_files(mini_hub, simple, tmp_path):
    packed = tmp_path / "packed"
    mini_hub.map("compress", simple, out=packed, keep_smaller=True)
    data = (packed / "plain.png.vae").read_bytes()
    np.testing.assert_array_equal(
        mini_hub.decompress(data, region="3,2,10,5"),
        read_image(simple / "plain.png").pixels[2:7, 3:13],
    )
    np.testing.assert_array_equal(
        mini_hub.decompress(data, preview=True), mini_hub.decompress(data)
    )
    mini_hub.map("decompress", packed, out=tmp_path / "same", to="same")
    assert read_image(tmp_path / "same" / "grey.tif").grey


def test_operations_get_files_only_if_they_want_them(mini_hub, photos, tmp_path):
    """And never what the user wants stripped, nor what is damaged."""

    class Sizes(Operation):
        name = "sizes"

        def outputs(self, source):
            return (source.with_suffix(".txt"),)

        def process(self, item):
            return b"none" if item.encoded is None else b"%d" % len(item.encoded)

    def told(wants, name="a.png", **settings):
        operation = Sizes(None, Sizes.Options())
        operation.wants_encoded = wants
        out = tmp_path / f"{wants} {Path(name).stem} {settings}"
        mini_hub.map(Step(operation), photos / name, out=out, **settings)
        return (out / name).with_suffix(".txt").read_text()

    (photos / "half.png").write_bytes((photos / "a.png").read_bytes()[:20_000])
    size = str((photos / "a.png").stat().st_size)
    assert told(False) == "none"
    assert told(True) == size
    assert told(True, strip="gps") == "none"
    assert told(True, strict=False) == size
    assert told(True, "half.png", strict=False) == "none"


# --- masks next to images -------------------------------------------------------------------------


def write_mask(path, height, width, *, white=np.s_[:1, :1]):
    mask = np.zeros((height, width), np.uint8)
    mask[white] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_image(Image(mask), "png"))


def failures(result):
    return {record.file.rsplit("/", 1)[-1]: record for record in result.records if record.code}


def test_a_folder_of_masks_follows_the_tree(mini, mini_hub, photos, tmp_path):
    masks, packed = tmp_path / "masks", tmp_path / "packed"
    write_mask(masks / "a.png", 100, 130, white=np.s_[80:90, 70:80])
    write_mask(masks / "deep" / "b.png", 70, 60)
    options = {"roi": masks, "quality": 90, "roi_drop": 30}
    assert mini_hub.map("compress", photos, out=packed, **options).exit_code == 0
    levels = mini.levels_of(unpack((packed / "a.png.vae").read_bytes()))
    np.testing.assert_array_equal(levels, [[60, 60, 60], [60, 90, 60]])
    levels = mini.levels_of(unpack((packed / "deep/b.png.vae").read_bytes()))
    np.testing.assert_array_equal(levels, [[90], [60]])
    assert mini_hub.map("decompress", packed, out=tmp_path / "back").exit_code == 0
    assert read_image(tmp_path / "back/a.png").pixels.shape == (100, 130, 3)


def test_another_mask_is_other_work(mini_hub, photos, tmp_path):
    """What was done with one mask is not taken for what another one asks."""
    masks, packed = tmp_path / "masks", tmp_path / "packed"

    def done(place):
        result = mini_hub.map("compress", photos / "a.png", out=packed, roi=place)
        return [record.status for record in result.records]

    for place in (masks, masks / "a.png"):
        write_mask(masks / "a.png", 100, 130)
        assert done(place) == ["done"]
        assert done(place) == ["skipped"]
        write_mask(masks / "a.png", 100, 130, white=np.s_[:, :])
        assert done(place) == ["done"]


def test_a_mask_of_another_size_is_one_line_and_the_run_goes_on(mini_hub, photos, tmp_path):
    write_mask(tmp_path / "mask.png", 100, 130)
    result = mini_hub.map("compress", photos, out=tmp_path / "packed", roi=tmp_path / "mask.png")
    assert [path.name for path in (tmp_path / "packed").rglob("*.vae")] == ["a.png.vae"]
    (record,) = failures(result).values()
    assert record.code == "E001" and "b.png" in record.file
    assert "b.png" in record.message and "mask.png" in record.message
    assert "130 x 100 pixels, the image 60 x 70" in record.message
    assert len(record.message.splitlines()) == 1


def test_missing_masks_and_several_are_one_line_each(mini_hub, photos, tmp_path, astronaut):
    masks = tmp_path / "masks"
    for name in ("c.png", "d.png", "e.png"):
        (photos / name).write_bytes((photos / "a.png").read_bytes())
    for name in ("a.png", "a.tif", "c.png", "d.png"):
        write_mask(masks / name, 100, 130)
    (masks / "d.png").write_bytes(b"no picture")
    (masks / "e.png").write_bytes(b"")
    result = mini_hub.map("compress", photos, out=tmp_path / "packed", roi=masks)
    found = failures(result)
    assert [path.name for path in (tmp_path / "packed").rglob("*.vae")] == ["c.png.vae"]
    assert {name: record.code for name, record in found.items()} == {
        "a.png": "E001",
        "b.png": "E001",
        "d.png": "E010",
        "e.png": "E011",
    }
    assert "several masks called a" in found["a.png"].message
    assert "no mask called b" in found["b.png"].message
    for name, record in found.items():
        assert len(record.message.splitlines()) == 1
        assert name in record.message


# --- previews of files ----------------------------------------------------------------------------


def test_previews_of_files_that_have_not_come_wholly(mini_hub, photos, tmp_path):
    packed = tmp_path / "packed"
    mini_hub.map("compress", photos, out=packed)
    for path in packed.rglob("*.vae"):
        path.write_bytes(path.read_bytes()[:-20])
    (packed / "a.png.vae").write_bytes((packed / "a.png.vae").read_bytes()[:90])
    result = mini_hub.map("decompress", packed, out=tmp_path / "back", preview=True)
    assert read_image(tmp_path / "back/deep/b.png").pixels.shape == (70, 60, 3)
    (record,) = failures(result).values()
    assert record.code == "E032" and "before the end of the preview data" in record.message
    refused = mini_hub.map("decompress", packed, out=tmp_path / "whole")
    assert [record.code for record in refused.records] == ["E032", "E032"]
