"""Operations for tests of worker processes, which import them from here."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
import time
from pathlib import Path, PurePath
from typing import Any, NoReturn

from vaetools.errors import DamagedImageError, ModelBrokenError
from vaetools.operation import NoOptions, Operation


class Twice(Operation):
    """Two outputs for each `.txt` file: its bytes reversed, and random bytes.

    What a file begins with says what happens to it.
    """

    name = "twice"
    takes = "file"
    suffixes = (".txt",)

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(None, NoOptions())
        self.folder = folder

    def outputs(self, source: PurePath) -> tuple[PurePath, ...]:
        return (source.with_suffix(".a"), source.with_suffix(".b"))

    def process(self, item: bytes) -> list[bytes]:
        word = item.split(b" ")[0].decode()
        getattr(self, f"do_{word}", lambda: None)()
        return [item[::-1], self.rng.bytes(20)]

    def do_print(self) -> None:
        self.note("noted")
        self.finding(length=6)
        print("to stdout")
        print("to stderr", file=sys.stderr)
        print("half a line", end="", flush=True)

    def do_crash(self) -> None:
        ctypes.string_at(0)

    def do_die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def do_die_once(self) -> None:
        assert self.folder is not None
        died = self.folder / "died"
        if not died.exists():
            died.touch()
            self.do_die()

    def do_damaged(self) -> NoReturn:
        raise DamagedImageError("is damaged")

    def do_exit(self) -> NoReturn:
        sys.exit("no more")

    def do_broken(self) -> NoReturn:
        raise ModelBrokenError("does not work", file="a model")

    def do_found(self) -> None:
        self.finding(cannot=lambda: "be pickled")

    def do_foreign(self) -> None:
        self.finding(opens=Elsewhere(os.getpid()))

    def do_symbol(self) -> None:
        print("a \u2192 b")

    def do_full(self) -> None:
        """From now on, the disk is full."""

        def fill_up(*_: Any) -> NoReturn:
            raise OSError(errno.ENOSPC, "No space left on device")

        import vaetools.runner.worker

        vaetools.runner.worker.write_temporary = fill_up

    def do_move(self) -> None:
        """Move the output folder away."""
        assert self.folder is not None
        self.folder.rename(self.folder.with_name("moved"))

    def do_wait(self) -> None:
        assert self.folder is not None
        (self.folder / self.key).touch()
        while not (self.folder / "go").exists():
            time.sleep(0.01)


class Elsewhere:
    """Can be unpickled only by the process that pickled it."""

    def __init__(self, process: int) -> None:
        if process != os.getpid():
            raise LookupError(process)
        self.process = process

    def __reduce__(self) -> Any:
        return Elsewhere, (self.process,)


class Unready(Twice):
    """Ends the process that unpickles it, or raises there."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.how == "die":
            self.do_die()
        raise ModelBrokenError("does not open", file="a model")
