"""Segments on disk: complete ones are found again, whatever else is in the folder is not used."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from vaetools.errors import OutputError
from vaetools.video.segments import SegmentFolder, StoredPacket


def filled(folder: Path, work: str = "work", count: int = 3) -> SegmentFolder:
    """`count` segments of two frames each."""
    store = SegmentFolder(folder, work)
    for number in range(count):
        packets = [
            StoredPacket(b"key", 20 * number, is_key=True),
            StoredPacket(b"other", 20 * number + 10, is_key=False, extra=b"alpha"),
        ]
        store.add([(20 * number, 10), (20 * number + 10, 10)], packets, b"header")
    return store


def test_segments_are_found_again(tmp_path: Path) -> None:
    first = filled(tmp_path / "a")
    again = SegmentFolder(tmp_path / "a", "work")
    assert again.frames == first.frames == 6 and again.extradata == b"header"
    assert again.times == [(10 * number, 10) for number in range(6)]
    assert list(again.packets()) == list(first.packets())
    assert [packet.extra for packet in again.packets()] == [b"", b"alpha"] * 3


def test_other_work_begins_anew(tmp_path: Path) -> None:
    filled(tmp_path / "a")
    assert SegmentFolder(tmp_path / "a", "other work").frames == 0
    assert SegmentFolder(tmp_path / "a", "work").frames == 0


@pytest.mark.parametrize("damage", ["flip", "cut", "missing", "text", "head", "link", "fifo"])
def test_a_damaged_segment_ends_the_sequence(tmp_path: Path, damage: str) -> None:
    filled(tmp_path / "a")
    path = tmp_path / "a" / "000000002.segment"
    data = path.read_bytes()
    path.unlink()
    if damage == "flip":
        path.write_bytes(data[:-1] + b"X")
    elif damage == "cut":
        path.write_bytes(data[:-1])
    elif damage == "text":
        path.write_bytes(b"rubbish")
    elif damage == "head":
        head = json.loads(data.split(b"\n")[0])
        path.write_bytes(json.dumps(head | {"packets": [[1, -1, 0, True]]}).encode() + b"\n")
    elif damage == "link":
        (tmp_path / "elsewhere").write_bytes(data)
        path.symlink_to(tmp_path / "elsewhere")
    elif damage == "fifo":
        os.mkfifo(path)
    store = SegmentFolder(tmp_path / "a", "work")
    assert store.frames == 2
    packets = [StoredPacket(b"key", 20, is_key=True)]
    store.add([(20, 10)], packets, b"header")  # replaces what is there, and follows no link
    assert SegmentFolder(tmp_path / "a", "work").frames == 3
    if damage == "link":
        assert (tmp_path / "elsewhere").read_bytes() == data


def test_another_header_is_refused(tmp_path: Path) -> None:
    store = filled(tmp_path / "a")
    with pytest.raises(OutputError, match="header changed"):
        store.add([(60, 10)], [StoredPacket(b"key", 60, is_key=True)], b"another")


def test_a_segment_that_changes_before_it_is_joined_is_an_error(tmp_path: Path) -> None:
    store = filled(tmp_path / "a")
    (tmp_path / "a" / "000000004.segment").write_bytes(b"")
    with pytest.raises(OutputError, match="was changed"):
        list(store.packets())


def test_the_folder_may_not_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "a").symlink_to(tmp_path / "real")
    with pytest.raises(OutputError, match="is not a folder of this user"):
        SegmentFolder(tmp_path / "a", "work")
    assert list((tmp_path / "real").iterdir()) == []
