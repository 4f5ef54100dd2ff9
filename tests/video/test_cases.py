"""The table of docs/video.md: each case is kept, or refused with a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.video_cases import CASES, Case, outcome, same_hub


@pytest.mark.parametrize("case", CASES, ids=[case.name.replace(" ", "-") for case in CASES])
def test_what_a_video_is_is_kept_or_refused(case: Case, tmp_path: Path) -> None:
    kept, evidence = outcome(case, tmp_path, same_hub())
    assert kept == ("refused" if case.refused else "kept"), evidence
