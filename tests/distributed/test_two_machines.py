"""Two machines on one shared folder: one of them vanishes with all of its processes."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from vaetools.distributed.claims import BEATS, attempts, owner_of, silence
from vaetools.distributed.job import open_job
from vaetools.distributed.merged import merged

from .conftest import tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vaetools.distributed.job import Job

pytestmark = pytest.mark.slow

NAMESPACE = ("unshare", "-Ur", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Another machine: its own name, and its own numbers of processes."""

FILES = {f"{folder}/{n:02}.txt": f"{folder}{n}".encode() for folder in "ab" for n in range(12)}

OPERATION = """
import os, pathlib, time
import vaetools

class Noted(vaetools.Operation):
    "Reverses the bytes of a file, and writes down on which machine."
    name = "noted"
    takes = "file"
    suffixes = (".txt",)
    def process(self, item):
        folder, host = pathlib.Path(os.environ["NOTES"]), os.uname().nodename
        (folder / f"{host} {item.decode()}").touch()
        while host == "one" and len(list(folder.glob("one *"))) > 5:
            time.sleep(1)  # until it is killed
        while host == "two" and not (folder / "go").exists():
            time.sleep(0.02)
        return item[::-1]

@vaetools.hookimpl
def register_operations():
    return [Noted]
"""


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    """Skip where this user may not make namespaces."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare")
    done = subprocess.run([*NAMESPACE, "hostname", "one"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no namespaces here: {done.stderr.decode().strip()}")


@pytest.fixture
def machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], subprocess.Popen[str]]:
    """Starts a process on a machine with a name, which works on the job in `run` into a folder."""
    for name in ("plugins", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "plugins" / "noted.py").write_text(OPERATION)
    monkeypatch.setenv("VAETOOLS_PLUGINS_DIR", str(tmp_path / "plugins"))
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))

    def start(name: str, run: str = "run", out: str = "out") -> subprocess.Popen[str]:
        words = ["noted", "--job", run, "-o", out, "--jobs", "2"]
        script = 'hostname "$0" && exec "$@"'
        command = [*NAMESPACE, "sh", "-c", script, name, sys.executable, "-m", "vaetools", *words]
        return subprocess.Popen(
            command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    return start


def is_silent(job: Job, number: int) -> bool:
    """Whether the last attempt at a shard gives no signs of life any more."""
    return 2 * job.lease / BEATS < silence(job, number, attempts(job, number)) < math.inf


def test_one_of_two_machines_is_killed_and_the_other_takes_over(
    make_job: Callable[..., Job],
    machine: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
) -> None:
    job = make_job(FILES, size=4, lease=4.0)
    notes = tmp_path / "notes"
    with machine("one") as first:
        while len([*notes.glob("one *")]) <= 5:  # it is in the middle of its second shard
            assert first.poll() is None, first.communicate()
            time.sleep(0.02)
        with machine("two") as second:
            while not [*notes.glob("two *")]:
                assert second.poll() is None, second.communicate()
                time.sleep(0.02)
            os.killpg(first.pid, signal.SIGKILL)  # with its namespace
            first.wait()
            while not any(is_silent(job, number) for number in range(job.shards)):
                time.sleep(0.02)
            (notes / "go").touch()
            assert second.wait() == 0, second.communicate()
            text = second.communicate()[1]
    expected = {name: data[::-1] for name, data in FILES.items()}
    assert tree(tmp_path / "out") == expected, text
    shutil.copytree(tmp_path / "run/shards", tmp_path / "again/shards")
    shutil.copy(tmp_path / "run/job.toml", tmp_path / "again")
    with machine("three", "again", "single") as alone:
        assert alone.wait() == 0, alone.communicate()
    assert tree(tmp_path / "single") == tree(tmp_path / "out")
    left = [path.name for folder in ("out", "run") for path in (tmp_path / folder).rglob("*.part")]
    assert not left

    report = merged(open_job(tmp_path / "run"))
    assert (report.exit_code, report.counts["done"], report.missing) == (0, len(FILES), ())
    assert [*report.retried.values()] == [("one", "two")]
    assert {owner.host for n in range(6) if (owner := owner_of(job, n, 1))} == {"one", "two"}
    done = {path.name.split()[1] for path in notes.glob("one *")}
    twice = done & {path.name.split()[1] for path in notes.glob("two *")}
    assert len(done) in (6, 7)
    assert len(twice) <= 4  # the inputs of the shard in work, and none of the one that was done
