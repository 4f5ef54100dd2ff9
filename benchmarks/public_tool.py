"""What the checks of `public_cases` share: a desk of files, programs to run, verdicts."""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
import traceback
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image

if TYPE_CHECKING:
    from collections.abc import Callable

PNG_HEADER_END = 33
"""Of the signature and IHDR, which always have this size together."""


class WrongError(Exception):
    """A result is not right; the text says what was seen."""


class SkipError(Exception):
    """A program that the check needs is not there."""


@dataclass(frozen=True)
class Check:
    """One report, tried.

    Attributes:
        name: `F01a`: the fault and a letter.
        title: what is right.
        body: raises `WrongError` if it is not.
        needs: programs.
    """

    name: str
    title: str
    body: Callable[[Desk], None]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ended:
    """What a program left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> str:
        return f"{self.out}\n{self.err}"

    def refused(self, pattern: str = r"E\d{3} ") -> bool:
        """Whether it failed with a line that matches, which is no unexpected error."""
        return self.code != 0 and bool(re.search(pattern, self.err)) and "E099" not in self.lines


class Desk:
    """A folder for the files of a check."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def __truediv__(self, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def vaetools(self, line: str, **more: Any) -> Ended:
        """Run a command line of vaetools in the folder."""
        return self.run([sys.executable, "-m", "vaetools", *shlex.split(line)], **more)

    def done(self, line: str) -> Ended:
        """The same; raises `WrongError` if it fails."""
        ended = self.vaetools(line)
        if ended.code != 0:
            raise WrongError(f"`vaetools {line}` failed: {ended.err.strip().splitlines()[-1:]}")
        return ended

    def python(self, text: str) -> Ended:
        return self.run([sys.executable, "-c", text])

    def tool(self, line: str) -> Ended:
        """Run another program. Raises `RuntimeError` if it fails."""
        words = shlex.split(line)
        if words[0] == "ffmpeg":
            words[1:1] = ["-hide_banner", "-loglevel", "error", "-nostdin", "-y"]
        ended = self.run(words)
        if ended.code != 0:
            raise RuntimeError(f"{line}: {ended.err}")
        return ended

    def run(self, words: list[str], **more: Any) -> Ended:
        ended = subprocess.run(  # noqa: PLW1510 - the caller looks at the status
            words, cwd=self.folder, capture_output=True, text=True, timeout=300, env=_env(), **more
        )
        return Ended(ended.returncode, ended.stdout or "", ended.stderr or "")


def _env() -> dict[str, str]:
    """The environment with absolute paths in PYTHONPATH."""
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(str(Path(p).resolve()) for p in paths if p)}


def judged(check: Check, folder: Path) -> tuple[str, str]:
    """(`right`, `WRONG` or `skipped`; what was seen)."""
    for program in check.needs:
        if shutil.which(program) is None:
            return "skipped", f"{program} is not installed"
    try:
        check.body(Desk(folder))
    except SkipError as error:
        return "skipped", str(error)
    except (WrongError, AssertionError) as error:
        return "WRONG", str(error) or traceback.format_exc().splitlines()[-2].strip()
    except Exception as error:  # noqa: BLE001 - a check that cannot be made is not right
        return "WRONG", f"{type(error).__name__}: {error}"
    return "right", ""


def expect(right: object, seen: object) -> None:
    """Raise `WrongError` with what was seen unless it is right."""
    if not right:
        raise WrongError(str(seen))


def gradient(height: int = 120, width: int = 160) -> np.ndarray:
    """A smooth RGB image with some texture."""
    y, x = np.mgrid[:height, :width]
    waves = 20 * np.sin(x / 3) * np.cos(y / 5)
    planes = [x * 255 / width, y * 255 / height, 128 + waves]
    return np.clip(np.dstack(planes) + waves[..., None] / 4, 0, 255).astype(np.uint8)


HOLE = (slice(40, 50), slice(60, 70))


def red_square(height: int = 120, width: int = 160) -> np.ndarray:
    """An image with a red square in `HOLE`."""
    image = gradient(height, width) // 4 + 90
    image[HOLE] = (250, 10, 10)
    return image


def square_mask(desk: Desk) -> None:
    mask = np.zeros((120, 160), np.uint8)
    mask[38:52, 58:72] = 255
    save(desk / "m.png", mask)


