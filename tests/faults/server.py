"""Runs commands of vaetools in forks of one process, which has imported everything once.

Reads a JSON object per line: `words`, `env`, `stdout`, `stderr` (paths) and `seconds`; answers each with
the exit status, or null if the command did not end in time. The library of `shim.py` is preloaded.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
import time
import traceback
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
        print(json.dumps(_status(pid, request["seconds"])), flush=True)


def _child(request: dict[str, Any]) -> NoReturn:
    os.setsid()
    os.environ.update(request["env"])
    for number, name in enumerate((os.devnull, request["stdout"], request["stderr"])):
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
        os.close(handle)
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


def _status(pid: int, seconds: float) -> int | None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


if __name__ == "__main__":
    main()
