"""`vaetools plugins stubs`: type checkers and editors know the operations of plugins."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import PLUGINS, ROOT
from vaetools.cli import main


def stubs(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["--plugins-dir", str(PLUGINS), "plugins", "stubs", *map(str, words)])
    return int(caught.value.code or 0), *capsys.readouterr()


def methods(text: str) -> dict[str, ast.FunctionDef]:
    (body,) = (node for node in ast.parse(text).body if isinstance(node, ast.ClassDef))
    return {node.name: node for node in body.body if isinstance(node, ast.FunctionDef)}


def test_all_operations_have_typed_methods(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = stubs(capsys, "-o", tmp_path)
    assert code == 0 and str(tmp_path / "vaetools-stubs") in out
    assert (tmp_path / "vaetools-stubs" / "py.typed").read_text() == "partial\n"
    found = methods((tmp_path / "vaetools-stubs" / "hub_methods.pyi").read_text())
    assert {"dust", "grain", "compress", "mask_dust"} <= found.keys()
    dust = found["dust"]
    assert "amount" in [argument.arg for argument in dust.args.kwonlyargs]
    assert stubs(capsys, "-o", tmp_path)[0] == 0  # over its own files


def test_nothing_else_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "vaetools-stubs"
    place.mkdir()
    (place / "hub_methods.pyi").write_text("mine")
    code, _, err = stubs(capsys, "-o", tmp_path)
    assert code == 2 and err.startswith("E081 ") and "exists and was not generated" in err
    assert (place / "hub_methods.pyi").read_text() == "mine"
    (tmp_path / "file").write_text("")
    code, _, err = stubs(capsys, "-o", tmp_path / "file")
    assert code == 1 and err.startswith("E070 ") and "choose another folder with -o" in err


def test_the_module_of_the_built_in_operations(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ruff")  # formats what is compared
    code, out, _ = stubs(capsys, "--built-in")
    words = [sys.executable, "-m", "ruff", "format", "--stdin-filename", "made.pyi", "-"]
    done = subprocess.run(words, input=out, capture_output=True, text=True, check=True, cwd=ROOT)
    assert code == 0 and done.stdout == (ROOT / "vaetools" / "hub_methods.pyi").read_text()
    assert stubs(capsys, "--built-in", "-o", "x")[0] == 2


USE = """
import vaetools
hub = vaetools.open()
noisy = hub.dust("a.png", amount=0.3)
noisy.shape
hub.dust("a.png", amuont=0.3)
hub.nothing("a.png")
"""


@pytest.mark.slow
def test_a_type_checker_knows_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stubs(capsys, "-o", tmp_path / "site")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "use.py").write_text(USE)
    path = [tmp_path / "site", ROOT, ROOT / "plugins", ROOT / "exported_models"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "use.py"],
        cwd=tmp_path / "project",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert len(errors) == 2, done.stdout
    assert 'did you mean "amount"?' in errors[0] and '"nothing"' in errors[1]
