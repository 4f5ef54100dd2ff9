"""Output names are known, distinct and inside the output folder before any work."""

from __future__ import annotations

import unicodedata
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaetools.errors import ClashError, ExistsError, UnreadableError, UsageError
from vaetools.runner.inputs import Source
from vaetools.runner.journal import Journal
from vaetools.runner.plan import PlannedItem, Target, plan, resolve_existing, target_of
from vaetools.runner.settings import OnExists, RunSettings

from .operations import Copy, Renaming

if TYPE_CHECKING:
    from .conftest import Plant


def sources(*names: str, top: str = "/photos") -> list[Source]:
    return [Source(Path(top, name), PurePosixPath(name), f"{top}/{name}") for name in names]


def to_png(source: PurePath) -> tuple[PurePath, ...]:
    return (source.with_suffix(".png"),)


@pytest.fixture
def out(tmp_path: Path) -> Target:
    return Target(tmp_path / "out")


def test_the_tree_is_mirrored(out: Target) -> None:
    items = plan(Copy(), sources("a.txt", "b/c.txt"), out)
    assert [item.names for item in items] == [("a.txt",), ("b/c.txt",)]
    assert items[1].outputs == (out.folder / "b" / "c.txt",)


def test_two_inputs_for_one_output_are_refused_with_both_names(out: Target) -> None:
    with pytest.raises(ClashError) as caught:
        plan(Renaming(to_png), sources("x/a.jpg", "x/a.png", "b.jpg"), out)
    assert "/photos/x/a.jpg and /photos/x/a.png" in str(caught.value)
    assert str(out.folder / "x/a.png") in str(caught.value)
    assert caught.value.exit_code == 2


def test_more_clashes_are_counted(out: Target) -> None:
    with pytest.raises(ClashError, match="and 2 more"):
        plan(Renaming(to_png), sources("a.a", "a.b", "a.c", "a.d"), out)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a.txt", "A.TXT"),
        ("Straße.txt", "STRASSE.txt"),
        (unicodedata.normalize("NFC", "é.txt"), unicodedata.normalize("NFD", "é.txt")),
        ("D/a.txt", "d/A.txt"),
    ],
)
def test_names_that_are_equal_on_some_file_systems_are_refused(
    out: Target, one: str, other: str
) -> None:
    with pytest.raises(ClashError):
        plan(Copy(), sources(one, other), out)


def test_a_file_and_a_folder_of_one_name_are_refused(out: Target) -> None:
    with pytest.raises(ClashError):
        plan(Renaming(lambda s: (s.with_suffix(""),)), sources("x.txt", "X/a.txt"), out)


def test_one_output_twice_is_refused(out: Target) -> None:
    with pytest.raises(ClashError, match="twice"):
        plan(Renaming(lambda s: (s, s)), sources("x.txt"), out)


@pytest.mark.parametrize(
    "name",
    [
        "../a.txt",
        "/etc/passwd",
        "b/../../a",
        ".",
        ".vaetools/journal",
        ".VAETOOLS/x",
        ".vaetools.ndjson",
        "a\0",
    ],
)
def test_an_output_outside_is_refused(out: Target, name: str) -> None:
    with pytest.raises(UsageError, match="not a file below"):
        plan(Renaming(lambda _: (PurePosixPath(name),)), sources("a.txt"), out)


def test_a_link_that_leads_outside_is_refused(plant: Plant, tmp_path: Path) -> None:
    elsewhere, out = plant("elsewhere", {}), plant("out", {})
    (out / "link").symlink_to(elsewhere)
    with pytest.raises(UsageError, match="through a link"):
        plan(Copy(), sources("link/a.txt"), Target(out))
    linked = tmp_path / "linked"
    linked.symlink_to(out)
    assert plan(Copy(), sources("sub/a.txt"), Target(linked))


