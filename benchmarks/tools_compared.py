"""How command-line tools treat files: outputs that exist, names that clash, damage, metadata.

    python benchmarks/tools_compared.py [--write docs/comparison.md]

Tries vaetools, cjxl, avifenc and ImageMagick's mogrify, those that are installed, and needs exiftool.
Without `--write`, the table is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageCms

if TYPE_CHECKING:
    from collections.abc import Callable

MARKS = re.compile(r"(<!-- trials -->\n).*(<!-- end -->)", re.DOTALL)
VAETOOLS = (sys.executable, "-m", "vaetools")
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/>'
    b"</rdf:RDF></x:xmpmeta>"
)
TAGS = {"Make": "EXIF", "ProfileDescription": "ICC", "Rating": "XMP"}
MINE = b"a file of mine"


@dataclass(frozen=True)
class Tool:
    """A program that converts image files.

    Attributes:
        version: the words that print its version, and a pattern for it.
        one: the words that convert a file to an output file.
        many: the words that convert several files into a folder; None if it takes one at a time.
        suffix: of its outputs.
        back: the words that decode an output to a PNG file; None if exiftool reads it.
    """

    version: tuple[tuple[str, ...], str]
    one: Callable[[str, str], list[str]]
    many: Callable[[list[str], str], list[str]] | None
    suffix: str
    back: Callable[[str, str], list[str]] | None = None

    @property
    def found(self) -> bool:
        return shutil.which(self.version[0][0]) is not None


MOGRIFY = "/usr/bin/mogrify"

TOOLS = {
    "vaetools": Tool(
        ((*VAETOOLS, "--version"), r"[\d.]+"),
        lambda source, out: [*VAETOOLS, "compress", source, "-o", out],
        lambda sources, out: [*VAETOOLS, "compress", *sources, "-o", out],
        "vae",
        lambda source, out: [*VAETOOLS, "decompress", source, "-o", out],
    ),
    "cjxl": Tool(
        (("cjxl", "--version"), r"v([\d.]+)"),
        lambda source, out: ["cjxl", "--lossless_jpeg=0", "-d", "1", source, out],
        None,
        "jxl",
    ),
    "avifenc": Tool(
        (("avifenc", "--version"), r"([\d.]+)"),
        lambda source, out: ["avifenc", source, out],
        None,
        "avif",
    ),
    "ImageMagick": Tool(
        ((MOGRIFY, "--version"), r"ImageMagick ([\d.-]+)"),
        lambda source, out: ["/usr/bin/convert", source, out],
        lambda sources, out: [MOGRIFY, "-path", out, "-format", "webp", *sources],
        "webp",
    ),
}


def sources() -> None:
    """a.jpg and a.png with metadata, both also cut in half, and an image of 16 bit."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    image = Image.fromarray(pixels).resize((128, 96), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save("a.jpg", quality=95, exif=exif, icc_profile=profile, xmp=XMP)
    image.save("a.png", exif=exif, icc_profile=profile)
    for name in ("a.jpg", "a.png"):
        data = Path(name).read_bytes()
        Path(f"cut-{name}").write_bytes(data[: len(data) * 2 // 3])


def run(words: list[str]) -> int:
    return subprocess.run(words, capture_output=True, check=False).returncode


def version(tool: Tool) -> str:
    words, pattern = tool.version
    said = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    found = re.search(pattern, said)
    return found[found.lastindex or 0] if found else "?"


def existing(tool: Tool) -> str:
    """What becomes of an output file that was there before."""
    out = Path(f"existing.{tool.suffix}")
    out.write_bytes(MINE)
    code = run(tool.one("a.jpg", str(out)))
    return f"kept, exit {code}" if out.read_bytes() == MINE else f"replaced, exit {code}"


def clash(tool: Tool) -> str:
    """What becomes of a/x.jpg and b/x.jpg in one output folder."""
    if tool.many is None:
        return "one file at a time"
    for folder in ("a", "b", "clash"):
        Path(folder).mkdir()
    for folder in ("a", "b"):
        shutil.copyfile("a.jpg", f"{folder}/x.jpg")
    code = run(tool.many(["a/x.jpg", "b/x.jpg"], "clash"))
    count = len([path for path in Path("clash").iterdir() if path.name[0] != "."])
    return f"refused, exit {code}" if not count else f"{count} of 2 outputs, exit {code}"


def cut(name: str) -> Callable[[Tool], str]:
    """What becomes of a file that is cut."""

    def trial(tool: Tool) -> str:
        out = Path(f"cut-{name}.{tool.suffix}")
        code = run(tool.one(f"cut-{name}", str(out)))
        return f"output, exit {code}" if out.exists() else f"refused, exit {code}"

    return trial


def kept(tool: Tool) -> str:
    """Which metadata of a JPEG file the output has, or for `.vae` files the decoded PNG file."""
    out = f"kept.{tool.suffix}"
    run(tool.one("a.jpg", out))
    if tool.back is not None:
        run(tool.back(out, "kept.png"))
        out = "kept.png"
    elif tool.suffix == "jxl":  # its metadata may be compressed: by its own decoder
        run(["djxl", out, "kept-jxl.png"])
        out = "kept-jxl.png"
    words = ["exiftool", "-s", *(f"-{tag}" for tag in TAGS), out]
    said = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    found = [name for tag, name in TAGS.items() if re.search(rf"^{tag}\b", said, re.MULTILINE)]
    return ", ".join(found) or "none"


TRIALS: dict[str, Callable[[Tool], str]] = {
    "the output exists": existing,
    "`a/x.jpg` and `b/x.jpg` into one folder": clash,
    "a JPEG file that is cut": cut("a.jpg"),
    "a PNG file that is cut": cut("a.png"),
    "EXIF, ICC and XMP of a JPEG file": kept,
}


def tried(tool: Tool) -> list[str]:
    """What became of each trial, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        sources()
        return [trial(tool) for trial in TRIALS.values()]


def table() -> str:
    tools = {name: tool for name, tool in TOOLS.items() if tool.found}
    names = [f"{name} {version(tool)}" for name, tool in tools.items()]
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    rows = zip(TRIALS, *map(tried, tools.values()), strict=True)
    lines += [f"| {' | '.join(row)} |" for row in rows]
    lines += ["", f"`python benchmarks/tools_compared.py`, {dt.datetime.now(dt.UTC):%Y-%m-%d}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", type=Path, metavar="PAGE")
    options = parser.parse_args()
    if options.write is None:
        print(table())
    else:
        text = options.write.read_text(encoding="utf-8")
        found = table()
        options.write.write_text(MARKS.sub(lambda m: m[1] + found + m[2], text), encoding="utf-8")


if __name__ == "__main__":
    main()
