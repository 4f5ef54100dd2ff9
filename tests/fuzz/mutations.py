"""Mutations of `.vae` files: of the packed bytes, and of sections and header fields before packing."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from vaetools.codec.container import Container, Section, SectionKind

LARGEST = {"B": 2**8 - 1, "H": 2**16 - 1, "I": 2**32 - 1}
FIELDS = (
    (4, "B"),
    (5, "B"),
    (6, "B"),
    (7, "B"),
    (8, "I"),
    (12, "I"),
    (16, "H"),
    (18, "I"),
    (26, "B"),
)
"""Offset and type of the fields in the fixed part of the header, see docs/format.md."""


# --- mutations of bytes ---------------------------------------------------------------------------


def flip(data: bytes, rng: random.Random, _: bytes) -> bytes:
    """Flip up to eight bits."""
    out = bytearray(data)
    for _bit in range(rng.randint(1, 8) if out else 0):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def cut(data: bytes, rng: random.Random, _: bytes) -> bytes:
    """Remove a range of bytes, or everything from some byte on."""
    start = rng.randint(0, len(data))
    stop = len(data) if rng.random() < 0.5 else min(len(data), start + rng.randint(1, 8))
    return data[:start] + data[stop:]


def double(data: bytes, rng: random.Random, _: bytes) -> bytes:
    """Repeat a range of bytes."""
    start = rng.randint(0, len(data))
    return data[: start + rng.randint(1, 16)] + data[start:]


def splice(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Join the beginning of one file and the end of another."""
    return data[: rng.randint(0, len(data))] + other[rng.randint(0, len(other)) :]


def overwrite(data: bytes, rng: random.Random, _: bytes) -> bytes:
    """Overwrite a few bytes with extreme values or noise."""
    at = rng.randint(0, len(data))
    new = rng.choice([b"\0", b"\xff", b"\x80", b"\x7f"]) * rng.randint(1, 8)
    new = rng.randbytes(len(new)) if rng.random() < 0.5 else new
    return data[:at] + new + data[at + len(new) :]


def extreme(kind: str, rng: random.Random) -> int:
    """A value that a reader may handle wrongly."""
    top = LARGEST[kind]
    known = [0, 1, 2, 3, 4, 5, 8, 16, 32, 63, 64, 65, 128, 132, 255, 1024, 65535, 2**20, 2**28, top]
    if rng.random() < 0.3:
        return rng.randint(0, top)
    return rng.choice([value for value in known if value <= top])


def set_field(data: bytes, rng: random.Random, _: bytes) -> bytes:
    """Change a field in the fixed part of the header."""
    if len(data) < 27:
        return data
    out = bytearray(data)
    offset, kind = rng.choice(FIELDS)
    struct.pack_into(f"<{kind}", out, offset, extreme(kind, rng))
    return bytes(out)


def set_entry(data: bytes, rng: random.Random, _: bytes) -> bytes:
    """Change the number of sections, or a kind or length in their table."""
    if len(data) < 29 or len(data) < 40 + data[26]:
        return data
    out, table = bytearray(data), 27 + data[26]
    count = struct.unpack_from("<H", data, table)[0]
    entry = table + 2 + 9 * rng.randrange(max(1, count))
    offset, kind = rng.choice([(table, "H"), (entry, "B"), (entry + 1, "I")])
    if offset + struct.calcsize(kind) <= len(out):
        struct.pack_into(f"<{kind}", out, offset, extreme(kind, rng))
    return bytes(out)


def with_checksums(data: bytes, *, lengths: bool) -> bytes:
    """Recompute all checksums, if the section table can be found.

    With `lengths`, the length of the last section is set to the rest of the file, so that missing and
    additional bytes reach the entropy coder.
    """
    out = bytearray(data)
    if len(out) < 29 or len(out) < 29 + out[26]:
        return data
    table = 29 + out[26]
    (count,) = struct.unpack_from("<H", out, table - 2)
    end = table + 9 * count
    if len(out) < end + 4:
        return data
    at = end + 4
    for entry in range(table, end, 9):
        if lengths and entry == end - 9:
            struct.pack_into("<I", out, entry + 1, max(0, len(out) - at))
        (length,) = struct.unpack_from("<I", out, entry + 1)
        struct.pack_into("<I", out, entry + 5, zlib.crc32(out[at : at + length]))
        at += length
    struct.pack_into("<I", out, end, zlib.crc32(out[:end]))
    return bytes(out)


