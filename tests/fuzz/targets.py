"""What the guided fuzzer feeds: readers of bytes that other people made, each with seeds.

A target takes any bytes. Allowed outcomes are a result and the errors that it names; any other
exception is a defect, as are seconds of CPU time and much memory (see `tests.fuzz.guided`).
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import hashlib
import io
import random
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from tests.codec.miniature import MODEL, STREAMS
from tests.fuzz.mutations import with_checksums
from vaetools.codec.container import SectionKind, inflate, unpack
from vaetools.codec.model import CodecModel
from vaetools.errors import BitstreamError, InputError, ManifestError, ModelError, VaetoolsError
from vaetools.image import Image, decode_image, encode_image, inspect_image
from vaetools.image.metadata.exif import split_exif
from vaetools.image.metadata.xmp import XmpError, packet_of
from vaetools.model.folder import Model
from vaetools.model.manifest import FILE_NAME, read_manifest
from vaetools.model.runtime import Runtime
from vaetools.runner.journal import Journal
from vaetools.testing import gradient

MAX_PIXELS = 2**16


def unchanged(data: bytes, _: random.Random) -> bytes:
    """No repair."""
    return data


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        read: takes the bytes.
        allowed: what it may raise.
        seeds: valid inputs.
        repair: recomputes checksums, so that a mutation gets past them.
        largest: bytes of an input.
    """

    read: Callable[[bytes], object]
    allowed: tuple[type[VaetoolsError], ...]
    seeds: Callable[[], Iterator[bytes]]
    repair: Callable[[bytes, random.Random], bytes] = unchanged
    largest: int = 2**14


