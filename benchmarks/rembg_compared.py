"""How `rembg p` treats files: names that clash, outputs that exist, damage, metadata.

    python benchmarks/rembg_compared.py --python VENV/bin/python

VENV has rembg; it is run as it is, with a network of one node in place of its own, since the files are
what is tried. Needs exiftool.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from PIL import Image
from tools_compared import MINE, TAGS, sources

RUN = """
import sys, types
for name in ("asyncer", "gradio", "watchdog.events", "watchdog.observers"):
    sys.modules[name] = stub = types.ModuleType(name)
    stub.asyncify = stub.FileSystemEvent = stub.FileSystemEventHandler = stub.Observer = object
sys.modules["rembg.commands.s_command"] = types.ModuleType("s_command")
sys.modules["rembg.commands.s_command"].s_command = None
from rembg.commands.p_command import p_command
p_command()
"""
"""`rembg p` without the packages that only its web server and `--watch` need."""


def stand_in(path: Path) -> None:
    """A network whose mask is the red channel."""
    shape = [1, 3, 320, 320]
    nodes = [helper.make_node("Gather", ["image", "red"], ["mask"], axis=1)]
    red = helper.make_tensor("red", TensorProto.INT64, [1], [0])
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    mask = helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 1, 320, 320])
    graph = helper.make_graph(nodes, "stand-in", [image], [mask], [red])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


class Rembg:
    """The command, with the interpreter that has it."""

    def __init__(self, python: str, model: Path) -> None:
        self.python = python
        self.model = json.dumps({"model_path": str(model)})
        self.env = os.environ | {"REMBG_HOME": str(model.parent)}

    def version(self) -> str:
        words = [
            self.python,
            "-c",
            "from importlib.metadata import version as v; print(v('rembg'))",
        ]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()

    def __call__(self, *words: str) -> tuple[int, str]:
        """The exit code, and what was printed on stdout."""
        command = [self.python, "-c", RUN, "-m", "u2net_custom", "-x", self.model, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=self.env)
        if "Traceback" in done.stderr:
            raise SystemExit(done.stderr)
        return done.returncode, done.stdout.strip()


def listed(folder: str) -> str:
    files = sorted(Path(folder).rglob("*"))
    return ", ".join(str(file.relative_to(folder)) for file in files if file.is_file()) or "none"


def folder(name: str, **files: str) -> None:
    """A folder with copies: its names and what is copied there, `_` for a dot and `__` for a slash."""
    for to, source in files.items():
        path = Path(name, to.replace("__", "/").replace("_", "."))
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)


def trials(rembg: Rembg) -> list[tuple[str, str]]:
    found = []
    folder("clash", a__x_jpg="a.jpg", b__x_png="a.png")
    code, _ = rembg("clash", "clash-out")
    found.append(("`a/x.jpg` and `b/x.png`", f"{listed('clash-out')}, exit {code}"))

    folder("delete", a__x_jpg="a.jpg", b__x_png="a.png")
    code, _ = rembg("-d", "delete", "delete-out")
    left = f"outputs: {listed('delete-out')}; inputs left: {listed('delete')}, exit {code}"
    found.append(("the same with `-d`", left))

    folder("exists", x_jpg="a.jpg")
    Path("exists-out").mkdir()
    Path("exists-out/x.png").write_bytes(MINE)
    code, _ = rembg("exists", "exists-out")
    kept = "kept" if Path("exists-out/x.png").read_bytes() == MINE else "replaced"
    code_2, _ = rembg("-d", "exists", "exists-out")
    text = f"{kept}, exit {code}; with `-d`, inputs left: {listed('exists')}, exit {code_2}"
    found.append(("a file of mine has the name of the output", text))

    folder("half", x_jpg="a.jpg")
    rembg("half", "half-out")
    whole = Path("half-out/x.png").read_bytes()
    Path("half-out/x.png").write_bytes(whole[: len(whole) // 2])  # killed while it was written
    code, _ = rembg("half", "half-out")
    again = Path("half-out/x.png").read_bytes() == whole
    found.append(("again after half an output", f"{'whole' if again else 'half'}, exit {code}"))

    folder("damage", bad_jpg="cut-a.jpg", bad_png="cut-a.png", good_jpg="a.jpg")
    Path("damage/bad.png").rename("damage/worse.png")
    code, text = rembg("damage", "damage-out")
    found.append(("cut JPEG, cut PNG, good", f"{listed('damage-out')}, exit {code}; said: {text}"))

    tags = [f"-{tag}" for tag in TAGS]
    rembg("half", "new")
    read = subprocess.run(
        ["exiftool", "-s", *tags, "new/x.png"], capture_output=True, text=True, check=False
    )
    names = [name for tag, name in TAGS.items() if f"{tag} " in read.stdout]
    found.append(("EXIF, ICC and XMP of a JPEG file", ", ".join(names) or "none"))

    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    Path("turned").mkdir()
    Image.fromarray(pixels).save("turned/x.jpg", exif=exif)
    rembg("turned", "turned-out")
    with Image.open("turned-out/x.png") as image:
        found.append(("60 × 40 pixels, EXIF orientation 6", f"{image.width} × {image.height}"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--python", required=True, help="an interpreter that has rembg")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        stand_in(Path("stand-in.onnx"))
        rembg = Rembg(options.python, Path(place, "stand-in.onnx"))
        sources()
        print(f"rembg {rembg.version()}, {dt.datetime.now(dt.UTC):%Y-%m-%d}")
        for trial, outcome in trials(rembg):
            print(f"{trial}: {outcome}")


if __name__ == "__main__":
    main()
