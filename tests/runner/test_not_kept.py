"""Metadata that no output has is in the records, and in one line at the end of a run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.image.described import XMP_PREFIX, described_file, with_segments, xmp
from vaetools.cli.reporter import Reporter
from vaetools.image import Image
from vaetools.operation import ImageOperation, NoOptions, Operation
from vaetools.runner import RunSettings, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path, PurePath

    import numpy as np

    from .conftest import Plant

GAIN_MAP = with_segments((0xE1, XMP_PREFIX + xmp(attributes='hdrgm:Version="1.0"')))


class Negative(ImageOperation):
    """The negative of an image, which keeps its metadata."""

    name = "negative"

    def __init__(self) -> None:
        super().__init__(None, NoOptions())

    def apply(self, image: np.ndarray) -> np.ndarray:
        return 1 - image


class Pack(Operation):
    """Bytes of its own, which have no place for further images."""

    name = "pack"

    def __init__(self) -> None:
        super().__init__(None, NoOptions())

    def outputs(self, source: PurePath) -> Sequence[PurePath]:
        return (source.with_suffix(".bin"),)

    def process(self, item: Image) -> bytes:
        self.lose(*item.metadata.notes)
        return b"packed"


def test_records_name_what_is_lost(plant: Plant, tmp_path: Path) -> None:
    top = plant("in", {"a.jpg": described_file("jpeg"), "b.jpg": GAIN_MAP})
    result = run(Negative(), [top], RunSettings(tmp_path / "out", to="webp"))
    lost = {record.file: record.not_kept for record in result.records}
    assert lost == {
        str(top / "a.jpg"): ("IPTC (webp has no place for it)",),
        str(top / "b.jpg"): ("gain map",),
    }
    assert result.not_kept == {"IPTC (webp has no place for it)": 1, "gain map": 1}
    record = next(r for r in result.records if r.not_kept == ("gain map",))
    assert record.message == f"{top / 'b.jpg'}: not kept: gain map"
    assert record.as_dict()["not_kept"] == ("gain map",)


def test_an_operation_says_what_its_own_bytes_lack(plant: Plant, tmp_path: Path) -> None:
    top = plant("in", {"b.jpg": GAIN_MAP})
    result = run(Pack(), [top], RunSettings(tmp_path / "out"))
    assert result.not_kept == {"gain map": 1}


def test_what_is_stripped_on_purpose_is_not_named(plant: Plant, tmp_path: Path) -> None:
    top = plant("in", {"a.jpg": described_file("jpeg")})
    result = run(Negative(), [top], RunSettings(tmp_path / "out", to="webp", strip="exif"))
    assert result.not_kept == {}
    assert "not_kept" not in json.dumps(result.records[0].as_dict())


def test_one_line_at_the_end(
    plant: Plant, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {f"{n}.jpg": described_file("jpeg") for n in range(3)} | {"g.jpg": GAIN_MAP}
    result = run(Negative(), [plant("in", files)], RunSettings(tmp_path / "out", to="webp"))
    reporter = Reporter(as_json=False, quiet=False)
    for record in result.records:
        reporter.record(record)
    reporter.finish(result)
    first, *others = capsys.readouterr().err.splitlines()
    assert first == ("not kept: IPTC (webp has no place for it), 3 inputs; gain map, 1 input")
    assert len(others) == 1
