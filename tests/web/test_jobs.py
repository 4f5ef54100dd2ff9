"""Runs of `vaetools serve` without a server: a queue that goes on, cancelling, names, limits."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from vaetools.web import processes
from vaetools.web.jobs import Job, Jobs
from vaetools.web.limits import HttpError, Limits
from vaetools.web.processes import WorkerProcess, WorkError
from vaetools.web.requests import FileOption, Wanted
from vaetools.web.uploads import Upload, Uploads

END = {"event": "end", "summary": "", "options": {}, "exit_code": 0, "stopped": "", "unreached": 0}

CHILD = """
import json, sys
def send(**event):
    print(json.dumps(event), flush=True)
def end(number):
    send(event="end", number=number, summary="", options={}, exit_code=0, stopped="")
sys.stdin.readline()
for line in sys.stdin:
    request = json.loads(line)
    if request["do"] == "cancel":
        continue
    number, do = request["number"], request["operation"]
    if do != "work":
        exec(do)
    end(number)
"""
"""A worker process that is not ours: what it does before the end is the name of the operation."""

CANCELLED = """
send(event="start", number=number, total=1)
asked = json.loads(sys.stdin.readline())
assert asked == {"do": "cancel", "number": number}
send(event="error", number=number, code="E000", message="cancelled", exit_code=130)
"""

DEAF = """
send(event="start", number=number, total=1)
for line in sys.stdin:
    pass
"""


class Fake:
    """A worker without a process: its first request raises an error, further ones end."""

    def __init__(
        self, error: Exception | None = None, last: Mapping[str, Any] | None = None
    ) -> None:
        self.error = error
        self.last = {**(last or END)}

    async def events(
        self, request: Any, is_cancelled: Callable[[], bool]
    ) -> AsyncGenerator[dict[str, Any]]:
        del request, is_cancelled
        error, self.error = self.error, None
        if error is not None:
            raise error
        yield self.last


def wanted(operation: str = "work", uploads: tuple[str, ...] = (), **files: FileOption) -> Wanted:
    kind = cast("Any", SimpleNamespace(name=operation))
    return Wanted(kind, uploads, {}, files, {})


class Stored:
    """Uploads by their names, which are their ids."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, name: str) -> Upload:
        path = self._folder / name.replace("/", "-")
        path.write_text(name)
        return Upload(name, name, path, 1, None, None, is_input=True)


def form_of(name: str) -> Any:
    """A request that uploads a file."""
    from starlette.requests import Request

    head = f'--b\r\nContent-Disposition: form-data; name="f"; filename="{name}"'
    body = f"{head}\r\n\r\nlabel\r\n--b--\r\n".encode()

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"type": "http.request", "body": body, "more_body": False}

    kind = (b"content-type", b"multipart/form-data; boundary=b")
    return Request({"type": "http", "headers": [kind]}, receive)


async def has_ended(job: Job) -> None:
    async with job.changed:
        await job.changed.wait_for(lambda: job.has_ended)


def run(
    folder: Path,
    worker: object,
    use: Callable[[Jobs], Awaitable[None]],
    limits: Limits | None = None,
) -> None:
    """Use a queue while it works."""

    async def main() -> None:
        jobs = Jobs(folder / "runs", limits or Limits(), cast("WorkerProcess", worker))
        task = asyncio.create_task(jobs.work())
        try:
            async with asyncio.timeout(60):
                await use(jobs)
            assert not task.done()
        finally:
            task.cancel()
            if isinstance(worker, WorkerProcess):
                await worker.kill()

    asyncio.run(main())


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> WorkerProcess:
    command = [sys.executable, "-I", "-S", "-c", CHILD]
    monkeypatch.setattr(processes, "child_command", lambda _: command)
    return WorkerProcess({})


