"""Hostile tables of a codec, and graphs whose results are not finite: each is one E044, and no image."""

from __future__ import annotations

import io
import pickle
import shutil
import struct
import zipfile
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import tomli_w
from click.testing import CliRunner
from onnx import helper

from tests.attacks.limits import little_time_and_memory
from vaetools.cli.app import program
from vaetools.codec import Codec
from vaetools.errors import ModelBrokenError
from vaetools.image import Image, encode_image
from vaetools.model.folder import Model
from vaetools.model.manifest import FILE_NAME, manifest_table, read_manifest
from vaetools.model.registry import shipped_folder
from vaetools.model.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

RUNTIME = Runtime("cpu", threads=1)
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def shipped() -> Path:
    folder = shipped_folder()
    assert folder is not None
    return folder / "photo-codec"


BASE = dict(np.load(shipped() / "tables.npz"))
HYPER, LATENT = BASE["hyper_frequencies"], BASE["latent_frequencies"]


def packed(arrays: dict[str, Any], **changes: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **{**arrays, **changes})
    return file.getvalue()


def tables(**changes: Any) -> Callable[[], bytes]:
    return lambda: packed(BASE, **changes)


def filled(name: str, value: float) -> Callable[[], bytes]:
    return tables(**{name: np.full_like(BASE[name], value)})


