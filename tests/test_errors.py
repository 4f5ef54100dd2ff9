"""Errors: their text, and the suggestions in them."""

from __future__ import annotations

import pytest

from vaetools.errors import did_you_mean


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("compres", "did you mean 'compress' or 'decompress'?"),
        ("denose", "did you mean 'denoise'?"),
        ("xyz", None),
        ("", None),
    ],
)
def test_a_misspelt_name_gets_a_suggestion(name: str, suggestion: str | None) -> None:
    assert did_you_mean(name, ["compress", "decompress", "denoise"]) == suggestion
