"""Runs over objects mean what runs over files mean; the buckets are in memory."""

from __future__ import annotations

import gzip
import json
import sys
import threading
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pytest

import vaetools
from tests.objects.memory import MemoryBucket
from tests.runner.operations import Copy, Raising, Renaming
from vaetools.cli import main
from vaetools.errors import (
    ClashError,
    ExistsError,
    NothingMatchedError,
    OutputError,
    UnreadableError,
    UsageError,
)
from vaetools.image import Image, encode_image
from vaetools.objects import run
from vaetools.objects.outputs import INDEX
from vaetools.objects.stages import BY_ANOTHER
from vaetools.objects.store import Kind
from vaetools.operation import Operation
from vaetools.runner import RunResult, RunSettings
from vaetools.runner.result import INTERRUPTED

IN, OUT = "s3://bucket/in", "s3://bucket/out"

TEXTS = {"in/a.txt": b"abc", "in/deep/b.txt": b"12345", "in/deep/c.txt": b"xyz"}

DONE = {"a.txt": b"cba", "deep/b.txt": b"54321", "deep/c.txt": b"zyx"}


def go(operation: Operation | None = None, inputs: Any = IN, **settings: Any) -> RunResult:
    fingerprint = settings.pop("fingerprint", "f")
    settings = {"out": OUT, "jobs": 2, **settings}
    listed = [inputs] if isinstance(inputs, str | Path) else inputs
    return run(operation or Copy(), listed, RunSettings(**settings), fingerprint=fingerprint)


def local(folder: Path, prefix: str = "") -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {n: p.read_bytes() for n, p in names.items() if n.startswith(prefix) and n[0] != "."}


def test_from_a_store_to_a_store(bucket: MemoryBucket) -> None:
    bucket.fill(
        {**TEXTS, "in/notes.pdf": b"", "in/.hidden/x.txt": b"", "in/": b"", "in2/y.txt": b""}
    )
    result = go()
    assert bucket.content("out/") == DONE
    assert result.counts == {"done": 3, "failed": 0, "skipped": 0, "planned": 0, "left alone": 1}
    assert result.other_kinds == {".pdf": 1} and result.exit_code == 0
    records = {record.file: record for record in result.records}
    first = records["s3://bucket/in/deep/b.txt"]
    assert first.out == ("s3://bucket/out/deep/b.txt",) and first.bytes_in == first.bytes_out == 5
    metadata = bucket.objects["out/deep/b.txt"][1].metadata
    assert metadata is not None and metadata["vaetools-source"] == "deep/b.txt"


def test_from_a_store_to_files_and_back(bucket: MemoryBucket, tmp_path: Path) -> None:
    bucket.fill(TEXTS)
    assert go(out=tmp_path / "here").counts["done"] == 3
    assert local(tmp_path / "here") == DONE
    assert go(inputs=tmp_path / "here", out="s3://bucket/back").counts["done"] == 3
    assert bucket.content("back/") == {name: data[::-1] for name, data in DONE.items()}


@pytest.mark.parametrize("source", ["store", "files"])
@pytest.mark.parametrize("target", ["store", "files"])
def test_a_second_run_skips_what_is_done_and_sees_what_changed(
    source: str, target: str, bucket: MemoryBucket, tmp_path: Path
) -> None:
    bucket.fill(TEXTS)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for key, data in TEXTS.items():
        (tmp_path / key).write_bytes(data)
    place: dict[str, Any] = {
        "inputs": IN if source == "store" else tmp_path / "in",
        "out": OUT if target == "store" else tmp_path / "out",
    }
    assert go(**place).counts["done"] == 3
    bucket.calls.clear()
    assert go(**place).counts["skipped"] == 3
    assert not bucket.calls["put"]
    bucket.fill({"in/a.txt": b"new"})
    (tmp_path / "in" / "a.txt").write_bytes(b"newer")
    assert go(**place).counts == {
        "done": 1, "skipped": 2, "failed": 0, "planned": 0, "left alone": 0
    }  # fmt: skip
    written = bucket.content("out/") if target == "store" else local(tmp_path / "out")
    assert written["a.txt"] == (b"wen" if source == "store" else b"rewen")
    assert go(**place, fingerprint="another model").counts["done"] == 3
    assert go(**place, fingerprint="another model", force=True).counts["done"] == 3
    assert go(**place, fingerprint="another model", resume=False).counts["done"] == 3


