"""Markdown pages: links lead somewhere, and facts in them are those of the code."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vaetools
from tests.paths import DOCS, ROOT

PAGES = sorted(
    (
        *ROOT.glob("*.md"),
        *(
            page
            for folder in ("docs", "benchmarks", "examples", "exported_models")
            for page in (ROOT / folder).rglob("*.md")
        ),
    )
)
KIT = ("SECURITY.md", "CONTRIBUTING.md", "RELEASING.md")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def rows(text: str) -> Iterator[list[str]]:
    """The cells of table rows, without header and rule."""
    table = re.findall(r"^\|(.+)\|$", text, re.MULTILINE)
    for line in table:
        yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)]


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    """To files; an anchor must be a heading of the page that it is in."""
    for target, anchor in re.findall(
        r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text()
    ):
        there = page.parent / target if target else page
        assert there.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", there.read_text(), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]
            assert anchor in slugs, f"{target}#{anchor}"


@pytest.mark.parametrize("name", KIT)
def test_paths_in_the_maintainers_kit_exist(name: str) -> None:
    for path in re.findall(r"`([\w.]+/[\w./-]+)`", (ROOT / name).read_text()):
        if not path.startswith((".vaetools/", "dist/")):
            assert (ROOT / path).exists(), path


def test_the_limits_of_security_are_those_of_the_code() -> None:
    found = 0
    for cells in rows((ROOT / "SECURITY.md").read_text()):
        if len(cells) == 4 and cells[2].startswith("`vaetools."):
            module, name = cells[2].strip("`").rsplit(".", 1)
            assert int(cells[1].replace(",", "")) == getattr(importlib.import_module(module), name)
            found += 1
    assert found > 8


def test_the_commands_of_contributing_are_those_of_the_makefile() -> None:
    targets = re.findall(r"^(\w+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert set(re.findall(r"`make (\w+)", text)) == set(targets) - {"help"}


def test_the_makefile_knows_its_files() -> None:
    text = (ROOT / "Makefile").read_text()
    for path in re.findall(r"[\w/]+\.py\b", text):
        assert (ROOT / path).exists(), path
    if shutil.which("make") is None:
        pytest.skip("needs make")
    dry = ["make", "--dry-run", "--silent", f"PYTHON={sys.executable}", "check", "test", "docs"]
    subprocess.run(dry, cwd=ROOT, check=True, capture_output=True)


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "vaetools/version.py"
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited is not None
    assert cited[1] == vaetools.__version__


def test_the_page_about_installing_lists_all_extras() -> None:
    """But those that are parts of others."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    rows = re.findall(r"^\| (`[^|]+`) \|", (DOCS / "install.md").read_text(), re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`([\w-]+)`", row)}
    assert {*project["optional-dependencies"]} - {"docs", "dev", "test-core"} <= listed


def test_hooks_before_a_commit_download_nothing() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"repo: (\S+)", text) == ["local"]
    assert set(re.findall(r"language: (\S+)", text)) == {"system"}
    entries = {entry.split()[0] for entry in re.findall(r"entry: (.+)", text)}
    assert entries == {"ruff", "mypy", "lint-imports"}


def test_the_changelog_is_kept_as_a_changelog() -> None:
    """Known headings, in one order, breaking changes first."""
    known = ["Breaking changes", "Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
    versions = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1:]
    assert versions[0].startswith("[Unreleased]")
    for text in versions:
        headings = re.findall(r"^### (.+)$", text, re.MULTILINE)
        assert headings == [heading for heading in known if heading in headings]


TYPES = {str: "string", int: "integer", float: "float", bool: "boolean"}


