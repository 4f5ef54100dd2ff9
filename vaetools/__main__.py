"""`python -m vaetools` is the command line."""

from vaetools.cli import main

main()