def test_the_index_saves_requests_and_proves_nothing(bucket: MemoryBucket) -> None:
    bucket.fill(TEXTS)
    go()
    bucket.calls.clear()
    assert go().counts["skipped"] == 3
    assert bucket.calls == {"list": 2, "head": 1, "get": 1}  # of the index
    # An object that was replaced has another version than the index knows.
    bucket.fill({"out/a.txt": b"not ours"})
    with pytest.raises(ExistsError, match=r"bucket/out/a\.txt: already exists"):
        go()
    del bucket.objects["out/a.txt"]
    assert go().counts["done"] == 1
    deep = gzip.compress(b'{"objects": ' + b"[" * 100_000)
    for damaged in (b"", b"{}", b"\x1f\x8b damaged", deep):
        bucket.fill({f"out/{INDEX}.json.gz": damaged})
        bucket.calls.clear()
        assert go().counts["skipped"] == 3
        assert bucket.calls["head"] > 3 and bucket.calls["put"] == 1  # a new index
    del bucket.objects[f"out/{INDEX}.json.gz"]
    assert go().counts["skipped"] == 3


def test_an_object_of_somebody_else_is_not_replaced(bucket: MemoryBucket) -> None:
    bucket.fill({**TEXTS, "out/a.txt": b"mine", "out/deep/b.txt": b"mine"})
    with pytest.raises(ExistsError, match=r"a.txt: already exists.*\(and 1 more\)") as caught:
        go()
    assert caught.value.exit_code == 2 and not bucket.calls["put"]
    result = go(on_exists="skip")
    assert result.counts["done"] == 1 and result.counts["skipped"] == 2
    assert bucket.content("out/") == {"a.txt": b"mine", "deep/b.txt": b"mine", "deep/c.txt": b"zyx"}
    assert go(on_exists="replace").counts["done"] == 2
    assert bucket.content("out/") == DONE
    bucket.fill({"out/a.txt": b"mine"})
    assert go(force=True).counts["done"] == 3
    # The same name from another folder is another input.
    bucket.fill({"other/a.txt": b"abc"})
    with pytest.raises(ExistsError):
        go(inputs="s3://bucket/other/", fingerprint="g")


def test_what_appears_during_the_run_is_left_as_it_is(bucket: MemoryBucket) -> None:
    bucket.fill(TEXTS)
    appeared = threading.Event()

    def before(method: str, key: str) -> None:
        if (method, key) == ("get", "in/a.txt") and not appeared.is_set():
            appeared.set()
            bucket.put("out/a.txt", b"mine", {}, None)

    bucket.before = before
    result = go()
    assert [r.code for r in result.failures] == ["E081"] and result.counts["done"] == 2
    assert "changed while the run was going on" in result.failures[0].message
    assert bucket.content("out/")["a.txt"] == b"mine"


def test_an_input_that_changes_during_the_run_fails(bucket: MemoryBucket) -> None:
    bucket.fill(TEXTS)
    once = threading.Event()

    def before(method: str, key: str) -> None:
        if (method, key) == ("get", "in/a.txt") and not once.is_set():
            once.set()
            version = bucket.objects["in/a.txt"][1].version
            bucket.put("in/a.txt", b"newer", {}, version)

    bucket.before = before
    result = go()
    assert [r.code for r in result.failures] == ["E015"]
    assert result.failures[0].message.endswith("cannot be read: it changed during the run")


def test_a_lost_answer_to_a_put_is_no_conflict(bucket: MemoryBucket) -> None:
    """The server has written the object, and the request is repeated."""
    bucket.fill({"in/a.txt": b"abc"})
    put = bucket.put

    def twice(key: str, data: bytes, metadata: Any, replaces: str | None) -> str:
        put(key, data, metadata, replaces)
        return put(key, data, metadata, replaces)

    bucket.put = twice  # type: ignore[method-assign]
    result = go()
    assert result.counts["done"] == 1 and bucket.content("out/") == {"a.txt": b"cba"}


def test_two_runs_at_the_same_time_share_the_work(bucket: MemoryBucket) -> None:
    texts = {f"in/{number:03}.txt": str(number).encode() for number in range(60)}
    bucket.fill(texts)
    results: list[RunResult] = []
    barrier = threading.Barrier(2)
    operations = [Copy(), Copy()]

    def one(operation: Copy) -> None:
        barrier.wait()
        results.append(go(operation))

    threads = [threading.Thread(target=one, args=(operation,)) for operation in operations]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(result.counts["done"] for result in results) == 60
    assert all(r.counts["done"] + r.counts["skipped"] == 60 for r in results)
    assert bucket.content("out/") == {
        key.removeprefix("in/"): data[::-1] for key, data in texts.items()
    }
    reasons = {r.message.partition(": ")[2] for result in results for r in result.records}
    assert reasons <= {"", BY_ANOTHER, "is already done"}


