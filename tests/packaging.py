"""Run by CI on a folder of built distributions: do they hold plugins, models and types, and no more?

python -m tests.packaging dist/
"""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

WANTED = (
    "vaetools/py.typed",
    "vaetools/report/templates/page.html",
    "vaetools/report/templates/page.css",
    "vaetools/report/templates/page.js",
    "vaetools/report/templates/base.css",
    "vaetools/report/templates/viewer.css",
    "vaetools/report/templates/viewer.html",
    "vaetools/report/templates/viewer.js",
    "vaetools/web/templates/view.html",
    "vaetools/web/templates/view.js",
    "vaetools/web/templates/serve.html",
    "vaetools/web/templates/serve.js",
    "vaetools/kit/template/module.py.txt",
    "vaetools/training/recipes/photo-codec.toml",
    "vaetools_plugins/compress.py",
    "vaetools_plugins/inpaint.py",
    "vaetools_plugins/py.typed",
    "vaetools_models/photo-codec/model.toml",
    "vaetools_models/photo-codec/synthesis.onnx",
    "vaetools_models/photo-codec/tables.npz",
    "vaetools_models/photo-denoise/denoise_sample.onnx",
    "vaetools_models/photo-denoise/weights.bin",
    "vaetools_models/photo-inpaint/inpaint_sample.onnx",
    "vaetools_models/photo-inpaint/weights.bin",
)


MAX_WHEEL = 30_000_000
"""Bytes of the wheel: everyone who installs vaetools waits for them."""

UNWANTED = ("/node_modules/", "/runs/", "/.venv/", "/.ci-venv/", "/__pycache__/")
"""Parts of paths that are made by installing and running."""


def faults(path: Path) -> list[str]:
    """What a wheel or sdist lacks, what it should not have, and whether the wheel is too large."""
    large = []
    if path.suffix == ".whl":
        if path.stat().st_size > MAX_WHEEL:
            large = [f"{path.stat().st_size / 1e6:.1f} MB"]
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    else:
        with tarfile.open(path) as archive:
            names = archive.getnames()
    missing = [wanted for wanted in WANTED if not any(name.endswith(wanted) for name in names)]
    too_many = [part for part in UNWANTED if any(part in f"/{name}" for name in names)]
    return [*large, *(f"without {n}" for n in missing), *(f"with {part}" for part in too_many)]


def main(folder: Path) -> int:
    files = [*folder.glob("*.whl"), *folder.glob("*.tar.gz")]
    if len(files) != 2:
        sys.stderr.write(f"{folder}: {len(files)} distributions, not a wheel and an sdist\n")
        return 1
    failures = {path.name: faults(path) for path in files}
    for name, found in failures.items():
        sys.stdout.write(f"{name}: {', '.join(found) or 'complete'}\n")
    return int(any(failures.values()))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
