"""How much of the public interface pyright can verify: `python -m tests.typed WHEEL`.

The wheel is unpacked into an environment of its own, since type checkers do not see editable
installs; everything that it needs is taken from the running environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path

LEAST = 0.99
"""Share of the exported symbols whose type must be known."""


def report(wheel: Path) -> dict[str, object]:
    """What `pyright --verifytypes vaetools` says about a wheel."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        venv.create(place, with_pip=False)
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        packages = place / "lib" / version / "site-packages"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(packages)
        (packages / "rest.pth").write_text(sysconfig.get_path("purelib") + "\n")
        words = ["pyright", "--outputjson", "--ignoreexternal", "--verifytypes", "vaetools"]
        done = subprocess.run(
            [sys.executable, "-m", *words],
            capture_output=True,
            text=True,
            check=False,
            cwd=place,
            env={**os.environ, "PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"},
        )
    return json.loads(done.stdout)["typeCompleteness"]


def main() -> None:
    found = report(Path(sys.argv[1]))
    for symbol in found["symbols"]:
        if symbol["isExported"] and not symbol["isTypeKnown"]:
            print(symbol["name"])
    score = found["completenessScore"]
    print(f"public interface verified by pyright: {score:.2%}, at least {LEAST:.0%} wanted")
    sys.exit(score < LEAST)


if __name__ == "__main__":
    main()
