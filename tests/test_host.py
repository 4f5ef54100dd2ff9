"""A broken plugin costs itself and nothing else."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from vaetools import hookimpl, hookspecs
from vaetools.errors import PluginError
from vaetools.host import PluginHost
from vaetools.operation import Operation

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


def test_every_hook_is_documented() -> None:
    text = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text()
    hooks = [
        n for n, f in inspect.getmembers(hookspecs, inspect.isfunction) if n.startswith("register_")
    ]
    assert hooks
    for name in hooks:
        assert f"`{name}`" in text


def test_reserved_names_cover_commands_and_settings() -> None:
    from dataclasses import fields

    from vaetools.cli.app import COMMANDS
    from vaetools.hub import Hub
    from vaetools.operation import RESERVED_OPERATIONS, RESERVED_OPTIONS
    from vaetools.runner import RunSettings

    assert {field.name for field in fields(RunSettings)} <= RESERVED_OPTIONS
    public = {name for name in vars(Hub) if not name.startswith("_")}
    assert COMMANDS.keys() | public <= RESERVED_OPERATIONS


def test_entry_points_are_loaded_and_chosen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An installed distribution, as pip leaves it: metadata with an entry point beside the module."""
    (tmp_path / "vaetools_far.py").write_text(GOOD)
    info = tmp_path / "vaetools_far-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vaetools-far\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[vaetools]\nfar = vaetools_far\n")
    monkeypatch.syspath_prepend(tmp_path)
    host = PluginHost(builtin=False)
    found = {plugin.name: plugin for plugin in host.plugins}
    assert found["far"].origin == "vaetools-far 1.2" and found["far"].error is None
    assert "fine" in host.operations
    monkeypatch.setenv("VAETOOLS_PLUGINS", "")
    assert PluginHost(builtin=False).plugins == []
