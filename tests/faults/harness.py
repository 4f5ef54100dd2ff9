"""Makes each system call of a command fail in turn, and checks what is left."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.faults import shim
from tests.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.faults.shim import Fault

SECONDS = 120.0
"""A command that takes longer hangs."""

CODES = (0, 1, 2, 4)
"""Exit codes that a command may end with: see `vaetools.errors`."""


@dataclass(frozen=True)
class Scenario:
    """Commands that are run in a folder with `in/`, and write to `out/` and `more/` in it.

    Attributes:
        name: In test ids.
        plant: Writes the inputs, given the folder `in`.
        commands: Words of each command; `{}` stands for the folder.
        first: A command that is run before them until `made` exists.
        made: A path that it makes.
        whole: Whether what stands below `more/` under its final name is complete, given its bytes.
        kept: Beginnings of the names below `more/` that this and the completed tree are about. Other
            files depend on the number of attempts.
    """

    name: str
    plant: Callable[[Path], None]
    commands: Sequence[Sequence[str]]
    whole: Callable[[bytes], bool] = bool
    first: Sequence[str] = ()
    made: str = ""
    kept: tuple[str, ...] = ("",)

    def words(self, root: Path) -> list[list[str]]:
        """The commands that are to be run now, in the folder `root`."""
        is_first = bool(self.first) and not (root / self.made).exists()
        commands = [self.first, *self.commands] if is_first else self.commands
        return [[word.replace("{}", str(root)) for word in words] for words in commands]


@dataclass
class Tally:
    """Counts.

    Attributes:
        faults: Runs in which a call failed.
        wrong: What went wrong, a line each.
        codes: Number of faulty runs by exit code.
    """

    faults: int = 0
    wrong: list[str] = field(default_factory=list)
    codes: dict[int | None, int] = field(default_factory=dict)


class Server(AbstractContextManager["Server"]):
    """Runs commands in forks of one process; see `tests.faults.server`.

    Args:
        library: That of `tests.faults.shim`, or None.
    """

    def __init__(self, library: Path | None) -> None:
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        preload = {} if library is None else {"LD_PRELOAD": str(library)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **preload, "PYTHONPATH": path},
            text=True,
        )

    def run(
        self,
        words: Sequence[str],
        env: dict[str, str],
        stdout: Path,
        stderr: Path,
        kill_after: float | None = None,
        watch: Path | None = None,
    ) -> int | None:
        """The exit code; None if the command hangs, -9 if it was killed.

        Args:
            kill_after: Seconds until it is killed.
            watch: Count them from the first change in this folder.
        """
        request = {"words": words, "env": env, "stdout": str(stdout), "stderr": str(stderr)}
        request |= {"seconds": SECONDS, "kill_after": kill_after}
        request |= {"watch": None if watch is None else str(watch)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        code: int | None = json.loads(self._process.stdout.readline())
        return code

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class Trial:
    """A scenario in a folder of its own: a run without faults, then runs with them.

    Args:
        server: Runs the commands.
        scenario: What is run.
        folder: Empty.
    """

    def __init__(self, server: Server, scenario: Scenario, folder: Path) -> None:
        self._server = server
        self._scenario = scenario
        self._root = folder / "root"
        self._stdout, self._stderr = folder / "stdout", folder / "stderr"
        self._state = folder / "state"
        shim.reset(self._state)
        scenario.plant(self._root / "in")
        self._inputs = state(self._root / "in")
        code = self._run({})
        assert code == 0, (code, self._printed())
        self._wanted = digests(self._root / "out")
        self._wanted_more = self._more()
        assert self._wanted

    def count(self, fault: Fault) -> int:
        """Number of calls that the fault is about, in a run without it."""
        self._clear()
        shim.reset(self._state)
        self._run(fault.variables(self._root, self._state, 0))
        return shim.counts(self._state)[0]

    def fail_each(self, fault: Fault, tally: Tally, *, step: int = 1) -> None:
        """Make every `step`-th call fail, one per run, until no call is left."""
        nth = 1
        while self.fail(fault, nth, tally):
            nth += step

    def fail(self, fault: Fault, nth: int, tally: Tally) -> bool:
        """Run with a fault and then without it; False if there was no such call."""
        self._clear()
        shim.reset(self._state)
        code = self._run(fault.variables(self._root, self._state, nth))
        if not shim.counts(self._state)[1]:
            return False
        printed = self._printed()
        problems = self._after_fault(code, printed)
        again = self._run({"FAULT_CALLS": ""})
        problems += self._after_all(again)
        tally.faults += 1
        tally.codes[code] = tally.codes.get(code, 0) + 1
        if problems:
            where = f"{self._scenario.name}: {fault}, call {nth}, exit {code}"
            tally.wrong.append(f"{where}: {'; '.join(problems)}\n{printed[-3000:]}")
        return True

    def _after_fault(self, code: int | None, printed: str) -> list[str]:
        if code is None:
            return ["hangs"]
        problems = []
        found = digests(self._root / "out")
        if code not in CODES:
            problems.append("unusual exit code")
        if code == 0 and found != self._wanted:
            problems.append("exit 0, but the tree is not complete")
        if code != 0 and not re.search(r"\bE\d{3}\b", printed):
            problems.append("no error with a code")
        if re.search(r"Traceback|Exception ignored|E099", printed):
            problems.append("a traceback, or an unexpected error")
        problems += [
            f"{name} is half-written" for name in found if found[name] != self._wanted.get(name)
        ]
        return problems + self._always()

    def _after_all(self, code: int | None) -> list[str]:
        problems = []
        if code != 0:
            problems.append(f"exit {code} without the fault: {self._printed()}")
        if digests(self._root / "out") != self._wanted:
            problems.append("the tree is wrong after a run without the fault")
        if self._more() != self._wanted_more:
            problems.append("a file is missing after a run without the fault")
        problems += [
            f"{path.name} is left"
            for top in ("out", "more")
            for path in (self._root / top).rglob(".*")
            if ".part" in path.name or ".resume" in path.name
        ]
        return problems + self._always()

    def _always(self) -> list[str]:
        problems = [] if state(self._root / "in") == self._inputs else ["an input changed"]
        problems += [
            f"{name} is half-written"
            for name in self._more()
            if not self._scenario.whole((self._root / "more" / name).read_bytes())
        ]
        return problems

    def _more(self) -> list[str]:
        """Names of the files below `more/` that count."""
        names = sorted(digests(self._root / "more"))
        return [name for name in names if name.startswith(self._scenario.kept)]

    def _run(self, variables: dict[str, str]) -> int | None:
        """The code of the first command that fails, or 0."""
        env = {"XDG_CACHE_HOME": str(self._root / "cache"), "FAULT_CALLS": "", **variables}
        for words in self._scenario.words(self._root):
            code = self._server.run(words, env, self._stdout, self._stderr)
            if code != 0:
                return code
        return 0

    def _printed(self) -> str:
        return self._stderr.read_text(errors="replace")

    def _clear(self) -> None:
        for name in ("out", "more", "cache"):
            shutil.rmtree(self._root / name, ignore_errors=True)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of all files that are not hidden, by relative name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    }


def state(folder: Path) -> dict[str, Any]:
    times = {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}
    return {**times, **digests(folder)}
