"""The folders of a run: links to the uploads, under the names that the operation sees."""

from __future__ import annotations

import os
import posixpath
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from vaetools.web.limits import HttpError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from vaetools.web.uploads import Upload


@dataclass(frozen=True)
class OptionFiles:
    """The files of an option.

    Attributes:
        uploads: In the order of the request.
        owners: Ids of the inputs that they belong to, in the same order; empty if names tell.
    """

    uploads: Sequence[Upload]
    owners: Sequence[str] = ()


def lay_out(folder: Path, inputs: Sequence[Upload], options: Mapping[str, OptionFiles]) -> None:
    """Make the folders of a run, with links to the uploads. Raises `HttpError`."""
    for name in ("out", "previews"):
        (folder / name).mkdir(parents=True)
    by_owner = any(files.owners for files in options.values())
    names = _lay_out_inputs(folder / "in", inputs, by_stem=by_owner)
    for option, files in options.items():
        _lay_out_option(option, folder / "options" / option, _named_files(files, names))


def _lay_out_inputs(
    folder: Path, inputs: Sequence[Upload], *, by_stem: bool
) -> dict[str, PurePosixPath]:
    """The name that each input gets, by its id; with `by_stem`, names differ without suffix too."""
    names: dict[str, PurePosixPath] = {}
    stems: set[str] = set()
    for upload in sorted(inputs, key=lambda upload: _depth(PurePosixPath(upload.name))):
        path = _free_path(folder / upload.name, stems)
        if by_stem:
            stems.add(_stem(path))
        _link(upload.path, path)
        names[upload.id] = PurePosixPath(path.relative_to(folder).as_posix())
    return names


def _lay_out_option(
    option: str, folder: Path, files: Iterable[tuple[PurePosixPath, Upload]]
) -> None:
    for name, upload in sorted(files, key=lambda file: _depth(file[0])):
        path = folder / name
        if path.is_dir():
            raise HttpError(409, f"{option}: {name} is a file and a folder", "E080")
        if os.path.lexists(path):  # which input would it belong to?
            raise HttpError(409, f"{option}: two files are called {name}", "E080")
        _link(upload.path, path)


def _named_files(
    files: OptionFiles, inputs: Mapping[str, PurePosixPath]
) -> list[tuple[PurePosixPath, Upload]]:
    """The files of an option with the names under which an operation looks for them."""
    given = [PurePosixPath(upload.name) for upload in files.uploads]
    if files.owners:
        pairs = zip(given, files.owners, strict=True)
        names = [inputs[owner].with_suffix(name.suffix) for name, owner in pairs]
    else:
        names = _fitted(given, inputs.values())
    return [*zip(names, files.uploads, strict=True)]


def _fitted(
    names: Sequence[PurePosixPath], inputs: Collection[PurePosixPath]
) -> list[PurePosixPath]:
    """The names below that folder of the inputs where most of them name an input.

    The name of a folder of images is part of the names of its images, but not of the names of masks
    in another folder.
    """
    wanted = {path.with_suffix("") for path in inputs}

    def fitting(folder: PurePosixPath) -> int:
        return sum((folder / name).with_suffix("") in wanted for name in names)

    best = max(_common_folders(inputs), key=fitting)
    return [best / name for name in names]


def _common_folders(paths: Collection[PurePosixPath]) -> list[PurePosixPath]:
    """The folders that all paths lie in, beginning with `.`."""
    parents = [str(path.parent) for path in paths] or ["."]
    common = PurePosixPath(posixpath.commonpath(parents))
    return [*reversed(common.parents), common]


def _depth(name: PurePosixPath) -> int:
    """For sorting: all folders are there before a file could take the name of one."""
    return -len(name.parts)


def _stem(path: Path) -> str:
    """A path without suffix; some file systems do not distinguish `a` and `A`."""
    return str(path.with_suffix("")).casefold()


def _free_path(path: Path, stems: Collection[str]) -> Path:
    """The path, or `a (2).png` if there is a file or a folder `a.png` from another upload, or a file
    with the stem `a`."""
    number, free = 2, path
    while os.path.lexists(free) or _stem(free) in stems:
        free = path.with_name(f"{path.stem} ({number}){path.suffix}")
        number += 1
    return free


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)


def option_path(folder: Path, option: str, *, whole: bool) -> str:
    """The path of the files of an option: their folder if `whole`, or else the only one."""
    place = folder / "options" / option
    if whole:
        return str(place)
    return str(next(path for path in sorted(place.rglob("*")) if path.is_file()))
