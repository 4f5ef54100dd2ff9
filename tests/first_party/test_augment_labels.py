"""Data sets that `augment` makes: folders for loaders, masks and labels named as the copies."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image as PillowImage

from vaetools.augmentation.labels import CocoFile
from vaetools.errors import OptionError
from vaetools.hub import Hub
from vaetools.image import Image, encode_image, read_image
from vaetools.plugin.host import PluginHost
from vaetools.testing import gradient

if TYPE_CHECKING:
    from vaetools.runner import RunResult

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
VOC = """<annotation>
  <folder>cat</folder><filename>1.jpg</filename><path>/home/me/cat/1.jpg</path>
  <size><width>64</width><height>48</height><depth>3</depth></size>
  <object><name>eye</name><bndbox><xmin>3</xmin><ymin>4</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>
  </object>
</annotation>"""
COCO: dict[str, Any] = {
    "info": {"year": 2026},
    "categories": [{"id": 1, "name": "eye"}],
    "images": [
        {
            "id": 7,
            "file_name": "cat/1.jpg",
            "width": 64,
            "height": 48,
            "coco_url": "http://x/1.jpg",
        },
        {"id": 9, "file_name": "2.jpg", "width": 64, "height": 48},
    ],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 1, "bbox": [3, 4, 6, 4], "keypoints": [5, 6, 2]},
        {"id": 4, "image_id": 9, "category_id": 1, "bbox": [0, 0, 2, 2], "iscrowd": 0},
    ],
}


def image_folder(root: Path) -> tuple[list[str], list[tuple[str, int]]]:
    """What torchvision's ImageFolder finds: each folder of the root is a class, and has images.

    Reference: `find_classes` and `make_dataset` in torchvision/datasets/folder.py.
    """
    classes = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    if not classes:
        raise FileNotFoundError(f"Couldn't find any class folder in {root}.")
    samples = []
    for number, name in enumerate(classes):
        files = sorted(p for p in (root / name).rglob("*") if p.suffix.lower() in EXTENSIONS)
        found = [(str(file), number) for file in files]
        if not found:
            raise FileNotFoundError(f"Found no valid file for the classes {name}.")
        samples += found
    return classes, samples


@pytest.fixture
def hub(tiny_models: Path) -> Hub:
    return Hub(PluginHost(installed=False), [tiny_models], device="cpu", threads=1)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("cat/1.jpg", "dog/2.jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(encode_image(Image(gradient()), "jpeg"))
    return tmp_path / "photos"


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def augment(hub: Hub, photos: Path, n: int = 2, **options: Any) -> RunResult:
    return hub.map("augment", photos, out=photos.parent / "more", n=n, **options)


def statuses(result: RunResult) -> list[str]:
    return [r.status for r in sorted(result.records, key=lambda record: record.file)]


def test_the_output_is_an_image_folder(hub: Hub, photos: Path, tmp_path: Path) -> None:
    augment(hub, photos, manifest=True)
    write(tmp_path / "labels/cat/1.txt", "0 0.5 0.5 0.1 0.1")
    augment(hub, photos, n=1, labels=tmp_path / "labels", force=True)
    classes, samples = image_folder(tmp_path / "more")
    assert classes == ["cat", "dog"]
    assert [(Path(path).name, label) for path, label in samples] == [
        ("1_aug0001.png", 0),
        ("1_aug0002.png", 0),
        ("2_aug0001.png", 1),
        ("2_aug0002.png", 1),
    ]


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_masks_are_copied_under_the_names_of_the_copies(
    hub: Hub, photos: Path, tmp_path: Path, suffix: str
) -> None:
    masks = {}
    for number, name in enumerate(("cat/1", "dog/2"), 1):
        labels = np.full((48, 64), number, np.uint8)
        masks[name] = encode_image(Image(labels), {"tif": "tiff"}.get(suffix, suffix))
        write(tmp_path / f"masks/{name}.{suffix}", masks[name])
    assert augment(hub, photos, masks=tmp_path / "masks", to="jpg").exit_code == 0
    for name, data in masks.items():
        for number in (1, 2):
            copied = tmp_path / f"more/masks/{name}_aug000{number}.{suffix}"
            assert copied.read_bytes() == data
            assert read_image(tmp_path / f"more/{name}_aug000{number}.jpg").format == "jpeg"


def test_a_changed_mask_or_label_repeats_its_own_image(
    hub: Hub, photos: Path, tmp_path: Path
) -> None:
    for name in ("cat/1", "dog/2"):
        write(
            tmp_path / f"masks/{name}.png", encode_image(Image(np.zeros((48, 64), np.uint8)), "png")
        )
    label = write(tmp_path / "labels/dog/2.txt", "0 0.5 0.5 0.1 0.1")
    given = {"masks": tmp_path / "masks", "labels": tmp_path / "labels"}
    assert statuses(augment(hub, photos, **given)) == ["done", "done"]
    write(tmp_path / "masks/.DS_Store", "x")
    assert statuses(augment(hub, photos, **given)) == ["skipped", "skipped"]
    write(label, "1 0.25 0.25 0.1 0.1")
    assert statuses(augment(hub, photos, **given)) == ["skipped", "done"]
    os.utime(tmp_path / "masks/cat/1.png", (1, 1))
    assert statuses(augment(hub, photos, **given)) == ["done", "skipped"]


def test_masks_that_are_missing_or_do_not_fit_fail(hub: Hub, photos: Path, tmp_path: Path) -> None:
    write(tmp_path / "masks/cat/1.png", encode_image(Image(np.zeros((64, 48), np.uint8)), "png"))
    result = augment(hub, photos, masks=tmp_path / "masks")
    first, second = sorted(result.records, key=lambda record: record.file)
    assert (first.status, first.code) == ("failed", "E001")
    assert "cat/1.png: has 48 x 64 pixels, the image 64 x 48" in first.message
    assert (second.status, second.code) == ("failed", "E001")
    assert "no mask called 2" in second.message
    for wrong in ({"masks": tmp_path / "none"}, {"labels": tmp_path / "none"}):
        with pytest.raises(OptionError, match="none' is no"):
            augment(hub, photos, **wrong)


@pytest.mark.parametrize("to", ["same", "jpg"])
def test_labels_name_the_copy(hub: Hub, photos: Path, tmp_path: Path, to: str) -> None:
    suffix = "png" if to == "same" else "jpg"
    yolo = "0 0.5 0.5 0.25 0.25\n1 0.1 0.1 0.01 0.01\n"
    write(tmp_path / "labels/cat/1.txt", yolo)
    write(tmp_path / "labels/cat/1.xml", VOC)
    shape = {"label": "eye", "points": [[3, 4], [9, 8]], "shape_type": "rectangle"}
    labelme = {"imagePath": "1.jpg", "imageData": "AAAA", "imageWidth": 64, "shapes": [shape]}
    write(tmp_path / "labels/cat/1.json", json.dumps(labelme))
    assert augment(hub, photos, labels=tmp_path / "labels", to=to).exit_code == 0
    for number in (1, 2):
        copy = tmp_path / f"more/cat/1_aug000{number}.{suffix}"
        assert copy.is_file()
        assert copy.with_suffix(".txt").read_text() == yolo
        root = ET.fromstring(copy.with_suffix(".xml").read_text())
        names = {tag: root.findtext(tag) for tag in ("folder", "filename", "path")}
        assert names == {"folder": "cat", "filename": copy.name, "path": f"cat/{copy.name}"}
        assert root.findtext("object/bndbox/xmax") == "9"
        found = json.loads(copy.with_suffix(".json").read_text())
        assert found == {**labelme, "imagePath": copy.name, "imageData": None}
    assert not list((tmp_path / "more/dog").glob("*.txt"))


def test_labels_name_the_copies_of_a_chain_as_its_run_names_them(
    hub: Hub, photos: Path, tmp_path: Path
) -> None:
    write(tmp_path / "labels/cat/1.xml", VOC)
    once = hub.op("augment", n=2, labels=tmp_path / "labels")
    for number, chain in enumerate([["reconstruct", once], [hub.op("augment", n=2), once]]):
        out = tmp_path / f"out{number}"
        for name in ("1_aug0001", "1_aug0002"):
            write(tmp_path / f"labels/cat/{name}.xml", VOC)
        assert hub.map(chain, photos, out=out, to="jpg").exit_code == 0
        labels = sorted(out.rglob("*.xml"))
        assert len(labels) == (2, 4)[number]
        for file in labels:
            named = ET.fromstring(file.read_text()).findtext("filename")
            assert named == file.with_suffix(".jpg").name and file.with_name(named).is_file()


@pytest.mark.parametrize("suffix", [".txt", ".TXT", ".XML"])
def test_labels_are_found_whatever_the_case_of_their_suffix(
    hub: Hub, photos: Path, tmp_path: Path, suffix: str
) -> None:
    write(tmp_path / f"labels/cat/1{suffix}", VOC)
    result = augment(hub, photos, labels=tmp_path / "labels")
    copies = sorted(p.name for p in (tmp_path / "more/cat").glob(f"*{suffix}"))
    assert copies == [f"1_aug000{number}{suffix}" for number in (1, 2)]
    notes = {Path(r.file).name: r.message for r in result.records}
    assert notes["1.jpg"] == "" and "there are no labels for it" in notes["2.jpg"]


def test_a_coco_file_without_an_image_is_said(hub: Hub, photos: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "coco.json", json.dumps({**COCO, "images": COCO["images"][:1]}))
    result = augment(hub, photos, labels=file)
    notes = {Path(r.file).name: r.message for r in result.records}
    assert notes["1.jpg"] == "" and "there are no labels for it" in notes["2.jpg"]


def test_masks_inside_the_folder_of_images_are_no_images(hub: Hub, photos: Path) -> None:
    data = encode_image(Image(np.zeros((48, 64), np.uint8)), "png")
    for name in ("cat/1", "dog/2"):
        write(photos / f"masks/{name}.png", data)
    result = augment(hub, photos, masks=photos / "masks")
    assert statuses(result) == ["done", "done"]
    assert (photos.parent / "more/masks/cat/1_aug0001.png").read_bytes() == data


def test_a_coco_file_becomes_one_for_each_copy_that_can_be_joined(
    hub: Hub, photos: Path, tmp_path: Path
) -> None:
    labels = write(tmp_path / "instances.json", json.dumps(COCO))
    assert augment(hub, photos, labels=labels).exit_code == 0
    made = sorted((tmp_path / "more").rglob("*.json"))
    parts = [json.loads(path.read_text()) for path in made]
    assert [path.name for path in made] == [f"{i}_aug000{n}.json" for i in (1, 2) for n in (1, 2)]
    assert [part["images"][0]["file_name"] for part in parts] == [
        "cat/1_aug0001.png",
        "cat/1_aug0002.png",
        "2_aug0001.png",
        "2_aug0002.png",
    ]
    for kind in ("images", "annotations"):
        ids = [item["id"] for part in (*parts, COCO) for item in part[kind]]
        assert len(ids) == len(set(ids)) == 6
    for part in parts:
        (image,), (annotation,) = part["images"], part["annotations"]
        assert annotation["image_id"] == image["id"] and "coco_url" not in image
        assert part["info"] == COCO["info"] and part["categories"] == COCO["categories"]
    original = COCO["annotations"][0]
    assert {k: v for k, v in parts[0]["annotations"][0].items() if "id" not in k} == {
        k: v for k, v in original.items() if "id" not in k
    }


def test_images_of_a_coco_file_are_found_by_the_end_of_their_paths(tmp_path: Path) -> None:
    coco = CocoFile(write(tmp_path / "instances.json", json.dumps(COCO)))
    found = {key: coco.find(key) for key in ("cat/1.jpg", "a/cat/1.jpg", "1.jpg", "dog/2.jpg")}
    assert [image and image["id"] for image in found.values()] == [7, 7, 7, 9]
    assert coco.find("dog/1.jpg") is None  # another image of that name


def test_a_coco_file_of_one_image_lies_in_the_folder(
    hub: Hub, photos: Path, tmp_path: Path
) -> None:
    one = {**COCO, "images": COCO["images"][:1], "annotations": COCO["annotations"][:1]}
    write(tmp_path / "labels/cat/1.json", json.dumps(one))
    assert augment(hub, photos, n=1, labels=tmp_path / "labels").exit_code == 0
    found = json.loads((tmp_path / "more/cat/1_aug0001.json").read_text())
    assert found["images"][0]["file_name"] == "cat/1_aug0001.png"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("1.xml", VOC.replace("64", "48"), "has labels for 48 x 48 pixels, the image has 64 x 48"),
        ("1.xml", "<a>", "is not XML"),
        ("1.json", "{", "is not JSON"),
        ("1.json", "[" * 100_000, "is not JSON"),
        ("1.json", json.dumps({**COCO, "images": []}), "has 0 images"),
        (
            "1.json",
            json.dumps({"imagePath": "1.jpg", "imageWidth": 48, "imageHeight": 64}),
            "has labels for 48 x 64 pixels",
        ),
    ],
)
def test_labels_that_do_not_fit_fail_with_their_image(
    hub: Hub, photos: Path, tmp_path: Path, name: str, content: str, message: str
) -> None:
    write(tmp_path / "labels/cat" / name, content)
    result = augment(hub, photos, n=1, labels=tmp_path / "labels")
    first, second = sorted(result.records, key=lambda record: record.file)
    assert (first.status, first.code, second.status) == ("failed", "E001", "done")
    assert f"labels/cat/{name}: {message}" in first.message and "\n" not in first.message
    assert not (tmp_path / "more/cat").exists()


def test_labels_of_unknown_json_are_copied(hub: Hub, photos: Path, tmp_path: Path) -> None:
    write(tmp_path / "labels/cat/1.json", '{"points": [1, 2]}')
    augment(hub, photos, n=1, labels=tmp_path / "labels")
    assert (tmp_path / "more/cat/1_aug0001.json").read_text() == '{"points": [1, 2]}'


def test_a_file_that_is_not_coco_is_refused_before_any_work(
    hub: Hub, photos: Path, tmp_path: Path
) -> None:
    for content, message in (("{}", "is not a COCO file"), ("x", "is not JSON")):
        with pytest.raises(Exception, match=message) as raised:
            augment(hub, photos, labels=write(tmp_path / "c.json", content))
        assert getattr(raised.value, "code", "") == "E001"
    assert not (tmp_path / "more").exists()


def test_arrays_have_no_labels(hub: Hub, tmp_path: Path) -> None:
    write(tmp_path / "labels/1.txt", "0 0.5 0.5 0.1 0.1")
    with pytest.raises(OptionError, match="by the name of a file"):
        hub.augment(gradient(), labels=tmp_path / "labels")


def test_copies_of_turned_images_fit_masks_as_they_are_displayed(hub: Hub, tmp_path: Path) -> None:
    exif = PillowImage.Exif()
    exif[274] = 6
    (tmp_path / "in").mkdir()
    PillowImage.fromarray(gradient()).save(tmp_path / "in/a.jpg", exif=exif)
    upright = encode_image(Image(np.zeros((64, 48), np.uint8)), "png")
    write(tmp_path / "masks/a.png", upright)
    assert augment(hub, tmp_path / "in", n=1, masks=tmp_path / "masks").exit_code == 0
    copy = read_image(tmp_path / "more/a_aug0001.png")
    assert copy.pixels.shape[:2] == (64, 48)
