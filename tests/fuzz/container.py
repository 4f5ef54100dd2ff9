"""Feed the reader of `.vae` files with damaged and forged ones: container, entropy coder, metadata.

    python benchmarks/fuzz_container.py --cases 100000 --seed 0

Good files are mutated: bits flipped, bytes cut, doubled and exchanged between files, header fields set
to extremes, payloads and section tables rewritten; in most cases the checksums are made right again,
so that the mutation gets behind them. A third of the cases is read as a preview, whose end may be
missing. The promise: a decoded file or a `BitstreamError`, in less than a second of CPU time and with
little memory; and where no checksum was made right, nothing is decoded that was not written so. Any
other exception is a defect.

There is no network in it: a few integer operations take the place of the one that chooses tables, so
that a case costs a fraction of a millisecond; `fuzz_decode.py` has the rest. One line is printed; the
exit status is 1 if a case failed, and the failures come with the command that repeats them.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import struct
import sys
import time
import traceback
import zlib
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from vaetools.codec.container import (
    PREVIEW,
    Container,
    Section,
    SectionKind,
    deflate,
    inflate,
    unpack,
)
from vaetools.codec.entropy import frequencies_of, gaussian_table
from vaetools.codec.tables import (
    CodecTables,
    decode_hyper,
    decode_latents,
    encode_hyper,
    encode_latents,
)
from vaetools.errors import BitstreamError, ChecksumError, HeaderLimitError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOM = 128 * 2**20
"""Address space that all cases together may take beyond what the good files took."""

GROWTH = 64 * 2**20
"""Memory, resident, that the worst case may take beyond what the good files took."""

MAX_PIXELS = 2**20
LEVELS, LATENTS, HYPER, LIMIT = 5, 6, 4, 9
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
"""Where the fields of the fixed part stand, see docs/format.md."""


# --- a codec without networks ---------------------------------------------------------------------


def toy_tables() -> CodecTables:
    """Tables as a model's, but few of them."""
    rng = np.random.default_rng(0)
    latent = [gaussian_table(scale) for scale in (0.11, 0.3, 0.8, 2.0, 6.0, 20.0)]
    hyper = [[frequencies_of(rng.random(2 * LIMIT + 1)) for _ in range(HYPER)] for _ in range(2)]
    return CodecTables(
        gain=np.ones((LEVELS, LATENTS), np.float32),
        inverse_gain=np.ones((LEVELS, LATENTS), np.float32),
        index_offset=rng.integers(-2, 3, (LEVELS, LATENTS)).astype(np.int16),
        rate=np.linspace(0, 1, LEVELS, dtype=np.float32),
        coarse=np.arange(LATENTS) % 3 == 1,
        hyper_group=np.arange(LEVELS, dtype=np.uint8) // 3,
        hyper_frequencies=np.array(hyper, np.uint32),
        latent_reach=np.array([t.reach for t in latent], np.uint16),
        latent_frequencies=np.concatenate([t.frequencies for t in latent]).astype(np.uint32),
    )


