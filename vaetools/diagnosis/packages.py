"""Checks of Python packages: versions, wheels that overwrite each other, libraries that do not load."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from importlib.util import find_spec
from typing import TYPE_CHECKING

from vaetools.diagnosis.finding import Finding, Installation
from vaetools.errors import LibraryError
from vaetools.libraries import (
    CODECS,
    LIBRARIES,
    OPENCV,
    OPTIONAL,
    ORT,
    check_codec,
    check_library,
    installed,
    opencv_remedy,
)
from vaetools.model.devices import check_packages

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = (
    "vaetools",
    "numpy",
    *OPENCV,
    "pillow",
    "simplejpeg",
    "scikit-image",
    "constriction",
    "jinja2",
    "onnx",
    *ORT,
    *(distribution for distribution, *_ in OPTIONAL.values()),
    "pluggy",
    "click",
    "rich",
)


def python(_: Installation) -> Iterator[Finding]:
    """The interpreter and the system."""
    yield Finding("ok", "python", f"{platform.python_version()} on {platform.platform()}")


def pip_versions(_: Installation) -> Iterator[Finding]:
    """Versions of the packages, and those that are older than vaetools requires."""
    versions = installed(PACKAGES)
    yield Finding("ok", "packages", ", ".join(f"{n} {v}" for n, v in versions.items()))
    for name, minimum in _minimums().items():
        # The other wheels of OpenCV and ONNX Runtime have the same versions.
        family = next((family for family in (OPENCV, ORT) if name in family), (name,))
        for found, version in installed(family).items():
            if _release(version) < _release(minimum):
                text = f"{found} {version} is older than {minimum}, the oldest that is supported"
                yield Finding("fail", "packages", text, f"pip install '{found}>={minimum}'")


def libraries(_: Installation) -> Iterator[Finding]:
    """Whether each library can be imported and has content."""
    works = []
    extras = [name for name in OPTIONAL if find_spec(name) is not None]
    for name in (*LIBRARIES, *extras):
        try:
            check_library(name)
        except LibraryError as error:
            yield Finding("fail", name, error.problem, error.remedy or "")
        else:
            works.append(name)
    if len(works) == len(LIBRARIES) + len(extras):
        yield Finding("ok", "libraries", f"{', '.join(works)} can be imported")


def opencv(_: Installation) -> Iterator[Finding]:
    """Wheels of OpenCV that overwrite each other."""
    found = installed(OPENCV)
    if len(found) < 2:
        return
    names = " and ".join(found)
    if any("contrib" in name for name in found) and not _has_contrib():
        text = f"{names} are installed; one overwrote the other, and cv2 lacks contrib functions"
        yield Finding("fail", "opencv", text, opencv_remedy())
    else:
        text = f"{names} share the folder cv2: removing one of them breaks the other"
        yield Finding("note", "opencv", text, opencv_remedy())


def codecs(_: Installation) -> Iterator[Finding]:
    """Formats that this build of Pillow cannot read or write."""
    missing = False
    for name in CODECS:
        try:
            check_codec(name)
        except LibraryError as error:
            missing = True
            yield Finding("fail", f"pillow {name}", error.problem, error.remedy or "")
    if not missing:
        yield Finding("ok", "pillow", f"has the codecs {', '.join(CODECS)}")


def runtime(_: Installation) -> Iterator[Finding]:
    """One package of ONNX Runtime, not two."""
    check_packages()
    found = installed(ORT)
    yield Finding("ok", "onnxruntime", f"one package is installed, {' '.join(found) or 'unnamed'}")


def _has_contrib() -> bool:
    """Whether cv2 was built with the contrib modules."""
    import cv2

    return hasattr(getattr(cv2, "ximgproc", None), "guidedFilter")


def _minimums() -> dict[str, str]:
    """The oldest version of each package that vaetools requires on this machine."""
    try:
        lines = importlib.metadata.requires("vaetools") or []
    except importlib.metadata.PackageNotFoundError:  # run from a folder
        return {}
    plain = (line for line in lines if "extra ==" not in line)
    found = (re.match(r"([\w.-]+)>=([\d.]+)|([\w.-]+).*?>=([\d.]+)", line) for line in plain)
    return {m[1] or m[3]: m[2] or m[4] for m in found if m is not None}


def _release(version: str) -> tuple[int, ...]:
    """`4.12.0.88` as numbers; what follows them, such as `rc1`, does not count."""
    digits = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, digits.group().split("."))) if digits else ()
