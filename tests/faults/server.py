"""Runs commands of vaetools in forks of one process, which has imported everything once.

Reads a JSON object per line, and answers each with the exit status, or null if the command did not end
in time. The library of `shim.py` may be preloaded. Keys:

    words, env, stdout, stderr   the command; the last two are paths
    seconds                      for the command
    kill_after                   null, or seconds until SIGKILL
    watch                        null, or a folder: these seconds count from the first change in it
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

MODULES = ("cv2", "PIL.Image", "onnxruntime", "av", "jinja2", "vaetools.cli.app", "vaetools.hub")


def main() -> None:
    """Answer requests until stdin ends."""
    for name in MODULES:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _child(request)
        print(json.dumps(_status(pid, request)), flush=True)


def _child(request: dict[str, Any]) -> NoReturn:
    os.setsid()
    os.environ.update(request["env"])
    for number, name in enumerate((os.devnull, request["stdout"], request["stderr"])):
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
        os.close(handle)
    if "LD_PRELOAD" in os.environ:
        ctypes.CDLL(None).fault_setup()
    from vaetools.cli import main

    try:
        main(request["words"])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # noqa: BLE001 - what Python would do
        traceback.print_exc()
        code = 1
    # Not the end that Python makes: ONNX Runtime crashes there in a process that was forked.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _status(pid: int, request: dict[str, Any]) -> int | None:
    killed_after = request["kill_after"]
    watched = None if request["watch"] is None else Path(request["watch"])
    before = _extent(watched)
    started = begun = time.monotonic()
    while time.monotonic() - started < request["seconds"]:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if watched is not None and _extent(watched) != before:
            watched, begun = None, time.monotonic()
        is_due = watched is None and time.monotonic() - begun >= (killed_after or 0)
        if killed_after is not None and is_due:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        time.sleep(0.001)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def _extent(folder: Path | None) -> list[tuple[str, int]]:
    """Names and sizes of all files in a folder."""
    found = []
    for path in [] if folder is None else folder.rglob("*"):
        with contextlib.suppress(OSError):
            found.append((str(path), path.stat().st_size))
    return found


if __name__ == "__main__":
    main()
