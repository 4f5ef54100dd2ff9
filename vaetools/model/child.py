"""Python processes that run a part of vaetools for this one."""

from __future__ import annotations

import json
import os
import sys
from typing import TextIO

PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
import json, sys
sys.path[:] = json.loads(sys.argv.pop())
from {module} import main
main()
"""


def child_command(module: str, *arguments: str) -> list[str]:
    """The command line of a new interpreter that calls `main` of a module.

    Its search path is that of this process: `-m` would put the current folder in front of it. Ctrl-C is
    for the parent, also while the modules are imported.

    Args:
        module: full name of the module.
        arguments: `sys.argv[1:]` of the process.
    """
    program = PROGRAM.format(module=module)
    return [sys.executable, "-P", "-c", program, *arguments, json.dumps(sys.path)]


def own_stdout() -> TextIO:
    """In a child: the pipe to the parent. What else is printed goes to stderr from now on, also what
    native libraries write to descriptor 1."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return out
