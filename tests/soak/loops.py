"""The hub in Python, over many images: `python -m tests.soak.loops map|op OP IN OUT`."""

from __future__ import annotations

import sys
from pathlib import Path

import vaetools
from vaetools.errors import VaetoolsError

PER_CALL = 500
"""Inputs of one call of `hub.map`: a folder of `tests.soak.inputs`."""


def main(mode: str, op: str, inputs: str, out: str) -> None:
    """Print a line for each image."""
    with vaetools.open(threads=1) as hub:
        if mode == "map":
            for folder in sorted(Path(inputs).iterdir()):
                place = Path(out, folder.name)
                hub.map(op, folder, out=place, on_record=lambda record: _say(record.status))
        else:
            step = hub.op(op)
            for path in sorted(path for path in Path(inputs).rglob("*") if path.is_file()):
                try:
                    step(path)
                    _say("done")
                except VaetoolsError:
                    _say("failed")


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
