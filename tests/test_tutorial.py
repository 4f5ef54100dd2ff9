"""The tutorial, from its first page to its last: everything on it runs, in one folder."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import DOCS

PAGES = ("first-images", "folders", "in-python", "own-plugin", "own-model")


def blocks(name: str) -> list[tuple[str, str]]:
    """(language, text) of the blocks on a page, without those that are marked as not run."""
    text = (DOCS / "tutorial" / f"{name}.md").read_text()
    text = re.sub(r"^<!-- not run: .+ -->\n```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_every_page_links_to_the_next() -> None:
    assert sorted(PAGES) == sorted(page.stem for page in (DOCS / "tutorial").glob("*.md"))
    for page, following in itertools.pairwise(PAGES):
        assert f"]({following}.md)" in (DOCS / "tutorial" / f"{page}.md").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all pages, with a `vaetools` on the path."""
    folder = tmp_path_factory.mktemp("tutorial")
    program = folder / "bin" / "vaetools"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m vaetools "$@"\n')
    program.chmod(0o755)
    return folder


def run(words: list[str], folder: Path) -> str:
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        words, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{words[-1]}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.xdist_group("tutorial")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", PAGES)
def test_page(page: str, folder: Path) -> None:
    """Each needs what the pages before it have written."""
    if page == "own-model":
        pytest.importorskip("torch")
    found = blocks(page)
    if page == "own-plugin":
        (folder / "my-plugins").mkdir()
        (folder / "my-plugins" / "vignette.py").write_text(found.pop(0)[1])
    python = "".join(text for language, text in found if language == "python")
    shell = "".join(text for language, text in found if language == "sh")
    said = run([sys.executable, "-c", python], folder) if python else ""
    if shell:
        said += run(["sh", "-euc", shell.replace("--minutes 3", "--minutes 0.3")], folder)
    assert said


@pytest.mark.slow
@pytest.mark.xdist_group("tutorial")
def test_what_the_pages_have_written(folder: Path) -> None:
    small = (folder / "small.vae").stat().st_size
    assert 6_000 < small <= 8 * 1024
    assert (folder / "half.vae").stat().st_size < 0.6 * (folder / "coffee.vae").stat().st_size
    for name in ("clean/report.html", "darker/coffee.png", "both-packed/coffee.png.vae"):
        assert (folder / name).exists(), name
    assert len(list((folder / "packed-in-python").glob("*.vae"))) == 5
