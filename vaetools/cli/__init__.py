"""The command line: `vaetools COMMAND …`. One file per command, imported when it is called."""

from vaetools.cli.app import main

__all__ = ["main"]
