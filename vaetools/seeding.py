"""Random generators that depend on names instead of on the order of work."""

from __future__ import annotations

import hashlib

import numpy as np


def seeded_generator(*parts: object) -> np.random.Generator:
    """A generator seeded by a hash of `parts`: equal parts, equal numbers, on every machine.

    Args:
        parts: seed, name, index and so on. Their text counts; paths may hold bytes that are not
            valid UTF-8.
    """
    text = "\0".join(map(str, parts))
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))
