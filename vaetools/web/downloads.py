"""What the server sends: inputs, outputs, previews, archives."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import quote

from starlette.responses import FileResponse

from vaetools.report.previews import BROWSER_SUFFIXES
from vaetools.web.limits import HttpError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from starlette.responses import Response

    from vaetools.web.jobs import Job

MEDIA = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".avif": "image/avif",
    ".bmp": "image/bmp",
}
"""Types of files that are displayed; others are only saved."""


def sent_file(files: Mapping[str, Path], name: str) -> Response:
    """One of the known files; others do not exist."""
    path = files.get(name)
    if path is None or not path.is_file():
        raise HttpError(404, "there is no such file")
    kind = MEDIA.get(path.suffix.lower())
    if kind is None:
        return FileResponse(path, media_type="application/octet-stream", filename=path.name)
    return FileResponse(
        path, media_type=kind, filename=path.name, content_disposition_type="inline"
    )


def with_urls(job: Job, shot: dict[str, Any]) -> dict[str, Any]:
    """A preview with URLs of this server in place of paths and names."""
    path = Path(shot["file"])
    base = f"/api/jobs/{job.id}"
    for part, folder in (("inputs", job.folder / "in"), ("outputs", job.folder / "out")):
        if path.is_relative_to(folder):
            relative = "/".join(path.relative_to(folder).parts)
            shot = {**shot, "file": f"{base}/{part}/{quote(relative)}", "name": relative}
    for name in ("thumbnail", "view"):
        if shot[name] and shot["role"] != "video":
            shot = {**shot, name: f"{base}/previews/{shot[name]}"}
    return {**shot, "direct": shot["direct"] and path.suffix.lower() in BROWSER_SUFFIXES}


class _Pipe:
    """A file that a zip archive is written to, piece by piece."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self.pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is buffered elsewhere."""

    def take(self) -> bytes:
        data, self.pieces = b"".join(self.pieces), []
        return data


def zipped(files: Mapping[str, Path]) -> Iterator[bytes]:
    """A zip archive in pieces; images are stored as they are."""
    pipe = _Pipe()
    with zipfile.ZipFile(cast("IO[bytes]", pipe), "w", zipfile.ZIP_STORED) as archive:
        for name, safe in zip_names(files).items():
            with (
                files[name].open("rb") as source,
                archive.open(_entry(files[name], safe), "w") as target,
            ):
                while data := source.read(1 << 20):
                    target.write(data)
                    yield pipe.take()
    yield pipe.take()


def _entry(path: Path, name: str) -> zipfile.ZipInfo:
    """The entry of a file; zip archives know no time before 1980."""
    return zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)


def zip_names(outputs: Iterable[str]) -> dict[str, str]:
    """The name of each output in an archive: relative, without `..`; different ones stay different."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for name in outputs:
        parts = [p for p in name.replace("\\", "/").split("/") if p not in ("", ".", "..")]
        safe = "/".join(part.replace(":", "_") for part in parts) or "file"
        free, number = safe, 2
        while free in taken:
            free, number = f"{number}-{safe}", number + 1
        taken.add(free)
        names[name] = free
    return names
