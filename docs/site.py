"""What the site needs beyond MkDocs: the navigation, pages from outside docs/, links, the API.

The Markdown files are written for GitHub. A hook of mkdocs.yml; the site is built from the root of
the repository.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from markdown.extensions import Extension
from mkdocs.structure.files import File

if TYPE_CHECKING:
    from markdown import Markdown
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]

ELSEWHERE = {
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "RELEASING.md": "project/releasing.md",
    "SECURITY.md": "project/security.md",
    "benchmarks/README.md": "project/running-benchmarks.md",
    "examples/README.md": "examples.md",
    "web/README.md": "web.md",
} | {
    path.relative_to(ROOT).as_posix(): f"models/{path.parent.name}.md"
    for path in sorted(ROOT.glob("exported_models/vaetools_models/*/MODEL_CARD.md"))
}
"""Files of the repository that are pages of the site, and where."""


class TwoSpaces(Extension):
    """Lists are nested by two spaces, as on GitHub, and not by four."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        md.tab_length = 2


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Take the navigation from the sections of docs/index.md and the links in them."""
    config.markdown_extensions.append(TwoSpaces())  # type: ignore[arg-type]
    config.nav = navigation((Path(config.docs_dir) / "index.md").read_text(encoding="utf-8"))
    return config


def on_post_page(output: str, **_: object) -> str:
    """Screen readers need a name for the theme's search dialog."""
    return output.replace('role="dialog">', 'role="dialog" aria-label="Search">')


def navigation(index: str) -> list[object]:
    """`nav` of MkDocs. A link named like its file has the page's own title."""
    nav: list[object] = [{"Home": "index.md"}]
    for section in re.split(r"^## ", index, flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        pages: list[object] = []
        for name, target in re.findall(r"\[([^\]]+)\]\(([^)#:]+\.md)\)", text):
            page = _address("index.md", target)
            pages.append(page if name == target else {name[0].upper() + name[1:]: page})
        nav.append({title: pages})
    return nav


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for source, page in ELSEWHERE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    if page.file.src_uri == "api.md":
        markdown = re.sub(r"^### (\w+)\n.*?(?=^##|\Z)", r"::: vaetools.\1\n\n", markdown,
                          flags=re.MULTILINE | re.DOTALL)  # fmt: skip
    return with_links(markdown, page.file.src_uri)


def with_links(markdown: str, page: str) -> str:
    """The text with links that work on the site, outside of blocks of code."""
    parts = re.split(r"(^ *```.*?^ *```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    link = re.compile(r"(\]\()([^)#:\s]+)((?:#[^)\s]*)?\))")
    return "".join(
        part if number % 2 else link.sub(lambda m: m[1] + _address(page, m[2]) + m[3], part)
        for number, part in enumerate(parts)
    )


def _address(page: str, target: str) -> str:
    """Where a link on a page leads: to a page of the site, or to GitHub."""
    here = next((source for source, there in ELSEWHERE.items() if there == page), f"docs/{page}")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(here), target))
    there = ELSEWHERE.get(path)
    if there is None and path.startswith("docs/") and not path.endswith(".py"):
        there = path.removeprefix("docs/")
    if there is not None:
        return posixpath.relpath(there, posixpath.dirname(page) or ".")
    kind = "tree" if (ROOT / path).is_dir() else "blob"
    return f"https://github.com/vaetools/vaetools/{kind}/main/{path}"
