"""The libraries that vaetools needs: which one an exception comes from, and how to repair it.

A wheel may be installed and yet not work: OpenCV needs libGL, which slim containers lack, and the
four wheels of OpenCV overwrite each other's files.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import re
import sys
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

from vaetools.errors import LibraryError
from vaetools.native import onnxruntime

if TYPE_CHECKING:
    from collections.abc import Iterator

OPENCV = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
"""Wheels of the module `cv2`, which overwrite each other."""

ORT = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-directml",
    "onnxruntime-windowsml",
    "onnxruntime-migraphx",
    "onnxruntime-rocm",
    "onnxruntime-webgpu",
    "onnxruntime-qnn",
    "onnxruntime-cann",
)
"""Wheels of the module `onnxruntime`, likewise."""

# Module -> (wheel that is installed by default, a module of it, what this module must have).
LIBRARIES = {
    "numpy": ("numpy", "numpy", "ndarray"),
    "cv2": ("opencv-python", "cv2", "imdecode"),
    "PIL": ("pillow", "PIL.Image", "open"),
    "simplejpeg": ("simplejpeg", "simplejpeg", "decode_jpeg"),
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime", "InferenceSession"),
    "onnx": ("onnx", "onnx", "ModelProto"),
    "skimage": ("scikit-image", "skimage", "__version__"),
    "constriction": ("constriction", "constriction", "stream"),
}

OPTIONAL = {
    "av": ("av", "av", "open"),
    "pillow_heif": ("pillow-heif", "pillow_heif", "open_heif"),
    "pillow_jxl": ("pillow-jxl-plugin", "pillow_jxl", "JpegXLImagePlugin"),
    "rawpy": ("rawpy", "rawpy", "imread"),
}
"""The same for modules of extras, which may be missing."""

_ALL = LIBRARIES | OPTIONAL
_REPORTED = {*LIBRARIES, "av"}  # the decoders report those of image formats, with the file

CODECS = {"jpeg": "jpg", "png": "zlib", "webp": "webp", "tiff": "libtiff", "avif": "avif"}
"""Formats that Pillow can be built without, and Pillow's names for their libraries."""

APT = "apt-get install -y --no-install-recommends libgl1 libglib2.0-0"
"""What OpenCV's build with windows needs on Debian and Ubuntu."""


@contextmanager
def library_errors() -> Iterator[None]:
    """Raise `LibraryError` for whatever a missing or damaged library raises; also a decorator."""
    try:
        yield
    except Exception as error:
        found = library_error(error)
        if found is None or found is error:
            raise
        raise found from error


def library_error(error: BaseException) -> LibraryError | None:
    """The error to report if a missing or damaged library is behind `error`, otherwise None."""
    cause: BaseException | None = error
    seen = 0
    while cause is not None and seen < 10:
        if isinstance(cause, LibraryError):
            return cause
        name = _culprit(cause)
        if name is not None:
            return _error(name, cause)
        cause, seen = cause.__cause__ or cause.__context__, seen + 1
    return None


def check_library(name: str) -> None:
    """Import a library of either table. Raises `LibraryError` if that fails or it has no content."""
    _, module, attribute = _ALL[name]
    try:
        if name == "onnxruntime":
            onnxruntime()
        getattr(importlib.import_module(module), attribute)
    except Exception as error:
        raise _error(name, error) from error


def check_codec(format_name: str) -> None:
    """Raise `LibraryError` if Pillow was built without the library for a format."""
    from PIL import features

    library = CODECS.get(format_name)
    if library is not None and not features.check(library):
        raise LibraryError(
            f"this build of pillow has no {format_name} codec", remedy=reinstall("pillow")
        )


def installed(names: tuple[str, ...]) -> dict[str, str]:
    """Versions of those of the distributions that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def runtime_version() -> str:
    """Version of ONNX Runtime, such as `1.31.1`; empty if it is not installed under a known name."""
    if (module := sys.modules.get("onnxruntime")) is not None:
        return str(getattr(module, "__version__", ""))
    return next(iter(installed(ORT).values()), "")


def reinstall(*distributions: str) -> str:
    """The command that installs distributions again, whatever else is there."""
    return f"pip install --force-reinstall --no-deps {' '.join(distributions)}"


def opencv_remedy() -> str:
    """The command that leaves one wheel of OpenCV: contrib if there is one, headless if there is."""
    found = installed(OPENCV)
    contrib = "-contrib" if any("contrib" in name for name in found) else ""
    headless = "-headless" if any("headless" in name for name in found) else ""
    keep = f"opencv{contrib}-python{headless}"
    if len(found) < 2:
        return reinstall(keep)
    return f"pip uninstall -y {' '.join(found)} && pip install {keep}"


def _culprit(error: BaseException) -> str | None:
    """The library that an exception comes from, if it is one that does not work."""
    if isinstance(error, ImportError):
        name = _root(error.name) or _importing(error)
    elif isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        name = _root(error.obj.__name__)
    else:
        return None
    return name if name is not None and not _works(name) else None


def _root(module: str | None) -> str | None:
    root = (module or "").partition(".")[0]
    return root if root in _REPORTED else None


def _importing(error: ImportError) -> str | None:
    """The library whose own code raised the error, from the innermost frame outwards."""
    found = None
    frame = error.__traceback__
    while frame is not None:
        found = _root(frame.tb_frame.f_globals.get("__name__")) or found
        frame = frame.tb_next
    return found


def _works(name: str) -> bool:
    """Whether a library is imported and has content: then what is missing is not its fault."""
    _, module, attribute = _ALL[name]
    return hasattr(sys.modules.get(module), attribute)


def _error(name: str, error: BaseException) -> LibraryError:
    distribution = _ALL[name][0]
    text = " ".join(str(error).split()) or type(error).__name__
    problem = f"{name} ({distribution}) cannot be used: {text}"
    return LibraryError(problem, remedy=_remedy(name, distribution, text, error))


def _remedy(name: str, distribution: str, text: str, error: BaseException) -> str:
    if name == "cv2" and re.search(r"\blib\w+[\w.+-]*\.so", text):
        return f"{APT}; or pip uninstall -y opencv-python && pip install opencv-python-headless"
    if name == "cv2" and installed(OPENCV):
        return opencv_remedy()
    if isinstance(error, ModuleNotFoundError) and error.name == name:
        return f"pip install {distribution}"
    if name == "onnxruntime" and len(found := installed(ORT)) == 1:
        distribution = next(iter(found))
    if "numpy" in text and name != "numpy":
        return reinstall("numpy", distribution)
    return reinstall(distribution)
