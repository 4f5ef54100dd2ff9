"""Parts of `check.py` about operations: self-tests, parity with the CPU, folder runs, the host."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import onnxruntime as ort
from throughput_folders import make_folder

import vaetools
from vaetools.metrics import psnr
from vaetools.model.runtime import Runtime

if TYPE_CHECKING:
    from check import Check

NULL_DEVICE = Path(__file__).parents[1] / "null_device.py"


def doctor(check: Check) -> dict[str, Any]:
    """Versions, the device, and the self-test of every model on it."""
    check.say(
        f"onnxruntime {ort.__version__}, numpy {np.__version__}, {os.cpu_count()} cores, "
        f"providers {', '.join(ort.get_available_providers())}"
    )
    check.say(f"--device {check.device} is {Runtime(check.device).device}")
    check.say(f"--device auto is {Runtime('auto').device}")
    bad = {}
    started = time.monotonic()
    with vaetools.open(check.device) as hub:
        for name in hub.registry.ids():
            try:
                hub.registry.open(name).verify()
            except vaetools.VaetoolsError as error:
                bad[name] = str(error)
    check.say(f"self-tests: {len(bad)} failed {bad or ''} in {time.monotonic() - started:.1f} s")
    done = subprocess.run(
        [sys.executable, "-m", "vaetools", "doctor"], capture_output=True, text=True, check=False
    )
    check.say(f"doctor: exit code {done.returncode}")
    return {"bad": bad, "doctor": done.stdout + done.stderr}


def parity(check: Check) -> list[dict[str, Any]]:
    """The CPU and the device on the same images, and each other's files."""
    rows = []
    with vaetools.open("cpu") as cpu, vaetools.open(check.device) as device:
        for path in check.photos[: 1 if check.quick else 4]:
            image = cv2.imread(str(path))
            one, two = (hub.compress(image, quality=75) for hub in (cpu, device))
            decoded = {
                "cpu": cpu.decompress(one),
                "cpu to device": device.decompress(one),
                "device to cpu": cpu.decompress(two),
            }
            rng = np.random.default_rng(1)
            noisy = np.clip(np.rint(image + rng.normal(0, 25, image.shape)), 0, 255).astype(
                np.uint8
            )
            restored = [hub.denoise(noisy, sigma="25") for hub in (cpu, device)]
            repeat = 2 if check.quick else 5
            row = {
                "image": path.name,
                "bytes": (len(one), len(two)),
                "psnr": {name: round(psnr(image, found), 3) for name, found in decoded.items()},
                "decode": largest(decoded["cpu"], decoded["cpu to device"]),
                "denoise": largest(*restored),
                "encodings": len({device.compress(image, quality=75) for _ in range(repeat)}),
                "decodings": len({device.decompress(one).tobytes() for _ in range(repeat)}),
            }
            check.say(
                f"{row['image']}: bytes {row['bytes']}, PSNR {row['psnr']}, largest difference "
                f"decode {row['decode']}, denoise {row['denoise']}; distinct results of {repeat}: "
                f"encode {row['encodings']}, decode {row['decodings']}"
            )
            rows.append(row)
    return rows


def largest(first: np.ndarray, second: np.ndarray) -> int:
    """Largest difference of two images on the 0–255 scale."""
    return int(np.abs(first.astype(int) - second.astype(int)).max())


class Load:
    """Load and memory of the first NVIDIA GPU, sampled while a block runs; empty without one."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float]] = []
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Load:
        if shutil.which("nvidia-smi") is None:
            return self
        words = ["nvidia-smi", "--id=0", "--query-gpu=utilization.gpu,memory.used"]
        words += ["--format=csv,noheader,nounits", "--loop-ms=100"]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            busy, memory = (float(word) for word in line.split(","))
            self.samples.append((busy, memory))

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def __str__(self) -> str:
        if not self.samples:
            return "GPU not seen"
        busy, memory = zip(*self.samples, strict=True)
        return f"GPU {statistics.mean(busy):.0f} % busy, {max(memory):.0f} MiB"


def folders(check: Check) -> dict[str, Any]:
    """Folder runs: one size, mixed sizes, JPEG; then the CPU alone."""
    cores = os.cpu_count() or 1
    count = 3 if check.quick else 96
    cases = [
        ("compress", "same", "png"),
        ("compress", "mixed", "png"),
        ("compress", "same", "jpg"),
        ("decompress", "same", "jpg"),
        ("denoise", "same", "jpg"),
        ("denoise", "mixed", "jpg"),
        ("inpaint", "same", "png"),
    ]
    if check.quick:
        cases = [case for case in cases if case[1:] == ("same", "jpg")]
    ways = [{"jobs": cores, "workers": 0}, {"jobs": cores, "workers": cores}]
    if not check.quick:
        ways.insert(0, {"jobs": 1, "workers": 0})
    out = {}
    for device in dict.fromkeys([check.device, "cpu"]):
        for op, kind, suffix in cases:
            target = check.scratch / f"{op}-{kind}-{suffix}"
            shutil.rmtree(target, ignore_errors=True)
            made = make_folder(target, check.photos, op, kind, suffix, count)
            for way in ways if device == check.device else ways[-1:]:
                if check.left < 30 and not check.quick:
                    check.say("folders: out of time")
                    return out
                found = _folder_run(device, op, made, target / "out", way)
                name = f"{device} {op} {kind} {suffix} {way}"
                check.say(f"{name}: {found['text']}")
                out[name] = found
    return out


def _folder_run(
    device: str, op: str, made: Any, target: Path, way: dict[str, int]
) -> dict[str, Any]:
    shutil.rmtree(target, ignore_errors=True)
    with vaetools.open(device, threads=1) as hub:
        warm = sorted(made.inputs.iterdir())[:2]
        hub.map(op, warm, out=target / "warm", jobs=1, **made.options)
        before, started = os.times(), time.perf_counter()
        with Load() as load:
            result = hub.map(op, made.inputs, out=target / "out", **way, **made.options)
        wall, after = time.perf_counter() - started, os.times()
    cpu = sum(after[:4]) - sum(before[:4])
    speed = made.count / wall
    text = (
        f"{speed:.1f} images/s, {made.megapixels / wall:.1f} MP/s, CPU {1000 * cpu / made.count:.0f} "
        f"ms per image, {load}, {result.counts['failed']} failed {result.stopped}"
    )
    return {"text": text, "speed": speed, "cpu": cpu, "wall": wall, "device": result.device}


def host(check: Check) -> list[dict[str, Any]]:
    """What the host can do around a device that takes no time."""
    words = [str(check.photos[0]), "--workplace", str(check.scratch)]
    words += ["--cores", str(os.cpu_count() or 1)]
    if check.quick:
        words += ["--few", "2", "--many", "4", "--repeats", "1", "--operations", "denoise"]
    done = subprocess.run(
        [sys.executable, str(NULL_DEVICE), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=None if check.quick else max(check.left, 1),
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-500:])
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    for row in rows:
        check.say(", ".join(f"{name} {value}" for name, value in row.items()))
    return rows
