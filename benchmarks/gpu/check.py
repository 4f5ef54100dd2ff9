"""Check of a GPU: what vaetools does on it, how fast, and whether the results are those of the CPU.

    python benchmarks/gpu/check.py PHOTOS --out OUT                    # 7 minutes at most, on cuda
    python benchmarks/gpu/check.py PHOTOS --device cpu --quick         # rehearsal without a GPU

| part | shows |
|---|---|
| doctor | versions, the device that is used, self-tests of all models on it |
| placement | which nodes of the sessions that operations open run on the device, and copies between |
| graphs | time of each session: with arrays, with inputs and outputs on the device, with other options |
| shapes | cost of a change of shapes, with one session for all shapes and with one for each |
| exact | whether networks that must be exact would be exact on the device |
| parity | sizes, PSNR and largest difference of results from the CPU's; results of repetitions |
| folders | images per second of folder runs, load of the GPU |
| host | images per second around a device that takes no time (`benchmarks/null_device.py`) |

A part that fails or does not fit into the time that is left is skipped with a line. Figures are written
to OUT/check.json after each part, and all lines again at the end.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

RESERVE = 15.0
"""Seconds at the end of the time that no part may use."""


@dataclass
class Check:
    """What all parts share.

    Attributes:
        photos: image files.
        device: name of the device, such as `cuda`.
        out: folder for figures.
        scratch: folder for images of runs.
        quick: few images and repetitions.
        seconds: for everything.
    """

    photos: list[Path]
    device: str
    out: Path
    scratch: Path
    quick: bool
    seconds: float
    lines: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    failed: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        """A line of the table."""
        self.lines.append(line)
        print(f"[{time.monotonic() - self.started:5.0f} s] {line}", flush=True)

    @property
    def left(self) -> float:
        """Seconds that are left for parts."""
        return self.seconds - RESERVE - (time.monotonic() - self.started)

    def run(self, name: str, part: Callable[[Check], Any], needed: float) -> None:
        """Run a part, if there is time for it."""
        if self.left < needed and not self.quick:
            self.say(f"{name}: skipped, {self.left:.0f} s left")
            return
        started = time.monotonic()
        try:
            self.figures[name] = part(self)
        except Exception as error:  # noqa: BLE001 - one broken part shall not cost the others
            self.failed.append(name)
            self.say(f"{name}: FAILED {type(error).__name__}: {str(error)[:200]}")
            traceback.print_exc()
        self.say(f"-- {name} took {time.monotonic() - started:.0f} s")
        text = json.dumps({"lines": self.lines, "figures": self.figures}, default=str, indent=1)
        (self.out / "check.json").write_text(text, encoding="utf-8")


def main() -> int:
    import check_graphs
    import check_runs

    parts: dict[str, tuple[Callable[[Check], Any], float]] = {
        "doctor": (check_runs.doctor, 20),
        "placement": (check_graphs.placement, 20),
        "graphs": (check_graphs.graphs, 75),
        "shapes": (check_graphs.shapes, 30),
        "exact": (check_graphs.exact, 20),
        "parity": (check_runs.parity, 40),
        "folders": (check_runs.folders, 100),
        "host": (check_runs.host, 60),
    }
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path, help="folder of photographs")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for check.json")
    parser.add_argument("--scratch", type=Path, default=Path("/tmp/vaetools-check"))
    parser.add_argument("--seconds", type=float, default=420, help="for everything [default: 420]")
    parser.add_argument("--quick", action="store_true", help="few images and repetitions")
    parser.add_argument("--parts", nargs="+", default=list(parts), choices=list(parts))
    args = parser.parse_args()
    photos = sorted(f for f in args.photos.iterdir() if f.suffix in (".png", ".jpg"))
    for folder in (args.out, args.scratch):
        folder.mkdir(parents=True, exist_ok=True)
    check = Check(photos, args.device, args.out, args.scratch, args.quick, args.seconds)
    for name in args.parts:
        check.run(name, *parts[name])
    print("\n".join(["", "=== table", *check.lines]))
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))  # scripts that work everywhere
    sys.exit(main())
