"""Masks and labels of images, for the copies that `augment` makes of them.

Nothing moves in a copy, so masks and labels of the image fit it: they are copied, and carry the name
of the copy.
"""

from __future__ import annotations

from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING

from vaetools.augmentation.labels import SUFFIXES, CocoFile, coco_copies, label_copies
from vaetools.errors import InputError, OptionError
from vaetools.image import MAX_PIXELS, inspect_image, most_bytes, read_file
from vaetools.operation.masks import Masks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.image import Image

MASKS = "masks"
"""Folder of the masks of copies, in the output folder."""


class Companions:
    """Finds what belongs to each image, and gives it to copies.

    Args:
        masks: a folder; the mask of `a/b.jpg` is `a/b.png` in it, or with another image suffix.
        labels: a folder with files of the same name and the suffix .txt (YOLO), .xml (Pascal VOC) or
            .json (COCO, LabelMe), or one COCO file for all images.

    Raises:
        OptionError: no such folder; a folder of labels without any.
        InputError: the COCO file cannot be read.
    """

    def __init__(self, masks: Path | None = None, labels: Path | None = None) -> None:
        if masks is not None and not masks.is_dir():
            raise OptionError(f"masks={str(masks)!r} is not a folder")
        self.masks: Masks | None = None if masks is None else Masks(masks)
        self.labels: Path | None = None if labels is None or labels.is_file() else labels
        self.coco: CocoFile | None = (
            CocoFile(labels) if labels is not None and labels.is_file() else None
        )
        if self.labels is not None and not any(
            path.suffix.lower() in SUFFIXES for path in self.labels.rglob("*")
        ):
            raise OptionError(
                f"labels={str(labels)!r} is no folder with labels",
                remedy=f"files of labels end in {', '.join(SUFFIXES)}",
            )

    def files(self, key: str) -> list[Path]:
        """The files that belong to the image called `key`."""
        masks = self.masks.candidates(key) if self.masks is not None else []
        coco = [] if self.coco is None else [self.coco.path]
        return [*masks, *self._labels(key), *coco]

    def names(self, key: PurePath, copies: Sequence[PurePath]) -> list[PurePath]:
        """The paths of what belongs to copies, as `made` gives it."""
        found: list[PurePath] = []
        if self.masks is not None:
            files = self.masks.candidates(str(key))
            suffix = files[0].suffix if files else ".png"
            found += [PurePosixPath(MASKS) / copy.with_suffix(suffix) for copy in copies]
        suffixes = [file.suffix for file in self._labels(str(key))]
        if self.coco is not None and self.coco.find(str(key)) is not None:
            suffixes.append(".json")
        return [*found, *(copy.with_suffix(suffix) for suffix in suffixes for copy in copies)]

    def made(self, key: str, image: Image, copies: Sequence[PurePath]) -> list[bytes]:
        """The files that belong to copies of an image.

        Args:
            key: name of the image.
            image: as it is displayed.
            copies: paths of the copies, below the output folder.

        Raises:
            InputError: there is no mask, or a mask or labels for another size, or a file that cannot
                be read.
        """
        size = (image.width, image.height)
        found: list[bytes] = []
        if self.masks is not None:
            found += [self._mask(self.masks.find(key), size)] * len(copies)
        for file in self._labels(key):
            found += label_copies(file, size, copies)
        if self.coco is not None and (entry := self.coco.find(key)) is not None:
            found += coco_copies(self.coco, entry, size, copies)
        return found

    def _labels(self, key: str) -> list[Path]:
        if self.labels is None:
            return []
        path = self.labels / PurePosixPath(key)
        found: list[Path] = []
        for suffix in SUFFIXES:
            forms = (path.with_suffix(form) for form in (suffix, suffix.upper()))
            found += [file for file in forms if file.is_file()][:1]  # one of 1.txt and 1.TXT
        return found

    def has_labels(self, key: str) -> bool:
        """Whether there are labels for the image called `key`, in case they are wanted at all."""
        if self.coco is not None:
            return self.coco.find(key) is not None
        return self.labels is None or bool(self._labels(key))

    def _mask(self, file: Path, size: tuple[int, int]) -> bytes:
        data = read_file(file, check_head=lambda _: None, most=most_bytes(MAX_PIXELS))
        info = inspect_image(data, file=file)
        if (info.width, info.height) != size:
            raise InputError(
                f"has {info.width} x {info.height} pixels, the image {size[0]} x {size[1]}",
                file=file,
            )
        return data
