"""Runs over tars: results are those of the files alone, and everything else stays as it is."""

from __future__ import annotations

import errno
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.profiles import examples
from tests.runner.operations import Copy, Gated, Invert, Raising
from tests.tar.pack import TIME, Copies, Listing, Packed, Parts, info, pack, unpack
from vaetools.errors import ClashError, ExistsError, ModelBrokenError, UsageError
from vaetools.image import Image
from vaetools.runner import RunResult, RunSettings, recorded, repack, run, watch
from vaetools.testing import gradient

SAMPLE = [("a.txt", b"abc"), ("a.cls", b"3"), ("a.seg.txt", b"xyz"), ("b.txt", b"12")]


def lines(result: RunResult) -> list[str]:
    return [f"{r.code} {Path(r.file).name}" for r in result.records if r.status == "failed"]


def test_members_become_results_and_others_stay(tmp_path: Path) -> None:
    path = pack(tmp_path / "in" / "x.tar", SAMPLE)
    result = run(Packed(), [tmp_path / "in"], RunSettings(tmp_path / "out"), fingerprint="f")
    assert result.exit_code == 0
    (record,) = result.records
    out = tmp_path / "out" / "x.tar"
    assert (record.file, record.out) == (str(path), (str(out),))
    assert "3 members processed, 1 copied" in record.message and not record.noted
    assert record.bytes_out == out.stat().st_size
    assert unpack(out) == [
        ("a.txt.vae", b"cba"),
        ("a.cls", b"3"),
        ("a.seg.txt.vae", b"zyx"),
        ("b.txt.vae", b"21"),
    ]
    with tarfile.open(out) as tar:
        for member in tar:
            assert (member.mtime, member.mode, member.uid) == (TIME, 0o640, 1000)
            assert (member.gid, member.uname, member.gname) == (100, "ann", "users")
    assert out.stat().st_size % tarfile.RECORDSIZE == 0


NAMES = st.lists(
    st.tuples(
        st.sampled_from(["", "d/", "./", "ä/", "long/" * 25, "\udcff/"]),
        st.text("abé.-_ ", min_size=1, max_size=8),
        st.sampled_from([".txt", ".TXT", ".cls", ".json", ""]),
    ).map("".join),
    unique_by=lambda name: str(Path(name)),
    max_size=8,
)


@settings(max_examples=examples(20), deadline=None)
@given(
    NAMES,
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    st.sampled_from([1, 3]),
    st.data(),
)
def test_any_list_of_members_keeps_its_order(
    tmp_path_factory: Any, names: list[str], kind: int, jobs: int, data: Any
) -> None:
    """All members are there, in order: results as for the file alone, others byte for byte."""
    folder = tmp_path_factory.mktemp("tar")
    members = [(name, data.draw(st.binary(max_size=600))) for name in names]
    members = [
        ("first.txt", b"1"),
        *[m for m in members if str(Path(m[0])) not in (".", "first.txt")],
    ]
    members = [m for m in members if ".." not in m[0].split("/") and not m[0].endswith("/.")]
    path = pack(folder / "x.tar", members, kind)
    result = run(Copy(), [path], RunSettings(folder / "out.tar", jobs=jobs))
    assert result.exit_code == 0
    wanted = []
    for name, content in members:
        hidden = any(part.startswith(".") for part in Path(name).parts)
        is_input = Path(name).name.lower().endswith(".txt") and not hidden
        wanted.append((name, content[::-1] if is_input else content))
    assert unpack(folder / "out.tar") == wanted


