"""Files in the user's data folder that tell a desktop what `.vae` files are.

Specifications of freedesktop.org: Shared MIME-info Database; XDG Base Directory; Desktop Entry.
Thumbnailer entries are GNOME's; tumbler (Xfce), Nemo and Caja read them as well.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vaetools.codec.container import MAGIC, SUFFIX
from vaetools.codec.info import MIME
from vaetools.errors import OutputError, UsageError
from vaetools.runner.atomic import write_files

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = f"""\
<?xml version="1.0" encoding="UTF-8"?>
<mime-info xmlns="http://www.freedesktop.org/standards/shared-mime-info">
  <mime-type type="{MIME}">
    <comment>vaetools image</comment>
    <generic-icon name="image-x-generic"/>
    <magic priority="60">
      <match type="string" offset="0" value="\\x{MAGIC[0]:02x}{MAGIC[1:].decode()}"/>
    </magic>
    <glob pattern="*{SUFFIX}"/>
  </mime-type>
</mime-info>
"""

THUMBNAILER = """\
[Thumbnailer Entry]
TryExec={program}
Exec={command} -P -m vaetools desktop thumbnail %i %o %s
MimeType={mime};
"""

VIEWER = """\
[Desktop Entry]
Type=Application
Name=vaetools view
Comment=Show .vae images in the browser
TryExec={program}
Exec={command} -P -m vaetools view --keep-going %F
MimeType={mime};
Icon=image-x-generic
NoDisplay=true
Terminal=false
"""
"""Opens files by a double click; without files it would show nothing, so it is in no menu.

Without `-P`, Python would load modules from the folder that the desktop starts it in."""

UPDATES = {
    "update-mime-database": ("mime", "shared-mime-info"),
    "update-desktop-database": ("applications", "desktop-file-utils"),
}
"""Programs that make what was written known: the folder that they take, and their package."""


def install() -> Iterator[str]:
    """Write the MIME type, the thumbnailer and the entry of the viewer; equal files are left alone.

    Yields:
        One line for each thing that was done.

    Raises:
        UsageError: this system has no freedesktop.org desktop. OutputError: a file cannot be written.
    """
    _check_platform()
    data = data_home()
    changed = False
    for path, text in _files(data).items():
        if _text_of(path) == text:
            yield f"unchanged {path}"
            continue
        try:
            write_files([(path, text.encode())])
        except OSError as error:
            raise OutputError(f"cannot be written: {error.strerror}", file=path) from error
        yield f"wrote {path}"
        changed = True
    if changed:
        yield from _update(data)


def uninstall() -> Iterator[str]:
    """Remove what `install` wrote, if it is there.

    Yields, raises: as `install`.
    """
    _check_platform()
    data = data_home()
    changed = False
    for path in _files(data):
        try:
            path.unlink()
        except FileNotFoundError:
            yield f"not there {path}"
            continue
        except OSError as error:
            raise OutputError(f"cannot be removed: {error.strerror}", file=path) from error
        yield f"removed {path}"
        changed = True
    if changed:
        yield from _update(data)


def data_home() -> Path:
    """`$XDG_DATA_HOME` if it is an absolute path, as the specification says, or its default."""
    given = Path(os.environ.get("XDG_DATA_HOME", ""))
    if given.is_absolute():
        return given
    try:
        return Path.home() / ".local" / "share"
    except RuntimeError as error:
        raise UsageError("there is no home folder", remedy="set XDG_DATA_HOME") from error


def _files(data: Path) -> dict[Path, str]:
    """The files and their content."""
    values = {
        "program": _key_value(sys.executable),
        "command": _key_value(_quoted(sys.executable)),
        "mime": MIME,
    }
    return {
        data / "mime" / "packages" / "vaetools.xml": PACKAGE,
        data / "thumbnailers" / "vaetools.thumbnailer": THUMBNAILER.format(**values),
        data / "applications" / "vaetools-view.desktop": VIEWER.format(**values),
    }


def _quoted(program: str) -> str:
    """A word of an `Exec` line: quoted as for a shell, with fields such as `%i` still to be filled."""
    escaped = "".join(f"\\{c}" if c in '"`$\\' else c for c in program)
    return f'"{escaped.replace("%", "%%")}"'


def _key_value(text: str) -> str:
    """A value of a desktop entry, where a backslash is an escape."""
    return text.replace("\\", "\\\\")


def _text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def _update(data: Path) -> Iterator[str]:
    """Rebuild the user's databases, where the programs for it are there; yields one line for each."""
    for name, (part, package) in UPDATES.items():
        folder = data / part
        folder.mkdir(parents=True, exist_ok=True)
        program = shutil.which(name)
        if program is None:
            yield f"not run {name}: it is not installed; log in again, or install {package}"
            continue
        done = subprocess.run([program, folder], capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise OutputError(f"{name} failed: {done.stderr.strip()}", file=folder)
        yield f"ran {name} {folder}"


def _check_platform() -> None:
    if sys.platform in ("win32", "darwin"):
        raise UsageError(f"this is for desktops of freedesktop.org, not for {sys.platform}")
