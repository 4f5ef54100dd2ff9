"""Large holes: the mean of the model, patches of the same image (`--fill texture`), and G'MIC's
`inpaint_matchpatch`, which copies patches too.

    python benchmarks/textures.py FOLDER [--out DIR] [--quick N]

FOLDER has images and their masks, `photo.png` and `photo_mask.png` with a white hole: objects that are
to be removed, so there is no truth, and the sheet of results is what counts. Images without masks get a
square of 96 pixels at a seeded place: then PSNR in the hole, the grain ratio and the seam error are
measured as in `inpaint.py`. CPU seconds are those of whole processes for G'MIC (`gmic` on the path;
without it, it is left out), and of the call for ours.

Writes `textures.md`, `textures.json` and `textures.png`.
"""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from common import read_images
from inpaint import covered, grain_ratio, hole_psnr, seam_error
from inpainters_compared import Method, as_image, as_rgb
from PIL import Image
from restoration import Images, Row, arguments, draw, mean, table, write

import vaetools

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SIDE = 96
"""Side of the squares in pixels."""

SHOWN = 72
"""Pixels around a hole on the sheet."""

MASK = "_mask"

GMIC = "-gt[1] 50% -inpaint_matchpatch[0] [1],0,9,10,5,1 -keep[0]"
"""With its default parameters, and masks of zeros and ones."""


def ours(inpainter: vaetools.Inpainter, *, texture: bool) -> Method:
    def run(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
        return as_rgb(inpainter.inpaint(as_image(image), hole, texture=texture).image)

    return Method("texture" if texture else "mean", f"vaetools {vaetools.__version__}", run)


def gmic() -> Method:
    said = subprocess.run(["gmic", "version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r"Version ([0-9.]+)", said)

    def run(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder, name) for name in ("image.png", "mask.png", "out.png")]
            Image.fromarray(image).save(files[0])
            Image.fromarray(hole.astype(np.uint8) * 255).save(files[1])
            command = ["gmic", *files[:2], *GMIC.split(), "-output", files[2]]
            subprocess.run(command, capture_output=True, check=True)
            found: np.ndarray = np.asarray(Image.open(files[2]).convert("RGB"))
        return np.where(hole[..., None], found, image)

    return Method("G'MIC", version[1] if version else "of unknown version", run)


def cases(images: Images) -> Iterator[tuple[str, np.ndarray, np.ndarray, bool]]:
    """(name, image, hole, whether the image below the hole is the truth)."""
    for number, (name, image) in enumerate(images.items()):
        file = Path(name)
        if file.stem.endswith(MASK):
            continue
        mask = images.get(f"{file.stem}{MASK}.png")
        if mask is not None:
            yield file.stem, image, mask[..., 0] >= 128, False
        else:
            yield file.stem, image, square(image.shape, number), True


def square(shape: Sequence[int], number: int) -> np.ndarray:
    """A hole at a place that the number of the image seeds, at least half a side from the border."""
    rng = np.random.default_rng([number, SIDE])
    rows, columns = (int(rng.integers(SIDE // 2, side - 3 * SIDE // 2)) for side in shape[:2])
    hole = np.zeros(shape[:2], np.bool_)
    hole[rows : rows + SIDE, columns : columns + SIDE] = True
    return hole


def compare(methods: Sequence[Method], images: Images) -> tuple[Row, list[dict[str, np.ndarray]]]:
    found: Row = {m.name: {"psnr": [], "grain": [], "seam": [], "seconds": []} for m in methods}
    rows = []
    for name, image, hole, is_true in cases(images):
        shown = {"hole": np.where(hole[..., None], np.uint8([200, 0, 200]), image)}
        for method in methods:
            before = cpu_seconds()
            filled = method.run(covered(image, hole), hole)
            figures = found[method.name]
            figures["seconds"].append(cpu_seconds() - before)
            if is_true:
                figures["psnr"].append(hole_psnr(filled, image, hole))
                figures["grain"].append(grain_ratio(filled, image, hole))
                figures["seam"].append(seam_error(filled, image, hole))
            shown[method.name] = filled
        rows.append({method: rgb[around(hole)] for method, rgb in shown.items()})
        print(name, {m: round(f["seconds"][-1], 1) for m, f in found.items()}, flush=True)
    return found, rows


def around(hole: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of a hole and `SHOWN` pixels around it."""
    rows, columns = (
        slice(max(0, int(at.min()) - SHOWN), int(at.max()) + 1 + SHOWN) for at in np.nonzero(hole)
    )
    return rows, columns


def cpu_seconds() -> float:
    """Of this process and the children that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def report(found: Row) -> str:
    """The page `textures.md`."""
    figures = {"psnr": "PSNR, dB", "grain": "grain", "seam": "seam", "seconds": "CPU s per image"}
    rows = [
        [name, *(f"{mean(row[key]):.2f}" if row[key] else "–" for key in figures)]
        for name, row in found["methods"].items()
    ]
    lines = table([f"{found['count']} large holes", *figures.values()], rows)
    note = "Grain: standard deviation of fine detail in the hole over the true one."
    image = "![Hole, and each method](textures.png)"
    run = [f"- {line}" for line in (*found["settings"], *found["run"])]
    return "\n".join(["# Large holes", "", *lines, "", note, "", image, "", *run, ""])


def main(argv: Sequence[str] | None = None) -> int:
    few = "number of rows on the sheet"
    parser = arguments(
        __doc__, "images, and masks of the same stem with _mask", "bench-textures", few
    )
    args = parser.parse_args(argv)
    images, _ = read_images(args.folder, args.quick)
    hub = vaetools.open(args.device, models_dirs=args.models_dir, threads=args.threads)
    inpainter = vaetools.Inpainter(hub.registry.for_task("inpaint", args.model))
    methods = [ours(inpainter, texture=texture) for texture in (False, True)]
    if shutil.which("gmic"):
        methods.append(gmic())
    measured, rows = compare(methods, images)
    args.out.mkdir(parents=True, exist_ok=True)
    draw(rows[: args.few], args.out / "textures.png")
    found: Row = {
        "count": len(rows),
        "settings": [f"{method.name}: {method.settings}" for method in methods],
        "methods": measured,
    }
    write(found, "textures", argv, args.out, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