def test_an_input_is_never_an_output(plant: Plant, tmp_path: Path) -> None:
    top = plant("photos", {"a.txt": b"", "b/c.txt": b""})
    with pytest.raises(ClashError, match="inputs are never overwritten"):
        plan(Copy(), sources("a.txt", top=str(top)), Target(top))
    link = tmp_path / "link"
    link.symlink_to(top)
    with pytest.raises(ClashError, match="inputs are never overwritten"):
        plan(Copy(), sources("a.txt", top=str(top)), Target(link / "b" / ".."))
    crossed = Renaming(lambda s: (PurePosixPath("b/c.txt" if s.name == "a.txt" else "d.txt"),))
    with pytest.raises(ClashError, match=r"a\.txt|c\.txt"):
        plan(crossed, sources("a.txt", "b/c.txt", top=str(top)), Target(top))


def test_inputs_that_differ_only_in_case_are_never_overwritten(plant: Plant) -> None:
    top = plant("photos", {"a.txt": b"", "A.txt": b"", "b.txt": b""})
    moved = {"a.txt": "1.txt", "A.txt": "2.txt"}
    for name in ("a.txt", "A.txt"):
        operation = Renaming(lambda s, n=name: (s.with_name(moved.get(s.name, n)),))
        with pytest.raises(ClashError, match="inputs are never overwritten"):
            plan(operation, sources("a.txt", "A.txt", "b.txt", top=str(top)), Target(top))


def test_a_link_that_is_an_input_is_not_replaced(plant: Plant) -> None:
    top, real = plant("photos", {}), plant("real", {"x.txt": b""}) / "x.txt"
    (top / "a.txt").symlink_to(real)
    source = Source(top / "a.txt", PurePosixPath("a.txt"), str(real))
    with pytest.raises(ClashError, match="inputs are never overwritten"):
        plan(Copy(), [source], Target(top))
    with pytest.raises(ClashError, match="inputs are never overwritten"):
        plan(Renaming(lambda _: (PurePosixPath("x.txt"),)), [source], Target(real.parent))


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), RuntimeError()])
def test_an_operation_that_cannot_name_outputs_costs_one_input(
    out: Target, error: BaseException
) -> None:
    def rename(source: PurePath) -> tuple[PurePath, ...]:
        if source.name == "bad.txt":
            raise error
        return (source,)

    bad, good = plan(Renaming(rename), sources("bad.txt", "good.txt"), out)
    assert bad.problem is error
    assert not bad.is_pending
    assert good.is_pending


@pytest.mark.parametrize("given", [(), None, 3])
def test_no_names_cost_one_input(out: Target, given: Any) -> None:
    (item,) = plan(Renaming(lambda _: given), sources("a.txt"), out)
    assert item.problem is not None


def test_an_unreadable_source_is_not_named(out: Target) -> None:
    source = Source(
        Path("fifo.txt"), PurePosixPath("fifo.txt"), "fifo.txt", problem="is a FIFO, not a file"
    )
    (item,) = plan(Copy(), [source], out)
    assert isinstance(item.problem, UnreadableError)
    assert item.outputs == ()


@pytest.mark.parametrize(
    ("text", "one_file", "wanted"),
    [
        ("new", True, ("new", None)),
        ("new.txt", True, (".", "new.txt")),
        ("new.txt/", True, ("new.txt", None)),
        ("sub/new.txt", True, ("sub", "new.txt")),
        ("new.txt", False, ("new.txt", None)),
        ("folder.d", True, ("folder.d", None)),
        ("there", True, (".", "there")),
    ],
)
def test_out_is_a_file_or_a_folder(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, text: str, one_file: bool, wanted: Any
) -> None:
    monkeypatch.chdir(plant("here", {"there": b"", "folder.d/x": b""}))
    target = target_of(text, one_file=one_file)
    assert (str(target.folder), target.file) == wanted


def test_a_file_cannot_take_many(plant: Plant) -> None:
    with pytest.raises(UsageError, match="not a folder"):
        target_of(plant("here", {"there.txt": b""}) / "there.txt", one_file=False)