@functools.cache
def scratch() -> Path:
    """A folder for targets that read files."""
    folder = Path(tempfile.mkdtemp(prefix="vaetools-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


# --- .vae files -----------------------------------------------------------------------------------


def read_container(data: bytes) -> None:
    container = unpack(data, max_pixels=MAX_PIXELS)
    for section in container.sections:
        if section.kind in (SectionKind.ICC, SectionKind.EXIF, SectionKind.LEVELS):
            inflate(section.data, max_bytes=2**20)


def container_seeds() -> Iterator[bytes]:
    for path in sorted(STREAMS.glob("*.vae")):
        yield path.read_bytes()


def repair_container(data: bytes, rng: random.Random) -> bytes:
    return with_checksums(data, lengths=rng.random() < 0.5)


# --- models ---------------------------------------------------------------------------------------


def read_model_toml(data: bytes) -> None:
    (scratch() / FILE_NAME).write_bytes(data)
    read_manifest(scratch())


def manifest_seeds() -> Iterator[bytes]:
    yield (MODEL / FILE_NAME).read_bytes()
    yield b'format = 1\nid = "x"\n'


@functools.cache
def miniature() -> Model:
    """The miniature codec in a folder of its own."""
    folder = scratch() / "model"
    shutil.copytree(MODEL, folder)
    return Model(read_manifest(folder), folder, Runtime("cpu", threads=1))


def read_tables(data: bytes) -> None:
    """The data as the file of tables that a manifest names."""
    model = miniature()
    spec = model.manifest.files["tables"]
    (model.folder / spec.file).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    changed = dataclasses.replace(spec, sha256=digest, bytes=len(data))
    files = {**model.manifest.files, "tables": changed}
    manifest = dataclasses.replace(model.manifest, files=files)
    tables = CodecModel(Model(manifest, model.folder, model.runtime)).tables
    if not all(np.isfinite(plane).all() for plane in (tables.gain, tables.inverse_gain)):
        raise AssertionError("tables that are not finite")


def tables_seeds() -> Iterator[bytes]:
    packed = (MODEL / read_manifest(MODEL).files["tables"].file).read_bytes()
    with np.load(io.BytesIO(packed)) as archive:
        arrays = dict(archive)
    yield packed
    out = io.BytesIO()
    np.savez(out, **arrays)  # not compressed: mutations reach the numbers
    yield out.getvalue()


def repair_zip(data: bytes, _: random.Random) -> bytes:
    """Right checksums of the stored members of an archive, as far as its headers can be read."""
    out = bytearray(data)
    at = data.find(b"PK\x01\x02")
    while 0 <= at <= len(data) - 46:
        (method,) = struct.unpack_from("<H", out, at + 10)
        size, local = (struct.unpack_from("<I", out, at + n)[0] for n in (20, 42))
        if method == 0 and local + 30 <= len(out) and out[local : local + 4] == b"PK\x03\x04":
            start = local + 30 + sum(struct.unpack_from("<HH", out, local + 26))
            checksum = struct.pack("<I", zlib.crc32(out[start : start + size]))
            out[at + 16 : at + 20] = out[local + 14 : local + 18] = checksum
        at = data.find(b"PK\x01\x02", at + 4)
    return bytes(out)


# --- journals -------------------------------------------------------------------------------------


def read_journal(data: bytes) -> None:
    folder = scratch() / "out"
    folder.mkdir(exist_ok=True)
    place = Journal(folder).place
    assert place is not None
    path = place.journals()[0] if place.journals() else folder / ".vaetools.ndjson"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    try:
        journal = Journal(folder, "work")
        journal.outputs_of("copy")
    finally:
        path.unlink()


def journal_seeds() -> Iterator[bytes]:
    entry = (
        b'{"event": "%s", "file": "/in/a.png", "op": "copy", "size": 3, "mtime_ns": 5, "work": "work", '
        b'"out": {"a.png": [3, "%s"]}}\n'
    )
    yield entry % (b"writing", b"0" * 64) + entry % (b"done", b"0" * 64)
    yield b'{"event": "folder", "folder": "/data/out"}\n'


# --- images ---------------------------------------------------------------------------------------

FORMATS = ("png", "jpeg", "webp", "tiff", "bmp", "ppm")


def image_seeds() -> Iterator[bytes]:
    colour, grey = gradient(17, 23), gradient(16, 16)[..., 0]
    deep = (colour.astype(np.uint16) * 257).copy()
    for name in FORMATS:
        yield encode_image(Image(colour), name)
        yield encode_image(Image(grey), name)
    for name in ("png", "tiff", "ppm"):
        yield encode_image(Image(deep), name)
    for mode, name in (("P", "PNG"), ("1", "TIFF"), ("CMYK", "JPEG"), ("P", "GIF"), ("LA", "WEBP")):
        yield saved(PillowImage.fromarray(colour).convert(mode), name)
    progressive = io.BytesIO()
    PillowImage.fromarray(colour).save(progressive, "JPEG", progressive=True)
    yield progressive.getvalue()


def saved(image: PillowImage.Image, name: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, name, **options)
    return out.getvalue()


def read_header(data: bytes) -> None:
    inspect_image(data)


def read_pixels(data: bytes) -> None:
    for strict in (True, False):
        image = decode_image(data, max_pixels=MAX_PIXELS, strict=strict, first_frame=not strict)
        if not 0 < image.width * image.height <= MAX_PIXELS:
            raise AssertionError(f"{image.width} x {image.height} pixels")


def repair_png(data: bytes, rng: random.Random) -> bytes:
    """Right checksums of the chunks of a PNG file; other data stays as it is."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n") or rng.random() < 0.2:
        return data
    out, at = bytearray(data), 8
    while at + 12 <= len(out):
        (length,) = struct.unpack_from(">I", out, at)
        end = at + 8 + length
        if end + 4 > len(out):
            break
        struct.pack_into(">I", out, end, zlib.crc32(out[at + 4 : end]))
        at = end + 4
    return bytes(out)


# --- metadata -------------------------------------------------------------------------------------

BLOCKS = ("exif", "icc_profile", "xmp")
HOLDERS = ("JPEG", "PNG", "WEBP", "TIFF")


def read_metadata(data: bytes) -> None:
    """The first byte chooses the block and the container; the rest is the block."""
    if not data:
        return
    kind, block = divmod(data[0], len(HOLDERS))[0] % len(BLOCKS), data[1:]
    holder = HOLDERS[data[0] % len(HOLDERS)]
    if BLOCKS[kind] == "exif":
        split_exif(block)
    if BLOCKS[kind] == "xmp":
        with contextlib.suppress(XmpError):
            packet_of(block)
    if holder == "TIFF" and BLOCKS[kind] == "exif":
        return  # Pillow parses it itself
    try:
        file = saved(PillowImage.new("RGB", (8, 8)), holder, **{BLOCKS[kind]: block})
    except (ValueError, OSError, TypeError, struct.error):  # it does not fit
        return
    image = decode_image(file)
    for name in FORMATS:
        for strip in ("none", "gps", "all"):
            with contextlib.suppress(InputError):
                encode_image(image, name, strip=strip)  # type: ignore[arg-type]


def metadata_seeds() -> Iterator[bytes]:
    exif = PillowImage.Exif()
    exif[0x0112], exif[0x010E] = 6, "seed"
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8769)[0xA002] = 8
    block = exif.tobytes()
    packet = (
        b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        b'rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6" '
        b'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/></rdf:RDF></x:xmpmeta>'
        b'<?xpacket end="w"?>'
    )
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for kind, content in enumerate((block, profile, packet)):
        for holder in range(len(HOLDERS)):
            yield bytes([kind * len(HOLDERS) + holder]) + content


TARGETS = {
    "container": Target(read_container, (BitstreamError,), container_seeds, repair_container),
    "manifest": Target(read_model_toml, (ManifestError,), manifest_seeds),
    "tables": Target(read_tables, (ModelError,), tables_seeds, repair_zip, 2**15),
    "journal": Target(read_journal, (), journal_seeds),
    "headers": Target(read_header, (InputError,), image_seeds, repair_png),
    "pixels": Target(read_pixels, (InputError,), image_seeds, repair_png),
    "metadata": Target(read_metadata, (InputError,), metadata_seeds),
}
