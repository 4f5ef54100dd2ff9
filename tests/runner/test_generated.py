"""Operations without inputs: generated items are written, journalled and resumed as inputs are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import pytest

from vaetools.errors import ClashError, ExistsError, NothingMatchedError, UsageError
from vaetools.operation import NoOptions, Operation
from vaetools.runner import RunResult, RunSettings, run


class Dice(Operation):
    """Files with random bytes: `01.txt`, `02.txt` …"""

    name = "dice"
    takes = "nothing"

    def __init__(self, count: int, *, bad: str = "") -> None:
        super().__init__(None, NoOptions())
        self.count = count
        self.bad = bad
        self.made: list[str] = []

    def items(self) -> Sequence[PurePath]:
        return [PurePath(f"{number:02}.txt") for number in range(1, self.count + 1)]

    def process(self, item: PurePath) -> bytes:
        if item.name == self.bad:
            raise ValueError("bad luck")
        self.made.append(str(item))
        return self.rng.bytes(100)


def go(operation: Operation, out: Path, fingerprint: str = "", **settings: Any) -> RunResult:
    return run(operation, (), RunSettings(out, **settings), fingerprint=fingerprint)


def tree(folder: Path) -> dict[str, bytes]:
    files = [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".vaetools")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_each_item_has_a_file_and_a_record(tmp_path: Path) -> None:
    result = go(Dice(3), tmp_path / "out")
    made = tree(tmp_path / "out")
    assert sorted(made) == ["01.txt", "02.txt", "03.txt"]
    assert len(set(made.values())) == 3
    records = {record.file: record for record in result.records}
    assert sorted(records) == ["dice/01.txt", "dice/02.txt", "dice/03.txt"]
    first = records["dice/01.txt"]
    assert first.out == (str(tmp_path / "out" / "01.txt"),)
    assert (first.status, first.bytes_in, first.bytes_out) == ("done", 0, 100)
    assert result.exit_code == 0


def test_the_same_files_for_any_number_of_jobs_and_items(tmp_path: Path) -> None:
    go(Dice(16), tmp_path / "one", jobs=1)
    go(Dice(16), tmp_path / "four", jobs=4, memory=1)
    go(Dice(8), tmp_path / "eight", jobs=2)
    one = tree(tmp_path / "one")
    assert len(one) == 16
    assert tree(tmp_path / "four") == one
    assert tree(tmp_path / "eight") == {name: one[name] for name in sorted(one)[:8]}


def test_existing_items_are_not_generated_again_when_there_are_more(tmp_path: Path) -> None:
    out = tmp_path / "out"
    go(Dice(3), out)
    before = tree(out)
    more = Dice(5)
    assert go(more, out).counts["skipped"] == 3
    assert sorted(more.made) == ["04.txt", "05.txt"]
    assert tree(out).items() >= before.items()
    assert go(Dice(2), out).counts["skipped"] == 2
    assert len(tree(out)) == 5


def test_a_run_that_stopped_early_is_resumed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (failed,) = (r for r in go(Dice(6, bad="04.txt"), out).records if r.status == "failed")
    assert (failed.file, failed.code) == ("dice/04.txt", "E099")
    (out / "02.txt").unlink()
    again = Dice(6)
    assert go(again, out).counts["skipped"] == 4
    assert sorted(again.made) == ["02.txt", "04.txt"]
    go(Dice(6), tmp_path / "whole")
    assert tree(out) == tree(tmp_path / "whole")


def test_shards_and_patterns_pick_items(tmp_path: Path) -> None:
    counts = [go(Dice(40), tmp_path / "out", shard=(i, 2)).counts["done"] for i in (1, 2)]
    assert sum(counts) == 40
    assert min(counts) > 0
    go(Dice(40), tmp_path / "whole")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    picked = go(Dice(40), tmp_path / "some", include=("0*",), exclude=("03*",))
    assert picked.counts["done"] == 8
    assert picked.left_alone == 32


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    result = go(Dice(3), tmp_path / "out", dry_run=True)
    assert result.counts["planned"] == 3
    assert list(tmp_path.iterdir()) == []


def test_one_item_may_be_written_to_a_file_of_any_name(tmp_path: Path) -> None:
    go(Dice(1), tmp_path / "x.txt")
    go(Dice(3), tmp_path / "out")
    assert (tmp_path / "x.txt").read_bytes() == (tmp_path / "out" / "01.txt").read_bytes()
    assert not list(tmp_path.glob(".vaetools*"))


def test_inputs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="dice takes no inputs"):
        run(Dice(3), [tmp_path], RunSettings(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_no_items_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(NothingMatchedError, match=r"^no input matched$") as caught:
        go(Dice(0), tmp_path / "out")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("items", "error"), [(["a.txt", "A.txt"], ClashError), (["../a.txt"], UsageError)]
)
def test_names_are_checked_before_any_work(
    tmp_path: Path, items: list[str], error: type[Exception]
) -> None:
    operation = Dice(1)
    operation.items = lambda: [PurePath(item) for item in items]  # type: ignore[method-assign]
    with pytest.raises(error) as caught:
        go(operation, tmp_path / "out")
    assert "--exclude" not in str(caught.value)  # it is a flag of operations with inputs
    assert operation.made == []
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_may_have_the_name_of_the_operation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`dice/01.txt` is an item's name in records, and here a file as well."""
    monkeypatch.chdir(tmp_path)
    go(Dice(2), Path("dice"))
    before = tree(tmp_path / "dice")
    assert go(Dice(2), Path("dice"), force=True).counts["done"] == 2
    assert tree(tmp_path / "dice") == before


def test_items_are_recognised_from_another_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With other options a run replaces its own files, in any working directory."""
    out = tmp_path / "out"
    go(Dice(2), out, fingerprint="1")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert go(Dice(2), out, fingerprint="1").counts["skipped"] == 2
    assert go(Dice(2), out, fingerprint="2").counts["done"] == 2


def test_files_of_others_are_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    go(Dice(2), out)
    (out / "01.txt").write_bytes(b"mine")
    with pytest.raises(ExistsError, match="was changed after it was written"):
        go(Dice(2), out)
    assert go(Dice(2), out, on_exists="skip").counts["skipped"] == 2
    assert tree(out)["01.txt"] == b"mine"
    (out / "03.txt").write_bytes(b"mine, too")
    with pytest.raises(ExistsError, match="already exists"):
        go(Dice(3), out, on_exists="error")
    assert go(Dice(3), out, on_exists="replace").counts["done"] == 2
    assert tree(out)["03.txt"] != b"mine, too"
