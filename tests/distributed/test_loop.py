"""The engine without dependencies, chains, and what docs/jobs.md shows."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.paths import DOCS, PLUGINS
from tests.runner.operations import Copy, Raising
from vaetools.cli import main
from vaetools.cli.reporter import Reporter
from vaetools.distributed.claims import take
from vaetools.distributed.loop import left_in_order, work
from vaetools.distributed.merged import merged
from vaetools.image import Image, encode_image
from vaetools.testing import gradient

from .conftest import FILES, tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from vaetools.distributed.job import Job
    from vaetools.distributed.shard_runner import ShardRunner


def test_all_shards(
    make_job: Callable[..., Job], runner_of: Callable[..., ShardRunner], tmp_path: Path
) -> None:
    runner = runner_of(make_job())
    done = work(runner)
    assert (done.exit_code, done.missing, len(done.results)) == (0, 0, 4)
    assert done.summary.startswith("4 shards: 10 done, 20 B -> 20 B in ")
    assert tree(tmp_path / "out") == {name: data[::-1] for name, data in FILES.items()}
    assert work(runner).results == []
    report = merged(runner.job)
    assert report.exit_code == 0 and not report.missing and not report.retried
    assert report.summary == "4 of 4 shards: 10 done, 20 B -> 20 B"
    assert sorted(r.file for r in report.records) == sorted(str(tmp_path / "in" / f) for f in FILES)


class Losing(Copy):
    """Keeps less of some inputs."""

    def process(self, item: bytes) -> bytes:
        if item.startswith(b"a"):
            self.lose("gain map")
        return super().process(item)


def test_lost_metadata_is_named_at_the_end(
    make_job: Callable[..., Job],
    runner_of: Callable[..., ShardRunner],
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = work(runner_of(make_job(), Losing()))
    assert done.not_kept == {"gain map": 5}
    assert Reporter(as_json=False, quiet=False).finish(done) == 0
    assert "not kept: gain map, 5 inputs" in capsys.readouterr().err


def test_shards_of_living_processes_are_left_to_them(
    make_job: Callable[..., Job], runner_of: Callable[..., ShardRunner]
) -> None:
    job = make_job()
    claim = take(job, 2)
    assert claim is not None
    runner = runner_of(job)
    with claim:
        done = work(runner)
        assert done.exit_code == 0 and done.missing == 1
        assert "1 shard not done: in work elsewhere, or to be done" in done.summary
        report = merged(runner.job)
    assert (report.exit_code, report.missing, report.unreached) == (5, (2,), 3)
    assert report.summary.endswith("3 inputs not processed yet")


@pytest.mark.parametrize("name", ["SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX"])
def test_processes_begin_at_different_shards(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    job = make_job({f"{n:02}.txt": b"x" for n in range(20)}, size=1)
    starts = []
    for number in range(5):
        monkeypatch.setenv(name, str(number))
        order = left_in_order(job)
        assert sorted(order) == [*range(20)]
        starts.append(order[0])
    assert len({*starts}) == 5


@pytest.mark.parametrize("number", range(7))
def test_a_shard_that_is_refused_does_not_depend_on_the_start(
    make_job: Callable[..., Job],
    runner_of: Callable[..., ShardRunner],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    monkeypatch.setenv("JOB_COMPLETION_INDEX", str(number))
    job = make_job({f"{n}.txt": b"x" for n in range(7)}, size=1)
    job.list_of(3).write_bytes(b"")
    done = work(runner_of(job))
    assert {path.name for path in job.done_file(0).parent.iterdir()} == {
        f"{n:06}.json" for n in range(7) if n != 3
    }
    assert (done.exit_code, len(done.refused), done.missing) == (2, 1, 1)
    assert done.summary.endswith("; 1 shard not done: 1 refused")


def test_totals_of_a_job_with_more_records_than_are_kept(
    make_job: Callable[..., Job], runner_of: Callable[..., ShardRunner]
) -> None:
    runner = runner_of(make_job())
    work(runner)
    few = merged(runner.job, most=4)
    assert len(few.records) == 4  # of two shards
    assert few.counts["done"] == 10 and (few.bytes_in, few.bytes_out) == (20, 20)


def test_json_has_all_records_of_a_job(
    make_job: Callable[..., Job],
    runner_of: Callable[..., ShardRunner],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runner = runner_of(make_job())
    work(runner)
    monkeypatch.setattr("vaetools.distributed.merged.merged", lambda job: merged(job, most=3))
    assert call(f"report {runner.job.folder} --json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len({line["file"] for line in lines}) == len(lines) == len(FILES)


def test_failures_of_a_job_are_counted_and_only_some_are_kept(
    make_job: Callable[..., Job], runner_of: Callable[..., ShardRunner]
) -> None:
    job = make_job({f"{n}.txt": b"bad" for n in range(6)}, size=1)
    work(runner_of(job, Raising(ValueError("no"))))
    few = merged(job, most=2)
    assert (len(few.records), few.counts["failed"], few.exit_code) == (2, 6, 1)


def test_a_journal_that_was_cut_is_a_problem(
    make_job: Callable[..., Job], runner_of: Callable[..., ShardRunner]
) -> None:
    runner = runner_of(make_job())
    work(runner)
    path = runner.job.journal(1, 1)
    path.write_bytes(path.read_bytes()[:-50])
    report = merged(runner.job)
    assert report.exit_code == 1
    assert report.problems == ("shard 1: 1 record missing from its journals",)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VAETOOLS_PLUGINS_DIR", str(PLUGINS))
    monkeypatch.chdir(tmp_path)
    for name in ("a", "x/b", "x/c"):
        path = tmp_path / "photos" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(Image(gradient()), "png"))
    (tmp_path / "photos/bad.png").write_bytes(b"no image")
    (tmp_path / "photos/notes.doc").write_bytes(b"text")
    return tmp_path


def call(words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(words.split())
    return int(caught.value.code or 0)


def test_a_chain_gives_the_files_of_one_run(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("shards photos -o run --size 1") == 0
    assert "4 files" in (said := capsys.readouterr().err) and "1 other file left alone" in said
    assert call("run dust,negative --job run -o many") == 1
    assert call("run dust,negative photos -o one") == 1
    assert tree(photos / "many") == tree(photos / "one")
    capsys.readouterr()
    assert call("report run --json") == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {(line["file"], line["status"]) for line in lines} == {
        ("photos/a.png", "done"),
        ("photos/x/b.png", "done"),
        ("photos/x/c.png", "done"),
        ("photos/bad.png", "failed"),
    }
    failed = next(line for line in lines if line["status"] == "failed")
    assert failed["message"].startswith("photos/bad.png: not an image")
    assert call("report run") == 1 and (photos / "run/report.html").exists()


def test_a_list_of_files(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "list").write_bytes(b"x/b.png\0a.png\0")
    assert call("negative --files-from list --root photos -o out") == 0
    assert {*tree(photos / "out")} == {"x/b.png", "a.png"}
    assert call("shards --files-from list --root photos -o run") == 0
    assert call("negative --job run -o out2") == 0
    assert tree(photos / "out") == tree(photos / "out2")
    (photos / "photos").rename(photos / "elsewhere")
    assert call("shards --files-from list --root elsewhere -o run2") == 0
    (photos / "elsewhere").rename(photos / "photos")
    assert call("negative --job run2 -o out3 --root photos") == 0
    assert tree(photos / "out") == tree(photos / "out3")


def block(language: str, word: str) -> str:
    text = (DOCS / "jobs.md").read_text()
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (found,) = (code for code in blocks if word in code)
    return str(found)


@pytest.mark.slow
def test_the_examples_of_the_page(photos: Path) -> None:
    """SLURM's script and the command of the pods as plain processes; then what comes after them."""
    (photos / "bin").mkdir()
    program = photos / "bin/vaetools"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vaetools "$@"\n')
    (photos / "bin/python").symlink_to(sys.executable)
    program.chmod(0o755)
    path = f"{photos / 'bin'}:{os.environ['PATH']}"
    pod = re.search(r"- (vaetools compress .*)$", block("yaml", "Indexed"), re.MULTILINE)
    assert pod is not None
    cases = {"SLURM_ARRAY_TASK_ID": block("sh", "#SBATCH"), "JOB_COMPLETION_INDEX": pod[1]}
    for variable, script in cases.items():
        for name in ("run", "packed"):
            shutil.rmtree(photos / name, ignore_errors=True)
        assert call("shards photos -o run --size 1") == 0
        processes = [
            subprocess.Popen(
                ["sh", "-c", script], cwd=photos, env={**os.environ, "PATH": path, variable: number}
            )
            for number in "012"
        ]
        codes = sorted(process.wait() for process in processes)
        assert codes == ([0, 0, 1] if variable.startswith("SLURM") else [0, 0, 0])
        assert {*tree(photos / "packed")} == {"a.png.vae", "x/b.png.vae", "x/c.png.vae"}
        assert call("report run") == 1
    (photos / "photos/bad.png").write_bytes((photos / "photos/a.png").read_bytes())
    after = ["sh", "-ec", block("sh", "all.ndjson")]
    subprocess.run(after, cwd=photos, env={**os.environ, "PATH": path}, check=True)
    assert {*tree(photos / "again")} == {"photos/bad.png.vae"}
    code = block("python", "ShardRunner")
    exec(compile(code, "jobs.md", "exec"), {})  # all is done
