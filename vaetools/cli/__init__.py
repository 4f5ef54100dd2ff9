"""The command line: `vaetools COMMAND …`. One file per command, imported when it is called."""

from __future__ import annotations

import os
import signal
import sys

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Run the program and exit: one line for an error, and the error's own exit code."""
    if "VAETOOLS_COMPLETE" in os.environ:
        from vaetools.cli.tab import answer

        answer(sys.argv[1:] if arguments is None else arguments)
        return
    try:
        from vaetools.cli.signals import like_ctrl_c

        with like_ctrl_c():
            from vaetools.cli.app import main as run

            run(arguments)
    except KeyboardInterrupt:  # before or after the program's own handling
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C could only spoil the end
        from vaetools.cli.signals import RESUME, exit_code

        if sys.stderr is not None:
            sys.stderr.write(f"{RESUME}\n")
        sys.exit(exit_code())