def save(path: Path, pixels: np.ndarray | PIL.Image.Image, **saved: Any) -> Path:
    image = pixels if isinstance(pixels, PIL.Image.Image) else PIL.Image.fromarray(pixels)
    image.save(path, **saved)
    return path


def pixels(path: Path) -> np.ndarray:
    """RGB as Pillow decodes it, before any orientation."""
    with PIL.Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def encoded(image: np.ndarray, kind: str = "JPEG", **saved: Any) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, kind, **saved)
    return buffer.getvalue()


def exif_block(
    *,
    orientation: int = 1,
    thumbnail: bytes = b"",
    size: tuple[int, int] | None = None,
    make: str = "Canon",
) -> bytes:
    """An EXIF block, big-endian, as cameras write it: IFD0, Exif IFD with sizes, IFD1 with thumbnail."""
    name = make.encode() + b"\0"
    width, height = size or (1, 1)
    exif_at = 8 + 2 + 3 * 12 + 4
    first = struct.pack(">H", 3)
    name_at = exif_at + 2 + 2 * 12 + 4
    first += struct.pack(">HHII", 271, 2, len(name), name_at)
    first += struct.pack(">HHIHH", 274, 3, 1, orientation, 0)
    first += struct.pack(">HHII", 34665, 4, 1, exif_at)
    thumb_ifd = name_at + len(name) + len(name) % 2
    first += struct.pack(">I", thumb_ifd if thumbnail else 0)
    sizes = struct.pack(">H", 2) + struct.pack(">HHII", 40962, 4, 1, width)
    sizes += struct.pack(">HHII", 40963, 4, 1, height) + struct.pack(">I", 0)
    block = b"MM\0*\0\0\0\x08" + first + sizes + name + b"\0" * (len(name) % 2)
    if thumbnail:
        at = thumb_ifd + 2 + 3 * 12 + 4
        block += struct.pack(">H", 3) + struct.pack(">HHIHH", 259, 3, 1, 6, 0)
        block += struct.pack(">HHII", 513, 4, 1, at)
        block += struct.pack(">HHII", 514, 4, 1, len(thumbnail)) + struct.pack(">I", 0) + thumbnail
    return b"Exif\0\0" + block


def exif_of(path: Path) -> bytes:
    with PIL.Image.open(path) as image:
        return bytes(image.info.get("exif") or b"")


def thumbnail_of(path: Path) -> np.ndarray | None:
    """The JPEG inside the EXIF block, turned as the image is."""
    exif = exif_of(path)
    at = exif.find(b"\xff\xd8\xff")
    if at < 0:
        return None
    with PIL.Image.open(path) as image:
        orientation = image.getexif().get(274, 1)
    with PIL.Image.open(io.BytesIO(exif[at:])) as image:
        found = np.asarray(image.convert("RGB"))
    return {1: found, 3: found[::-1, ::-1], 6: np.rot90(found, -1), 8: np.rot90(found)}[orientation]


def red_pixels(image: np.ndarray | None) -> int:
    if image is None:
        return 0
    wide = image.astype(int)
    return int(((wide[..., 0] > 150) & (wide[..., 1] < 90) & (wide[..., 2] < 90)).sum())


def with_chunks(path: Path, chunks: dict[bytes, bytes]) -> None:
    """Put chunks right behind the header of a PNG file."""
    data = path.read_bytes()
    made = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks.items()
    )
    path.write_bytes(data[:PNG_HEADER_END] + made + data[PNG_HEADER_END:])


def chunks_of(path: Path) -> dict[bytes, bytes]:
    """The chunks of a PNG file; of several of a kind the first."""
    data, at = path.read_bytes(), 8
    found: dict[bytes, bytes] = {}
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        found.setdefault(data[at + 4 : at + 8], data[at + 8 : at + 8 + length])
        at += 12 + length
    return found


def collector(checks: list[Check]) -> Callable[..., Callable[[Any], Any]]:
    """A decorator that adds a function to a list of checks."""

    def check(name: str, title: str, *needs: str) -> Callable[[Any], Any]:
        def add(body: Callable[[Desk], None]) -> Callable[[Desk], None]:
            checks.append(Check(name, title, body, needs))
            return body

        return add

    return check
