"""Tars that are broken, or from a stranger: one clear line with a code, and no output."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.profiles import examples
from tests.runner.operations import Copy
from tests.tar.pack import info, pack, raw, unpack
from vaetools.runner import Record, RunSettings, run

GOOD = [("a.txt", b"abc"), ("a.cls", b"1" * 600), ("b.txt", b"de")]


def the_record(path: Path, *, strict: bool = True) -> Record:
    """The record of a tar; nothing else may be left in the output folder."""
    out = path.parent / "out"
    (record,) = run(Copy(), [path], RunSettings(out, strict=strict)).records
    assert "\n" not in record.message
    assert record.message.startswith(f"{path}: ") or not record.code
    left = [p.name for p in out.glob("*") if not p.name.startswith(".vaetools")]
    assert left == ([path.name] if record.status == "done" else [])
    return record


def compressed(compress: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        path.write_bytes(compress(pack(path, GOOD).read_bytes()))
        return path

    return make


def cut(at: int) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        path.write_bytes(pack(path, GOOD).read_bytes()[:at])
        return path

    return make


def content(data: bytes) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        path.write_bytes(data)
        return path

    return make


def headers(*found: tarfile.TarInfo) -> Callable[[Path], Path]:
    return lambda path: raw(path, *found)


def pax(**values: str) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        header = info("a.txt", pax_headers={k.replace("_", "."): v for k, v in values.items()})
        blocks = header.tobuf(tarfile.PAX_FORMAT)
        path.write_bytes(blocks + bytes(1024))
        return path

    return make


def many(path: Path) -> Path:
    """Long names of long names, each of which `tarfile` reads in a call of its own."""
    link = info("././@LongLink", 1, type=tarfile.GNUTYPE_LONGNAME)
    path.write_bytes((link.tobuf(tarfile.GNU_FORMAT) + b"a" + bytes(511)) * 2000)
    return path


def joined(path: Path) -> Path:
    data = pack(path, GOOD).read_bytes()
    path.write_bytes(data + data)
    return path


def with_globals(path: Path) -> Path:
    with tarfile.open(path, "w", pax_headers={"path": "x.txt"}) as tar:
        tar.addfile(info("a.txt"))
    return path


def flipped(path: Path) -> Path:
    """The checksum of the second header is wrong."""
    data = bytearray(pack(path, GOOD).read_bytes())
    data[1024 + 10] ^= 1
    path.write_bytes(data)
    return path


LINK = info("a.txt", type=tarfile.SYMTYPE, linkname="/etc/passwd")

CASES = {
    "absolute": (headers(info("/a.txt")), "E001", "leads out of the folder"),
    "up": (headers(info("d/../../a.txt")), "E001", "leads out of the folder"),
    "windows": (headers(info("C:\\a.txt")), "E001", "leads out of the folder"),
    "backslashes": (headers(info("..\\a.txt")), "E001", "leads out of the folder"),
    "copied-up": (headers(info("a.txt"), info("../a.cls")), "E001", "leads out of the folder"),
    "nameless": (headers(info("")), "E001", "without a name"),
    "link": (headers(LINK), "E014", "member a.txt is a link"),
    "hard-link": (headers(info("a.txt", type=tarfile.LNKTYPE)), "E014", "is a hard link"),
    "device": (headers(info("a.txt", type=tarfile.CHRTYPE)), "E014", "is a device"),
    "fifo": (headers(info("a.txt", type=tarfile.FIFOTYPE)), "E014", "is a FIFO"),
    "unknown": (headers(info("a.txt", type=b"Y")), "E014", "is of an unknown type"),
    "sparse": (headers(info("a.txt", type=tarfile.GNUTYPE_SPARSE)), "E014", "is a sparse file"),
    "pax-sparse": (pax(GNU_sparse_size="99", GNU_sparse_map="0,1"), "E0", ""),
    "twice": (headers(info("a.txt"), info("./a.txt")), "E080", "two members called"),
    "bomb": (headers(info("a.txt", 10 * 2**40)), "E012", "is damaged"),
    "copied-bomb": (headers(info("a.txt"), info("a.cls", 2**60)), "E012", "is damaged"),
    "name-bomb": (headers(info("x", 2**43, type=tarfile.GNUTYPE_LONGNAME)), "E0", ""),
    "pax-bomb": (headers(info("x", 2**43, type=tarfile.XHDTYPE)), "E0", ""),
    "second-pax-bomb": (
        headers(info("a.txt"), info("x", 2**43, type=tarfile.XHDTYPE)), "E012", "is damaged"
    ),
    "negative": (pax(size="-5"), "E012", "is damaged"),
    "huge-pax": (pax(size=str(2**70)), "E012", "is damaged"),
    "no-number": (pax(size="many"), "E0", ""),
    "time": (pax(mtime="nan"), "E012", "is damaged"),
    "endless-time": (pax(mtime="inf"), "E012", "is damaged"),
    "pax-path": (pax(path="../a.txt"), "E001", "leads out of the folder"),
    "global": (with_globals, "E014", "a global header that changes all members"),
    "recursive": (many, "E01", ""),
    "joined": (joined, "E014", "has data after its end"),
    "flipped": (flipped, "E012", "a header is damaged, after 1,024 of"),
    "cut-data": (cut(700), "E012", "is damaged"),
    "cut-header": (cut(1500), "E012", "is damaged"),
    "cut-between": (cut(1024), "E012", "the end of the tar is missing"),
    "cut-first": (cut(300), "E010", "is not a tar file"),
    "gzip": (compressed(gzip.compress), "E014", "is compressed with gzip; unpack it with gzip -d"),
    "bzip2": (compressed(bz2.compress), "E014", "is compressed with bzip2"),
    "xz": (compressed(lzma.compress), "E014", "is compressed with xz"),
    "zstd": (content(b"\x28\xb5\x2f\xfd" + bytes(99)), "E014", "is compressed with zstd"),
    "empty": (content(b""), "E011", "is empty"),
    "text": (content(b"no tar\n" * 200), "E010", "is not a tar file"),
    "zeros": (content(bytes(10240)), "E003", "has no members"),
    "no-image": (headers(info("a.cls")), "E003", "no member matched the suffixes .txt"),
    "folders": (headers(info("d", type=tarfile.DIRTYPE)), "E003", "no member matched"),
    "hidden": (headers(info("._a.txt")), "E003", "no member matched"),
}  # fmt: skip


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    """The records of one run over all cases and a good tar."""
    top = tmp_path_factory.mktemp("hostile")
    (top / "in").mkdir()
    pack(top / "in" / "good.tar", GOOD)
    for name, (make, _, _) in CASES.items():
        make(top / "in" / f"{name}.tar")
    result = run(Copy(), [top / "in"], RunSettings(top / "out"))
    assert result.exit_code == 1 and result.unreached == 0
    left = [p.name for p in (top / "out").glob("*") if not p.name.startswith(".vaetools")]
    assert left == ["good.tar"]
    return {Path(record.file).stem: record for record in result.records}


@pytest.mark.xdist_group("hostile tars")
@pytest.mark.parametrize("case", CASES)
def test_one_line_and_no_output(records: dict[str, Record], case: str) -> None:
    _, code, message = CASES[case]
    record = records[case]
    assert record.status == "failed" and record.code.startswith(code), record
    assert message in record.message and record.code != "E099" and "\n" not in record.message
    assert record.message.startswith(f"{record.file}: ")


def test_a_compressed_tar_is_named_as_it_is(tmp_path: Path) -> None:
    path = compressed(gzip.compress)(tmp_path / "x.tar.gz")
    assert the_record(path).code == "E014"
    assert the_record(path.rename(tmp_path / "x.tgz")).code == "E014"


def test_a_cut_tar_is_read_in_part_if_that_is_accepted(tmp_path: Path) -> None:
    record = the_record(cut(1500)(tmp_path / "x.tar"), strict=False)
    assert record.status == "done" and "read in part" in record.message and record.noted
    assert unpack(tmp_path / "out" / "x.tar") == [("a.txt", b"cba")]


def test_a_tar_that_changes_is_not_written(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar", GOOD)

    class Changing(Copy):
        def process(self, item: bytes) -> bytes:
            os.utime(path, ns=(0, 0))
            return item

    (record,) = run(Changing(), [path], RunSettings(tmp_path / "out")).records
    assert record.code == "E015" and "changed during the run" in record.message
    assert not [*(tmp_path / "out").glob("x*")]


def test_two_results_of_one_name_are_refused(tmp_path: Path) -> None:
    class Same(Copy):
        def outputs(self, source: object) -> list[str]:  # type: ignore[override]
            return ["same.txt"]

    record_path = pack(tmp_path / "x.tar", GOOD)
    (record,) = run(Same(), [record_path], RunSettings(tmp_path / "out")).records
    assert record.code == "E080"
    assert "a.txt and b.txt would both become the member same.txt" in record.message


@settings(max_examples=examples(20), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), min_size=1, max_size=12))
def test_damage_anywhere_is_one_line_or_a_whole_tar(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("tar") / "x.tar"
    data = bytearray(pack(path, GOOD).read_bytes())
    for position, value in changes:
        data[position] = value
    path.write_bytes(data)
    record = the_record(path)
    assert record.code != "E099", record
    if record.status == "done":
        assert len(unpack(path.parent / "out" / "x.tar")) == len(unpack(path))
