"""Pack ONNX Runtime with CUDA, small enough to travel, for a machine with a GPU and without a network.

    python benchmarks/gpu/pack_runtime.py .gpu/ --python 3.12 --compute 90

Downloads the wheels with pip (some 260 MB, once) and writes two files of 12 to 15 MB each:

    .gpu/a/provider.so.xz    the CUDA provider, with device code for one compute capability only
    .gpu/b/runtime.tar.xz    the rest of ONNX Runtime's Python package, and small wheels

Most of the provider is device code for other chips, and for attention and mixture-of-experts layers,
which no graph here has. It is overwritten with zeros: sizes and offsets stay, so nothing moves, and
zeros compress to nothing. If a kernel is missing after all, ONNX Runtime says "no kernel image".
The machine needs Python of that version, the driver, and the libraries of CUDA 13 and cuDNN 9, such as
those that torch's wheels bring; `check.sh` finds them. Needs `readelf` and the package zstandard.
"""

from __future__ import annotations

import argparse
import lzma
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

WHEELS = ("onnxruntime-gpu", "constriction", "tomli-w")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
PROVIDER = "onnxruntime/capi/libonnxruntime_providers_cuda.so"

UNUSED = ("transformers", "tools", "quantization", "datasets", "backend")
"""Subpackages of ONNX Runtime that vaetools does not import."""

MAGIC = 0xBA55ED50
"""Start of a container of device code in the section `.nv_fatbin`."""

DROPPED = re.compile(
    rb"flash|fmha|attention|Attention|MoeFC|moe|fpA_intB|cutlass|expert|llm|paged|QkRope|beam"
    rb"|TopK|topk|RadixSort|rnn|Lstm"
)
"""Names of kernels that no graph here needs."""


def entries(data: bytearray, start: int, stop: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Pieces of device code: (offset, compute capability, header, stored and uncompressed size).

    Args:
        data: an ELF file.
        start, stop: offsets of its section `.nv_fatbin`.
    """
    at = start
    while at < stop - 16:
        magic, _, header, size = struct.unpack_from("<IHHQ", data, at)
        if magic != MAGIC:
            at += 8
            continue
        at += header
        end = at + size
        while at < end:
            (own_header,) = struct.unpack_from("<I", data, at + 4)
            (stored,) = struct.unpack_from("<Q", data, at + 8)
            (compute,) = struct.unpack_from("<I", data, at + 28)
            (whole,) = struct.unpack_from("<Q", data, at + 56)
            yield at, compute, own_header, stored, whole
            at += own_header + stored
        at = (end + 7) // 8 * 8


def without_other_chips(data: bytearray, start: int, stop: int, compute: int) -> tuple[int, int]:
    """Overwrite device code that is not needed with zeros.

    Returns:
        Bytes of device code that were kept, and that were overwritten.
    """
    kept = gone = 0
    for at, chip, header, stored, whole in entries(data, start, stop):
        if chip == compute and _is_needed(data, at, header, whole):
            kept += stored
        else:
            data[at + header : at + header + stored] = bytes(stored)
            gone += stored
    return kept, gone


def _is_needed(data: bytearray, at: int, header: int, whole: int) -> bool:
    """Whether less than half of the kernels of a piece are among `DROPPED`."""
    import zstandard

    (packed,) = struct.unpack_from("<I", data, at + 16)
    code = bytes(data[at + header : at + header + packed])
    image = zstandard.ZstdDecompressor().decompress(code, max_output_size=whole + 1024)
    names = re.findall(rb"\.text\.([A-Za-z0-9_]+)", image)
    return not names or sum(bool(DROPPED.search(name)) for name in names) < len(names) / 2


def section(path: Path) -> tuple[int, int]:
    """Start and stop of the section `.nv_fatbin` of an ELF file."""
    done = subprocess.run(["readelf", "-SW", path], capture_output=True, text=True, check=True)
    found = re.search(r"\.nv_fatbin\s+\S+\s+([0-9a-f]+)\s+([0-9a-f]+)\s+([0-9a-f]+)", done.stdout)
    if found is None:
        raise SystemExit(f"{path}: has no device code")
    start = int(found[2], 16)
    return start, start + int(found[3], 16)


def download(python: str, folder: Path) -> None:
    """Download the wheels and unpack them into `folder`."""
    with tempfile.TemporaryDirectory() as wheels:
        words = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", wheels]
        words += ["--only-binary", ":all:", "--python-version", python, "--implementation", "cp"]
        words += [word for platform in PLATFORMS for word in ("--platform", platform)]
        subprocess.run([*words, *WHEELS], check=True)
        for wheel in Path(wheels).glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
    for name in UNUSED:
        shutil.rmtree(folder / "onnxruntime" / name, ignore_errors=True)
    # Without its metadata, a package of ONNX Runtime on that machine does not count as a second one.
    for extra in [*folder.glob("onnxruntime_gpu-*.dist-info")]:
        shutil.rmtree(extra)
    for library in folder.glob("onnxruntime/capi/libonnxruntime_providers_tensorrt.so"):
        library.unlink()
    for library in folder.glob("onnxruntime/capi/libonnxruntime.so*"):  # the Python module has it
        library.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", type=Path)
    parser.add_argument("--python", default="3.12", help="of that machine [default: 3.12]")
    parser.add_argument(
        "--compute", type=int, default=90, help="compute capability, such as 90 for Hopper"
    )
    args = parser.parse_args()
    for name in ("a", "b"):
        (args.target / name).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder)
        download(args.python, site)
        provider = site / PROVIDER
        data = bytearray(provider.read_bytes())
        kept, gone = without_other_chips(data, *section(provider), args.compute)
        print(f"device code: {kept / 1e6:.1f} MB kept, {gone / 1e6:.1f} MB overwritten")
        provider.unlink()
        (args.target / "a/provider.so.xz").write_bytes(lzma.compress(bytes(data), preset=6))
        with tarfile.open(args.target / "b/runtime.tar.xz", "w:xz") as archive:
            archive.add(site, ".")
    for file in sorted(args.target.glob("*/*.xz")):
        print(f"{file}: {file.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
