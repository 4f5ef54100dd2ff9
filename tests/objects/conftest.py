"""Buckets in memory in place of those of a server."""

from __future__ import annotations

from collections import defaultdict

import pytest

import vaetools.objects.inputs
import vaetools.objects.outputs
from tests.objects.memory import MemoryBucket
from vaetools.objects.address import ObjectPath
from vaetools.objects.store import Store


@pytest.fixture
def buckets(monkeypatch: pytest.MonkeyPatch) -> defaultdict[str, MemoryBucket]:
    """Buckets by their names; any name will do."""
    made: defaultdict[str, MemoryBucket] = defaultdict(MemoryBucket)

    def open_store(place: ObjectPath) -> Store:
        return made[place.bucket]

    for module in (vaetools.objects.inputs, vaetools.objects.outputs):
        monkeypatch.setattr(module, "open_store", open_store)
    return made


@pytest.fixture
def bucket(buckets: defaultdict[str, MemoryBucket]) -> MemoryBucket:
    """The bucket `bucket`."""
    return buckets["bucket"]
