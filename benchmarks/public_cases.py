"""Reports of users of comparable programs, tried on vaetools: is every result right?

    python benchmarks/public_cases.py                  # all of them
    python benchmarks/public_cases.py F07 F14a         # some
    python benchmarks/public_cases.py --keep DIR       # leave the files there

Each check is a report about another program, the steps that its users described, and the result that
is right. The steps are command lines, as a user types them. The right values come from the reports,
from the formats' specifications and from other programs (FFmpeg, Pillow, LittleCMS), never from
vaetools. FFmpeg and ExifTool are needed by some checks, which are skipped without them.

The exit status is 1 if a result is wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import public_images
import public_metadata
import public_tool
import public_videos
from common import circumstances


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="such as F07 or F14a; all by default")
    parser.add_argument("--keep", type=Path, help="folder for the files of the checks")
    arguments = parser.parse_args()
    checks = [
        check
        for check in (*public_videos.CHECKS, *public_metadata.CHECKS, *public_images.CHECKS)
        if not arguments.names or any(check.name.startswith(name) for name in arguments.names)
    ]
    checks.sort(key=lambda check: check.name)
    counts = dict.fromkeys(("right", "WRONG", "skipped"), 0)
    with tempfile.TemporaryDirectory() as temporary:
        top = arguments.keep or Path(temporary)
        for check in checks:
            started = time.perf_counter()
            verdict, seen = public_tool.judged(check, top / check.name)
            counts[verdict] += 1
            seconds = time.perf_counter() - started
            print(f"{check.name:5} {verdict:7} {seconds:5.1f} s  {check.title}", flush=True)
            if seen:
                print(f"{'':6}{seen}", flush=True)
    done = counts["right"] + counts["WRONG"]
    print(
        f"\n{done} checks: "
        + ("all right" if done == counts["right"] else f"{counts['WRONG']} wrong")
    )
    print(f"{counts['skipped']} skipped" if counts["skipped"] else "none skipped")
    print("\n".join(circumstances("python benchmarks/public_cases.py")))
    return 1 if counts["WRONG"] else 0


if __name__ == "__main__":
    sys.exit(main())