BYTES: Sequence[Callable[[bytes, random.Random, bytes], bytes]] = (
    flip,
    cut,
    double,
    splice,
    overwrite,
    set_field,
    set_entry,
)
PAYLOAD = (flip, cut, double, splice, overwrite)


# --- mutations of meaning -------------------------------------------------------------------------


def rewrite_payload(file: Container, rng: random.Random, other: Container) -> Container:
    """Mutate the bytes of one section in an otherwise valid file."""
    place = rng.randrange(len(file.sections))
    section = file.sections[place]
    data = section.data
    for _ in range(rng.randint(1, 3)):
        data = rng.choice(PAYLOAD)(data, rng, rng.choice(other.sections).data)
    return with_sections(file, place, [Section(section.kind, data)])


def rewrite_table(file: Container, rng: random.Random, other: Container) -> Container:
    """Remove, repeat or retype a section, or take one from another file."""
    place = rng.randrange(len(file.sections))
    section = file.sections[place]
    new = rng.choice(
        [
            [],
            [section, section],
            [replace(section, kind=rng.choice(list(SectionKind)))],
            [rng.choice(other.sections)],
        ]
    )
    return with_sections(file, place, new)


def rewrite_fields(file: Container, rng: random.Random, other: Container) -> Container:
    """Take fields from another file, or set sizes that may not match the sections."""
    changes: dict[str, object] = {
        "width": rng.choice([other.width, file.width + 64, 64 * file.tile]),
        "height": rng.choice([other.height, file.height + 64, 1]),
        "level": other.level,
        "tile": rng.choice([other.tile, 128]),
        "depth": other.depth,
        "stored": not file.stored,
        "stream_id": "ff" * 8,
    }
    chosen = rng.sample(sorted(changes), rng.randint(1, 3))
    return replace(file, **{name: changes[name] for name in chosen})  # type: ignore[arg-type]


def plant_bomb(file: Container, rng: random.Random, _: Container) -> Container:
    """Add a section of a megabyte that decompresses to twice the allowed memory."""
    kind = rng.choice([SectionKind.ICC, SectionKind.EXIF, SectionKind.LEVELS])
    kept = tuple(s for s in file.sections if s.kind != kind)
    return replace(file, sections=(*kept, Section(kind, BOMB)))


def with_sections(file: Container, place: int, new: list[Section]) -> Container:
    return replace(file, sections=(*file.sections[:place], *new, *file.sections[place + 1 :]))


def bomb(megabytes: int) -> bytes:
    packer = zlib.compressobj(1)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(megabytes)) + packer.flush()


BOMB = bomb(256)
MEANING = (rewrite_payload, rewrite_payload, rewrite_payload, rewrite_table, rewrite_fields)


@dataclass(frozen=True)
class Case:
    """A file to read.

    Attributes:
        data: its bytes.
        is_forged: its checksums match the mutated content.
    """

    data: bytes
    is_forged: bool


def mutated(files: Sequence[Container], rng: random.Random) -> Case:
    """A random case: a valid file, mutated in up to six steps."""
    file, other = rng.sample(files, 2)
    steps = rng.choice([0, 0, 1, 1, 2])
    for _ in range(steps):
        file = rng.choice(MEANING)(file, rng, other)
        if not file.sections:
            return Case(file.pack(), is_forged=True)
    is_bomb = rng.random() < 0.002
    if is_bomb:
        file = plant_bomb(file, rng, other)
    data = file.pack()
    for _ in range(rng.choice([0, 0, 1, 1, 2, 4])):
        data = rng.choice(BYTES)(data, rng, other.pack())
    if rng.random() < 0.2:
        return Case(data, is_forged=steps > 0 or is_bomb)
    return Case(with_checksums(data, lengths=rng.random() < 0.7), is_forged=True)
