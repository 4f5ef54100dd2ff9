"""The plugins of examples/plugins: packages outside vaetools, that use its public names only."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

import pytest

import vaetools
from tests.examples.conftest import NAMES, PLUGINS
from tests.paths import ROOT
from vaetools.kit import check_plugin


@pytest.mark.parametrize("name", NAMES)
def test_each_passes_the_check(name: str) -> None:
    findings = check_plugin(PLUGINS / name)
    assert [f for f in findings if f.state == "fail"] == []
    noted = [f.text for f in findings if f.state == "note"]
    tried = [f for f in findings if f.subject == name and f.state == "ok"][2:]
    if name == "upscale":
        assert noted == ["not checked: upscale needs a network; name it with --graph"]
    else:
        assert noted == [] and len(tried) == 4


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_their_own_tests_pass(name: str) -> None:
    path = os.pathsep.join([str(PLUGINS / name / "src"), os.environ.get("PYTHONPATH", str(ROOT))])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=PLUGINS / name, env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout


OPEN_TO_PLUGINS = {"vaetools", "vaetools.graphcheck", "vaetools.tiling"}
"""What they import of vaetools; the last two are what the contract for plugins leaves open."""


@pytest.mark.parametrize("name", NAMES)
def test_they_use_public_names_only(name: str) -> None:
    for file in (PLUGINS / name / "src").rglob("*.py"):
        nodes = list(ast.walk(ast.parse(file.read_text())))
        used = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
        used |= {n.module or "" for n in nodes if isinstance(n, ast.ImportFrom) and not n.level}
        assert {module for module in used if module.startswith("vaetools")} <= OPEN_TO_PLUGINS
        names = {n.attr for n in nodes if isinstance(n, ast.Attribute) and _is_vaetools(n.value)}
        assert names <= {*vaetools.__all__}


def _is_vaetools(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "vaetools"
