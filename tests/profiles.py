"""How many examples tests of properties try: `--hypothesis-profile ci` tries several times as many."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("quick", max_examples=30, deadline=None)
settings.register_profile("ci", max_examples=150, deadline=None)
settings.load_profile("quick")  # pytest's option is read later, and wins


def examples(count: int) -> int:
    """`max_examples` of a test that wants `count` where others want 100."""
    return max(10, count * settings.default.max_examples // 100)
