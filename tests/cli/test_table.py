"""Tables on wide and narrow terminals, and in pipes."""

from __future__ import annotations

import pytest

from vaetools.cli import main
from vaetools.cli.table import table

ROWS = [["photo-codec", "1.2 MB", "compress, decompress"], ["a", "12.0 MB", "denoise"]]
HEADER = ["id", "size", "tasks"]


def test_columns_are_aligned() -> None:
    assert list(table(ROWS, HEADER, right={1}, width=80)) == [
        "id              size  tasks",
        "photo-codec   1.2 MB  compress, decompress",
        "a            12.0 MB  denoise",
    ]


def test_in_a_pipe_each_row_is_a_line_without_a_header() -> None:
    long = [["a", "x" * 200], ["bb", "y"], ["c", ""]]
    assert list(table(long, ["n", "text"], width=0)) == [f"a   {'x' * 200}", "bb  y", "c"]


@pytest.mark.parametrize("width", [20, 40, 60])
def test_nothing_is_wider_than_the_terminal(width: int) -> None:
    text = " ".join(["several", "words"] * 12)
    lines = list(table([["first", text], ["second", "short"]], ["name", "text"], width=width))
    assert max(map(len, lines)) <= max(width, 24)
    assert " ".join(" ".join(lines).split()).count("several words") == 12


def test_no_rows() -> None:
    assert list(table([], HEADER, width=0)) == []


def test_the_commands_that_print_tables(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for columns in ("40", "80"):
        monkeypatch.setenv("COLUMNS", columns)
        for words in (["models", "list"], ["plugins"], ["explain"]):
            with pytest.raises(SystemExit) as caught:
                main(words)
            assert not caught.value.code
            text = capsys.readouterr().out
            assert "\x1b" not in text and not text.splitlines()[0].startswith(("id ", "code "))
