"""Likelihood of the MNIST test images under VAEs, from their ONNX graphs.

    python benchmarks/mnist.py MNIST exported_models/vaetools_models/mnist-* runs/models/mnist-*
    python benchmarks/mnist.py MNIST my/model --images 1000 --samples 100        # a quick look

MNIST is a folder with `t10k-images-idx3-ubyte.gz`. For each model folder: ELBO and importance-weighted
bound in nats per image, on test images with dynamic binarisation (each pixel is drawn once, with
--seed). A plain autoencoder has no bound; its row contains the reconstruction error only. Published
values are listed for comparison.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from pathlib import Path

import numpy as np
from common import circumstances

from vaetools import Vae
from vaetools.image.idx import read_idx
from vaetools.model import bounds
from vaetools.model.manifest import read_manifest
from vaetools.model.runtime import Runtime

ACTIVE = 0.01
"""A latent is active if its posterior mean varies more than this over the data (Burda 2016)."""

BATCH = 1000

PUBLISHED = (
    ("VAE, 50 latents, 2 × 200 tanh, 1 sample", "dynamic", 87.78, "xqding/IWAE, K = 5000"),
    ("IWAE, same network, 50 samples", "dynamic", 84.59, "xqding/IWAE, K = 5000"),
    ("VAE, pythae", "dynamic", 89.78, "pythae, reproduction, K = 200"),
    ("VAE, 128 latents, 2 × 256", "static", 97.10, "altosaar/variational-autoencoder"),
    ("ladder VAE, 12 layers", "static", 78.30, "addtt/ladder-vae-pytorch"),
)
"""(model, binarisation, −log p(x), source), from the README files of the authors."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mnist", type=Path, help="folder with t10k-images-idx3-ubyte.gz")
    parser.add_argument("models", type=Path, nargs="+", help="model folders")
    parser.add_argument(
        "--samples",
        type=int,
        default=1000,
        help="K of the importance-weighted bound [default: 1000]",
    )
    parser.add_argument(
        "--images", type=int, default=10_000, help="number of test images [default: 10000]"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    options = parser.parse_args()
    grey = read_idx(options.mnist / "t10k-images-idx3-ubyte.gz")[: options.images, None]
    images = bounds.binarise(grey / np.float32(255), np.random.default_rng(options.seed))
    runtime = Runtime("cpu", threads=options.threads)
    rows = []
    for folder in options.models:
        rows.append(measure(Vae(read_manifest(folder), folder, runtime), images, options))
        print(json.dumps(rows[-1]), flush=True)
    if options.json:
        command = shlex.join(["python", "benchmarks/mnist.py", *sys.argv[1:]])
        found = {"run": circumstances(command), "samples": options.samples, "models": rows}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(table(rows, options.samples))


def measure(model: Vae, images: np.ndarray, options: argparse.Namespace) -> dict[str, object]:
    """Bounds and posterior statistics of one model on the test images."""
    began = time.monotonic()
    rng = np.random.default_rng(options.seed + 1)
    parts = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
    encoded = [model.encode_batch(part) for part in parts]
    means = np.concatenate([mean for mean, _ in encoded])
    row: dict[str, object] = {
        "model": model.id,
        "megabytes": round(model.manifest.bytes / 1e6, 2),
        "latents": model.manifest.latent.channels,
        "active": int((means.var(axis=0) > ACTIVE).sum()),
        "reconstruction": -mean_of(
            [bounds.log_likelihood(model, p, m) for p, (m, _) in zip(parts, encoded, strict=True)]
        ),
    }
    if encoded[0][1] is not None:
        elbos = [bounds.elbo(model, part, rng) for part in parts]
        row["kl"] = mean_of([e.kl.reshape(len(e.kl), -1).sum(axis=1) for e in elbos])
        row["elbo"] = mean_of([e.bound for e in elbos])
        weighted = [bounds.iwae(model, part, rng, samples=options.samples) for part in parts]
        row["iwae"] = mean_of(weighted)
        spread = np.concatenate(weighted).std() / np.sqrt(len(images))
        row["standard_error"] = round(float(spread), 3)
    row["seconds"] = round(time.monotonic() - began, 1)
    return row


def mean_of(parts: list[np.ndarray]) -> float:
    return round(float(np.concatenate(parts).mean()), 3)


def table(rows: list[dict[str, object]], samples: int) -> str:
    """Results and published values as Markdown tables."""
    lines = [
        f"| model | MB | active units | −log p(x \\| mode) | KL | −ELBO | −IWAE, K = {samples} |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        bound = (
            [f"{row['kl']:.2f}", f"{-row['elbo']:.2f}", f"**{-row['iwae']:.2f}**"]
            if ("iwae" in row)
            else ["–", "–", "no bound"]
        )
        active = f"{row['active']} of {row['latents']}"
        cells = [row["model"], row["megabytes"], active, f"{row['reconstruction']:.2f}", *bound]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    lines += ["", "| published | binarisation | −log p(x) | source |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {kind} | {nats:.2f} | {source} |" for name, kind, nats, source in PUBLISHED
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
