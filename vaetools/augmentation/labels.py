"""Labels of images, for their copies: what they say about positions stays, names and numbers follow.

    .txt    YOLO: the lines do not name the image
    .xml    Pascal VOC: `filename`, `folder` and `path` change
    .json   COCO: `file_name` and the ids of images and annotations; LabelMe: `imagePath`, and
            `imageData`, the pixels of the original, is null; others do not change

References:
    Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 2010; Lin et al.,
    "Microsoft COCO: Common Objects in Context", ECCV 2014, and cocodataset.org/#format-data.
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias
from xml.etree import ElementTree as ET

from vaetools.errors import InputError
from vaetools.image import read_file
from vaetools.text import parse_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path, PurePath

SUFFIXES = (".json", ".txt", ".xml")
MOST = 2**30
"""Largest file, bytes: the annotations of COCO's 118,287 images have half of that."""

URLS = ("coco_url", "flickr_url")
"""Keys of a COCO image that name the original, wherever the file is."""

Size: TypeAlias = tuple[int, int]
"""Width and height in pixels."""


class CocoFile:
    """The annotations of many images in one file.

    Raises:
        InputError: the file cannot be read or is not a COCO file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rest: Any = _json(_read(path), path)
        if not _is_coco(self.rest):
            raise InputError("is not a COCO file: images and annotations are missing", file=path)
        self.images: list[dict[str, Any]] = self.rest.pop("images")
        self.annotations: dict[Any, list[dict[str, Any]]] = {}
        for annotation in self.rest.pop("annotations"):
            self.annotations.setdefault(annotation.get("image_id"), []).append(annotation)
        self.by_path: dict[str, dict[str, Any]] = {
            str(image["file_name"]): image for image in self.images
        }
        self.by_name: dict[str, list[dict[str, Any]]] = {}
        for name, image in self.by_path.items():
            self.by_name.setdefault(PurePosixPath(name).name, []).append(image)
        every = (a for found in self.annotations.values() for a in found)
        self.step: tuple[int, int] = (_step(self.images), _step(every))

    def find(self, key: str) -> dict[str, Any] | None:
        """The image with this path, or the only one whose path ends in it, or with which it ends."""
        if key in self.by_path:
            return self.by_path[key]
        parts = PurePosixPath(key).parts
        named = self.by_name.get(parts[-1], [])
        ending = [image for image in named if _is_end(_parts(image), parts)]
        return ending[0] if len(ending) == 1 else None

    def copy(self, image: dict[str, Any], name: str, number: int) -> bytes:
        """A COCO file for one copy of an image. The ids differ from those of all other copies."""
        images, annotations = (number * step for step in self.step)
        old = PurePosixPath(image["file_name"])
        kept = {key: value for key, value in image.items() if key not in URLS}
        moved = {**kept, "id": image["id"] + images, "file_name": str(old.with_name(name))}
        listed = [
            {**found, "id": found["id"] + annotations, "image_id": moved["id"]}
            for found in self.annotations.get(image["id"], [])
        ]
        return _dumped({**self.rest, "images": [moved], "annotations": listed})


def label_copies(file: Path, size: Size, copies: Sequence[PurePath]) -> list[bytes]:
    """The labels in a file of one image, for its copies.

    Args:
        file: with one of `SUFFIXES`.
        size: of the image.
        copies: paths of the copies, below the output folder.

    Raises:
        InputError: the file cannot be read, or is for an image of another size.
    """
    data = _read(file)
    if file.suffix.lower() == ".xml":
        return _voc_copies(data, file, size, copies)
    if file.suffix.lower() != ".json":
        return [data] * len(copies)
    found = _json(data, file)
    if _is_coco(found):
        coco = CocoFile(file)
        return coco_copies(coco, _only(coco, file), size, copies)
    if not (isinstance(found, dict) and "imagePath" in found):
        return [data] * len(copies)
    _check_size((found.get("imageWidth"), found.get("imageHeight")), size, file)
    return [_dumped({**found, "imagePath": copy.name, "imageData": None}) for copy in copies]


def coco_copies(
    coco: CocoFile, image: dict[str, Any], size: Size, copies: Sequence[PurePath]
) -> list[bytes]:
    """One COCO file for each copy of an image. Raises `InputError` as `label_copies`."""
    _check_size((image.get("width"), image.get("height")), size, coco.path)
    return [coco.copy(image, copy.name, number) for number, copy in enumerate(copies, 1)]


def _only(coco: CocoFile, file: Path) -> dict[str, Any]:
    """The image of a COCO file that belongs to one image: the only one, or the one of its name."""
    named = [i for i in coco.images if PurePosixPath(i["file_name"]).stem == file.stem]
    candidates = named or coco.images
    if len(candidates) != 1:
        raise InputError(f"has {len(candidates)} images, none of them alone {file.stem}", file=file)
    return candidates[0]


def _voc_copies(data: bytes, file: Path, size: Size, copies: Sequence[PurePath]) -> list[bytes]:
    try:
        # Expat from 2.4.1 on limits what entities expand to.
        root = ET.fromstring(data)  # noqa: S314
    except ET.ParseError as error:
        raise InputError(f"is not XML: {error}", file=file) from None
    sides = [root.findtext(f"size/{side}", "").strip() for side in ("width", "height")]
    _check_size(tuple(int(side) if side.isdigit() else None for side in sides), size, file)
    made = []
    for copy in copies:
        names = {"filename": copy.name, "folder": copy.parent.name, "path": copy.as_posix()}
        for tag, text in names.items():
            element = root.find(tag)
            if element is not None:
                element.text = text
        made.append(ET.tostring(root, encoding="utf-8") + b"\n")
    return made


def _check_size(found: tuple[Any, ...], size: Size, file: Path) -> None:
    """Refuse labels of an image of another size; labels without a size, or with 0, are accepted."""
    if all(found) and tuple(found) != size:
        raise InputError(
            f"has labels for {found[0]} x {found[1]} pixels, the image has {size[0]} x {size[1]}",
            file=file,
        )


def _is_coco(found: Any) -> bool:
    return (
        isinstance(found, dict)
        and _are_objects(found.get("images"), "id", "file_name")
        and _are_objects(found.get("annotations"), "id", "image_id")
    )


def _are_objects(found: Any, *keys: str) -> bool:
    """Whether it is a list of objects with these keys, whose ids are whole numbers."""
    return isinstance(found, list) and all(
        isinstance(item, dict) and all(key in item for key in keys) and isinstance(item["id"], int)
        for item in found
    )


def _parts(image: dict[str, Any]) -> tuple[str, ...]:
    return PurePosixPath(image["file_name"]).parts


def _is_end(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Whether one path is the end of the other one."""
    shared = min(len(first), len(second))
    return first[-shared:] == second[-shared:]


def _step(items: Any) -> int:
    """More than every id."""
    return max((int(item["id"]) for item in items), default=0) + 1


def _read(file: Path) -> bytes:
    return read_file(file, check_head=lambda _: None, most=MOST)


def _json(data: bytes, file: Path) -> Any:
    try:
        return parse_json(data)
    except ValueError as error:
        raise InputError(f"is not JSON: {error}", file=file) from None


def _dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