@pytest.mark.parametrize(
    "error",
    [OSError(11, "EAGAIN"), ValueError("x"), KeyError("event"), WorkError("E099", "y")],
    ids=repr,
)
def test_a_run_that_fails_in_any_way_does_not_end_the_queue(
    error: Exception, tmp_path: Path
) -> None:
    async def use(jobs: Jobs) -> None:
        first = await jobs.add(wanted(), cast("Uploads", None))
        second = await jobs.add(wanted(), cast("Uploads", None))
        await has_ended(second)
        assert (first.state, first.exit_code) == ("failed", 1)
        assert first.problem is not None and first.problem["code"] == "E099"
        assert (second.state, second.exit_code, second.problem) == ("done", 0, None)

    run(tmp_path, Fake(error), use)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        ("print('no JSON', flush=True)", "cannot be read"),
        ("print('x' * 200_000, flush=True)", "cannot be read"),
        ("send(number=number)", "KeyError"),
        ("send(event='record', number=number, record={})", "KeyError"),
        ("sys.exit(3)", r"ended unexpectedly (exit code 3)"),
    ],
    ids=["text", "long", "no-event", "no-file", "exit"],
)
def test_after_what_cannot_be_understood_the_next_run_gets_a_new_process(
    act: str, words: str, child: WorkerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_LONGEST_LINE", 1 << 16)

    async def use(jobs: Jobs) -> None:
        first = await jobs.add(wanted(act), cast("Uploads", None))
        second = await jobs.add(wanted(), cast("Uploads", None))
        await has_ended(second)
        assert first.state == "failed" and first.problem is not None
        assert first.problem["code"] == "E099" and words in first.problem["message"]
        assert second.state == "done"

    run(tmp_path, child, use)


@pytest.mark.parametrize(
    ("left", "words"),
    [(1200, "the disk is full, 1,200 inputs not processed"), (0, "the disk is full")],
)
def test_a_run_that_stopped_early_has_failed(left: int, words: str, tmp_path: Path) -> None:
    last = {**END, "exit_code": 1, "stopped": "the disk is full", "unreached": left}

    async def use(jobs: Jobs) -> None:
        job = await jobs.add(wanted(), cast("Uploads", None))
        await has_ended(job)
        assert (job.state, job.exit_code) == ("failed", 1)
        assert job.problem == {"code": "E090", "message": words}

    run(tmp_path, Fake(last=last), use)


def test_a_process_that_cannot_be_started_is_an_error_of_its_request(
    child: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    async def main() -> None:
        with monkeypatch.context() as short:
            short.setattr(asyncio, "create_subprocess_exec", refuse)
            with pytest.raises(WorkError, match="cannot be started: Resource") as caught:
                await child.ask({"do": "run", "operation": "work"})
        assert caught.value.code == "E099"
        assert (await child.ask({"do": "run", "operation": "work"}))["event"] == "end"
        await child.kill()

    asyncio.run(main())


def test_events_of_an_earlier_request_are_ignored(child: WorkerProcess) -> None:
    """A request that is cancelled just as it ends has an error after its end."""
    late = "end(number); send(event='error', number=number)"

    async def main() -> None:
        assert (await child.ask({"do": "run", "operation": late}))["number"] == 1
        assert (await child.ask({"do": "run", "operation": "work"}))["number"] == 2
        await child.kill()

    asyncio.run(main())


@pytest.mark.parametrize("act", [CANCELLED, DEAF], ids=["stops", "killed"])
def test_a_run_in_work_is_cancelled_also_if_it_must_be_killed(
    act: str, child: WorkerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "PATIENCE", 0.1 if act == DEAF else 60)

    async def use(jobs: Jobs) -> None:
        job = await jobs.add(wanted(act), cast("Uploads", None))
        after = await jobs.add(wanted(), cast("Uploads", None))
        async with job.changed:
            await job.changed.wait_for(lambda: job.total == 1)
        await asyncio.gather(jobs.cancel(job), jobs.cancel(job))
        assert (job.state, job.exit_code, job.problem) == ("cancelled", 130, None)
        await has_ended(after)
        assert after.state == "done"

    run(tmp_path, child, use)


def test_a_run_is_cancelled_while_its_process_starts(
    child: WorkerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = asyncio.create_subprocess_exec
    starting, go_on = asyncio.Event(), asyncio.Event()

    async def slow(*args: Any, **options: Any) -> Any:
        starting.set()
        await go_on.wait()
        return await create(*args, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", slow)

    async def use(jobs: Jobs) -> None:
        job = await jobs.add(wanted("sys.exit(9)"), cast("Uploads", None))
        await starting.wait()
        cancel = asyncio.create_task(jobs.cancel(job))
        while not job.cancelling:
            await asyncio.sleep(0)
        go_on.set()
        await cancel
        assert (job.state, job.exit_code, job.problem) == ("cancelled", 130, None)

    run(tmp_path, child, use)


def test_a_run_that_waits_is_cancelled_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        jobs = Jobs(tmp_path, Limits(), cast("WorkerProcess", None))
        job = await jobs.add(wanted(), cast("Uploads", None))
        await jobs.cancel(job)
        assert (job.state, job.exit_code) == ("cancelled", 130)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("x.png", "x.png/y.png"), {"x (2).png", "x.png/y.png"}),
        (("x.png/y.png", "x.png"), {"x (2).png", "x.png/y.png"}),
        (
            ("a.png", "a.png/b.png", "a.png/b.png/c.png"),
            {"a (2).png", "a.png/b (2).png", "a.png/b.png/c.png"},
        ),
        (
            ("x (2).png/z.png", "x.png", "x.png/y.png"),
            {"x (2).png/z.png", "x (3).png", "x.png/y.png"},
        ),
    ],
    ids=["file-folder", "folder-file", "deep", "numbered"],
)
def test_a_file_with_the_name_of_a_folder_is_renamed_in_any_order(
    names: tuple[str, ...], expected: set[str], tmp_path: Path
) -> None:
    async def main() -> None:
        jobs = Jobs(tmp_path / "runs", Limits(), cast("WorkerProcess", None))
        job = await jobs.add(wanted("work", names), cast("Uploads", Stored(tmp_path)))
        folder = job.folder / "in"
        found = {
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        }
        assert found == expected

    asyncio.run(main())


def laid_out(folder: Path, inputs: list[str], **options: FileOption) -> tuple[set[str], set[str]]:
    """The names that inputs and files of options have in a run."""

    async def main() -> Job:
        jobs = Jobs(folder / "runs", Limits(), cast("WorkerProcess", None))
        asked = wanted("work", tuple(inputs), **options)
        return await jobs.add(asked, cast("Uploads", Stored(folder)))

    run_folder = asyncio.run(main()).folder
    found = []
    for part in ("in", "options"):
        paths = (path for path in (run_folder / part).rglob("*") if path.is_file())
        found.append({path.relative_to(run_folder / part).as_posix() for path in paths})
    return found[0], found[1]


@pytest.mark.parametrize(
    ("owners", "inputs", "masks"),
    [
        (("a.jpg", "a.png"), {"a.jpg", "a (2).png", "b.jpg"}, {"a.png", "a (2).png"}),
        (("a.png", "a.jpg"), {"a.jpg", "a (2).png", "b.jpg"}, {"a (2).png", "a.png"}),
        (("a.png", "b.jpg"), {"a.jpg", "a (2).png", "b.jpg"}, {"a (2).png", "b.png"}),
        ((), {"a.jpg", "a.png", "b.jpg"}, {"1.png", "2.png"}),
    ],
    ids=["both", "turned", "one", "none"],
)
def test_a_mask_is_named_after_the_input_that_it_was_drawn_on(
    owners: tuple[str, ...], inputs: set[str], masks: set[str], tmp_path: Path
) -> None:
    mask = FileOption(("1.png", "2.png"), folder=True, inputs=owners)
    found = laid_out(tmp_path, ["a.jpg", "a.png", "b.jpg"], mask=mask)
    assert found == (inputs, {f"mask/{name}" for name in masks})
    if owners:  # and the first mask is that of the first owner
        (folder,) = (tmp_path / "runs").iterdir()
        first = {"a.jpg": "a.png", "a.png": "a (2).png"}[owners[0]]
        assert (folder / "options/mask" / first).read_text() == "1.png"


@pytest.mark.parametrize(
    ("inputs", "given", "expected"),
    [
        (["photos/1.jpg", "photos/2.jpg"], ["1.png", "2.png"], ["photos/1.png", "photos/2.png"]),
        (["p/a/1.jpg", "p/b/1.jpg"], ["a/1.png", "b/1.png"], ["p/a/1.png", "p/b/1.png"]),
        (["p/q/1.jpg", "p/q/2.jpg"], ["1.txt", "x.txt"], ["p/q/1.txt", "p/q/x.txt"]),
        (["p/q/1.jpg"], ["q/1.png", "r/2.png"], ["p/q/1.png", "p/r/2.png"]),
        (["p/1.jpg", "2.jpg"], ["p/1.png", "2.png"], ["p/1.png", "2.png"]),
        (["p/1.jpg", "p/2.jpg"], ["p/1.png", "p/2.png"], ["p/1.png", "p/2.png"]),
        (["p/1.jpg"], ["coco.json", "more.json"], ["coco.json", "more.json"]),
        ([], ["sub/1.png", "sub/2.png"], ["sub/1.png", "sub/2.png"]),
    ],
    ids=["flat", "folders", "deep", "between", "mixed", "equal", "others", "no-inputs"],
)
def test_files_of_options_are_found_whatever_the_folder_of_the_images_is_called(
    inputs: list[str], given: list[str], expected: list[str], tmp_path: Path
) -> None:
    found = laid_out(tmp_path, inputs, masks=FileOption(tuple(given), folder=True))
    assert found == ({*inputs}, {f"masks/{name}" for name in expected})


@pytest.mark.parametrize("names", [("x.png", "x.png/y.png"), ("x.png/y.png", "x.png")], ids=str)
def test_an_option_cannot_have_a_file_with_the_name_of_a_folder(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    async def main() -> None:
        jobs = Jobs(tmp_path / "runs", Limits(), cast("WorkerProcess", None))
        asked = wanted("work", (), mask=FileOption(names, folder=True))
        with pytest.raises(HttpError, match=r"mask: x\.png is a file and a folder") as caught:
            await jobs.add(asked, cast("Uploads", Stored(tmp_path)))
        assert (caught.value.status, caught.value.code) == (409, "E080")
        assert not [*(tmp_path / "runs").iterdir()]

    asyncio.run(main())


def test_results_stay_until_they_are_removed(tmp_path: Path) -> None:
    async def use(jobs: Jobs) -> None:
        kept = [await jobs.add(wanted(), cast("Uploads", None)) for _ in range(2)]
        await has_ended(kept[-1])
        with pytest.raises(HttpError, match="2 runs are kept: remove some") as caught:
            await jobs.add(wanted(), cast("Uploads", None))
        assert caught.value.status == 429
        assert jobs.listed() == kept and all(job.folder.is_dir() for job in kept)
        await jobs.remove(kept[0])
        assert await jobs.add(wanted(), cast("Uploads", None)) in jobs.listed()

    run(tmp_path, Fake(), use, Limits(jobs=2))


def test_the_number_of_runs_is_kept_also_if_they_come_together(tmp_path: Path) -> None:
    async def use(jobs: Jobs) -> None:
        first = await jobs.add(wanted(), cast("Uploads", None))
        await has_ended(first)
        many = (jobs.add(wanted(), cast("Uploads", None)) for _ in range(12))
        found = await asyncio.gather(*many, return_exceptions=True)
        assert len(jobs.listed()) == len([*(tmp_path / "runs").iterdir()]) <= 4
        refused = [one for one in found if isinstance(one, HttpError)]
        assert {one.status for one in refused} == {429} and len(refused) >= 8

    run(tmp_path, Fake(WorkError("E099", "x")), use, Limits(jobs=4))


def test_a_disk_that_is_full_while_an_upload_arrives_is_an_error_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("starlette")
    pytest.importorskip("python_multipart")
    from starlette.datastructures import UploadFile

    async def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    async def main() -> None:
        uploads = Uploads(tmp_path, Limits(), cast("WorkerProcess", None), ())
        with pytest.raises(HttpError, match="cannot be kept: No space left") as caught:
            await uploads.add(form_of("a.txt"), is_input=False)
        assert (caught.value.status, caught.value.code) == (507, "E070")
        assert caught.value.headers == {"Connection": "close"}
        assert not uploads.listed() and not [*tmp_path.iterdir()]

    monkeypatch.setattr(UploadFile, "write", refuse)
    asyncio.run(main())


def test_the_number_of_uploads_is_kept_also_if_they_come_together(tmp_path: Path) -> None:
    pytest.importorskip("starlette")
    pytest.importorskip("python_multipart")

    async def main() -> None:
        looker = cast("WorkerProcess", None)
        uploads = Uploads(tmp_path, Limits(files=3), looker, ())
        adding = (uploads.add(form_of(f"{number}.txt"), is_input=False) for number in range(8))
        found = await asyncio.gather(*adding, return_exceptions=True)
        assert len(uploads.listed()) == 3 == len([*tmp_path.iterdir()])
        assert sum(isinstance(one, tuple) and bool(one[0]) for one in found) == 3
        refused = [
            one if isinstance(one, HttpError) else one[1][0]
            for one in found
            if isinstance(one, HttpError) or (isinstance(one, tuple) and not one[0])
        ]
        assert {(one.status, one.code) for one in refused} == {(413, "E013")} and len(refused) == 5

    asyncio.run(main())