def member(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def header(shape: object, kind: str = "'<f4'") -> bytes:
    text = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def zipped(
    changes: Iterable[tuple[str, bytes]] = (), compression: int = zipfile.ZIP_DEFLATED
) -> bytes:
    """The tables as a ZIP file, with members added or replaced."""
    members = {f"{name}.npy": member(array) for name, array in BASE.items()} | dict(changes)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def bomb(name: str) -> Callable[[], bytes]:
    """A member of 128 MiB of zeros."""

    def build() -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for key, array in BASE.items():
                if key != name:
                    archive.writestr(f"{key}.npy", member(array))
            with archive.open(f"{name}.npy", "w", force_zip64=True) as part:
                part.write(header((2**25,)))
                for _ in range(8):
                    part.write(bytes(2**24))
        return file.getvalue()

    return build


def encrypted() -> bytes:
    data = bytearray(zipped())
    for mark, at in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        place = data.find(mark)
        while place >= 0:
            data[place + at] |= 1
            place = data.find(mark, place + 4)
    return bytes(data)


def lying() -> bytes:
    """The directory says that a member is small."""
    data = bytearray(zipped([("gain.npy", header((2**20,)) + bytes(2**22))]))
    place = data.rfind(b"gain.npy") - 46
    data[place + 24 : place + 28] = struct.pack("<I", 1000)
    return bytes(data)


class _Payload:
    def __reduce__(self) -> Any:
        return print, ("executed",)


OBJECTS = np.array([_Payload()], object)
NOT_AN_ARCHIVE = "is not a NumPy archive of plain arrays"
SHAPES = "the arrays of tables.npz have inconsistent shapes"
SUMS = "of tables.npz are not all at least 1, with a sum of 16777216 for each table"
VALUES = "of tables.npz has values beyond 65536"
LEVELS, CHANNELS = BASE["gain"].shape

ATTACKS: dict[str, tuple[Callable[[], bytes], str]] = {
    "objects": (lambda: packed(BASE, gain=OBJECTS), NOT_AN_ARCHIVE),
    "a pickle": (lambda: pickle.dumps(_Payload()), NOT_AN_ARCHIVE),
    "one array of objects": (lambda: member(OBJECTS), NOT_AN_ARCHIVE),
    "an empty archive": (lambda: packed({}), "missing or unknown arrays"),
    "no archive": (lambda: b"hello" * 10, NOT_AN_ARCHIVE),
    "a broken archive": (lambda: b"PK\x03\x04" + b"x" * 100, NOT_AN_ARCHIVE),
    "2^40 elements": (lambda: zipped([("gain.npy", header((2**40,)))]), NOT_AN_ARCHIVE),
    "2^33 elements": (lambda: zipped([("gain.npy", header((2**33,)))]), NOT_AN_ARCHIVE),
    "a negative side": (lambda: zipped([("gain.npy", header((-5,)))]), NOT_AN_ARCHIVE),
    "code in a header": (
        lambda: zipped([("gain.npy", header("__import__('os').abort()"))]),
        NOT_AN_ARCHIVE,
    ),
    "a nested type": (
        lambda: zipped([("gain.npy", header((3,), "['<f4'" + ",'<f4'" * 2000 + "]"))]),
        NOT_AN_ARCHIVE,
    ),
    "parentheses": (
        lambda: zipped([("gain.npy", header("(" * 3000 + ")" * 3000))]),
        NOT_AN_ARCHIVE,
    ),
    "a bomb in an unknown member": (bomb("extra"), "missing or unknown arrays: extra"),
    "a bomb in a known member": (bomb("gain"), "bytes of arrays, the limit is 16777216"),
    "a member larger than it says": (lying, f"{NOT_AN_ARCHIVE}|missing or unknown arrays"),
    "LZMA": (lambda: zipped(compression=zipfile.ZIP_LZMA), NOT_AN_ARCHIVE),
    "encrypted": (encrypted, NOT_AN_ARCHIVE),
    "a path": (lambda: zipped([("../../x.npy", member(np.zeros(1)))]), r"arrays: \.\./\.\./x"),
    "control characters": (
        lambda: zipped([("\x1b[31mx.npy", member(np.zeros(1)))]),
        r"unknown arrays: \\x1b\[31mx",
    ),
    "one array less": (
        lambda: packed({k: v for k, v in BASE.items() if k != "gain"}),
        "missing or unknown arrays: gain",
    ),
    "one array more": (tables(extra=np.zeros(3)), "missing or unknown arrays: extra"),
    "text": (tables(gain=np.array(["x"])), NOT_AN_ARCHIVE),
    "a structure": (tables(gain=np.zeros(3, [("a", "f4")])), NOT_AN_ARCHIVE),
    "complex numbers": (tables(gain=BASE["gain"].astype(complex)), NOT_AN_ARCHIVE),
    "float64": (tables(gain=BASE["gain"].astype(float)), "gain of tables.npz is float64"),
    "a reach without axis": (tables(latent_reach=np.array(5, np.uint16)), SHAPES),
    "no reach": (
        tables(latent_reach=np.zeros(0, np.uint16), latent_frequencies=np.zeros(0, np.uint32)),
        SHAPES,
    ),
    "no levels": (
        tables(
            gain=np.zeros((0, CHANNELS), np.float32),
            inverse_gain=np.zeros((0, CHANNELS), np.float32),
            index_offset=np.zeros((0, CHANNELS), np.int16),
            rate=np.zeros(0, np.float32),
            hyper_group=np.zeros(0, np.uint8),
        ),
        SHAPES,
    ),
    "a negative group": (tables(hyper_group=np.full(LEVELS, -1, np.int8)), SHAPES),
    "half a group": (
        tables(hyper_group=BASE["hyper_group"] + 0.5),
        f"{SHAPES}|hyper_group of tables.npz is float64",
    ),
    "a group too many": (filled("hyper_group", 200), SHAPES),
    "frequencies of zero": (filled("latent_frequencies", 0), f"latent_frequencies {SUMS}"),
    "frequencies with another sum": (tables(latent_frequencies=LATENT + np.uint32(1)), SUMS),
    "frequencies that are NaN": (
        tables(latent_frequencies=np.full(LATENT.shape, np.nan)),
        "latent_frequencies of tables.npz is float64",
    ),
    "one frequency of zero": (
        tables(latent_frequencies=np.where(np.arange(LATENT.size) == 0, 0, LATENT).astype("u4")),
        f"latent_frequencies {SUMS}",
    ),
    "no hyper-frequencies": (filled("hyper_frequencies", 0), f"hyper_frequencies {SUMS}"),
    "an even number of them": (tables(hyper_frequencies=HYPER[..., :-1]), SHAPES),
    "hyper-frequencies of fewer channels": (
        tables(hyper_frequencies=HYPER[:, :3]),
        r"hyper_analysis gave the shape \(1, 64, 1, 1\) where the tables need \(1, 3, 1, 1\)",
    ),
    "32 MiB of them": (
        lambda: zipped([("hyper_frequencies.npy", header((2**23,), "'<u4'") + bytes(2**25))]),
        "bytes of arrays, the limit is 16777216",
    ),
    "a reach of 65535": (
        tables(
            latent_reach=np.full(40, 65535, np.uint16),
            latent_frequencies=np.full(40 * 131072, 128, np.uint32),
        ),
        "bytes of arrays, the limit is 16777216",
    ),
    "a gain that is NaN": (filled("gain", np.nan), f"^.*gain {VALUES}"),
    "an infinite gain": (filled("gain", np.inf), f"gain {VALUES}"),
    "a huge gain": (filled("gain", 1e30), f"gain {VALUES}"),
    "an inverse gain that is NaN": (filled("inverse_gain", np.nan), f"inverse_gain {VALUES}"),
    "a rate that is NaN": (filled("rate", np.nan), f"rate {VALUES}"),
    "a centroid that is NaN": (
        tables(centroid=np.full(len(BASE["latent_reach"]), np.nan, np.float32)),
        f"centroid {VALUES}",
    ),
    "fewer channels": (
        tables(**{k: BASE[k][..., :7] for k in ("gain", "inverse_gain", "index_offset", "coarse")}),
        r"gave the shape \(1, 320, .* where the tables need \(1, 7,",
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(shipped(), tmp_path / "models" / "photo-codec")


def changed(folder: Path, name: str, data: bytes) -> Model:
    """The model with another file, and the manifest that says so."""
    manifest = read_manifest(folder)
    part = {**manifest.graphs, **manifest.files}[name]
    (folder / part.file).write_bytes(data)
    part = replace(part, sha256=sha256(data).hexdigest(), bytes=len(data))
    place = "files" if name in manifest.files else "graphs"
    kept = {**getattr(manifest, place), name: part}
    manifest = replace(manifest, id="evil-codec", **{place: kept})
    (folder / FILE_NAME).write_text(tomli_w.dumps(manifest_table(manifest)), encoding="utf-8")
    return Model(read_manifest(folder), folder, RUNTIME)


SLOW = {"a bomb in an unknown member", "32 MiB of them", "a reach of 65535"}
"""Attacks that take longer to build than to refuse."""


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in ATTACKS]
)
def test_tables(folder: Path, name: str) -> None:
    build, said = ATTACKS[name]
    codec = Codec(changed(folder, "tables", build()))
    for role in ("analysis", "hyper_analysis"):
        codec.model.graph(role, pixels=("image",) if role == "analysis" else ())
    with pytest.raises(ModelBrokenError, match=said) as caught, little_time_and_memory():
        codec.encode(Image(PIXELS), 50)
    assert caught.value.line.isprintable()
    assert caught.value.file is not None


def test_tables_that_are_odd_and_allowed(folder: Path) -> None:
    """Offsets are clipped, and a codec without coarse channels has no previews."""
    offsets = np.full_like(BASE["index_offset"], 32767)
    coarse = np.zeros_like(BASE["coarse"])
    codec = Codec(changed(folder, "tables", packed(BASE, index_offset=offsets, coarse=coarse)))
    image = codec.decode(codec.encode(Image(PIXELS), 50))
    assert image.pixels.shape == PIXELS.shape


def not_finite(data: bytes) -> bytes:
    """A graph whose outputs are 0 / 0 times what they were."""
    model = onnx.load_from_string(data)
    for output in model.graph.output:
        name = output.name
        for node in model.graph.node:
            names = [f"right.{name}" if n == name else n for n in node.output]
            node.output[:] = names
            node.input[:] = [f"right.{name}" if n == name else n for n in node.input]
        model.graph.node.extend(
            [
                helper.make_node("Sub", [f"right.{name}", f"right.{name}"], [f"zero.{name}"]),
                helper.make_node("Div", [f"zero.{name}", f"zero.{name}"], [name]),
            ]
        )
    return bytes(model.SerializeToString())


ROLES = [
    "analysis",
    "hyper_analysis",
    "hyper_scale_index",
    "hyper_mean",
    "context_mean",
    "synthesis",
]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("depth", [8, 16])
def test_results_that_are_not_finite_are_no_image(folder: Path, role: str, depth: int) -> None:
    image = Image(PIXELS if depth == 8 else PIXELS.astype(np.uint16) * 257)
    sound = Codec(Model(read_manifest(folder), folder, RUNTIME)).encode(image, 30)
    model = changed(folder, role, not_finite((folder / f"{role}.onnx").read_bytes()))
    codec = Codec(model)
    said = rf"{role}\.onnx: gave values that are not finite"
    if role != "synthesis":
        with pytest.raises(ModelBrokenError, match=said):
            codec.encode(image, 30)
    if not role.endswith("analysis"):
        with pytest.raises(ModelBrokenError, match=said):
            codec.decode(sound)


def test_a_run_stops_at_once(folder: Path, tmp_path: Path) -> None:
    changed(folder, "tables", filled("rate", np.nan)())
    inputs = tmp_path / "in"
    inputs.mkdir()
    for name in "abc":
        (inputs / f"{name}.png").write_bytes(encode_image(Image(PIXELS), "png"))
    words = ["compress", str(inputs), "-o", str(tmp_path / "out"), "--model", "evil-codec"]
    result = CliRunner().invoke(program, [*words, "--models-dir", str(folder.parent)])
    assert result.exit_code == 4
    assert sum("E044" in line for line in result.output.splitlines()) == 1
    assert not [*(tmp_path / "out").glob("*.vae")]
