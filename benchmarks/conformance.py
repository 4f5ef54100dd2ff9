"""Compare decoded images with Pillow and LittleCMS: python benchmarks/conformance.py FOLDER …

The folders may hold any test suite, such as PNGSuite or the images of scikit-image; files of other
kinds are passed over. Prints a line for each file that differs, and a table of equal, wrong and
refused files by format. Exits with 1 if a file is wrong.

    equal     the pixels of Pillow, of which 16-bit samples are compared by their upper 8 bits where
              Pillow has no more
    wrong     other pixels
    refused   by vaetools with an error of its own; `both` if Pillow refuses it, too
"""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageCms, ImageFile, ImageOps

from vaetools.errors import EmptyFileError, InputError, NotAnImageError
from vaetools.image import Image, decode_image

OUTCOMES = ("equal", "wrong", "refused", "both")


def main() -> None:
    warnings.simplefilter("ignore")
    register_plugins()
    table: dict[str, Counter[str]] = {}
    for file in files(sys.argv[1:]):
        kind, outcome, detail = compare(file.read_bytes())
        if not kind:
            continue
        table.setdefault(kind, Counter())[outcome] += 1
        if outcome != "equal":
            print(f"{outcome:8}{file}: {detail}")
    print(f"{'format':10}" + "".join(f"{outcome:>9}" for outcome in OUTCOMES))
    for kind, seen in sorted(table.items()):
        print(f"{kind:10}" + "".join(f"{seen[outcome]:9,}" for outcome in OUTCOMES))
    sys.exit(any(seen["wrong"] for seen in table.values()))


def register_plugins() -> None:
    """For those of the extras that are installed."""
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    with contextlib.suppress(ImportError):
        import pillow_jxl  # noqa: F401 - registers itself


def files(folders: list[str]) -> list[Path]:
    if not folders:
        sys.exit(__doc__)
    return [file for name in folders for file in sorted(Path(name).rglob("*")) if file.is_file()]


def compare(data: bytes) -> tuple[str, str, str]:
    """(format, outcome, detail); no format for what is no image."""
    try:
        image = decode_image(data, first_frame=True)
    except (NotAnImageError, EmptyFileError):
        return "", "", ""
    except InputError as error:
        kind = "refused" if by_pillow(data) is not None else "both"
        return kind_of(data), kind, error.problem
    expected = by_rawpy(data) if image.format == "raw" else by_pillow(data)
    if expected is None:
        return str(image.format), "wrong", "Pillow refuses it"
    found = as_array(image)
    if found.shape != expected.shape:
        return str(image.format), "wrong", f"{found.shape} instead of {expected.shape}"
    if found.dtype != expected.dtype:  # Pillow has 8 bit only
        found = (found >> 8).astype(np.uint8)
    difference = int(np.abs(found.astype(int) - expected).max())
    return str(image.format), "equal" if difference == 0 else "wrong", f"differs by {difference}"


def kind_of(data: bytes) -> str:
    from vaetools.image.containers import sniff

    return sniff(data[:64])


def as_array(image: Image) -> np.ndarray[Any, Any]:
    """(H, W, 4) RGBA."""
    top = np.iinfo(image.pixels.dtype).max
    colours = np.dstack([image.pixels] * 3) if image.grey else image.pixels[..., ::-1]
    alpha = np.full(colours.shape[:2], top) if image.alpha is None else image.alpha
    return np.dstack([colours, alpha]).astype(image.pixels.dtype)


def by_pillow(data: bytes) -> np.ndarray[Any, Any] | None:
    """(H, W, 4) RGBA, upright, or None if Pillow refuses the file."""
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with PillowImage.open(io.BytesIO(data)) as file:
            file.load()
            image = ImageOps.exif_transpose(file)
            if image.mode == "CMYK":
                image = to_srgb(image)
            if image.mode.startswith("I;16"):
                grey = np.asarray(image).astype(np.uint16)
                opaque = np.full_like(grey, 65535)
                return np.dstack([grey, grey, grey, opaque])
            return np.asarray(image.convert("RGBA"))
    except Exception:  # noqa: BLE001 - whatever it says, it does not read the file
        return None


def by_rawpy(data: bytes) -> np.ndarray[Any, Any]:
    """Pillow would read a camera's preview."""
    import rawpy

    with rawpy.imread(io.BytesIO(data)) as file:
        return np.asarray(PillowImage.fromarray(file.postprocess()).convert("RGBA"))


def to_srgb(image: PillowImage.Image) -> PillowImage.Image:
    profile = image.info.get("icc_profile")
    if not profile:
        return image.convert("RGB")
    try:
        srgb = ImageCms.createProfile("sRGB")
        found = ImageCms.profileToProfile(image, io.BytesIO(profile), srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image.convert("RGB")
    return found if found is not None else image.convert("RGB")


if __name__ == "__main__":
    main()
