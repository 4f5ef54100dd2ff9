"""Provenance of copies: one line of JSON for each, from which it can be made again.

    {"format": 1, "output": "cat/1_aug0001.png", "output_sha256": "…", "source": "cat/1.jpg", …}

The lines for all copies of an image are in one file next to them, which is written together with
them. Concatenated files are a manifest as well.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Self

from vaetools.augmentation.latent import Levels  # noqa: TC001 - from_table resolves it
from vaetools.errors import OptionError
from vaetools.image import encode_image
from vaetools.image.metadata import xmp
from vaetools.text import parse_json
from vaetools.tomlfile import from_table

if TYPE_CHECKING:
    from pathlib import Path

    from vaetools.image import Image

FORMAT = 1
SUFFIX = "_aug.jsonl"

DIGITAL_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC Photo Metadata Standard 2023.2, Digital Source Type: created by a trained model."""

DIGITAL_SOURCE_TYPE = ("http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "DigitalSourceType")

_XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
   Iptc4xmpExt:DigitalSourceType="{DIGITAL_SOURCE}"/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""


@dataclass(frozen=True)
class CopyRecord:
    """One line of a manifest.

    Attributes:
        output: path of the copy relative to the output folder; a PNG file.
        source: path of the original relative to the input folder; also the key of the random numbers.
        source_sha256: SHA-256 of the file of the original, in hex.
        label: name of the folder of the original, or None for the input folder itself.
        operation: `augment`.
        strength, levels: see `LatentJitter`.
        seed, copy: see `copy_generator`.
        model, model_sha256: id and fingerprint of the model.
        tagged: whether the file has the tag `DIGITAL_SOURCE`.
        output_sha256: SHA-256 of the file of the copy; empty until there is one.
    """

    output: str
    source: str
    source_sha256: str
    label: str | None
    operation: str
    strength: float
    levels: Levels
    seed: int
    copy: int
    model: str
    model_sha256: str
    tagged: bool = False
    output_sha256: str = ""

    @property
    def line(self) -> str:
        """JSON and a newline. In ASCII, as names may hold bytes that are not valid UTF-8."""
        return json.dumps({"format": FORMAT, **asdict(self)}) + "\n"

    @classmethod
    def parse(cls, line: str, place: str = "line") -> Self:
        """The record in a line of a manifest.

        Args:
            line: as `CopyRecord.line` gives it.
            place: named in the error, such as `line 3 of more/a_aug.jsonl`.

        Raises:
            OptionError: the line is not a record of this format.
        """
        try:
            found = parse_json(line)
        except ValueError as error:
            raise OptionError(f"{place}: not JSON: {error}") from None
        if not isinstance(found, dict) or found.pop("format", None) != FORMAT:
            raise OptionError(f'{place}: not an object with "format": {FORMAT}')
        record = from_table(cls, found, OptionError, file=place)
        for name, value in (("output", record.output), ("source", record.source)):
            path = PurePosixPath(value)
            if path.is_absolute() or ".." in path.parts or not path.name:
                raise OptionError(f"{place}: {name} {value!r} is not inside its folder")
        if not record.output.endswith(".png"):
            raise OptionError(f"{place}: output {record.output!r} is not a PNG file")
        return record


def read_records(place: Path) -> list[CopyRecord]:
    """The records in a manifest, or in all files `*_aug.jsonl` under a folder.

    Args:
        place: the file or folder.

    Raises:
        OptionError: there is no record, a file cannot be read, or a line is not a record.
    """
    files = sorted(place.rglob(f"*{SUFFIX}")) if place.is_dir() else [place]
    records = []
    for file in files:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "is not UTF-8 text"
            raise OptionError(f"manifest {file}: {reason}") from None
        records += [
            CopyRecord.parse(line, f"manifest {file}, line {number}")
            for number, line in enumerate(lines, 1)
        ]
    if not records:
        raise OptionError(f"no manifest in {place}", remedy=f"files of a manifest end in {SUFFIX}")
    return records


def copy_file(image: Image, record: CopyRecord) -> tuple[bytes, CopyRecord]:
    """A copy as a PNG file, tagged if the record says so.

    Returns:
        The bytes of the file, and the record with their SHA-256.
    """
    data = encode_image(_tagged(image) if record.tagged else image, "png")
    return data, replace(record, output_sha256=hashlib.sha256(data).hexdigest())


def _tagged(image: Image) -> Image:
    """The image with `DIGITAL_SOURCE` in its XMP packet."""
    packet = image.metadata.xmp
    try:
        kept = xmp.without(packet, DIGITAL_SOURCE_TYPE.__eq__) if packet else b""
        packet = xmp.merged(kept, _XMP.encode()) if kept else _XMP.encode()
    except xmp.XmpError:  # it has no place for properties
        packet = _XMP.encode()
    return replace(image, metadata=replace(image.metadata, xmp=packet))
