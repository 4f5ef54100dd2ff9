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
