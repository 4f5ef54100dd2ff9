"""Libraries of optional formats, which an extra of the package installs."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from vaetools.errors import UnsupportedImageError

MODULES = {"heif": "pillow_heif", "jxl": "pillow_jxl", "raw": "rawpy"}
"""Extra -> the module that it installs."""

_NAMES = {"heif": "HEIF (HEIC)", "jxl": "JPEG XL", "raw": "camera RAW"}


def install_command(extra: str) -> str:
    """What installs an extra."""
    return f"pip install 'vaetools[{extra}]'"


def is_installed(extra: str) -> bool:
    """Whether the module of an extra can be found; it is not imported. True for no extra."""
    return not extra or find_spec(MODULES[extra]) is not None


def optional_module(extra: str) -> Any:
    """The module of an extra. Raises `UnsupportedImageError` if it cannot be imported."""
    try:
        return import_module(MODULES[extra])
    except ImportError as error:
        raise UnsupportedImageError(
            f"{_NAMES[extra]} needs the library {MODULES[extra]} ({error})",
            remedy=install_command(extra),
        ) from error
