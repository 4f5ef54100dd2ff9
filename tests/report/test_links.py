"""Which names of records become links to something else than files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vaetools.report.links import Links

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["s3://bucket/a.png", "gs://bucket/a.png"])
def test_objects_in_stores_are_links(name: str, tmp_path: Path) -> None:
    assert Links(tmp_path).url(name) == name


@pytest.mark.parametrize(
    "scheme", ["javascript", "data", "http", "https", "file", "vbscript", "S3"]
)
def test_other_urls_are_names_of_files(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record from another machine must not run a program when its name is clicked."""
    monkeypatch.chdir(tmp_path)
    url = Links(tmp_path).url(f"{scheme}://x/%0aalert(1)")
    assert url == f"{scheme}%3A/x/%250aalert%281%29"
