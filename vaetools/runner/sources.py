"""The inputs of a run, in whichever form they are named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from vaetools.errors import NothingMatchedError, UsageError
from vaetools.image import SUFFIXES
from vaetools.record import kinds_of_files, plural
from vaetools.report.store import folder_of
from vaetools.runner.archive import TAR, is_tar
from vaetools.runner.filelist import FileList, listed_files, read_list
from vaetools.runner.inputs import FileFilter, Found, discover, generated_items
from vaetools.runner.tar import is_member_operation, takes_tars
from vaetools.runner.video import takes_videos
from vaetools.video import VIDEO_SUFFIXES, is_video

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.operation import Operation
    from vaetools.runner.inputs import Elsewhere, Source
    from vaetools.runner.journal import Journal
    from vaetools.runner.settings import RunSettings


def wanted_files(operation: Operation, settings: RunSettings, journal: Journal) -> FileFilter:
    """Which files of a folder are inputs of a run; its own outputs never are."""
    suffixes = tuple(sorted(SUFFIXES if operation.takes == "image" else operation.suffixes))
    if takes_videos(operation):
        suffixes += tuple(sorted(VIDEO_SUFFIXES))
    if has_tars := takes_tars(operation):
        suffixes += (TAR,)
    made = journal.outputs_of(operation.name)
    if settings.report is not None:
        made.add(os.path.realpath(settings.report))
    exclude = (*settings.exclude, *operation.never)
    apart = {os.path.realpath(path) for path in (settings.out, *operation.apart)}
    if settings.report is not None:
        apart.add(os.path.realpath(folder_of(Path(settings.report))))
    return FileFilter(suffixes, settings.include, exclude, apart, made, has_tars)


def find_inputs(
    operation: Operation,
    inputs: Sequence[str | Path] | FileList,
    settings: RunSettings,
    journal: Journal,
    elsewhere: Elsewhere | None = None,
) -> Found:
    """The inputs of a run; arguments and errors as for `run`."""
    wanted = wanted_files(operation, settings, journal)
    inputs = _listed(inputs, settings)
    if operation.takes == "nothing" and inputs:
        first = inputs.root if isinstance(inputs, FileList) else inputs[0]
        raise UsageError(f"{operation.name} takes no inputs", file=first)
    if isinstance(inputs, FileList):
        found = listed_files(inputs, wanted)
    elif operation.takes != "nothing":
        found = (discover if elsewhere is None else elsewhere.discover)(inputs, wanted)
    else:
        found = generated_items(operation.name, operation.items(), wanted)
    if not found.sources:
        others = plural(found.left_alone, "other file")
        if found.other_kinds:
            others += f": {kinds_of_files(found.other_kinds)}"
        kinds = f" the suffixes {' '.join(wanted.suffixes)}" if wanted.suffixes else ""
        raise NothingMatchedError(
            f"no input matched{kinds}", remedy=f"ignored {others}" if found.left_alone else None
        )
    return found


def refuse_local_only(operation: Operation, sources: Sequence[Source]) -> None:
    """Raise `UsageError` if there are videos or tars: these are local files only."""
    for source in sources:
        kinds = {
            "videos": operation.takes == "image" and is_video(source.relative),
            "tars": is_member_operation(operation) and is_tar(source.relative),
        }
        for kind in [kind for kind, is_one in kinds.items() if is_one]:
            raise UsageError(
                f"{kind} are processed from local files to local files only",
                file=source.path,
                remedy=f"copy it first, or --exclude '*{source.path.suffix}'",
            )


def _listed(
    inputs: Sequence[str | Path] | FileList, settings: RunSettings
) -> Sequence[str | Path] | FileList:
    """The inputs, or those of the list in the settings. Raises as `read_list`."""
    if settings.files_from is None:
        return inputs
    if inputs:
        first = inputs.root if isinstance(inputs, FileList) else inputs[0]
        raise UsageError("inputs and a list of files exclude each other", file=first)
    return read_list(settings.files_from, settings.root or ".")