def test_images_are_those_of_the_files_alone(tmp_path: Path) -> None:
    from vaetools.image import encode_image

    files = {
        f"{n}.png": encode_image(Image.from_array(gradient() // (n + 1)), "png") for n in range(3)
    }
    for name, data in files.items():
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    path = pack(tmp_path / "x.tar", files.items())
    chosen: dict[str, Any] = {"to": "webp", "quality_out": 80}
    run(Invert(), [tmp_path / "in"], RunSettings(tmp_path / "alone", **chosen))
    run(Invert(), [path], RunSettings(tmp_path / "out", **chosen))
    assert unpack(tmp_path / "out" / "x.tar") == [
        (f"{n}.webp", (tmp_path / "alone" / f"{n}.webp").read_bytes()) for n in range(3)
    ]


def test_copies_are_samples_of_their_own_with_the_other_members(tmp_path: Path) -> None:
    path = pack(
        tmp_path / "x.tar", [("d/a.txt", b"a"), ("d/a.m.txt", b"m"), ("d/a.cls", b"3"), ("t", b"")]
    )
    run(Copies(), [path], RunSettings(tmp_path / "out.tar"))
    assert unpack(tmp_path / "out.tar") == [
        ("d/a_aug1.txt", b"a1"),
        ("d/a_aug1.m.txt", b"m1"),
        ("d/a_aug1.cls", b"3"),
        ("d/a_aug2.txt", b"a2"),
        ("d/a_aug2.m.txt", b"m2"),
        ("d/a_aug2.cls", b"3"),
        ("t", b""),
    ]


def test_further_results_of_a_kept_member_stay_in_its_sample(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar", [("./a.txt", b"a"), ("./a.cls", b"3")])
    run(Parts(), [path], RunSettings(tmp_path / "out.tar"))
    assert unpack(tmp_path / "out.tar") == [
        ("./a.txt", b"a1"),
        ("./a.sample1.txt", b"a2"),
        ("./a.cls", b"3"),
    ]


def test_a_sample_without_an_image_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar", SAMPLE)
    (record,) = run(Listing(), [path], RunSettings(tmp_path / "out")).records
    assert (
        record.code == "E002" and "a_aug.json would be a sample without an image" in record.message
    )


def test_a_member_that_fails_is_copied_and_tried_again(tmp_path: Path) -> None:
    members = [("a.txt", b"ok"), ("b.txt", b"bad"), ("b.cls", b"1"), ("c.txt", b"ok")]
    path, chosen = pack(tmp_path / "x.tar", members), RunSettings(tmp_path / "out")
    for _ in range(2):
        result = run(Raising(UsageError("no")), [path], chosen, fingerprint="f")
        assert result.exit_code == 1 and result.unreached == 0
        assert lines(result) == ["E002 b.txt"]
        assert result.records[0].file == str(path / "b.txt")
        assert result.records[1].status == "done" and result.records[1].noted
        assert "2 members processed, 1 copied; 1 failed and copied unchanged" in (
            result.records[1].message
        )
    assert unpack(tmp_path / "out" / "x.tar") == members
    assert [r.status for r in recorded(tmp_path / "out").records] == ["done", "failed"]
    assert "1 failed" in result.summary


def test_a_sample_with_a_member_that_fails_is_copied_as_it_is(tmp_path: Path) -> None:
    members = [("a.txt", b"ok"), ("a.m.txt", b"bad"), ("a.cls", b"1")]
    path = pack(tmp_path / "x.tar", [*members, ("b.txt", b"ok")])
    result = run(Copies(), [path], RunSettings(tmp_path / "out"))
    assert result.exit_code == 1
    assert unpack(tmp_path / "out" / "x.tar") == [
        *members,
        ("b_aug1.txt", b"ok1"),
        ("b_aug2.txt", b"ok2"),
    ]


def test_a_tar_of_which_no_member_succeeds_is_not_written(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar", [("a.txt", b"bad"), ("b.txt", b"bad")])
    result = run(Copies(), [path], RunSettings(tmp_path / "out"))
    assert lines(result) == ["E099 a.txt", "E099 b.txt", "E001 x.tar"]
    assert "none of 2 members could be processed" in result.records[-1].message
    assert not list((tmp_path / "out").glob("*.tar")) and not list((tmp_path / "out").glob(".x*"))


def test_a_broken_model_stops_the_run(tmp_path: Path) -> None:
    tars = [pack(tmp_path / f"{n}.tar", [("a.txt", b"bad")]) for n in range(3)]
    result = run(Raising(ModelBrokenError("no")), tars, RunSettings(tmp_path / "out"))
    assert (result.exit_code, result.unreached, lines(result)) == (4, 2, ["E044 0.tar"])


def test_a_member_that_fails_because_of_the_machine_fails_the_tar(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar", [("a.txt", b"ok"), ("b.txt", b"bad")])
    (record,) = run(Raising(MemoryError()), [path], RunSettings(tmp_path / "out")).records
    assert record.status == "failed" and record.transient
    assert not list((tmp_path / "out").glob("*.tar"))


@pytest.mark.parametrize("room", [0, 700, 20_000])
def test_a_full_disk_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            if self.tell() + len(data) > room:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    def create(path: Path, *_: Any) -> Any:
        return io.BufferedWriter(Full(path, "wb"))

    monkeypatch.setattr("vaetools.runner.tar.create_for", create)
    tars = [pack(tmp_path / f"{n}.tar", [("a.txt", b"x" * 30_000)]) for n in range(2)]
    result = run(Copy(), tars, RunSettings(tmp_path / "out"))
    assert result.stopped == "stopped because the disk is full" and result.unreached == 1
    assert [record.code for record in result.records] == ["E070"]
    left = [p.name for p in (tmp_path / "out").iterdir() if not p.name.startswith(".vaetools")]
    assert left == []


def test_what_is_done_is_skipped(tmp_path: Path) -> None:
    path, operation = pack(tmp_path / "x.tar", SAMPLE), Packed()
    for out in ("out", "one.tar"):
        for wanted in ("done", "skipped"):
            result = run(operation, [path], RunSettings(tmp_path / out), fingerprint="f")
            assert [r.status for r in result.records] == [wanted]
    pack(path, [("a.txt", b"new")])
    (record,) = run(operation, [path], RunSettings(tmp_path / "out"), fingerprint="f").records
    assert record.status == "done"
    assert unpack(tmp_path / "out" / "x.tar") == [("a.txt.vae", b"wen")]


def test_include_and_exclude_choose_members(tmp_path: Path) -> None:
    pack(tmp_path / "in" / "x.tar", SAMPLE)
    chosen: dict[str, Any] = {"out": tmp_path / "out", "exclude": ("*.seg.txt",)}
    run(Copy(), [tmp_path / "in"], RunSettings(**chosen), fingerprint="f")
    assert [data for _, data in unpack(tmp_path / "out" / "x.tar")] == [b"cba", b"3", b"xyz", b"21"]
    chosen["include"] = ("b.*",)
    result = run(Copy(), [tmp_path / "in"], RunSettings(**chosen), fingerprint="f")
    assert [r.status for r in result.records] == ["done"]  # other members: other work
    assert [data for _, data in unpack(tmp_path / "out" / "x.tar")] == [b"abc", b"3", b"xyz", b"21"]


def test_an_existing_file_stays(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar", SAMPLE)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x.tar").write_bytes(b"mine")
    with pytest.raises(ExistsError):
        run(Copy(), [path], RunSettings(tmp_path / "out"))
    with pytest.raises(ClashError, match="inputs are never overwritten"):
        run(Copy(), [path], RunSettings(path, force=True))
    with pytest.raises(UsageError, match=r"copy writes a \.tar file here"):
        run(Copy(), [path], RunSettings(tmp_path / "x.txt"))
    assert (tmp_path / "out" / "x.tar").read_bytes() == b"mine"


class Masked(Copy):
    """Has an option for a folder."""

    name = "masked"

    @dataclass(frozen=True)
    class Options:
        masks: Path | None = None

    def __init__(self, masks: Path) -> None:
        super().__init__()
        self.options = self.Options(masks)


def test_a_folder_with_a_file_for_each_image_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "in" / "x.tar", SAMPLE)
    problem = "masks of masked names a file for each image, and a tar has members"
    with pytest.raises(UsageError, match=problem):
        run(Masked(tmp_path), [path], RunSettings(tmp_path / "out"))
    (path.parent / "a.txt").write_bytes(b"ab")
    result = run(Masked(tmp_path), [path.parent], RunSettings(tmp_path / "out"))
    assert [Path(r.file).name for r in result.records] == ["a.txt"]  # the tar is left alone
    assert result.left_alone == 1


def test_report_prune_times_and_dry_run(tmp_path: Path) -> None:
    path = pack(tmp_path / "in" / "x.tar", SAMPLE)
    pack(tmp_path / "in" / "y.tar", SAMPLE)
    (tmp_path / "in" / "z.tar").write_bytes(b"no tar")
    inputs = [tmp_path / "in"]
    dry = run(Copy(), inputs, RunSettings(tmp_path / "out", dry_run=True))
    assert [r.status for r in dry.records] == ["planned", "planned", "failed"]
    assert not (tmp_path / "out").exists()
    (tmp_path / "in" / "z.tar").unlink()
    page = tmp_path / "report.html"
    run(Copy(), inputs, RunSettings(tmp_path / "out", report=page, times="keep"), fingerprint="f")
    assert "x.tar" in page.read_text()
    assert (tmp_path / "out" / "x.tar").stat().st_mtime_ns == path.stat().st_mtime_ns
    path.unlink()
    pruned = run(Copy(), inputs, RunSettings(tmp_path / "out", prune=True), fingerprint="f")
    assert [r.status for r in pruned.records] == ["skipped", "pruned"]
    assert not (tmp_path / "out" / "x.tar").exists()


def test_lists_shards_and_workers(tmp_path: Path) -> None:
    for name in ("a/x.tar", "b/y.tar"):
        pack(tmp_path / "in" / name, SAMPLE)
    (tmp_path / "list").write_text("a/x.tar\n")
    chosen: dict[str, Any] = {"files_from": tmp_path / "list", "root": tmp_path / "in"}
    run(Copy(), [], RunSettings(tmp_path / "out", **chosen))
    assert len(unpack(tmp_path / "out" / "a" / "x.tar")) == 4
    counts = [
        len(run(Copy(), [tmp_path / "in"], RunSettings(tmp_path / "two", shard=(i, 2))).records)
        for i in (1, 2)
    ]
    assert sum(counts) == 2 and len([*(tmp_path / "two").rglob("*.tar")]) == 2


def test_a_watched_folder_takes_tars(tmp_path: Path) -> None:
    import threading

    pack(tmp_path / "in" / "x.tar", SAMPLE)
    stop, seen = threading.Event(), []

    def on_record(record: Any) -> None:
        seen.append(record.status)
        stop.set()

    chosen = RunSettings(tmp_path / "out")
    result = watch(Copy(), [tmp_path / "in"], chosen, interval=0.01, on_record=on_record, stop=stop)
    assert (seen, result.exit_code) == (["done"], 0)
    assert len(unpack(tmp_path / "out" / "x.tar")) == 4


def test_an_interrupted_run_leaves_nothing_and_goes_on(tmp_path: Path) -> None:
    tars = [pack(tmp_path / f"{n}.tar", SAMPLE) for n in range(2)]
    operation = Gated()
    operation.gate.set()
    seen: list[Any] = []

    def interrupt(record: Any) -> None:
        seen.append(record)
        raise KeyboardInterrupt

    chosen = RunSettings(tmp_path / "out")
    result = run(operation, tars, chosen, fingerprint="f", on_record=interrupt)
    assert (result.exit_code, len(seen)) == (130, 1)
    assert [p.name for p in (tmp_path / "out").glob("*.tar")] == ["0.tar"]
    result = run(operation, tars, chosen, fingerprint="f")
    assert [r.status for r in result.records] == ["skipped", "done"]


@pytest.mark.parametrize("name", ["{:03}.txt", "2024.05.{:03}.txt"])
def test_memory_holds_few_members(tmp_path: Path, name: str) -> None:
    """A member is not read before those far before it are written, also where all are one sample."""
    path = pack(tmp_path / "x.tar", [(name.format(n), b"x") for n in range(40)])
    operation, most = Gated(), []
    operation.gate.set()
    written = []
    padded = repack._padded

    def counted(parts: Any, size: int) -> Any:
        written.append(size)
        most.append(operation.begun._value - len(written))
        return padded(parts, size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repack, "_padded", counted)
        run(operation, [path], RunSettings(tmp_path / "out", jobs=2))
    assert len(written) == 40 and max(most) <= 4


def test_more_jobs_than_members_in_flight(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar", SAMPLE)
    assert run(Packed(), [path], RunSettings(tmp_path / "out", jobs=600)).exit_code == 0


def test_folders_and_global_headers_stay(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(
        path, "w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "c0ffee"}
    ) as tar:
        tar.addfile(info("./", type=tarfile.DIRTYPE, mode=0o755))
        tar.addfile(info("./d", type=tarfile.DIRTYPE, mode=0o755))
        tar.addfile(info("./d/a.txt", 2, mtime=TIME + 0.25), io.BytesIO(b"ab"))
    run(Packed(), [path], RunSettings(tmp_path / "out"))
    with tarfile.open(tmp_path / "out" / "x.tar") as tar:
        assert [(m.name, m.isdir()) for m in tar] == [
            (".", True),
            ("./d", True),
            ("./d/a.txt.vae", False),
        ]
        assert tar.pax_headers["comment"] == "c0ffee"
        assert tar.getmember("./d/a.txt.vae").mtime == TIME + 0.25
