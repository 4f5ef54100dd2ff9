"""The tables of docs/metadata.md are what the commands do."""

from __future__ import annotations

import pytest

from tests.benchmarks.scripts import benchmark_script
from tests.paths import ROOT

PAGE = (ROOT / "docs" / "metadata.md").read_text(encoding="utf-8")


def test_the_table_of_one_operation_matches_the_page() -> None:
    with benchmark_script("metadata_matrix") as matrix:
        found = matrix.table("denoise", orientations=(1, 6))
        assert found in PAGE
        assert "**" not in found
        assert matrix.places() in PAGE
        assert all(f"| {operation} |" in PAGE for operation in matrix.OPERATIONS)


@pytest.mark.slow
def test_all_tables_match_the_page() -> None:
    with benchmark_script("metadata_matrix") as matrix:
        for operation in matrix.OPERATIONS:
            assert matrix.table(operation) in PAGE, operation
