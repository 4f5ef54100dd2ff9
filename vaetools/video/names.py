"""Which files are videos."""

from __future__ import annotations

import importlib.util
from pathlib import PurePath

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".m2v", ".vob", ".wmv"}
    | {".asf", ".flv", ".f4v", ".ts", ".mts", ".m2ts", ".ogv", ".3gp", ".3g2", ".dv", ".mxf"}
)
"""Suffixes of files that are read as videos."""

EXTRA = "pip install 'vaetools[video]'"
"""What installs PyAV."""


def has_pyav() -> bool:
    """Whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


def is_video(path: str | PurePath) -> bool:
    """Whether the name is that of a video file."""
    return PurePath(path).suffix.lower() in VIDEO_SUFFIXES