def test_several_outputs_of_an_input(bucket: MemoryBucket) -> None:
    def names(source: PurePath) -> list[PurePath]:
        return [source.with_suffix(f".{number}.bin") for number in range(3)]

    bucket.fill({"in/a.txt": b"abc"})
    assert go(Renaming(names)).counts["done"] == 1
    written = {"a.0.bin": b"abc\0", "a.1.bin": b"abc\1", "a.2.bin": b"abc\2"}
    assert bucket.content("out/") == written
    del bucket.objects["out/a.1.bin"]
    assert go(Renaming(names)).counts["done"] == 1
    assert bucket.content("out/") == written
    assert go(Renaming(names)).counts["skipped"] == 1


def test_a_failed_input_is_a_record(bucket: MemoryBucket) -> None:
    bucket.fill({**TEXTS, "in/d.txt": b"bad"})
    result = go(Raising(ValueError("no")))
    assert result.exit_code == 1 and result.counts["done"] == 3
    assert result.failures[0].file == "s3://bucket/in/d.txt"
    assert result.failures[0].message.startswith("s3://bucket/in/d.txt: ")
    bucket.fail("get", "denied", "in/a.txt")
    result = go(fingerprint="g")
    assert [(r.code, r.file) for r in result.failures] == [("E015", "s3://bucket/in/a.txt")]
    assert result.counts["done"] == 3


@pytest.mark.parametrize("kind", ["denied", "credentials", "unreachable", "bucket"])
def test_a_run_stops_when_nothing_can_be_written(kind: Any, bucket: MemoryBucket) -> None:
    bucket.fill({f"in/{number}.txt": b"x" for number in range(200)})
    bucket.fail("put", kind)
    result = go(jobs=1)
    assert result.exit_code == 1 and result.unreached > 0
    assert "stopped because OUT cannot be written to" in result.summary
    assert {r.code for r in result.failures} == {"E070"}
    assert "s3://bucket/out/" in result.failures[0].message


def test_errors_before_any_work(bucket: MemoryBucket, tmp_path: Path) -> None:
    bucket.fill(TEXTS)
    refusals: list[tuple[Kind, str, type[Exception]]] = [
        ("bucket", "in", UsageError),
        ("denied", "in", UnreadableError),
        ("bucket", "out", UsageError),
        ("credentials", "out", OutputError),
    ]
    for kind, folder, error in refusals:
        bucket.fail("list", kind, f"{folder}/")
        with pytest.raises(error, match=f"s3://bucket/{folder}: "):
            go()
    bucket.before = lambda method, key: None
    cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (UsageError, "no such object or folder", {"inputs": "s3://bucket/nothing"}),
        (NothingMatchedError, "no input matched", {"exclude": ("*.txt",)}),
        (UsageError, "either local or", {"inputs": [IN, tmp_path]}),
        (UsageError, "inputs and outputs cannot share a folder", {"out": IN}),
        (UsageError, "names no bucket", {"out": "s3:///x"}),
        (UsageError, "cannot be a path", {"out": "s3://bucket/a/../b"}),
        (UsageError, "cannot be a path", {"inputs": "s3://bucket/a//b"}),
        (UsageError, "--workers has no effect", {"workers": 2}),
        (UsageError, "--journal has no effect", {"journal": tmp_path}),
        (UsageError, "--fourcc has no effect", {"fourcc": "mp4v"}),
        (ClashError, "is an input", {"inputs": "s3://bucket/in/a.txt", "out": "s3://bucket/in/"}),
    ]
    for expected, text, values in cases:
        with pytest.raises(expected, match=text) as caught:
            go(**values)
        assert "\n" not in str(caught.value)
    assert not bucket.calls["put"]


def test_keys_that_are_no_paths_fail_alone(bucket: MemoryBucket, tmp_path: Path) -> None:
    bucket.fill({"in/a.txt": b"abc", "in//b.txt": b"1", "in/../c.txt": b"2", "in/x/./d.txt": b"3"})
    for out in (OUT, str(tmp_path / "out")):
        result = go(out=out)
        assert result.counts["done"] == 1 and result.counts["failed"] == 3
        assert {r.code for r in result.failures} == {"E015"}


