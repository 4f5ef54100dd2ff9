"""Where a copy comes from: a line of JSON for each, from which it can be made again.

    {"format": 1, "output": "cat/1_aug0001.png", "output_sha256": "…", "source": "cat/1.jpg", …}

The lines of all copies of a picture stand in one file beside them, which is written together with
them; many such files one after the other are a manifest as well.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Self

from vaetools.errors import OptionError
from vaetools.image import encode_image
from vaetools.image.containers import PNG_SIGNATURE, png_chunk

if TYPE_CHECKING:
    from pathlib import Path

    from vaetools.augmentation.latent import Levels
    from vaetools.image import Image

FORMAT = 1
SUFFIX = "_aug.jsonl"

DIGITAL_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC Photo Metadata Standard 2023.2, Digital Source Type: made by a model that was trained."""

_XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
   Iptc4xmpExt:DigitalSourceType="{DIGITAL_SOURCE}"/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""

_HEADER_END = len(PNG_SIGNATURE) + 25  # the chunk IHDR always has this size


@dataclass(frozen=True)
class CopyRecord:
    """One line of a manifest.

    Attributes:
        output, output_sha256: name of the copy's file, relative to the output folder, and its bytes.
        source, source_sha256: the same of the picture that it was made of; the name is also the key of
            its random numbers.
        label: name of the folder that the source is in, or None at the top.
        operation: `augment`.
        strength, levels, seed, copy: see `LatentJitter` and `copy_generator`.
        model, model_sha256: id and fingerprint of the model.
        tagged: whether the file says that a model made it.
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
        """As JSON, with the end of the line. In ASCII, as names may hold bytes that are no text."""
        return json.dumps({"format": FORMAT, **asdict(self)}) + "\n"

    @classmethod
    def parse(cls, line: str) -> Self:
        """A line of a manifest. Raises `ValueError` if it is none."""
        found = json.loads(line)
        if not isinstance(found, dict) or found.pop("format", None) != FORMAT:
            raise ValueError(f'not an object with "format": {FORMAT}')
        kinds = {field.name: _KINDS[str(field.type)] for field in fields(cls)}
        if found.keys() != kinds.keys():
            raise ValueError(f"keys {' '.join(sorted(found.keys() ^ kinds.keys()))}")
        for name, value in found.items():
            if type(value) not in kinds[name]:
                raise ValueError(f"{name} is {value!r}")
        for name in ("output", "source"):
            path = PurePosixPath(found[name])
            if path.is_absolute() or ".." in path.parts or not path.name:
                raise ValueError(f"{name} {found[name]!r} leaves its folder")
        if not found["output"].endswith(".png"):
            raise ValueError(f"output {found['output']!r} is no PNG file")
        return cls(**found)


_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "Levels": (str,),
    "str | None": (str, type(None)),
    "float": (float, int),
    "int": (int,),
    "bool": (bool,),
}


def read_records(place: Path) -> list[CopyRecord]:
    """The records in a manifest, or in all `*_aug.jsonl` files of a folder.

    Raises:
        OptionError: there are none, or a line that is no record.
    """
    files = sorted(place.rglob(f"*{SUFFIX}")) if place.is_dir() else [place]
    records = []
    for file in files:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "is not text"
            raise OptionError(f"manifest {file}: {reason}") from None
        for number, line in enumerate(lines, 1):
            try:
                records.append(CopyRecord.parse(line))
            except ValueError as error:
                raise OptionError(f"manifest {file}, line {number}: {error}") from None
    if not records:
        raise OptionError(f"there is no manifest in {place}", remedy=f"its files end in {SUFFIX}")
    return records


def copy_file(image: Image, record: CopyRecord) -> tuple[bytes, CopyRecord]:
    """A copy as a PNG file, and its record with the sha256 of that."""
    data = encode_image(image, "png")
    if record.tagged:
        data = _tagged(data)
    return data, replace(record, output_sha256=hashlib.sha256(data).hexdigest())


def _tagged(png: bytes) -> bytes:
    """A PNG with `DIGITAL_SOURCE` as XMP, in the chunk that PNG's third edition names for it."""
    chunk = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + _XMP.encode())
    return png[:_HEADER_END] + chunk + png[_HEADER_END:]
