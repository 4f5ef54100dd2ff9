"""`vaetools plugins check PATH`: a plugin is loaded and tried in a process of its own.

So whatever it does, exit and crash included, costs that process only, and time is limited. It prints
one line of JSON for each thing that was found; `check_plugin` reads them.
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
from vaetools.plugin.hookspecs import PROJECT
from vaetools.tomlfile import read_toml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vaetools.plugin.host import Plugin, PluginHost


def check_plugin(path: Path, *, seconds: float = 60.0) -> list[Finding]:
    """Load a plugin and try its operations on small pictures with a tiny model.

    Args:
        path: a Python file, the folder of a package, or that of a project whose `pyproject.toml`
            names entry points of the group `vaetools`.
        seconds: what all of it may take.

    Raises:
        UsageError: there is nothing, or a project without plugins; or pytest is not installed, which
            `vaetools.testing` needs.
    """
    if not path.exists():
        raise UsageError("there is no such file or folder", file=path)
    if importlib.util.find_spec("pytest") is None:
        raise UsageError("checking plugins needs pytest", remedy="pip install pytest")
    _entry_points(path)
    words = [sys.executable, "-m", "vaetools.kit.check", str(path.resolve())]
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
    """Findings from lines of JSON; one that was cut short is left out."""
    text = lines.decode(errors="replace") if isinstance(lines, bytes) else lines
    return [Finding(**json.loads(line)) for line in text.split("\n")[:-1]]


def main(path: Path) -> None:
    """What the process does: print findings as they come."""
    from vaetools.kit.trial import trial  # in the child process only: it imports the hub
    from vaetools.plugin.host import PluginHost

    stdout = sys.stdout
    sys.stdout = sys.stderr  # plugins may print what they like
    with tempfile.TemporaryDirectory() as models:
        host = PluginHost(installed=False)
        for finding in (f for p in _load(host, path) for f in trial(host, p, Path(models))):
            stdout.write(json.dumps(asdict(finding)) + "\n")
            stdout.flush()


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
    """Name -> module of a project's plugins; nothing if it is no project. Raises `UsageError`."""
    project = path / "pyproject.toml"
    if not project.exists():
        return {}
    points: Any = read_toml(project, UsageError)
    for key in ("project", "entry-points", PROJECT):
        points = points.get(key) if isinstance(points, dict) else None
    if not isinstance(points, dict) or not points:
        raise UsageError(f"names no entry points of the group {PROJECT}", file=project)
    return points


if __name__ == "__main__":
    main(Path(sys.argv[1]))
