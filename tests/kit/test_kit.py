"""The plugin author's kit: what `plugins new` writes works, and `plugins check` finds what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.paths import ROOT
from vaetools.cli import main
from vaetools.errors import ExistsError, UsageError
from vaetools.kit import Finding, check_plugin, new_plugin

HEAD = "import dataclasses, os, sys, time\nimport numpy as np\nimport vaetools\n"
CLASS = """
class Bad(vaetools.{base}):
    "Does something wrong."
    name = "bad"
    state = []
    {body}
@vaetools.hookimpl
def register_operations(): return [Bad]
"""


def plugin(folder: Path, body: str, base: str = "Operation", before: str = "") -> Path:
    path = folder / "bad.py"
    path.write_text(HEAD + before + CLASS.format(base=base, body=body))
    return path


def failures(findings: list[Finding]) -> list[str]:
    return [finding.text for finding in findings if finding.state == "fail"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return new_plugin("night-sky", tmp_path)


def run(*words: object, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *(str(word) for word in words)]
    environment = {**os.environ, **more}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_a_new_package_passes_its_own_tests_and_the_check(project: Path) -> None:
    path = os.pathsep.join([str(project / "src"), os.environ.get("PYTHONPATH", str(ROOT))])
    tests = run("pytest", "-q", "-p", "no:cacheprovider", cwd=project, PYTHONPATH=path)
    assert tests.returncode == 0, tests.stdout
    findings = check_plugin(project)
    assert {finding.state for finding in findings} == {"ok"}
    assert [f.subject for f in findings].count("night-sky") == 6
    assert "strength (float, 0 … 1, default 0.5)" in findings[1].text


@pytest.mark.slow
def test_a_new_package_is_found_once_it_is_installed(project: Path, tmp_path: Path) -> None:
    """Its entry point as pip writes it; `test_a_new_package_is_built` is the real thing."""
    info = project / "src" / "vaetools_night_sky-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: vaetools-night-sky\nVersion: 0.1.0\n"
    )
    (info / "entry_points.txt").write_text("[vaetools]\nnight-sky = vaetools_night_sky\n")
    path = os.pathsep.join([str(project / "src"), os.environ.get("PYTHONPATH", str(ROOT))])
    shown = run("vaetools", "plugins", cwd=tmp_path, PYTHONPATH=path)
    assert "vaetools-night-sky 0.1.0" in shown.stdout
    text = run("vaetools", "night-sky", "--help", cwd=tmp_path, PYTHONPATH=path)
    assert "--strength" in text.stdout


@pytest.mark.slow
def test_a_new_package_is_built(project: Path, tmp_path: Path) -> None:
    """Needs a package index for hatchling."""
    words = ["pip", "install", "-q", "--no-deps", "--target", tmp_path / "site", project]
    installed = run(*words, cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr
    path = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", str(ROOT))])
    assert "night-sky" in run("vaetools", "plugins", cwd=tmp_path, PYTHONPATH=path).stdout


@pytest.mark.parametrize("name", ["Night", "night sky", "../night", "1st", "night-", "", "n\n"])
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is not a valid name"):
        new_plugin(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_and_taken_names_are_refused(project: Path, tmp_path: Path) -> None:
    with pytest.raises(ExistsError):
        new_plugin("night-sky", tmp_path)
    with pytest.raises(UsageError, match="the name 'night' is taken"):
        new_plugin("night", tmp_path, taken={"night"})


STATE = """def apply(self, image):
        self.state.append(image.mean())
        return image * 0 + len(self.state) / 10"""
CHANGES = """def process(self, item):
        item.pixels[:] = 0
        return item"""
NEEDS_TEXT = """@dataclasses.dataclass(frozen=True)
    class Options:
        text: str | None = vaetools.option(None, required=True)
    def process(self, item): return item"""
TEXT = """def outputs(self, source): return [source.with_suffix('.txt')]
    def process(self, item): return item"""

PROMISES = [
    ("ImageOperation", "def apply(self, image): return image[::2]", "gave the shape (24, 64, 3)"),
    ("ImageOperation", "def apply(self, image): return image * np.nan", "not finite"),
    ("ImageOperation", "def apply(self, image): return 1 / 0", "ZeroDivisionError"),
    ("ImageOperation", "def apply(self, image): return image * np.random.rand()", "second time"),
    ("ImageOperation", STATE, "a different result the second time"),
    ("Operation", CHANGES, "modifies its input"),
    ("Operation", "def process(self, item): return 'text'", "gave str, neither images nor"),
    ("Operation", "def process(self, item): return [item, item]", "named 1 outputs and gave 2"),
    ("Operation", TEXT, "an image cannot be written as a.txt"),
    ("Operation", "def process(self, item): sys.exit(3)", "tried to exit"),
]
"""Base class and body of an operation, and what is said of it."""


def test_broken_promises_are_found(tmp_path: Path) -> None:
    """Each in an operation of its own, `bad0` …, all in one plugin."""
    text = HEAD
    for number, (base, body, _) in enumerate(PROMISES):
        (kind, _) = CLASS.format(base=base, body=body).split("@vaetools.hookimpl")
        text += kind.replace("Bad", f"Bad{number}").replace('"bad"', f'"bad{number}"')
    kinds = ", ".join(f"Bad{number}" for number in range(len(PROMISES)))
    text += f"@vaetools.hookimpl\ndef register_operations(): return [{kinds}]\n"
    (tmp_path / "all.py").write_text(text)
    findings = check_plugin(tmp_path / "all.py")
    for number, (_, _, said) in enumerate(PROMISES):
        failed = [f.text for f in findings if (f.subject, f.state) == (f"bad{number}", "fail")]
        assert any(said in text for text in failed), (said, failed)


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("1 / 0\n", "ZeroDivisionError"),
        ("os._exit(7)\n", "its process ended with code 7"),
        ("os.abort()\n", "its process ended with code -6"),
        ("sys.exit(0)\n", "SystemExit"),
        (
            "@vaetools.hookimpl\ndef register_operation(): pass\n",
            "unknown hook 'register_operation'",
        ),
    ],
)
def test_what_does_not_load_is_found(tmp_path: Path, before: str, said: str) -> None:
    path = plugin(tmp_path, "def process(self, item): return item", before=before)
    findings = check_plugin(path)
    assert any(said in text for text in failures(findings)), findings


def test_nothing_is_loaded_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = plugin(tmp_path, "def process(self, item): return item")
    here = tmp_path / "here"
    here.mkdir()
    for name in ("json", "pluggy", "signal"):
        (here / f"{name}.py").write_text(f"open({str(tmp_path / 'loaded')!r}, 'w')\n")
    monkeypatch.chdir(here)
    assert failures(check_plugin(path)) == []
    assert not (tmp_path / "loaded").exists()


def test_what_native_code_prints_is_no_finding(tmp_path: Path) -> None:
    body = "def process(self, item):\n        os.write(1, b'step 1\\n')\n        return item"
    path = plugin(tmp_path, body, before="os.write(1, b'licence: none')\n")
    findings = check_plugin(path)
    assert failures(findings) == [] and findings[-1].state == "ok"


def test_clashes_are_found(tmp_path: Path) -> None:
    body = "def process(self, item): return item"
    for name, said in [("compress", "is registered by"), ("eval", "a name of vaetools itself")]:
        path = plugin(tmp_path, body)
        path.write_text(path.read_text().replace('"bad"', f'"{name}"'))
        assert said in failures(check_plugin(path))[0]


@pytest.mark.timing
def test_time_is_limited_and_what_was_found_before_stays(tmp_path: Path) -> None:
    path = plugin(tmp_path, "def process(self, item): time.sleep(60)")
    started = time.monotonic()
    findings = check_plugin(path, seconds=4)
    assert time.monotonic() - started < 20
    assert findings[0].text == "loads; hooks: register_operations"
    assert failures(findings) == ["takes more than 4 s"]


@pytest.mark.slow
def test_what_cannot_be_tried_is_noted(tmp_path: Path) -> None:
    for body, said in [
        ("takes = 'file'\n    def process(self, item): return item", "not checked: it takes files"),
        (NEEDS_TEXT, "not checked: nothing is known to give as text"),
        ("task = 'paint'\n    def process(self, item): return item", "no model for 'paint'"),
        (
            "def process(self, item):\n        raise vaetools.InputError('only Sundays')",
            "refused: only Sundays",
        ),
    ]:
        findings = check_plugin(plugin(tmp_path, body))
        assert failures(findings) == []
        assert any(said in f.text for f in findings if f.state == "note"), findings


def test_items_out_of_nothing_are_tried(tmp_path: Path) -> None:
    path = plugin(
        tmp_path,
        "takes = 'nothing'\n"
        "    def items(self): return [vaetools_path('a.png')]\n"
        "    def process(self, item):\n"
        "        return vaetools.Image(self.rng.integers(0, 256, (4, 4, 3), np.uint8))",
        before="from pathlib import PurePath as vaetools_path\n",
    )
    assert check_plugin(path)[-1] == Finding("ok", "bad", "a.png")


def test_projects_without_plugins_and_missing_places(tmp_path: Path) -> None:
    for text in ("[project]\nname = 'x'\n", "project = 3", "[project]\nentry-points.vaetools = 3"):
        (tmp_path / "pyproject.toml").write_text(text)
        with pytest.raises(UsageError, match="has no entry points of the group vaetools"):
            check_plugin(tmp_path)
    with pytest.raises(UsageError, match="no such file or folder"):
        check_plugin(tmp_path / "nowhere")


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def code(*words: object) -> int:
        with pytest.raises(SystemExit) as caught:
            main(["plugins", *(str(word) for word in words)])
        return int(caught.value.code or 0)

    assert code("new", "fade", "--to", tmp_path) == 0
    assert str(tmp_path / "vaetools-fade") in capsys.readouterr().out
    assert code("new", "compress", "--to", tmp_path) == 2
    assert code("check", tmp_path / "vaetools-fade", "--json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["state"] for row in rows} == {"ok"}
    bad = plugin(tmp_path, "def process(self, item): return 3")
    assert code("check", bad) == 1
    assert "fail  bad: 8 bit, 48×64: " in capsys.readouterr().out
    assert code() == 0
    assert "vaetools_plugins.compress" in capsys.readouterr().out
