"""What is run while system calls fail."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from tests.faults.harness import Scenario
from tests.faults.shim import Fault
from tests.paths import PLUGINS

if TYPE_CHECKING:
    from pathlib import Path


def _images(folder: Path, copies: int = 1) -> None:
    from vaetools.image import Image, encode_image

    rng = np.random.default_rng(0)
    names = ("a.png", "sub/b.jpg", "sub/deep/c.webp")
    for name in [f"{n}/{name}" if n else name for n in range(copies) for name in names]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (24, 32, 3), np.uint8)
        path.write_bytes(
            encode_image(Image.from_array(pixels), path.suffix[1:].replace("jpg", "jpeg"))
        )


def _many(folder: Path) -> None:
    _images(folder, copies=4)


def _holes(folder: Path) -> None:
    from vaetools.image import Image, encode_image

    _many(folder)
    mask = np.zeros((24, 32), np.uint8)
    mask[8:16, 8:16] = 255
    (folder.parent / "mask.png").write_bytes(encode_image(Image.from_array(mask), "png"))


def _streams(folder: Path) -> None:
    from vaetools import open as open_hub

    _images(folder)
    with open_hub() as hub:
        for path in [path for path in folder.rglob("*") if path.is_file()]:
            path.with_name(path.name + ".vae").write_bytes(hub.compress(path))
            path.unlink()


def _video(folder: Path) -> None:
    import cv2

    folder.mkdir(parents=True)
    code = cv2.VideoWriter_fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(folder / "clip.mp4"), code, 5, (32, 24))
    rng = np.random.default_rng(0)
    for _ in range(8):
        writer.write(rng.integers(0, 256, (24, 32, 3), np.uint8))
    writer.release()


def _html_is_whole(data: bytes) -> bool:
    return data.rstrip().endswith(b"</html>") or not data.startswith(b"<!")


WRITES = Fault("write,create,mkdir,link,rename,fsync,truncate", "ENOSPC", lasts=True)

CHEAP = ("--plugins-dir", str(PLUGINS))
NEGATIVE = (*CHEAP, "negative", "{}/in", "-o", "{}/out")
REPLACE = ("--on-exists", "replace")  # a single output has no journal
PAIR = (*CHEAP, "pair", "{}/in", "-o", "{}/out")

JOB = Scenario(
    "job",
    _images,
    [
        (*CHEAP, "negative", "--job", "{}/more/run", "-o", "{}/out"),
        ("report", "{}/more/run"),
    ],
    first=("shards", "{}/in", "-o", "{}/more/run", "--size", "1", "--lease", "2"),
    made="more/run/job.toml",
    kept=("run/job.toml", "run/operation.toml", "run/shards/", "run/done/", "run/report"),
)

SCENARIOS = (
    Scenario("folder", _images, [NEGATIVE]),
    Scenario("outputs", _images, [PAIR]),
    Scenario("workers", _images, [(*NEGATIVE, "--workers", "2")]),
    Scenario("journal", _images, [(*NEGATIVE, "--journal", "{}/more/journal")]),
    Scenario("report", _images, [(*NEGATIVE, "--report", "{}/more/r.html")], _html_is_whole),
    Scenario(
        "single", _images, [(*CHEAP, "negative", "{}/in/a.png", "-o", "{}/out/clean.png", *REPLACE)]
    ),
    Scenario("video", _video, [(*CHEAP, "run", "negative", "{}/in", "-o", "{}/out")]),
    Scenario(
        "clip",
        _video,
        [(*CHEAP, "run", "negative", "{}/in/clip.mp4", "-o", "{}/out/c.mp4", *REPLACE)],
    ),
    JOB,
    Scenario("chain", _images, [("run", "denoise,compress", "{}/in", "-o", "{}/out")]),
    Scenario("decompress", _streams, [("decompress", "{}/in", "-o", "{}/out")]),
)

FAULTS = (
    *(Fault(calls, "EIO") for calls in ("read", "list", "stat", "lock")),
    *(
        Fault(calls, error)
        for calls in ("write", "create", "mkdir", "link", "rename", "fsync", "truncate")
        for error in ("ENOSPC", "EIO", "EDQUOT")
    ),
    *(Fault(calls, "EIO") for calls in ("open", "close", "unlink", "chmod")),
    *(Fault(calls, "EROFS") for calls in ("create", "mkdir", "link", "rename", "unlink")),
    *(Fault(calls, "EACCES") for calls in ("open", "mkdir", "link", "rename", "unlink", "list")),
    WRITES,
    Fault("write,create,mkdir,link,rename,fsync,truncate,unlink", "EROFS", lasts=True),
    Fault(
        "open,create,read,write,fsync,close,mkdir,unlink,link,rename,list,stat", "EIO", lasts=True
    ),
)

OPERATIONS = (
    Scenario("compress", _many, [("compress", "{}/in", "-o", "{}/out")]),
    Scenario("decompress", _streams, [("decompress", "{}/in", "-o", "{}/out")]),
    Scenario("denoise", _many, [("denoise", "{}/in", "-o", "{}/out")]),
    Scenario("inpaint", _holes, [("inpaint", "{}/in", "-o", "{}/out", "--mask", "{}/mask.png")]),
    Scenario("augment", _many, [("augment", "{}/in", "-o", "{}/out", "-n", "2")]),
    Scenario("chain", _many, [("run", "denoise,compress", "{}/in", "-o", "{}/out")]),
    Scenario("workers", _many, [(*NEGATIVE, "--workers", "2")]),
    Scenario("outputs", _many, [PAIR]),
    Scenario("video", _video, [(*CHEAP, "run", "negative", "{}/in", "-o", "{}/out")]),
    Scenario("clip", _video, [(*CHEAP, "run", "negative", "{}/in/clip.mp4", "-o", "{}/out/c.mp4")]),
    dataclasses.replace(JOB, plant=_many),
)
"""Commands that are killed: all kinds of operations and runs."""
