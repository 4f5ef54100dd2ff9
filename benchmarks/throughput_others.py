"""What to compare with: plain loops over files, and other programs for the same tasks.

Each function processes all files of a folder, one after another, in one process with the default
threads of its libraries.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import onnxruntime as ort
from PIL import Image, features

import vaetools

if TYPE_CHECKING:
    from collections.abc import Callable

    from throughput_folders import Folder


@dataclass(frozen=True)
class Program:
    """Another program.

    Attributes:
        name: with its options.
        run: process a folder into a new folder.
        prepare: write inputs in a format of its own into a new folder, outside the measured time.
    """

    name: str
    run: Callable[[Folder, Path], None]
    prepare: Callable[[Folder, Path], Folder] = lambda folder, _: folder


def naive(op: str) -> Callable[[Folder, Path], None]:
    """The loop that one would write: read a file, run the model, write a file.

    Denoising and inpainting run the bare session of the graph. The other operations need more than
    one graph, and call the hub for one image after the other. Models are opened before the loop.
    """
    hub = vaetools.open("cpu")
    if op not in ("denoise", "inpaint"):
        return lambda folder, out: _call(hub, op, folder, out)
    model = hub.registry.for_task(op)
    path = Path(model.folder, model.manifest.graphs[op].file)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    multiple = model.manifest.size.multiple_of
    return lambda folder, out: _restore(session, multiple, op, folder, out)


def _restore(session: Any, multiple: int, op: str, folder: Folder, out: Path) -> None:
    out.mkdir(parents=True)
    options = folder.options
    first, second = (value.name for value in session.get_inputs())
    for file in sorted(folder.inputs.iterdir()):
        image = cv2.imread(str(file))
        height, width = image.shape[:2]
        padding = [(0, -height % multiple), (0, -width % multiple)]
        if op == "denoise":
            plane = np.full((height, width), float(options["sigma"]) / 255, np.float32)
        else:
            mask = cv2.imread(str(Path(options["mask"], f"{file.stem}.png")), cv2.IMREAD_GRAYSCALE)
            plane = (mask > 127).astype(np.float32)
        values = np.pad(image, [*padding, (0, 0)], mode="edge")[..., ::-1].astype(np.float32) / 255
        feeds = {
            first: np.ascontiguousarray(values.transpose(2, 0, 1))[None],
            second: np.pad(plane, padding, mode="edge")[None, None],
        }
        result = session.run(None, feeds)[0][0].transpose(1, 2, 0)[:height, :width, ::-1]
        cv2.imwrite(str(out / file.name), np.clip(np.rint(255 * result), 0, 255).astype(np.uint8))


def _call(hub: vaetools.Hub, op: str, folder: Folder, out: Path) -> None:
    out.mkdir(parents=True)
    for file in sorted(folder.inputs.iterdir()):
        if op == "decompress":  # the name without .vae has the suffix of the source
            cv2.imwrite(str(out / file.stem), hub.decompress(file.read_bytes()))
            continue
        result = getattr(hub, op)(cv2.imread(str(file)), **folder.options)
        if isinstance(result, bytes):
            (out / f"{file.name}.vae").write_bytes(result)
            continue
        for number, image in enumerate(result):
            cv2.imwrite(str(out / f"{file.stem}-{number}{file.suffix}"), image)


def programs(op: str) -> list[Program]:
    """Other programs for an operation: those that are installed here."""
    if op == "denoise":
        return [Program("OpenCV fastNlMeansDenoisingColored", _non_local_means)]
    if op not in ("compress", "decompress"):
        return []
    formats: list[tuple[str, dict[str, int]]] = [("WEBP", {"quality": 80})]
    if features.check("avif"):
        formats.append(("AVIF", {"quality": 60, "speed": 6}))
    with contextlib.suppress(ImportError):
        import pillow_jxl  # noqa: F401 - registers the format

        formats.append(("JXL", {"quality": 80}))
    return [_pillow(op, kind, options) for kind, options in formats]


def _pillow(op: str, kind: str, options: dict[str, int]) -> Program:
    """Images to a format, or back from it to PNG."""

    def compress(folder: Folder, out: Path) -> None:
        out.mkdir(parents=True)
        for file in sorted(folder.inputs.iterdir()):
            with Image.open(file) as image:
                image.save(out / f"{file.name}.{kind.lower()}", kind, **options)

    def decompress(folder: Folder, out: Path) -> None:
        out.mkdir(parents=True)
        for file in sorted(folder.inputs.iterdir()):
            with Image.open(file) as image:
                rgb = np.asarray(image.convert("RGB"))
            cv2.imwrite(str(out / f"{file.stem}.png"), rgb[..., ::-1])

    def packed(folder: Folder, out: Path) -> Folder:
        out.mkdir(parents=True)
        with vaetools.open("cpu") as hub:
            for file in sorted(folder.inputs.iterdir()):
                rgb = np.ascontiguousarray(hub.decompress(file.read_bytes())[..., ::-1])
                Image.fromarray(rgb).save(out / f"{file.stem}.{kind.lower()}", kind, **options)
        return replace(folder, inputs=out)

    named = ", ".join(f"{key} {value}" for key, value in options.items())
    name = f"Pillow, {kind}, {named}"
    return Program(name, compress) if op == "compress" else Program(name, decompress, packed)


def _non_local_means(folder: Folder, out: Path) -> None:
    out.mkdir(parents=True)
    strength = float(folder.options["sigma"])
    for file in sorted(folder.inputs.iterdir()):
        image = cv2.imread(str(file))
        cv2.imwrite(
            str(out / file.name),
            cv2.fastNlMeansDenoisingColored(image, None, strength, strength, 7, 21),
        )
