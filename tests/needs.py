"""Marks of tests that need what is not always installed."""

from importlib.util import find_spec

import pytest

TORCH = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
