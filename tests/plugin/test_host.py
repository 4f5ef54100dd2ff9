"""A broken plugin costs itself and nothing else."""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.paths import DOCS
from vaetools import hookimpl
from vaetools.cli import main
from vaetools.errors import ModelNotFoundError, PluginError
from vaetools.hub import Hub
from vaetools.model.manifest import FILE_NAME
from vaetools.operation import Operation
from vaetools.plugin import hookspecs
from vaetools.plugin.host import PluginHost
from vaetools.testing import TINY, gradient

GOOD = """
import vaetools
class Fine(vaetools.Operation):
    "Works."
    name = "fine"
    def process(self, item): return item
@vaetools.hookimpl
def register_operations(): return [Fine]
"""

BROKEN = {
    "raises": "raise RuntimeError('no luck')",
    "exits": "import sys; sys.exit(3)",
    "syntax": "def (",
    "imports": "import a_module_that_is_not_there",
    "no_hook": "def register_operations(): return []",
    "misspelt": "from vaetools import hookimpl\n@hookimpl\ndef register_operation(): return []",
    "fails_in_hook": "from vaetools import hookimpl\n@hookimpl\ndef register_operations(): 1 / 0",
    "wrong_value": "from vaetools import hookimpl\n@hookimpl\ndef register_operations(): return ['x']",
    "arguments": "from vaetools import hookimpl\n@hookimpl\ndef register_operations(x): return []",
    "taken_option": GOOD.replace(
        "    def process",
        "    from dataclasses import dataclass\n    @dataclass(frozen=True)\n"
        "    class Options:\n        jobs: int = 1\n    def process",
    ).replace('"fine"', '"other"'),
    "taken_name": GOOD.replace('"fine"', '"eval"'),
    "bad_option": GOOD.replace(
        "    def process",
        "    from dataclasses import dataclass\n    @dataclass(frozen=True)\n"
        "    class Options:\n        x: dict = None\n    def process",
    ).replace('"fine"', '"other"'),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_plugin_is_named_and_the_others_work(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a_bad.py").write_text(BROKEN[kind])
    (tmp_path / "b_good.py").write_text(GOOD)
    host = PluginHost(builtin=False, installed=False, folders=[tmp_path])
    assert [p.name for p in host.broken] == ["a_bad"]
    error = host.broken[0].error
    assert error is not None and error.code == "E050" and "a_bad" in error.line
    assert list(host.operations) == ["fine"]


def test_help_survives_everything_that_a_plugin_does(tmp_path: Path) -> None:
    """In a process of its own, as a user has it: help on stdout alone, one line for each culprit."""
    for name, text in BROKEN.items():
        (tmp_path / f"{name}.py").write_text(f"print('I am {name}')\n{text}")
    (tmp_path / "z_good.py").write_text(f"print('good morning'){GOOD}")
    words = [sys.executable, "-m", "vaetools", "--plugins-dir", str(tmp_path), "--help"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: vaetools") and "I am" not in done.stdout
    assert re.search(r"^  fine +Works\.$", done.stdout, re.MULTILINE)
    culprits = [line.split()[1].rstrip(":") for line in done.stderr.splitlines() if "E050" in line]
    assert sorted(culprits) == sorted(BROKEN)


def test_the_trace_shows_plugins_and_their_hooks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VAETOOLS_TRACE", "1")
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "raises.py").write_text(BROKEN["raises"])
    PluginHost(builtin=False, installed=False, folders=[tmp_path])
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(r"register_operations --> \[\[<class '.*Fine'>\]\] \[hook\]", err)
    assert re.search(r"^good \(.*good\.py\) loaded \d+\.\d+ s \[plugin\]$", err, re.MULTILINE)
    assert re.search(r"^raises .* RuntimeError: no luck .*\[plugin\]$", err, re.MULTILINE)
    monkeypatch.setenv("VAETOOLS_TRACE", "0")
    PluginHost(builtin=False, installed=False, folders=[tmp_path])
    assert capsys.readouterr().err == ""


def test_duplicate_names_are_refused_and_both_are_named(tmp_path: Path) -> None:
    (tmp_path / "first.py").write_text(GOOD)
    (tmp_path / "second.py").write_text(GOOD)
    host = PluginHost(builtin=False, installed=False, folders=[tmp_path])
    assert host.broken[0].name == "second"
    assert "'first'" in host.broken[0].error.line  # type: ignore[union-attr]


def test_packages_with_relative_imports_load(tmp_path: Path) -> None:
    package = tmp_path / "packed"
    package.mkdir()
    (package / "__init__.py").write_text("from .inner import register_operations")
    (package / "inner.py").write_text(GOOD)
    host = PluginHost(builtin=False, installed=False, folders=[tmp_path])
    assert not host.broken and list(host.operations) == ["fine"]


def test_threads_never_see_half_of_a_module(tmp_path: Path) -> None:
    (tmp_path / "slow_one.py").write_text(
        "import time\n"
        "time.sleep(0.2)\n"
        "import vaetools\n"
        "@vaetools.hookimpl\n"
        "def register_operations():\n"
        "    return []\n"
    )
    with ThreadPoolExecutor(2) as pool:
        hosts = [pool.submit(PluginHost, installed=False, folders=[tmp_path]) for _ in range(2)]
    assert [host.result().broken for host in hosts] == [[], []]


def test_what_is_registered_counts_in_the_next_call(tiny_models: Path, tmp_path: Path) -> None:
    hub = Hub(PluginHost(installed=False), [tiny_models], device="cpu", threads=1)
    hub.reconstruct(gradient())
    other = tmp_path / "more" / "other"
    shutil.copytree(tiny_models / TINY, other)
    manifest = other / FILE_NAME
    manifest.write_text(manifest.read_text().replace(f'"{TINY}"', '"other"'))

    class Plugin:
        @hookimpl
        def register_models(self) -> list[Path]:
            return [other.parent]

    hub.register(Plugin())
    with pytest.raises(ModelNotFoundError, match="2 models fit"):
        hub.reconstruct(gradient())


def test_objects_register_or_raise() -> None:
    class Fine(Operation):
        name = "fine"

        def process(self, item: bytes) -> bytes:
            return item

    class Plugin:
        @hookimpl
        def register_operations(self) -> list[type[Operation]]:
            return [Fine]

    host = PluginHost(builtin=False, installed=False)
    host.register(Plugin())
    assert list(host.operations) == ["fine"]
    with pytest.raises(PluginError, match="registered by"):
        host.register(Plugin(), name="again")
    assert len(host.plugins) == 1


def test_missing_folder_is_reported(tmp_path: Path) -> None:
    host = PluginHost(builtin=False, installed=False, folders=[tmp_path / "nowhere"])
    assert host.broken[0].error is not None


def test_built_in_plugins_are_sound() -> None:
    host = PluginHost(installed=False)
    assert not host.broken
    assert {"compress", "decompress"} <= host.operations.keys()


HOOKS = {
    name
    for name, function in inspect.getmembers(hookspecs, inspect.isfunction)
    if function.__module__ == hookspecs.__name__
}

USES = {
    "register_operations": GOOD,
    "register_models": """
import pathlib, vaetools
@vaetools.hookimpl
def register_models(): return [pathlib.Path(__file__).parent / "models"]
""",
    "register_commands": """
import click, vaetools
@click.command("greet")
def greet(): click.echo("hello")
@vaetools.hookimpl
def register_commands(): return [greet]
""",
}
"""A plugin for each hook."""


def test_every_hook_is_documented_and_used_by_a_test() -> None:
    text = (DOCS / "plugins.md").read_text()
    assert HOOKS
    assert {name for name in HOOKS if f"| `{name}` |" in text} == HOOKS
    assert USES.keys() == HOOKS


def test_every_hook_that_is_named_exists() -> None:
    places = [*DOCS.glob("*.md"), DOCS.parent / "README.md", DOCS.parent / "CHANGELOG.md"]
    named = {name for p in places for name in re.findall(r"\bregister_[a-z_]+", p.read_text())}
    assert named == HOOKS


def test_what_hooks_return_is_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_models: Path
) -> None:
    """Operations can be called, models opened, commands typed."""
    shutil.copytree(tiny_models, tmp_path / "plugins" / "models")
    for name, text in USES.items():
        (tmp_path / "plugins" / f"{name}.py").write_text(text)
    host = PluginHost(builtin=False, installed=False, folders=[tmp_path / "plugins"])
    assert not host.broken
    assert {hook for plugin in host.plugins for hook in plugin.hooks} == HOOKS
    hub = Hub(host, [], device="cpu", threads=1)
    picture = gradient()
    assert np.array_equal(hub.fine(picture), picture)
    assert hub.registry.open("tiny-vae").id == "tiny-vae"
    with pytest.raises(SystemExit) as caught:
        main(["--plugins-dir", str(tmp_path / "plugins"), "greet"])
    assert not caught.value.code and capsys.readouterr().out == "hello\n"


def test_reserved_names_cover_commands_and_settings() -> None:
    from dataclasses import fields

    from vaetools.cli.app import COMMANDS
    from vaetools.hub import Hub
    from vaetools.operation import RESERVED_OPERATIONS, RESERVED_OPTIONS
    from vaetools.runner import RunSettings

    # An operation with an option `to` names its outputs itself.
    assert {field.name for field in fields(RunSettings)} - {"to"} <= RESERVED_OPTIONS
    public = {name for name in vars(Hub) if not name.startswith("_")}
    assert COMMANDS.keys() | public <= RESERVED_OPERATIONS