def test_a_key_that_is_no_path_hides_no_other_object(bucket: MemoryBucket) -> None:
    bucket.fill({"in/x//b.txt": b"1", "in/x/b.txt": b"12", "in/x/./b.txt": b"3"})
    result = go()
    assert bucket.content("out/") == {"x/b.txt": b"21"}
    assert sorted((record.status, record.file) for record in result.records) == [
        ("done", "s3://bucket/in/x/b.txt"),
        ("failed", "s3://bucket/in/x/./b.txt"),
        ("failed", "s3://bucket/in/x//b.txt"),
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are Unicode")
def test_a_file_whose_name_is_not_utf_8_fails_alone(bucket: MemoryBucket, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"abc")
    (tmp_path / "\udcff.txt").write_bytes(b"abc")
    result = go(inputs=tmp_path)
    assert bucket.content("out/") == {"a.txt": b"cba"}
    [failed] = [record for record in result.records if record.status == "failed"]
    assert failed.code == "E015" and "not UTF-8" in failed.message
    assert result.exit_code == 1


def test_one_object_and_globs(bucket: MemoryBucket, tmp_path: Path) -> None:
    bucket.fill(TEXTS)
    go(inputs="s3://bucket/in/deep/b.txt", out="s3://bucket/one.txt")
    assert bucket.content("one")[".txt"] == b"54321"
    go(inputs="s3://bucket/in/a.txt", out=tmp_path / "one.txt")
    assert (tmp_path / "one.txt").read_bytes() == b"cba"
    go(inputs="s3://bucket/in/*/b*", out="s3://bucket/glob/")
    assert bucket.content("glob/") == {"b.txt": b"54321"}
    go(inputs="s3://bucket/*/dee?", out="s3://bucket/folders")
    assert bucket.content("folders/") == {"b.txt": b"54321", "c.txt": b"zyx"}
    go(inputs="s3://bucket", out="s3://bucket/all", include=("in/deep/*",))
    assert bucket.content("all/") == {"in/deep/b.txt": b"54321", "in/deep/c.txt": b"zyx"}
    with pytest.raises(NothingMatchedError):
        go(inputs="s3://bucket/in/*.jpg")


def test_globs_leave_out_hidden_objects_and_outputs(bucket: MemoryBucket) -> None:
    hidden = {"in/.x.txt": b"h", "in/.cache/y.txt": b"h", "in/deep/.z.txt": b"h"}
    bucket.fill({**TEXTS, **hidden})
    shown = [f"s3://bucket/{key}" for key in TEXTS]
    for glob in ("in/**", "in/**/*.txt", "i*", "in/*"):
        for _ in range(2):
            result = go(inputs=f"s3://bucket/{glob}", out="s3://bucket/in/out")
            assert sorted(record.file for record in result.records) == shown
    for glob, file in (("in/.x*", "in/.x.txt"), ("i?/.cache", "in/.cache/y.txt")):
        result = go(inputs=f"s3://bucket/{glob}", out="s3://bucket/other/")
        assert [record.file for record in result.records] == [f"s3://bucket/{file}"]
    beside = Renaming(lambda source: [source.with_suffix(".bak")])
    assert go(beside, inputs="s3://bucket/in/out/[a].txt", out="s3://bucket/in/out").records


def test_outputs_below_the_inputs_are_no_inputs(bucket: MemoryBucket) -> None:
    bucket.fill(TEXTS)
    for _ in range(2):
        assert len(go(out="s3://bucket/in/out").records) == 3


def test_an_output_folder_around_the_inputs(bucket: MemoryBucket) -> None:
    bucket.fill(TEXTS)
    assert go(inputs="s3://bucket/in/deep", out="s3://bucket/in").counts["done"] == 2
    assert bucket.content("in/").keys() >= {"b.txt", "c.txt", "deep/b.txt"}


def test_include_exclude_and_shards(bucket: MemoryBucket) -> None:
    bucket.fill(TEXTS)
    assert {r.file for r in go(exclude=("deep",)).records} == {"s3://bucket/in/a.txt"}
    parts = [go(out="s3://bucket/parts", shard=(part, 2)) for part in (1, 2)]
    assert sum(len(part.records) for part in parts) == 3
    assert bucket.content("parts/") == DONE
    assert go(out="s3://bucket/parts").counts["skipped"] == 3


def test_a_dry_run_writes_and_fetches_nothing(bucket: MemoryBucket) -> None:
    bucket.fill(TEXTS)
    go(inputs="s3://bucket/in/a.txt", out="s3://bucket/out/")
    bucket.calls.clear()
    result = go(dry_run=True)
    assert result.counts["planned"] == 2 and result.counts["skipped"] == 1
    assert not bucket.calls["put"] and bucket.calls["get"] <= 1  # the index


def test_ctrl_c_ends_a_run_that_goes_on_later(bucket: MemoryBucket) -> None:
    bucket.fill({f"in/{number}.txt": b"x" for number in range(50)})

    def interrupt(record: Any) -> None:
        raise KeyboardInterrupt

    settings = RunSettings(out=OUT, jobs=1)
    result = run(Copy(), [IN], settings, fingerprint="f", on_record=interrupt)
    assert result.stopped == INTERRUPTED and result.exit_code == 130
    rest = go()
    assert rest.counts["done"] + rest.counts["skipped"] == 50 and len(bucket.content("out/")) == 50


def command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a command."""
    with pytest.raises(SystemExit) as caught:
        main([*words])
    shown = capsys.readouterr()
    assert isinstance(caught.value.code, int)
    return caught.value.code, shown.out, shown.err


def test_the_command_line(
    bucket: MemoryBucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Records, a report and the bytes are as for local files."""
    image = encode_image(Image(np.full((28, 28), 90, np.uint8)), "png")
    bucket.fill({"in/a.png": image, "in/clip.mp4": b""})
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(image)
    report, here = tmp_path / "report.html", tmp_path / "here"
    words = ["reconstruct", "--model", "mnist-mlp"]
    code, _, err = command(capsys, *words, IN, "-o", OUT)
    assert code == 2 and "clip.mp4: videos are processed from local files" in err
    words += ["--exclude", "*.mp4", "--json"]
    code, out, err = command(capsys, *words, IN, "-o", OUT, "--report", str(report))
    record = json.loads(out)
    assert code == 0 and "1 done" in err
    assert record["file"] == f"{IN}/a.png" and record["out"] == [f"{OUT}/a.png"]
    assert 'href="s3://bucket/out/a.png"' in report.read_text()
    assert command(capsys, *words, str(tmp_path / "in"), "-o", str(here))[0] == 0
    assert (here / "a.png").read_bytes() == bucket.content("out/")["a.png"]
    code, _, err = command(capsys, *words, IN, "-o", OUT, "--workers", "2")
    assert code == 2 and "E002 s3://bucket/out: --workers has no effect" in err


@pytest.mark.slow
def test_masks_are_local(
    bucket: MemoryBucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def draw(right: int) -> None:
        mask = np.zeros((32, 48), np.uint8)
        mask[8:16, 8:right] = 255
        (tmp_path / "a.png").write_bytes(encode_image(Image(mask), "png"))

    def status(*words: str) -> str:
        return str(
            json.loads(command(capsys, "inpaint", IN, "-o", OUT, "--json", *words)[1])["status"]
        )

    bucket.fill({"in/a.png": encode_image(Image(np.full((32, 48, 3), 90, np.uint8)), "png")})
    draw(16)
    folder = ("--mask", str(tmp_path))
    assert [status(*folder), status(*folder)] == ["done", "skipped"]
    draw(20)
    assert [status(*folder), status(*folder)] == ["done", "skipped"]
    code, _, err = command(capsys, "inpaint", IN, "-o", OUT, "--mask", "{stem}_mask.png")
    assert code == 2 and "E002 mask {stem}_mask.png is next to the images" in err


def test_generated_images(bucket: MemoryBucket) -> None:
    with vaetools.open("cpu") as hub:
        result = hub.map("generate", (), out=OUT, n=2, seed=3, model="mnist-mlp")
        assert result.counts["done"] == 2 and len(bucket.content("out/")) == 2
        again = hub.map("generate", (), out=OUT, n=3, seed=3, model="mnist-mlp")
        assert again.counts["done"] == 1 and again.counts["skipped"] == 2


def test_lists_of_local_files_go_to_a_store(bucket: MemoryBucket, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.txt").write_bytes(b"abc")
    (tmp_path / "b.txt").write_bytes(b"left out")
    (tmp_path / "list").write_text("deep/a.txt\n")
    assert go(inputs=[], files_from=tmp_path / "list", root=tmp_path).counts["done"] == 1
    assert bucket.content("out/") == {"deep/a.txt": b"cba"}


def test_jobs_are_local(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"")
    job = str(tmp_path / "run")
    code, _, err = command(capsys, "shards", IN, "-o", job)
    assert code == 2 and "is a URL" in err
    assert command(capsys, "shards", str(tmp_path / "in"), "-o", job)[0] == 0
    words = ("reconstruct", "--model", "mnist-mlp", "--job", job, "-o", OUT)
    code, _, err = command(capsys, *words)
    assert code == 2 and err.startswith(f"E002 {OUT}: OUT of a job must be local")
