"""Which metadata goes through which operation in which file format, as tables of docs/metadata.md.

    python benchmarks/metadata_matrix.py [--only denoise] [--write docs/metadata.md]

Writes files with every kind of metadata, in each orientation, runs the commands on them, and looks
into the results. Without `--write`, the tables are printed.
"""

from __future__ import annotations

import argparse
import io
import re
import struct
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageCms, ImageOps

from vaetools.image import Cicp, Density, Image, Metadata, encode_image, read_image
from vaetools.image.containers import CONTAINERS
from vaetools.image.metadata.tiff_directory import LONG, write_directory
from vaetools.image.metadata.writing import VAE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

SUFFIXES = {"jpeg": "jpg", "png": "png", "webp": "webp", "tiff": "tif", "avif": "avif"}
FORMATS = [name for name in SUFFIXES if name in CONTAINERS]
OPERATIONS = ("denoise", "inpaint", "compress, decompress", "augment")
LABELS = {"jpeg": "JPEG", "png": "PNG", "webp": "WebP", "tiff": "TIFF", "avif": "AVIF",
          "jxl": "JPEG XL", "bmp": "BMP", "ppm": "PNM"}  # fmt: skip
SIDE = 64
NOTE = b"note of the maker"
IPTC = b"\x1c\x02\x5a\0\x04Bern"
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/>'
    b"</rdf:RDF></x:xmpmeta>"
)
# Orientation -> how the stored array is turned upright.
UPRIGHT: dict[int, Callable[[Any], Any]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}
MARKS = re.compile(r"(<!-- tables -->\n).*(<!-- end -->)", re.DOTALL)


def stored() -> np.ndarray:
    """uint8 BGR, another colour in each corner."""
    y, x = np.mgrid[:SIDE, :SIDE] / (SIDE - 1)
    return np.stack([255 * y, 255 * x, 255 * (1 - x * y)], axis=2).astype(np.uint8)


def exif_block(orientation: int) -> bytes:
    """A block with a maker note, and a red thumbnail in a second directory."""
    exif = PillowImage.Exif()
    exif[271] = "Maker"
    exif[274] = orientation
    exif[0x8769] = {37500: NOTE, 0xA002: 9, 0xA003: 9}
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    block += b"\0" * (len(block) % 2)
    small = io.BytesIO()
    PillowImage.new("RGB", (80, 60), "red").save(small, "JPEG")
    order = "<" if block.startswith(b"II") else ">"
    (first,) = struct.unpack_from(f"{order}L", block, 4)
    (count,) = struct.unpack_from(f"{order}H", block, first)
    at = first + 2 + 12 * count
    start = len(block) + 2 + 2 * 12 + 4
    numbers = {513: start, 514: len(small.getvalue())}
    items = [(tag, LONG, 1, struct.pack(f"{order}L", number)) for tag, number in numbers.items()]
    directory = write_directory("<" if order == "<" else ">", len(block), items)
    pointer = struct.pack(f"{order}L", len(block))
    return block[:at] + pointer + block[at + 4 :] + directory + small.getvalue()


def icc_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def write_sources(folder: Path, orientations: Iterable[int]) -> None:
    """A file of each format in each orientation, with everything that the format has a place for."""
    metadata = Metadata(icc=icc_profile(), xmp=XMP, iptc=IPTC, density=Density(600, 600))
    for name in FORMATS:
        found = replace(metadata, cicp=Cicp(12, 13)) if name == "png" else metadata
        for orientation in orientations:
            path = folder / f"{name}-{orientation}.{SUFFIXES[name]}"
            if name == "tiff":
                tags = {271: "Maker", 274: orientation, 700: XMP, 33723: IPTC}
                picture = PillowImage.fromarray(stored()[..., ::-1].copy())
                picture.save(path, tiffinfo=tags, icc_profile=found.icc, dpi=(600, 600))
                continue
            image = Image(stored(), metadata=replace(found, exif=exif_block(orientation)))
            path.write_bytes(encode_image(image, name, quality=100))


def run(*words: object) -> None:
    subprocess.run(
        [sys.executable, "-m", "vaetools", *map(str, words)],
        check=True,
        timeout=600,
        stdout=subprocess.DEVNULL,
    )


