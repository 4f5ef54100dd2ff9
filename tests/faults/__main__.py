"""Make every system call of every scenario fail, one per run.

    python -m tests.faults                      all scenarios and faults
    python -m tests.faults folder video --calls write,fsync

Prints a line per scenario and fault, and JSON at the end. The exit status is 1 if something was lost,
half-written or left behind, or a command hung or ended with a traceback.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.faults import shim
from tests.faults.harness import Server, Tally, Trial
from tests.faults.scenarios import FAULTS, SCENARIOS


def main() -> int:
    args = _arguments()
    chosen = [s for s in SCENARIOS if not args.scenarios or s.name in args.scenarios]
    wanted = set(args.calls.split(",")) if args.calls else None
    faults = [
        f for f in FAULTS if wanted is None or f.calls in wanted or (f.lasts and "all" in wanted)
    ]
    tally, started = Tally(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-", dir=args.workplace) as name:
        top = Path(name)
        with Server(shim.build(top)) as server:
            for scenario in chosen:
                (top / scenario.name).mkdir()
                trial = Trial(server, scenario, top / scenario.name)
                for fault in faults:
                    _each(trial, fault, tally, scenario.name, args.step)
    seconds = round(time.monotonic() - started, 1)
    codes = {str(code): count for code, count in tally.codes.items()}
    report = {"faults": tally.faults, "wrong": len(tally.wrong), "codes": codes, "seconds": seconds}
    print(json.dumps(report, indent=2))
    return 1 if tally.wrong else 0


def _each(trial: Trial, fault: shim.Fault, tally: Tally, name: str, step: int) -> None:
    before, known, started = tally.faults, len(tally.wrong), time.monotonic()
    trial.fail_each(fault, tally, step=step)
    seconds = time.monotonic() - started
    print(f"{name}: {fault}: {tally.faults - before} faults, {seconds:.1f} s", flush=True)
    for line in tally.wrong[known:]:
        print(f"WRONG {line}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Make system calls fail.")
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"{', '.join(names)}")
    parser.add_argument("--calls", help="calls of the faults, separated by commas")
    parser.add_argument("--step", type=int, default=1, help="only every STEP-th call")
    parser.add_argument("--workplace", type=Path, help="folder, on a real disk")
    args = parser.parse_args()
    if unknown := set(args.scenarios) - set(names):
        parser.error(f"no scenario {', '.join(sorted(unknown))}")
    return args


if __name__ == "__main__":
    sys.exit(main())
