"""Kill runs with `kill -9` and other signals at random times and resume them, many times.

    python -m tests.kills --kills 200
    python -m tests.kills --kills 1000 --operations    all operations, chains, videos and jobs in turn
    python -m tests.kills --command "vaetools compress {in} -o {out}" --inputs photos/

`tests.kills.harness.Tally` lists what is counted. The exit status is 1 if a file was half-written, an
input changed, a temporary file left behind or an output tree wrong.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import shlex
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.harness import Server
from tests.faults.scenarios import OPERATIONS
from tests.kills.commands import Killed
from tests.kills.harness import Command, Tally, kill_runs, own_command, plant_inputs


def main() -> int:
    args = _arguments()
    if args.workplace is not None:
        args.workplace.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kills-", dir=args.workplace) as workplace:
        if args.operations:
            return _kill_operations(Path(workplace), args.kills, args.seed)
        inputs = args.inputs or plant_inputs(Path(workplace, "photos"), args.files)
        started = time.monotonic()
        tally = kill_runs(_command(args.command), inputs, Path(workplace), args.kills, args.seed)
    report = {
        "command": args.command or "a slow operation that copies",
        **dataclasses.asdict(tally),
        "seconds": round(time.monotonic() - started, 1),
        "system": platform.platform(),
    }
    print(json.dumps(report, indent=2))
    return 0 if tally.is_clean else 1


def _kill_operations(workplace: Path, kills: int, seed: int) -> int:
    """Kill each of `OPERATIONS` equally often; prints a line of JSON for each, and the sum."""
    total, count = Tally(), len(OPERATIONS)
    with Server(None) as server:
        for index, scenario in enumerate(OPERATIONS):
            folder, tally = workplace / scenario.name, Tally()
            folder.mkdir()
            share = kills * (index + 1) // count - kills * index // count
            Killed(server, scenario, folder, seed).kill(share, tally)
            print(json.dumps({"command": scenario.name, **dataclasses.asdict(tally)}), flush=True)
            for name, value in dataclasses.asdict(tally).items():
                setattr(total, name, getattr(total, name) + value)
    print(json.dumps({"command": "all", **dataclasses.asdict(total)}))
    return 0 if total.is_clean else 1


def _command(template: str | None) -> Command:
    if template is None:
        return own_command
    words = shlex.split(template)

    def fill(inputs: Path, out: Path) -> list[str]:
        return [w.replace("{in}", str(inputs)).replace("{out}", str(out)) for w in words]

    return fill


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Kill runs at random times.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--command", help="command with {in} and {out} [default: a slow copy]")
    parser.add_argument("--operations", action="store_true", help="kill all operations in turn")
    parser.add_argument("--inputs", type=Path, help="folder [default: random files]")
    parser.add_argument("--files", type=int, default=60, help="number of random files")
    parser.add_argument(
        "--workplace", type=Path, help="folder for the output trees, on a real disk"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.command and not args.inputs:
        parser.error("--command needs --inputs")
    return args


if __name__ == "__main__":
    sys.exit(main())