def test_one_file_has_the_name_of_out_if_the_suffix_fits(tmp_path: Path) -> None:
    target = Target(tmp_path, "b.txt")
    (item,) = plan(Copy(), sources("a.txt"), target)
    assert item.outputs == (tmp_path / "b.txt",)
    (item,) = plan(Renaming(to_png), sources("a.txt"), Target(tmp_path, "b.JPG"))
    assert item.names == ("b.JPG",)
    with pytest.raises(UsageError, match=r"writes a \.txt file here"):
        plan(Copy(), sources("a.txt"), Target(tmp_path, "b.png"))
    with pytest.raises(UsageError, match="writes 2 files"):
        plan(Renaming(lambda s: (s, s / "x")), sources("a.txt"), target)


def resolved(
    items: list[PlannedItem], on_exists: OnExists = "error", *, force: bool = False
) -> list[PlannedItem]:
    settings = RunSettings("out", on_exists=on_exists, force=force)
    return resolve_existing(items, Journal(None), settings)


def test_existing_outputs_are_refused_skipped_or_replaced(plant: Plant) -> None:
    out = plant("out", {"a.txt": b"mine", "b.txt": b"mine"})
    items = plan(Copy(), sources("a.txt", "b.txt", "c.txt"), Target(out))
    with pytest.raises(ExistsError, match=r"a\.txt: already exists \(and 1 more\)") as caught:
        resolved(items)
    assert "--on-exists skip|replace" in str(caught.value)
    assert [item.is_pending for item in resolved(items, "skip")] == [False, False, True]
    assert [item.is_pending for item in resolved(items, "replace")] == [True, True, True]
    assert [item.is_pending for item in resolved(items, force=True)] == [True, True, True]


def test_a_dangling_link_exists_too(plant: Plant) -> None:
    out = plant("out", {})
    (out / "a.txt").symlink_to("nowhere")
    with pytest.raises(ExistsError):
        resolved(plan(Copy(), sources("a.txt"), Target(out)))


@pytest.mark.parametrize("on_exists", ["replace", "error"])
def test_a_folder_is_never_replaced(plant: Plant, on_exists: OnExists) -> None:
    out = plant("out", {"a.txt/precious": b""})
    with pytest.raises(UsageError):
        resolved(plan(Copy(), sources("a.txt"), Target(out)), on_exists)
    with pytest.raises(UsageError, match="folder"):
        resolved(plan(Copy(), sources("a.txt"), Target(out)), force=True)


part = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=4)
part |= st.sampled_from(["a", "A", "b.png", "b.jpg", "c", "d"])
odd = st.sampled_from(["..", ".", ".vaetools"])
trees = st.lists(st.lists(part | odd, min_size=1, max_size=3), min_size=1, max_size=8)
trees |= st.lists(st.lists(part, min_size=1, max_size=3), min_size=1, max_size=3)


@given(trees, st.sampled_from([".png", None]))
def test_any_tree_is_refused_or_gives_distinct_names_inside(
    tree: list[list[str]], suffix: str | None
) -> None:
    def rename(source: PurePath) -> tuple[PurePath, ...]:
        first = source if suffix is None else source.with_suffix(suffix)
        return first, first.with_name(f"{first.name}.more")

    names = [PurePosixPath(*parts) for parts in tree]
    made = [Source(Path("/photos", name), name, f"/photos/{name}") for name in names]
    out = Path("/no such folder/out")
    try:
        items = plan(Renaming(rename), made, Target(out))
    except UsageError:
        return
    outputs = [path for item in items for path in item.outputs]
    assert len({str(path).casefold() for path in outputs}) == len(outputs)
    for path in outputs:
        assert path.is_relative_to(out)
        assert ".." not in path.parts
        assert path != out
        assert not any(other.is_relative_to(path) for other in outputs if other != path)
