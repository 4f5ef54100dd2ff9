"""The journal: completed work, owned outputs, damaged lines."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path, PurePosixPath

import onnxruntime
import pytest

from vaetools.runner.entries import JournalEntry
from vaetools.runner.inputs import Source
from vaetools.runner.journal import Journal
from vaetools.runner.recorded import recorded

SOURCE = Source(
    Path("/photos/a.jpg"), PurePosixPath("a.jpg"), "/photos/a.jpg", size=10, mtime_ns=20
)
NAMES = ["a.jpg.vae"]
DATA = b"packed"


def entry(source: Source = SOURCE, data: bytes = DATA, work: str = "work") -> JournalEntry:
    out = {name: (len(data), hashlib.sha256(data).hexdigest()) for name in NAMES}
    return Journal(None, work).entry(source, "compress", out)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path


def write(out: Path, *, done: bool = True, made: JournalEntry | None = None) -> None:
    journal = Journal(out)
    journal.open(None)
    journal.writing(made or entry())
    if done:
        journal.done(made or entry())
    journal.close()


def put(out: Path, data: bytes = DATA) -> Path:
    path = out / NAMES[0]
    path.write_bytes(data)
    return path


def completed(out: Path, source: Source = SOURCE, work: str = "work") -> bool:
    return Journal(out, work).has_completed(source, NAMES)


def owns(out: Path, source: Source = SOURCE) -> bool:
    return Journal(out).owns(NAMES[0], source)


def test_work_is_completed_while_its_outputs_exist(out: Path) -> None:
    write(out)
    assert not completed(out)
    put(out)
    assert completed(out)
    assert not completed(out, work="other work")
    assert not completed(out, dataclasses.replace(SOURCE, size=11))
    assert not completed(out, dataclasses.replace(SOURCE, mtime_ns=21))
    assert not Journal(out, "work").has_completed(SOURCE, [*NAMES, "more"])


def test_an_input_that_moved_with_its_folder_is_still_completed(out: Path) -> None:
    write(out)
    put(out)
    assert completed(out, dataclasses.replace(SOURCE, path=Path("/mnt/photos/a.jpg")))


def test_an_output_of_another_size_is_neither_completed_nor_owned(out: Path) -> None:
    write(out)
    put(out, b"packe")
    assert not completed(out)
    assert not owns(out)


def test_without_a_done_line_the_content_decides(out: Path) -> None:
    write(out, done=False)
    put(out, b"PACKED")
    assert not completed(out)
    assert not owns(out)
    put(out)
    assert completed(out)
    assert owns(out)


def test_old_outputs_of_changed_work_are_owned(out: Path) -> None:
    put(out)
    write(out)
    write(out, done=False, made=entry(data=b"newer!", work="other"))
    assert owns(out)  # killed before the new file took the name
    assert completed(out)
    put(out, b"newer!")
    assert owns(out)
    assert completed(out, work="other")
    assert not completed(out)


def test_an_output_made_from_another_input_is_not_owned(out: Path) -> None:
    write(out)
    put(out)
    other = dataclasses.replace(SOURCE, path=Path("/photos of last year/a.jpg"), mtime_ns=5)
    assert owns(out)
    assert not owns(out, other)
    assert Journal(out).source_of(NAMES[0]) == "/photos/a.jpg"


def test_outputs_are_listed_by_operation(out: Path) -> None:
    write(out)
    assert Journal(out).outputs_of("compress") == {os.path.realpath(out / NAMES[0])}
    assert Journal(out).outputs_of("denoise") == set()


@pytest.mark.parametrize("cut", [1, 2, 30, 200])
def test_an_incomplete_line_is_ignored_and_harms_no_other(out: Path, cut: int) -> None:
    put(out)
    write(out)
    path = out / ".vaetools.ndjson"
    path.write_bytes(path.read_bytes()[:-cut])
    assert completed(out)  # by content
    other = dataclasses.replace(SOURCE, relative=PurePosixPath("b.jpg"))
    write(out, made=entry(other))
    assert len(Journal(out)._entries[NAMES[0]]) == 2
    assert completed(out, other)


DAMAGE = [
    b"\0" * 100,
    b"\xff\xfe",
    b"[]",
    b"{}",
    b"null",
    b'{"v":1,"event":"done","at":0,"out":{}}',
    b'{"v":1,"event":"done","at":0,"out":{"a":[1]}}',
    b'{"v":1,"event":"done","at":0,"out":[1]}',
    b'{"v":99,"event":"done"}',
]


@pytest.mark.parametrize("line", DAMAGE)
def test_damaged_lines_are_ignored(out: Path, line: bytes) -> None:
    put(out)
    path = out / ".vaetools.ndjson"
    path.write_bytes(line)
    assert not completed(out)
    write(out)
    with path.open("ab") as file:
        file.write(line + b"\n")
    assert completed(out)


def test_lines_say_the_device_and_may_say_more(out: Path) -> None:
    """Work stays completed whatever device did it, and when a later version has more to say."""
    made = Journal(None, "work").entry(SOURCE, "copy", entry().out, device="cuda:0")
    write(out, made=made)
    put(out)
    path = out / ".vaetools.ndjson"
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert {line["device"] for line in lines} == {"cuda:0"}
    assert {line["onnxruntime"] for line in lines} == {onnxruntime.__version__}
    assert completed(out)
    path.write_text("".join(json.dumps(line | {"later": [1]}) + "\n" for line in lines))
    assert completed(out)
    path.write_text("".join(json.dumps(line | {"device": [1]}) + "\n" for line in lines))
    assert not completed(out)


def test_lines_are_plain_json_for_any_name(out: Path) -> None:
    name = os.fsdecode(b"\xff\n\xc3\xa9.jpg")
    source = Source(Path("/photos", name), PurePosixPath(name), f"/photos/{name}", 1, 2)
    empty = {name: (0, hashlib.sha256(b"").hexdigest())}
    made = Journal(None, "work").entry(source, "copy", empty)
    write(out, made=made)
    lines = (out / ".vaetools.ndjson").read_bytes().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["writing", "done"]
    (out / name).touch()
    assert Journal(out, "work").has_completed(source, [name])


def test_a_failed_write_does_not_spoil_the_next_line(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(out)
    journal.open(None)
    file = journal._file

    class Full:
        def write(self, data: bytes) -> int:
            assert file is not None
            file.write(data[:25])
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal, "_file", Full())
    with pytest.raises(OSError, match="No space"):
        journal.writing(entry())
    monkeypatch.undo()
    journal.writing(entry())
    journal.close()
    put(out)
    assert completed(out)


def test_shards_have_journals_of_their_own_and_read_all(out: Path) -> None:
    journal = Journal(out)
    journal.open((2, 3))
    journal.writing(entry())
    journal.done(entry())
    journal.close()
    put(out)
    assert [path.name for path in out.glob(".*")] == [".vaetools.2-of-3.ndjson"]
    assert completed(out)


def test_a_closed_journal_cannot_be_written(out: Path) -> None:
    journal = Journal(out)
    journal.open(None)
    journal.close()
    with pytest.raises(ValueError, match="closed"):
        journal.writing(entry())


def test_without_a_folder_nothing_is_remembered() -> None:
    journal = Journal(None, "work")
    journal.open(None)
    journal.writing(entry())
    journal.done(entry())
    journal.close()
    assert not journal.has_completed(SOURCE, NAMES)
    assert not journal.owns(NAMES[0], SOURCE)
    assert journal.outputs_of("compress") == set()


def test_order_within_a_journal_is_position_not_time(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(out)
    journal.open(None)
    journal.done(entry())
    monkeypatch.setattr("time.time", lambda: 4e9)  # a machine whose clock is ahead
    journal.pruned(entry())
    monkeypatch.undo()
    journal.done(entry())
    journal.close()
    put(out)
    assert completed(out)
    assert len(recorded(out).records) == 1


def test_time_merges_journals_whose_clocks_step_back(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = b"other"
    lines = [
        ((1, 2), 100.0, DATA),
        ((2, 2), 200.0, other),
        ((1, 2), 50.0, DATA),
        ((2, 2), 60.0, b"new"),
    ]
    for shard, at, data in lines:
        monkeypatch.setattr("time.time", lambda at=at: at)
        journal = Journal(out)
        journal.open(shard)
        journal.done(entry(data=data))
        journal.close()
    monkeypatch.undo()
    assert Journal(out).entries_of("compress") == [entry(data=b"new")]
