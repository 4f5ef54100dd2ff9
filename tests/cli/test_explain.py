"""`vaetools explain` and the page docs/errors.md, both made from the docstrings of the errors."""

from __future__ import annotations

import pytest

from tests.paths import DOCS
from vaetools import errors
from vaetools.cli import main
from vaetools.cli.explain import explanations, page
from vaetools.errors import VaetoolsError


def explain(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["explain", *words])
    return int(caught.value.code or 0), *capsys.readouterr()


def kinds() -> set[type[VaetoolsError]]:
    found, todo = set(), [VaetoolsError]
    while todo:
        for kind in todo.pop().__subclasses__():
            if kind.__module__ == errors.__name__:
                found.add(kind)
                todo.append(kind)
    return found


def test_every_error_is_explained() -> None:
    found = explanations()
    assert found.keys() == {kind.code for kind in kinds()}
    for one in found.values():
        assert one.meaning.endswith(".") and one.causes.endswith(".") and one.remedy.endswith(".")
    names = {one.name for one in found.values()}
    assert {kind.__name__ for kind in kinds()} - names == {"BitstreamError", "ModelError"}


def test_the_page_is_that_of_the_errors() -> None:
    """If this fails: vaetools explain --markdown > docs/errors.md"""
    assert (DOCS / "errors.md").read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("code", ["E013", "e013"])
def test_a_code(capsys: pytest.CaptureFixture[str], code: str) -> None:
    status, out, err = explain(capsys, code)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "E013 TooLargeError" and lines[1].startswith("An image has more pixels")
    assert "Causes: a very large" in out and "--max-pixels" in out
    assert lines[-1] == "Exit code: 1 (some inputs failed)"
    assert max(map(len, lines)) <= 80


def test_all_codes(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = explain(capsys)
    assert status == 0 and [line[:4] for line in out.splitlines()] == list(explanations())
    assert explain(capsys, "--markdown")[1] == page()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["E103"], "E002 there is no error code 'E103'; did you mean 'E0"),
        (["nonsense"], "no error code 'nonsense'; vaetools explain lists all codes"),
        (["E013", "--markdown"], "--markdown prints all codes; leave out E013"),
    ],
)
def test_wrong_use(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    status, out, err = explain(capsys, *words)
    assert (status, out) == (2, "") and said in err and len(err.splitlines()) == 1