def apply(operation: str, sources: Path, out: Path) -> None:
    """The commands that a user types."""
    if operation == "denoise":
        run("denoise", sources, "-o", out, "--sigma", 10)
    elif operation == "inpaint":
        hole = np.zeros((SIDE, SIDE), np.uint8)
        hole[20:30, 20:30] = 255
        mask = sources.parent / "mask.png"
        PillowImage.fromarray(hole).save(mask)
        run("inpaint", sources, "-o", out, "--mask", mask)
    elif operation == "augment":
        run("augment", sources, "-o", out, "-n", 1, "--strength", 0.1)
    else:
        packed = out.with_name("packed")
        run("compress", sources, "-o", packed)
        run("decompress", packed, "-o", out, "--to", "same")


def verdicts(name: str, files: dict[int, Path]) -> dict[str, str]:
    """What became of each kind of metadata in the results, by orientation of the source."""
    data = files[1].read_bytes()
    image = read_image(files[1])
    found = image.metadata
    fields = CONTAINERS[name].holds.fields

    def kept(kind: str, holds: bool) -> str:
        return "✓" if holds else ("no place" if kind not in fields else "**lost**")

    turned = [o for o, path in files.items() if not is_upright(path, o)]
    has_note = name == "tiff" or NOTE in (found.exif or b"")
    return {
        "EXIF": kept("exif", b"Maker" in (found.exif or b"") and has_note),
        "XMP": kept("xmp", b'Rating="4"' in (found.xmp or b"")),
        "IPTC": kept("iptc", found.iptc == IPTC),
        "ICC profile": kept(
            "icc", found.icc is not None and found.icc[128:] == icc_profile()[128:]
        ),
        "CICP": kept("cicp", found.cicp == Cicp(12, 13)),
        "600 dpi": "✓" if found.density and round(found.density.x) == 600 else "**lost**",
        "thumbnail": "dropped" if data.find(b"\xff\xd8\xff", 2) < 0 else "**stale**",
        "orientation 1 … 8": "✓" if not turned else f"**wrong: {turned}**",
    }


def is_upright(path: Path, orientation: int) -> bool:
    """Whether we and Pillow show pixels near to the upright ones."""
    expected = UPRIGHT[orientation](stored()).astype(float)
    with PillowImage.open(path) as picture:
        shown = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))[..., ::-1]
    pictures = (read_image(path).pixels.astype(float), shown.astype(float))
    return all(float(np.abs(found - expected).mean()) < 12 for found in pictures)


def table(operation: str, orientations: Collection[int] = tuple(UPRIGHT)) -> str:
    """The table of one operation; with fewer orientations, only those are tried."""
    with tempfile.TemporaryDirectory() as place:
        sources, out = Path(place) / "in", Path(place) / "out"
        sources.mkdir()
        write_sources(sources, orientations)
        apply(operation, sources, out)
        columns = {}
        for name in FORMATS:
            files = {o: next(out.glob(f"{name}-{o}[._]*")) for o in orientations}
            columns[name] = verdicts(name, files)
    rows = [f"| {operation} | {' | '.join(LABELS[name] for name in FORMATS)} |"]
    rows.append("|---" * (1 + len(FORMATS)) + "|")
    rows += [
        f"| {kind} | {' | '.join(columns[name][kind] for name in FORMATS)} |"
        for kind in columns[FORMATS[0]]
    ]
    return "\n".join(rows)


def places() -> str:
    """What each format has a place for."""
    names = [name for name in CONTAINERS if name in LABELS]
    holds = [*(CONTAINERS[name].holds.fields for name in names), VAE.fields]
    rows = [f"| | {' | '.join(LABELS[name] for name in names)} | .vae |"]
    rows.append("|---" * (2 + len(names)) + "|")
    kinds = {"EXIF": "exif", "XMP": "xmp", "IPTC": "iptc", "ICC profile": "icc"}
    kinds |= {"CICP": "cicp", "gamma, chromaticities": "calibration", "resolution": "density"}
    instead = {
        "cicp": ("icc", "as ICC"),
        "calibration": ("icc", "as ICC"),
        "density": ("exif", "in EXIF"),
    }
    for label, kind in kinds.items():
        other, words = instead.get(kind, ("", ""))
        cells = ["✓" if kind in f else words if other in f else "no" for f in holds]
        rows.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--only", choices=OPERATIONS)
    parser.add_argument("--write", type=Path, metavar="PAGE")
    options = parser.parse_args()
    wanted = [options.only] if options.only else OPERATIONS
    tables = "\n\n".join([places(), *map(table, wanted)])
    if options.write is None:
        print(tables)
        return
    page = options.write.read_text(encoding="utf-8")
    changed = MARKS.sub(lambda found: f"{found[1]}\n{tables}\n\n{found[2]}", page)
    options.write.write_text(changed, encoding="utf-8")


if __name__ == "__main__":
    main()