def base_index(z: np.ndarray) -> np.ndarray:
    """(N, rows, columns) -> (1, M, 4 rows, 4 columns), in place of the integer network."""
    fine = np.abs(z).repeat(4, axis=1).repeat(4, axis=2)
    return np.stack([fine[c % HYPER] // 2 for c in range(LATENTS)])[None]


def boxes(height: int, width: int, tile: int) -> list[tuple[slice, slice, slice]]:
    return [
        (slice(None), slice(top, top + tile), slice(left, left + tile))
        for top in range(0, height, tile)
        for left in range(0, width, tile)
    ]


def parts(tables: CodecTables) -> dict[SectionKind, np.ndarray]:
    """Which channels stand in which kind of section."""
    return {SectionKind.COARSE: tables.coarse, SectionKind.FINE: ~tables.coarse}


def good_file(tables: CodecTables, seed: int) -> Container:
    """A file of random size, levels and content; one in ten is stored."""
    rng = np.random.default_rng(seed)
    width, height = (int(n) for n in rng.integers(1, 200, 2))
    level, tile = int(rng.integers(LEVELS)), 4 * int(rng.integers(1, 6))
    depth = (8, 16, 32)[seed % 3]
    empty = Container(
        width, height, depth, seed % 5 == 0, level, tile, "0123456789abcdef", "toy", ()
    )
    if seed % 10 == 9:
        return replace(empty, sections=(Section(SectionKind.SOURCE, rng.bytes(99)),), stored=True)
    return replace(empty, sections=tuple(coded_sections(tables, empty, seed)))


def coded_sections(tables: CodecTables, head: Container, seed: int) -> list[Section]:
    rng = np.random.default_rng(seed)
    grid = -(-head.height // 64), -(-head.width // 64)
    levels, sections = np.full(grid, head.level, np.uint8), []
    if seed % 4 == 0:
        levels = rng.integers(LEVELS, size=grid).astype(np.uint8)
        sections.append(Section(SectionKind.LEVELS, deflate(levels.tobytes())))
    z = np.clip(rng.normal(0, 4, (HYPER, *grid)), -LIMIT, LIMIT).astype(int)
    sections.append(Section(SectionKind.HYPER, encode_hyper(z, levels, tables).finish()))
    index = tables.indexes(base_index(z), levels)
    symbols = np.rint(rng.normal(0, 2, index.shape) ** 3).astype(int)
    for kind, chosen in parts(tables).items():
        for box in boxes(*index.shape[1:], head.tile):
            coded = encode_latents(symbols[box][chosen], index[box][chosen], tables.latent)
            sections.append(Section(kind, coded.finish()))
    if seed % 2:
        sections.append(Section(SectionKind.ICC, deflate(rng.bytes(20) * 5)))
        sections.append(Section(SectionKind.EXIF, deflate(b"II*\0" + bytes(30))))
    return sections


def levels_of(container: Container) -> np.ndarray:
    """The level of every cell, as `Codec.levels_of` finds it for a model with `LEVELS`."""
    grid = -(-container.height // 64), -(-container.width // 64)
    if container.level >= LEVELS:
        raise HeaderLimitError(f"level {container.level}")
    packed = container.one(SectionKind.LEVELS)
    if packed is None:
        return np.full(grid, container.level, np.uint8)
    levels = np.frombuffer(inflate(packed, most=grid[0] * grid[1]), np.uint8)
    if levels.size != grid[0] * grid[1]:
        raise ChecksumError("number of levels")
    if levels.max() >= LEVELS:
        raise HeaderLimitError("level of a cell")
    return levels.reshape(grid)


class Skeleton:
    """What a decoder does with a file, up to the networks."""

    def __init__(self, tables: CodecTables) -> None:
        self.tables = tables

    def __call__(self, data: bytes, preview: bool, _: random.Random) -> Container:
        container = unpack(data, max_pixels=MAX_PIXELS, preview=preview)
        if container.stored:
            return container
        tables, levels = self.tables, levels_of(container)
        z = decode_hyper(container.all(SectionKind.HYPER)[0], levels, tables)
        index = tables.indexes(base_index(z), levels)
        for kind, chosen in parts(tables).items():
            if preview and kind not in PREVIEW:
                continue
            places = boxes(*index.shape[1:], container.tile)
            for box, payload in zip(places, container.all(kind), strict=True):
                decode_latents(payload, index[box][chosen], tables.latent)
        for kind in (SectionKind.ICC, SectionKind.EXIF):
            packed = container.one(kind)
            if packed is not None:
                inflate(packed)
        return container


# --- mutations of bytes ---------------------------------------------------------------------------


def flip(data: bytes, rng: random.Random, _: bytes) -> bytes:
    """Up to eight bits."""
    out = bytearray(data)
    for _bit in range(rng.randint(1, 8) if out else 0):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def cut(data: bytes, rng: random.Random, _: bytes) -> bytes:
    """A stretch is missing, or everything from some byte on."""
    start = rng.randint(0, len(data))
    stop = len(data) if rng.random() < 0.5 else min(len(data), start + rng.randint(1, 8))
    return data[:start] + data[stop:]


def double(data: bytes, rng: random.Random, _: bytes) -> bytes:
    """A stretch comes twice."""
    start = rng.randint(0, len(data))
    return data[: start + rng.randint(1, 16)] + data[start:]


def splice(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """The beginning of one, the end of another."""
    return data[: rng.randint(0, len(data))] + other[rng.randint(0, len(other)) :]


def overwrite(data: bytes, rng: random.Random, _: bytes) -> bytes:
    """A few bytes become extremes or noise."""
    at = rng.randint(0, len(data))
    new = rng.choice([b"\0", b"\xff", b"\x80", b"\x7f"]) * rng.randint(1, 8)
    new = rng.randbytes(len(new)) if rng.random() < 0.5 else new
    return data[:at] + new + data[at + len(new) :]


def extreme(kind: str, rng: random.Random) -> int:
    """A value that somebody may have forgotten."""
    top = LARGEST[kind]
    known = [0, 1, 2, 3, 4, 5, 8, 16, 32, 63, 64, 65, 128, 132, 255, 1024, 65535, 2**20, 2**28, top]
    if rng.random() < 0.3:
        return rng.randint(0, top)
    return rng.choice([value for value in known if value <= top])


def set_field(data: bytes, rng: random.Random, _: bytes) -> bytes:
    """A field of the header's fixed part."""
    if len(data) < 27:
        return data
    out = bytearray(data)
    offset, kind = rng.choice(FIELDS)
    struct.pack_into(f"<{kind}", out, offset, extreme(kind, rng))
    return bytes(out)


def set_entry(data: bytes, rng: random.Random, _: bytes) -> bytes:
    """The number of sections, or a kind or length in their table."""
    if len(data) < 29 or len(data) < 40 + data[26]:
        return data
    out, table = bytearray(data), 27 + data[26]
    count = struct.unpack_from("<H", data, table)[0]
    entry = table + 2 + 9 * rng.randrange(max(1, count))
    offset, kind = rng.choice([(table, "H"), (entry, "B"), (entry + 1, "I")])
    if offset + struct.calcsize(kind) <= len(out):
        struct.pack_into(f"<{kind}", out, offset, extreme(kind, rng))
    return bytes(out)


def made_right(data: bytes, *, lengths: bool) -> bytes:
    """The same with all checksums right, as far as there is a table that they stand in.

    With `lengths` the last section also becomes as long as the file, so that missing and additional
    bytes reach the entropy coder.
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
    """One section's bytes are mutated; the file around them is sound."""
    place = rng.randrange(len(file.sections))
    section = file.sections[place]
    data = section.data
    for _ in range(rng.randint(1, 3)):
        data = rng.choice(PAYLOAD)(data, rng, rng.choice(other.sections).data)
    return with_sections(file, place, [Section(section.kind, data)])


def rewrite_table(file: Container, rng: random.Random, other: Container) -> Container:
    """A section is lost, comes twice, changes its kind, or is that of another file."""
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
    """Fields of another file, or a size that asks for as many tiles and other symbols."""
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
    """Metadata or a map of levels of a megabyte that unpacks to twice the memory there is."""
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
    """A file to be read.

    Attributes:
        is_forged: its checksums were made right, or may have been.
    """

    data: bytes
    is_forged: bool


def mutated(files: Sequence[Container], rng: random.Random) -> Case:
    """One case: one of the good files, changed in one to six ways."""
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
    return Case(made_right(data, lengths=rng.random() < 0.7), is_forged=True)


def was_written(found: Container, files: Sequence[Container]) -> bool:
    """Whether that is one of the good files, or what has come of one."""
    return any(
        replace(found, sections=()) == replace(file, sections=())
        and set(found.sections) <= set(file.sections)
        for file in files
    )


# --- the run --------------------------------------------------------------------------------------


@dataclass
class Tally:
    """What became of the cases."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)
    slowest: float = 0.0
    grown: int = 0

    def line(self, cases: int, seed: int, seconds: float) -> str:
        refused = {k: n for k, n in sorted(self.outcomes.items()) if k.startswith("E")}
        codes = ", ".join(f"{code} {n}" for code, n in refused.items())
        return (
            f"{cases} cases, seed {seed}: {self.outcomes['decoded']} decoded, "
            f"{sum(refused.values())} refused ({codes}), {len(self.failures)} failed; "
            f"slowest {1000 * self.slowest:.0f} ms, +{self.grown / 2**20:.0f} MiB, {seconds:.1f} s"
        )


Decode: TypeAlias = "Callable[[bytes, bool, random.Random], Container]"
"""Bytes, whether a preview is enough -> what was read of them. Raises `BitstreamError`."""


def attempt(
    case: Case, files: Sequence[Container], decode: Decode, rng: random.Random
) -> tuple[str, str]:
    """(`decoded`, or the code of the error that refused it; what is wrong with that, if anything)."""
    try:
        found = decode(case.data, rng.random() < 1 / 3, rng)
    except BitstreamError as error:
        return error.code, ""
    if case.is_forged or was_written(found, files):
        return "decoded", ""
    return "decoded", "decoded a damaged file"


def fuzz(
    cases: range,
    seed: int,
    files: Sequence[Container],
    decode: Decode,
    *,
    seconds: float,
) -> Tally:
    """Run the cases; each depends on the seed and its own number alone.

    Args:
        files: good ones.
        seconds: CPU time that a case may take.
    """
    for file in files:
        decode(file.pack(), False, random.Random(0))
    limit_memory(ROOM)
    tally, before = Tally(), peak_memory()
    for case in cases:
        rng = random.Random(f"{seed} {case}")
        mutation = mutated(files, rng)
        began = time.process_time()
        try:
            outcome, problem = attempt(mutation, files, decode, rng)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            outcome, problem = "failed", traceback.format_exc()
        spent = time.process_time() - began
        tally.outcomes[outcome] += 1
        tally.slowest = max(tally.slowest, spent)
        if spent > seconds:
            problem = problem or f"took {spent:.1f} s"
        grown = peak_memory() - before
        if grown > max(GROWTH, tally.grown):
            problem = problem or f"took {grown / 2**20:.0f} MiB"
        tally.grown = grown
        if problem:
            tally.failures.append((case, problem))
    return tally


def limit_memory(room: int) -> None:
    """More than `room` from now on is a MemoryError; only Linux says how much there is now."""
    with contextlib.suppress(ImportError, OSError):
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        ceiling = pages * resource.getpagesize() + room
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (ceiling, hard))


def peak_memory() -> int:
    """Largest resident size of this process so far, in bytes; 0 where it is not known."""
    with contextlib.suppress(ImportError):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return 0


def run(description: str, files: Sequence[Container], decode: Decode, *, seconds: float) -> int:
    """The command line of a fuzzer; its exit status."""
    parser = argparse.ArgumentParser(description=description.split("\n", maxsplit=1)[0])
    parser.add_argument("--cases", type=int, default=100_000, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument(
        "--first", type=int, default=0, metavar="N", help="number of the first case"
    )
    options = parser.parse_args()
    cases = range(options.first, options.first + options.cases)
    began = time.perf_counter()
    tally = fuzz(cases, options.seed, files, decode, seconds=seconds)
    print(tally.line(options.cases, options.seed, time.perf_counter() - began))
    for case, problem in tally.failures[:10]:
        print(f"--seed {options.seed} --first {case} --cases 1\n{problem}", file=sys.stderr)
    return 1 if tally.failures else 0


def main() -> int:
    tables = toy_tables()
    files = [good_file(tables, number) for number in range(40)]
    return run(__doc__ or "", files, Skeleton(tables), seconds=1.0)


if __name__ == "__main__":
    sys.exit(main())
