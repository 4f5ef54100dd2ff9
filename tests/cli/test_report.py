"""`vaetools report`: the page or the contact sheet of a run that has ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vaetools.cli import main
from vaetools.image import Image, encode_image
from vaetools.record import Record
from vaetools.report.page import PAGE_START
from vaetools.testing import gradient


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A file with the records of a run."""
    (tmp_path / "a.png").write_bytes(encode_image(Image(gradient()), "png"))
    file = str(tmp_path / "a.png")
    record = Record(file, (file,), "denoise", "done", bytes_in=9, bytes_out=9)
    (tmp_path / "run.ndjson").write_text(json.dumps(record.as_dict()) + "\n")
    return tmp_path / "run.ndjson"


def printed(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """What the command prints; the code of its exit is that of an error if there is one."""
    with pytest.raises(SystemExit) as caught:
        main(["report", *map(str, words)])
    output = capsys.readouterr()
    assert bool(caught.value.code) == output.err.startswith("E")
    return output.out + output.err


def test_the_page_lies_next_to_the_records(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    page = run.with_suffix(".html")
    assert printed(capsys, run) == f"{page}\n"
    assert page.read_text().startswith(PAGE_START) and 'data-w="64"' in page.read_text()


def test_a_contact_sheet_alone_and_with_the_page(
    capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path
) -> None:
    sheet, page = tmp_path / "sheet.png", tmp_path / "page.html"
    assert printed(capsys, run, "--contact-sheet", sheet) == f"{sheet}\n"
    assert sheet.exists() and not run.with_suffix(".html").exists()
    assert printed(capsys, run, "--contact-sheet", sheet, "-o", page) == f"{sheet}\n{page}\n"
    assert page.exists()


def test_what_is_no_run_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    remedy = "name the output folder of a run, or a file of its JSON records"
    line = f"E003 {tmp_path}: has no records of a run; {remedy}\n"
    assert printed(capsys, tmp_path) == line