def type_name(kind: Any) -> str:
    """An annotation of the manifest, in the words of the page."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return type_name(arguments[0])
    if origin is typing.Literal:
        return TYPES[type(arguments[0])]
    if origin is tuple:
        return f"list of {type_name(arguments[0])}s"
    if origin is dict or dataclasses.is_dataclass(kind):
        return "table"
    return TYPES[kind]


def default_text(field: dataclasses.Field[Any], kind: Any) -> str:
    if field.default is field.default_factory is dataclasses.MISSING:
        return "required"
    if field.default is None:
        return "absent"
    if type_name(kind) == "table":
        return ""
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    return f"`{json.dumps(value)}`"


def manifest_keys(kind: Any, where: str = "") -> Iterator[tuple[str, str, str, str]]:
    """(table, key, type, default) of a dataclass and those below it."""
    for field in dataclasses.fields(kind):
        hint = typing.get_type_hints(kind)[field.name]
        yield where, field.name, type_name(hint), default_text(field, hint)
        inner = [hint, *typing.get_args(hint)]
        below = f"{where}.{field.name}" if where else field.name
        if typing.get_origin(hint) is dict:
            below += ".ROLE" if field.name == "graphs" else ".NAME"
        for part in inner:
            if dataclasses.is_dataclass(part):
                yield from manifest_keys(part, below)


def test_the_page_of_the_manifest_has_every_key() -> None:
    from vaetools.model.spec import Manifest

    page = (DOCS / "model.md").read_text()
    found = set()
    for section in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        table = re.fullmatch(r"`\[(.+)\]`", title)
        if title == "Top level" or table is not None:
            for key, kind, default, meaning in list(rows(text))[2:]:
                assert meaning
                found.add((table[1] if table else "", key.strip("`"), kind, default))
    assert found == set(manifest_keys(Manifest))


def test_the_manifest_on_its_page_is_valid(tmp_path: Path) -> None:
    from vaetools.model.manifest import read_manifest

    (code,) = re.findall(r"```toml\n(.*?)```", (DOCS / "model.md").read_text(), re.DOTALL)
    (tmp_path / "model.toml").write_text(code)
    assert read_manifest(tmp_path).id == "my-vae"


def test_the_api_page_has_every_public_name() -> None:
    page = (DOCS / "api.md").read_text()
    assert sorted(re.findall(r"^### (\w+)$", page, re.MULTILINE)) == sorted(vaetools.__all__)


def test_the_tables_of_results_are_those_of_the_results() -> None:
    """Regenerate them with `make docs`."""
    spec = importlib.util.spec_from_file_location("make_benchmarks", DOCS / "make_benchmarks.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    spec.loader.exec_module(script)
    seen = set()
    for page in script.PAGES:
        text = page.read_text(encoding="utf-8")
        seen |= set(re.findall(r"^<!-- end ([\w-]+) -->$", text, re.MULTILINE))
        assert script.filled(text) == text, page
    assert seen == set(script.TABLES)
    sys.path[:] = path


def test_images_of_the_readme_are_small() -> None:
    names = re.findall(r"\]\((docs/[\w/-]+\.(?:jpg|png|svg))\)", (ROOT / "README.md").read_text())
    assert len(names) == 3
    assert sum((ROOT / name).stat().st_size for name in names) < 250_000


def containerfile() -> str:
    """The Containerfile of docs/install.md, with continued lines joined."""
    text = (DOCS / "install.md").read_text().split("<!-- containerfile -->\n")[1]
    code = re.match(r"```dockerfile\n(.*?)```", text, re.DOTALL)
    assert code is not None
    return code[1].replace("\\\n", " ")


def installs() -> list[list[str]]:
    """The words after `pip install` of each RUN line."""
    return [
        shlex.split(line)
        for line in re.findall(r"^RUN pip install (.+)$", containerfile(), re.MULTILINE)
    ]


def test_the_container_installs_what_the_project_needs() -> None:
    project, packages = installs()
    assert project == ["--no-cache-dir", "--no-deps", "/src"]
    swaps = {"opencv-python": "opencv-python-headless", "onnxruntime-gpu": "onnxruntime"}
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = set()
    for requirement in table["project"]["dependencies"]:
        name, bounds = re.fullmatch(r"([\w-]+)([^;]*)(?:;.*)?", requirement).groups()
        wanted.add(swaps.get(name, name) + bounds)
    assert {word for word in packages if not word.startswith("-")} == wanted


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_container_works(tmp_path: Path) -> None:
    """Its installation in a fresh virtual environment, and its entry point."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    for words in installs():
        command = [str(ROOT) if word == "/src" else word for word in words]
        subprocess.run([python, "-m", "pip", "install", "-q", *command], check=True)
    entry = re.search(r'^ENTRYPOINT \["(\w+)"\]$', containerfile(), re.MULTILINE)
    program = [python.with_name(entry[1]), "doctor", "--json"]
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        program, capture_output=True, text=True, check=False, cwd=tmp_path, env=outside
    )
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, findings
    assert all(finding["state"] != "fail" for finding in findings)
    assert sum(finding["subject"].startswith("model ") for finding in findings) > 3


def test_every_variable_that_the_code_reads_is_on_the_page() -> None:
    code = "".join(path.read_text() for path in (ROOT / "vaetools").rglob("*.py"))
    page = (DOCS / "install.md").read_text()
    listed = {cells[0].strip("`") for cells in rows(page) if cells[0].startswith("`VAETOOLS_")}
    assert listed == set(re.findall(r'"(VAETOOLS_\w+)"', code))


def test_the_index_has_every_page() -> None:
    index = (DOCS / "index.md").read_text()
    linked = set(re.findall(r"\]\(([\w/-]+\.md)\)", index))
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    assert linked == pages - {"index.md"}


@each_page
def test_lines_are_short(page: Path) -> None:
    """At most 100 characters; rows of tables cannot be wrapped."""
    lines = enumerate(page.read_text().splitlines(), start=1)
    assert not [n for n, line in lines if len(line) > 100 and not line.lstrip().startswith("|")]
