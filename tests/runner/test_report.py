"""The HTML report: refused before any work, or complete at the end; valid for any file names."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree as ET

import pytest

from vaetools.errors import ClashError, ExistsError, NothingMatchedError, OutputError, UsageError
from vaetools.image import Image, encode_image
from vaetools.report.page import PAGE_START, Overview
from vaetools.report.previews import SHOTS_PER_ROW
from vaetools.report.store import MARKER, Inline, folder_of
from vaetools.runner import Record, RunResult, RunSettings, run
from vaetools.runner.atomic import temporary_path
from vaetools.runner.report import write_page
from vaetools.runner.result import INTERRUPTED
from vaetools.testing import gradient

from .operations import Copy, Invert, Raising, Renaming

if TYPE_CHECKING:
    from vaetools.operation import Operation

    from .conftest import Plant

TREE = {"a.txt": b"abc", "b/c.txt": b"def"}


def go(operation: Operation, top: Path, report: Any, **settings: Any) -> RunResult:
    return run(operation, [top], RunSettings(top.parent / "out", report=report, **settings))


def parsed(page: Path) -> ET.Element:
    """Parsed as XML, so that unescaped text and unclosed tags are errors."""
    return ET.fromstring(page.read_text(encoding="utf-8"))


def rows(page: Path) -> list[ET.Element]:
    """The rows of the table of all inputs."""
    return list(parsed(page).findall(".//table")[-1].iterfind("./tbody/tr"))


def words(element: ET.Element) -> str:
    return " ".join(" ".join(element.itertext()).split())


def leads_to(page: Path, address: str) -> Path:
    return Path(os.path.normpath(page.parent / os.fsdecode(unquote_to_bytes(address))))


# Reports that are refused before any work.


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("report.png", UsageError, "name it report.png.html"),
        ("journal", UsageError, "the report is an HTML file"),
        ("folder.html", UsageError, "is a folder"),
        ("in/a.txt/page.html", UsageError, "Not a directory"),
        ("new/" + "x" * 300 + "/page.html", UsageError, "File name too long"),
        ("x" * 300 + ".html", UsageError, "File name too long"),
        ("strange.html", ExistsError, "already exists and is not a report"),
        ("empty.html", ExistsError, "already exists and is not a report"),
        ("link.html", ExistsError, "already exists and is not a report"),
        ("pipe.html", ExistsError, "already exists and is not a report"),
        ("out/a.html", ClashError, "cannot both exist"),
        ("out/b", UsageError, "the report is an HTML file"),
        ("out/sub.html/page.html", ClashError, "cannot both exist"),
        ("out/deep.html", ClashError, "cannot both exist"),
        ("in/page.html", ClashError, "the report is an input"),
    ],
)
def test_a_bad_path_is_refused_and_nothing_is_done(
    plant: Plant, tmp_path: Path, name: str, error: type[UsageError], said: str
) -> None:
    top = plant("in", {"a.txt": b"1", "page.html": PAGE_START.encode()})
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "strange.html").write_text("<!DOCTYPE html>")
    (tmp_path / "empty.html").touch()
    (tmp_path / "link.html").symlink_to(tmp_path / "strange.html")
    os.mkfifo(tmp_path / "pipe.html")
    outputs = {"a.txt": ["a.html", "deep.html/x.txt", "sub.html"]}
    naming = Renaming(lambda s: [s.parent / n for n in outputs.get(s.name, [s.name])])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(error, match=said):
        run(naming, [top, top / "page.html"], RunSettings(tmp_path / "out", report=tmp_path / name))
    assert sorted(tmp_path.rglob("*")) == before
    assert naming.seen == []


def test_a_folder_that_may_not_be_written_to(nobody: Path) -> None:
    (nobody / "in").mkdir()
    (nobody / "in" / "a.txt").write_bytes(b"abc")
    (nobody / "shut").mkdir(mode=0o500)
    with pytest.raises(UsageError, match="Permission denied"):
        go(Copy(), nobody / "in", nobody / "shut" / "page.html")
    assert not (nobody / "out").exists()


def test_a_refused_run_leaves_no_folders_of_the_page(plant: Plant, tmp_path: Path) -> None:
    with pytest.raises(NothingMatchedError):
        go(Copy(), plant("in", {"a.md": b""}), tmp_path / "new" / "deep" / "page.html")
    assert not (tmp_path / "new").exists()


def test_a_page_is_never_an_input_of_a_folder(plant: Plant, tmp_path: Path) -> None:
    copy, top = Copy(), plant("in", {"a.html": b"abc"})
    copy.suffixes = (".html",)
    for _ in range(2):
        result = go(copy, top, top / "page.html", force=True)
        assert [Path(record.file).name for record in result.records] == ["a.html"]


# The content of the page.


def test_a_run_with_a_failure(plant: Plant, tmp_path: Path) -> None:
    top, page = plant("in", {**TREE, "bad.txt": b"bad <b>"}), tmp_path / "page.html"
    result = go(Raising(ValueError("<i> & more")), top, page)
    root = parsed(page)
    assert result.exit_code == 1 and words(root.find(".//p")) == result.summary
    facts = {words(div[0]): words(div[1]) for div in root.iterfind(".//dl/div")}
    assert (facts["done"], facts["failed"], facts["before"]) == ("2", "1", "6 B")
    assert facts["after / before"] == "100.0%" and facts["vaetools"]
    failed, listed = root.findall(".//table")
    assert words(failed.find("./tbody")).startswith(
        f"E099 {top / 'bad.txt'} ValueError: <i> & more"
    )
    assert [words(row).split()[0] for row in listed.iterfind("./tbody/tr")] == [
        str(top / name) for name in ("a.txt", "b/c.txt", "bad.txt")
    ]
    links = {leads_to(page, a.attrib["href"]) for a in root.iterfind(".//a")}
    outputs = {tmp_path / "out" / name for name in TREE}
    assert links == outputs | set(top.rglob("*.txt"))


NAMES = [
    "<b>&\"'.png",
    "a b#c?d%20é.png",
    "new\nline.png",
    os.fsdecode(b"\xff.png"),
    "javascript:x.png",
]


@pytest.mark.parametrize("report", ["page.html", "out/deep/<page>&.htm"])
def test_any_name_is_shown_and_linked(plant: Plant, tmp_path: Path, report: str) -> None:
    page = tmp_path / report
    top = plant("in #1", {name: encode_image(Image(gradient()), "png") for name in NAMES})
    assert go(Invert(), top, page).exit_code == 0
    for row in rows(page):
        targets = [leads_to(page, a.attrib["href"]) for a in row.iterfind(".//a")]
        assert len(targets) == 4 and all(target.is_file() for target in targets)
        assert all(":" not in a.attrib["href"] for a in row.iterfind(".//a"))
        shots = row.findall(".//a[@class='shot']")
        shown = [leads_to(page, a.attrib["href"]) for a in shots]
        assert shown == targets[:2] == targets[2:]
        assert [a.attrib["data-role"] for a in shots] == ["input", "output"]
    images = list(parsed(page).iterfind(".//table//img"))
    assert [image.attrib["loading"] for image in images] == ["lazy"] * 10
    assert not [path for path in page.parent.iterdir() if path.name.endswith(".part")]


def test_relative_paths_and_a_page_elsewhere(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(plant("in", TREE).parent)
    run(Copy(), ["in"], RunSettings("out", report="pages/page.html"))
    hrefs = [a.attrib["href"] for a in parsed(tmp_path / "pages" / "page.html").iter("a")]
    assert hrefs == ["../in/a.txt", "../out/a.txt", "../in/b/c.txt", "../out/b/c.txt"]


def test_a_dry_run_writes_the_page_alone(plant: Plant, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    go(Copy(), plant("in", TREE), page, dry_run=True)
    assert not (tmp_path / "out").exists()
    assert ["planned" in words(row) for row in rows(page)] == [True, True]
    assert len(list(parsed(page).iter("a"))) == 2  # there are no outputs to go to


def test_a_run_with_a_report_in_the_output_folder_is_resumed(plant: Plant, tmp_path: Path) -> None:
    top, page = plant("in", TREE), tmp_path / "out" / "page.html"
    assert go(Copy(), top, page).counts["done"] == 2
    assert go(Copy(), top, page).counts["skipped"] == 2
    assert [words(row).endswith("skipped is already done 3 B") for row in rows(page)] == [True] * 2
    assert len(list(parsed(page).iter("a"))) == 4


def test_an_interrupted_run_and_one_that_did_nothing(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    RunResult((), unreached=3, stopped=INTERRUPTED).write_report(page)
    text = words(parsed(page))
    assert "interrupted, 3 inputs not processed" in text and "not processed 3 " in text
    drawn = Record("draw/1.png", (str(tmp_path / "1.png"),), "draw", "done", bytes_out=9)
    RunResult((drawn,)).write_report(page)
    (row,) = rows(page)
    assert {a.attrib["href"] for a in row.iter("a")} == {"1.png"}  # the item is no file


def test_the_old_name_of_write_report_is_deprecated(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="write_report"):
        RunResult(()).page(tmp_path / "page.html")
    assert (tmp_path / "page.html").exists()


def small_images(folder: Path, count: int) -> tuple[Record, ...]:
    """Records of images that exist, each with two outputs."""
    data = encode_image(Image(gradient(6, 8)), "png")
    records = []
    for number in range(count):
        names = [f"{number}.png", f"{number}_out.png", f"{number}_out_sample1.png"]
        for name in names:
            (folder / name).write_bytes(data)
        one, *others = (str(folder / name) for name in names)
        size = {"bytes_in": len(data), "bytes_out": len(data), "width": 8, "height": 6}
        records.append(Record(one, tuple(others), "copy", "done", **size))
    return tuple(records)


def test_previews_of_many_images_are_files_that_follow_their_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaetools.runner.report.MOST_INLINE", 2)
    page = tmp_path / "page.html"
    records = small_images(tmp_path, 3)
    RunResult(records).write_report(page)
    files = folder_of(page)

    def previews() -> set[Path]:
        return {path for path in files.iterdir() if path.name != MARKER}

    def shown() -> set[Path]:
        return {leads_to(page, img.attrib["src"]) for img in parsed(page).iterfind(".//table//img")}

    first = previews()
    assert len(first) == 9 and first == shown()
    RunResult(records).write_report(page)  # new files; the old ones go with the old page
    assert len(previews()) == 9 and previews() == shown() and not previews() & first
    RunResult(records[:2]).write_report(page)
    assert not files.exists()
    assert all(
        img.attrib["src"].startswith("data:") for img in parsed(page).iterfind(".//table//img")
    )


def test_previews_that_are_too_large_for_the_page_are_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Inline.__init__, "__defaults__", (1000,))
    RunResult(small_images(tmp_path, 2)).write_report(tmp_path / "page.html")
    assert len(list(folder_of(tmp_path / "page.html").glob("*.png"))) == 6


@pytest.mark.parametrize("kind", ["file", "link", "other files"])
def test_a_folder_that_is_not_of_previews_is_refused_before_any_work(
    plant: Plant, tmp_path: Path, kind: str
) -> None:
    top, page, copy = plant("in", TREE), tmp_path / "page.html", Copy()
    folder, elsewhere = folder_of(page), tmp_path / "elsewhere"
    elsewhere.mkdir()
    if kind == "file":
        folder.write_bytes(b"mine")
    elif kind == "link":
        folder.symlink_to(elsewhere)
    else:
        folder.mkdir()
        (folder / "mine.jpg").write_bytes(b"mine")
    with pytest.raises(ExistsError, match="previews of the report"):
        go(copy, top, page)
    assert not page.exists() and not copy.seen and not (tmp_path / "out").exists()


def test_an_output_in_the_folder_of_the_previews_is_refused(plant: Plant, tmp_path: Path) -> None:
    naming = Renaming(lambda _: ["page_files/a.txt"])
    with pytest.raises(ClashError, match="cannot both exist"):
        go(naming, plant("in", {"a.txt": b"1"}), tmp_path / "out" / "page.html")


def test_previews_are_never_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaetools.runner.report.MOST_INLINE", 0)
    top = tmp_path / "in"
    top.mkdir()
    (top / "a.png").write_bytes(encode_image(Image(gradient()), "png"))
    assert go(Invert(), top, top / "page.html").counts["done"] == 1
    assert folder_of(top / "page.html").is_dir()
    again = run(Invert(), [top], RunSettings(tmp_path / "other"))
    assert [Path(record.file).name for record in again.records] == ["a.png"]


def test_a_row_has_a_limited_number_of_previews(tmp_path: Path) -> None:
    (one,) = small_images(tmp_path, 1)
    many = tuple(one.out[1] for _ in range(SHOTS_PER_ROW + 20))
    RunResult((replace(one, out=many),)).write_report(tmp_path / "page.html")
    (row,) = rows(tmp_path / "page.html")
    assert len(list(row.iter("img"))) == SHOTS_PER_ROW
    assert len(list(row.iter("a"))) == SHOTS_PER_ROW + len(many) + 1  # all are linked


def test_only_the_first_records_have_previews(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaetools.runner.report.MOST_PREVIEWS", 2)
    RunResult(small_images(tmp_path, 3)).write_report(tmp_path / "page.html")
    assert [len(list(row.iter("img"))) for row in rows(tmp_path / "page.html")] == [3, 3, 0]
    assert "Previews of the first 2." in words(parsed(tmp_path / "page.html"))


def test_a_page_that_cannot_be_finished_leaves_the_old_one(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    RunResult(()).write_report(page)
    before = page.read_bytes()
    broken = Record("a", (), "copy", "done", ms="fast")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not supported"):
        write_page(page, [broken], Overview(""))
    assert page.read_bytes() == before and list(tmp_path.iterdir()) == [page]
    with pytest.raises(OutputError, match="the report cannot be written"):
        RunResult(()).write_report("/proc/none/page.html")


def test_parts_of_reports_of_killed_runs_are_removed(plant: Plant, tmp_path: Path) -> None:
    report = tmp_path / "reports" / "r.html"
    own = temporary_path(report).name.replace(f"-{os.getpid()}.", "-999999999.")
    other_host = ".r.html.00000000-999999999.part"
    kept = {other_host, f".r.html.{os.getppid()}.part", ".other.html.999999999.part"}
    plant("reports", dict.fromkeys({own, ".r.html.999999999.part", *kept}, b"half"))
    run(Copy(), [plant("in", {"a.txt": b""})], RunSettings(tmp_path / "out", report=report))
    assert {path.name for path in report.parent.iterdir()} == {"r.html", *kept}
