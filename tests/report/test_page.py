"""The page: its policy fits its script, it asks for nothing from elsewhere, any text stays text."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from vaetools.record import Record
from vaetools.report.links import Links
from vaetools.report.page import PAGE_START, Overview, page
from vaetools.report.previews import Shot

HOSTILE = [
    "</script><script>alert(1)</script>.png",
    "]]><img src=x onerror=alert(1)>.png",
    "{{ 7 * 7 }}{% raw %}.png",
    "\" onmouseover='alert(1)'.png",
    "&lt;b&gt;\x1b[31m\u202e.png",
    os.fsdecode(b"\xff\xfe.png"),
]


def text_of(*records: Record, shots: tuple[tuple[Shot, ...], ...] = (), **overview: object) -> str:
    about = Overview("summary", **overview)  # type: ignore[arg-type]
    return "".join(page(records, about, Links(Path("/pages")), shots))


def words(element: ET.Element) -> str:
    return " ".join(" ".join(element.itertext()).split())


def done(file: str = "a.png", **fields: object) -> Record:
    return Record(file, (f"out/{file}",), "denoise", "done", bytes_in=10, **fields)  # type: ignore[arg-type]


def test_the_policy_allows_the_script_and_the_style_by_their_hashes_and_nothing_else() -> None:
    text = text_of(done())
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    for kind in ("script", "style"):
        (content,) = re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src &#39;sha256-{digest}&#39;" in policy
    assert policy.startswith("default-src &#39;none&#39;")
    assert "unsafe" not in policy and "http" not in policy
    before = text[: text.index("http-equiv")]
    assert before.startswith(PAGE_START) and "<script" not in before and "<style" not in before


def test_nothing_needs_an_allowance_of_the_policy() -> None:
    root = ET.fromstring(text_of(done(), done("b.png", ms=3.0, bytes_out=4), done("c.png", ms=9.0)))
    for element in root.iter():
        assert not [name for name in element.attrib if name == "style" or name.startswith("on")]
        assert element.tag not in ("iframe", "object", "embed", "base", "link")


def test_nothing_is_loaded_from_elsewhere() -> None:
    text = text_of(done())
    assert not re.search(r"(?:https?:)?//(?!<!\[CDATA\[|\]\]>| )", text.replace("// The", ""))


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_text_wherever_it_stands(name: str) -> None:
    failed = Record(name, (), "denoise", "failed", code="E012", message=f"{name}: bad {name}")
    fine = done(name, message=f"{name}: {name}", found={name: name}, not_kept=(name,))
    shot = Shot(name, name, "x.png", direct=True)
    text = text_of(
        failed,
        fine,
        shots=((), (shot,)),
        facts={name: name},
        options={name: name},
        not_kept={name: 2},
        left_alone=name,
    )
    root = ET.fromstring(text)
    assert len(list(root.iter("script"))) == 1 and not list(root.iterfind(".//b"))
    assert all("onerror" not in element.attrib for element in root.iter())
    assert "\x1b" not in text and "\u202e" not in text and "49.png" not in text
    assert [leads.attrib["href"][:1] for leads in root.iter("a")] == [".", ".", "."]
    text.encode("utf-8")


def test_failures_come_first_by_code_with_the_remedy_of_the_code() -> None:
    failures = [
        Record(f"{n}.png", (), "denoise", "failed", code=code, message=f"{n}.png: why {n}")
        for n, code in enumerate(["E012", "E010", "E012", "X1"])
    ]
    root = ET.fromstring(text_of(done(), *failures))
    headings = [words(heading) for heading in root.iter("h2")]
    assert headings[0] == "Failures" and headings[-2] == "All inputs"
    tables = [
        words(table.find("./tbody")) for table in root.iterfind(".//table[@class='failures']")
    ]  # type: ignore[arg-type]
    assert tables == ["E012 0.png why 0 E012 2.png why 2", "E010 1.png why 1", "X1 3.png why 3"]
    text = words(root)
    assert "E012 An image file is truncated or fails a checksum. Remedy: get the file again" in text
    assert "--lenient" in {words(code) for code in root.iter("code")}


def test_options_losses_and_what_was_found_are_shown() -> None:
    found = done(found={"sigma": 7.3123, "hole_pixels": 12}, message="a.png: noise level 7.31")
    same = done("b.png", unchanged=True, message="b.png: unchanged: copied")
    lossy = done("c.png", not_kept=("IPTC",))
    root = ET.fromstring(
        text_of(
            found,
            same,
            lossy,
            options={"sigma": "auto"},
            not_kept={"IPTC": 1},
            left_alone="3 HEIC",
        )
    )
    assert words(root.find(".//dl[@class='options']")) == "sigma auto"  # type: ignore[arg-type]
    listed = [words(item) for item in root.iter("li")]
    assert listed == ["Metadata not kept: IPTC, 1 input", "Files left alone: 3 HEIC"]
    rows = root.findall(".//table[@id='inputs']/tbody/tr")
    assert [row.attrib["data-k"] for row in rows] == [
        "done noted",
        "done unchanged noted",
        "done lossy",
    ]
    # What the message says already is not repeated.
    assert words(rows[0]).endswith("done noise level 7.31 hole pixels 12 10 B")
    assert words(rows[1]).endswith("done unchanged: copied 10 B")


def test_charts_are_drawn_of_two_inputs_or_more_and_described_in_words() -> None:
    records = [done(f"{n}.png", ms=10.0 * 2**n, bytes_out=2000) for n in range(6)]
    root = ET.fromstring(text_of(*records))
    labels = [svg.attrib["aria-label"] for svg in root.iter("svg")]
    assert labels == [
        "File size: input: 10 B to 10 B, median 10 B; output: 2.0 kB to 2.0 kB, median 2.0 kB",
        "Time per input: 10 ms to 320 ms, median 60 ms",
    ]
    assert not list(ET.fromstring(text_of(done(ms=3.0))).iter("svg"))


def test_without_scripts_the_page_is_a_plain_table_with_links() -> None:
    shot = Shot("input", "a.png", "data:image/png;base64,AA==", "", 3, 2, direct=True)
    root = ET.fromstring(text_of(done(), shots=((shot,),)))
    (row,) = root.iterfind(".//table[@id='inputs']/tbody/tr")
    assert "hidden" not in row.attrib and not list(row.iter("button"))
    assert "hidden" in root.find(".//form").attrib  # type: ignore[union-attr]
    assert "open" not in root.find(".//dialog").attrib  # type: ignore[union-attr]
    assert row.find(".//a[@class='shot']").attrib["href"] == "../" * 1 + _relative("a.png")  # type: ignore[union-attr]


def _relative(name: str) -> str:
    return f"{Path.cwd().as_posix().lstrip('/')}/{name}"


def test_the_rows_of_a_thousand_images_take_less_than_two_megabytes() -> None:
    name = "photographs of the summer/2026-07-14 at the lake/IMG_20260714_123456_{:04}.jpg"
    records = [done(name.format(n), bytes_out=9, width=4000, height=3000) for n in range(1000)]
    url = "report_files/0123abcd-1234.jpg"
    shots = tuple(
        (Shot("input", r.file, url, "", 1, 1), Shot("output", r.out[0], url)) for r in records
    )
    assert len(text_of(*records, shots=shots)) < 2_000_000


def test_long_reports_need_little_memory() -> None:
    records = [done(f"{n:06}.png") for n in range(1_000)]
    pieces = page(records, Overview("summary"), Links(Path("/pages")))
    next(pieces)
    tracemalloc.start()
    try:
        size = sum(map(len, pieces))
        assert size > 300_000 and tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


def test_importing_vaetools_and_help_do_not_import_jinja2() -> None:
    code = "import vaetools.hub, vaetools.report.page, sys; print('jinja2' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
