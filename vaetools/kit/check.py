"""`vaetools plugins check PATH`: loads and checks a plugin in a separate process.

A plugin that exits, crashes or hangs ends only that process. The process prints each finding as a
line of JSON, which `check_plugin` reads.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaetools.errors import UsageError
from vaetools.kit.finding import Finding
from vaetools.model.child import child_command, own_stdout
from vaetools.plugin.hookspecs import PROJECT
from vaetools.tomlfile import read_toml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vaetools.plugin.host import PluginHost
    from vaetools.plugin.registered import Plugin


def check_plugin(path: Path, *, seconds: float = 60.0) -> list[Finding]:
    """Load a plugin and check its operations on small images, with a tiny model.

    Args:
        path: a Python file, the folder of a package, or the folder of a project whose
            `pyproject.toml` has entry points of the group `vaetools`.
        seconds: time limit.

    Raises:
        UsageError: the path does not exist or is a project without plugins; or pytest, which
            `vaetools.testing` needs, is not installed.
    """
    if not path.exists():
        raise UsageError("no such file or folder", file=path)
    if importlib.util.find_spec("pytest") is None:
        raise UsageError("the check of plugins needs pytest", remedy="pip install pytest")
    _entry_points(path)
    words = child_command("vaetools.kit.check", str(path.resolve()))
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=seconds)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        found = _read(error.stdout or b"")
        return [*found, Finding("fail", path.name, f"takes more than {seconds:g} s")]
    found = _read(done.stdout)
    if done.returncode != 0:
        (*_, last) = ["", *done.stderr.splitlines()]
        problem = f"its process ended with code {done.returncode}: {last}".rstrip(": ")
        return [*found, Finding("fail", path.name, problem)]
    return found


def _read(lines: str | bytes) -> list[Finding]:
    """Findings from lines of JSON, without a last line that is incomplete."""
    text = lines.decode(errors="replace") if isinstance(lines, bytes) else lines
    return [Finding(**json.loads(line)) for line in text.split("\n")[:-1]]


def main() -> None:
    """What the separate process does: print findings as they come."""
    out = own_stdout()  # imports of plugins and of libraries may print what they like
    path = Path(sys.argv[1])
    from vaetools.kit.trial import trial  # in the child process only: it imports the hub
    from vaetools.plugin.host import PluginHost

    with tempfile.TemporaryDirectory() as models:
        host = PluginHost(installed=False)
        for finding in (f for p in _load(host, path) for f in trial(host, p, Path(models))):
            out.write(json.dumps(asdict(finding)) + "\n")
            out.flush()


def _load(host: PluginHost, path: Path) -> Iterator[Plugin]:
    """The plugins of a file, a package or a project."""
    points = _entry_points(path)
    if not points:
        yield host.load_path(path)
        return
    sys.path[:0] = [str(path / "src"), str(path)]
    for name, module in points.items():
        yield host.load(name, str(path), functools.partial(importlib.import_module, module))


def _entry_points(path: Path) -> dict[str, str]:
    """Name -> module of the plugins of a project; empty if it is not one. Raises `UsageError`."""
    project = path / "pyproject.toml"
    if not project.exists():
        return {}
    points: Any = read_toml(project, UsageError)
    for key in ("project", "entry-points", PROJECT):
        points = points.get(key) if isinstance(points, dict) else None
    if not isinstance(points, dict) or not points:
        raise UsageError(f"has no entry points of the group {PROJECT}", file=project)
    return points
