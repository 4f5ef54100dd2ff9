"""Accuracy of a small network on few pictures, with and without augmentation.

    python benchmarks/augment.py --mnist MNIST [--digits] [--out DIR] [--model ID] [--seeds N]

Digits: MNIST (a folder with the four idx files) and those of scikit-learn. Every arm sees the same
pictures, begins with the same weights and takes the same number of gradient steps. See README.md
beside this file.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import shlex
import statistics
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from augment_report import report
from codec_report import circumstances
from torch import nn

import vaetools
from vaetools.image.idx import read_idx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SIDE = 28
CLASSES = 10
BATCH = 32
RATE = 1e-3
TESTED = 500
"""Pictures of scikit-learn's digits that are kept for testing."""


@dataclass(frozen=True)
class Digits:
    """Pictures (N, 28, 28) float32 in [0, 1] and their classes (N,), to learn from and to test on."""

    images: np.ndarray
    classes: np.ndarray
    test_images: np.ndarray
    test_classes: np.ndarray


# --- data ------------------------------------------------------------------------------------------


def read_mnist(folder: Path) -> Digits:
    def part(name: str) -> tuple[np.ndarray, np.ndarray]:
        images = read_idx(folder / f"{name}-images-idx3-ubyte.gz") / np.float32(255)
        with gzip.open(folder / f"{name}-labels-idx1-ubyte.gz") as file:
            labels = np.frombuffer(file.read()[8:], np.uint8)  # after magic and count
        return images, labels.astype(np.int64)

    return Digits(*part("train"), *part("t10k"))


def read_sklearn_digits() -> Digits:
    """8 x 8 pixels, enlarged to the 20 x 20 that MNIST's digits fill."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        sys.exit("--digits needs scikit-learn: pip install scikit-learn")
    small, classes = load_digits(return_X_y=True)
    images = np.zeros((len(small), SIDE, SIDE), np.float32)
    for image, values in zip(images, small, strict=True):
        eight = (values.reshape(8, 8) / 16).astype(np.float32)
        image[4:24, 4:24] = cv2.resize(eight, (20, 20), interpolation=cv2.INTER_LINEAR)
    order = np.random.default_rng(0).permutation(len(images))
    images, classes = images[order], classes[order].astype(np.int64)
    return Digits(images[TESTED:], classes[TESTED:], images[:TESTED], classes[:TESTED])


def few_of(digits: Digits, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` pictures of each class, and their classes."""
    rng = np.random.default_rng([seed, count])
    places = [rng.choice(np.flatnonzero(digits.classes == c), count, False) for c in range(CLASSES)]
    chosen = np.concatenate(places)
    return digits.images[chosen], digits.classes[chosen]


# --- arms ------------------------------------------------------------------------------------------


class Banks:
    """Copies of few pictures, made when an arm first needs them: (n, 1 + copies, 28, 28) each, the
    picture itself first."""

    def __init__(
        self, images: np.ndarray, classes: np.ndarray, seed: int, options: argparse.Namespace
    ) -> None:
        self.images, self.classes, self.seed, self.options = images, classes, seed, options
        self.numbers = range(1, options.copies + 1)

    @cached_property
    def plain(self) -> np.ndarray:
        return self.images[:, None]

    @cached_property
    def latent(self) -> np.ndarray:
        jitter = vaetools.LatentJitter(self.options.opened, self.options.strength)
        return self._bank(lambda place, image: jitter.copies(image, self._rngs(place)))

    @cached_property
    def latent_mix(self) -> np.ndarray:
        mix = vaetools.LatentMix(self.options.opened, alpha=1.0)
        partners = self._partners

        def copies(place: int, image: np.ndarray) -> Iterable[np.ndarray]:
            for partner, rng in zip(partners[place], self._rngs(place), strict=True):
                yield mix(image, rgb(self.images[partner]), rng, labels=(0, 0)).image

        return self._bank(copies)

    @cached_property
    def pixel_mix(self) -> np.ndarray:
        """The partners and shares of `latent_mix`, mixed as pixels."""

        def copies(place: int, image: np.ndarray) -> Iterable[np.ndarray]:
            for partner, rng in zip(self._partners[place], self._rngs(place), strict=True):
                drawn = rng.beta(1.0, 1.0)
                yield image + min(drawn, 1 - drawn) * (rgb(self.images[partner]) - image)

        return self._bank(copies)

    @cached_property
    def noise(self) -> np.ndarray:
        """Noise that changes as much as the latents do: the same root mean square."""
        change = self.latent[:, 1:] - self.latent[:, :1]
        sigma = float(np.sqrt((change**2).mean()))
        return self._bank(
            lambda place, image: (
                image + sigma * rng.standard_normal((SIDE, SIDE, 1)) for rng in self._rngs(place)
            )
        )

    @cached_property
    def blur(self) -> np.ndarray:
        return self._bank(
            lambda place, image: (
                cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.2)) for rng in self._rngs(place)
            )
        )

    @cached_property
    def _partners(self) -> np.ndarray:
        """For each picture and copy another picture of its class, (n, copies)."""
        rng = np.random.default_rng(self.seed)
        return np.array(
            [rng.choice(np.flatnonzero(self.classes == c), len(self.numbers)) for c in self.classes]
        )

    def _rngs(self, place: int) -> list[np.random.Generator]:
        return [vaetools.copy_generator(self.seed, str(place), number) for number in self.numbers]

    def _bank(self, copies: Callable[[int, np.ndarray], Iterable[np.ndarray]]) -> np.ndarray:
        rows = [
            [image, *(copy[..., 0] for copy in copies(place, rgb(image)))]
            for place, image in enumerate(self.images)
        ]
        return np.clip(np.array(rows, np.float32), 0, 1)


def rgb(grey: np.ndarray) -> np.ndarray:
    """(28, 28) as (28, 28, 3)."""
    return np.repeat(grey[..., None], 3, axis=2)


def classic(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Rotated by up to 12°, scaled by up to 10 %, shifted by up to 2 pixels; (N, 1, 28, 28)."""
    drawn = 2 * torch.rand((4, len(images)), generator=generator) - 1
    angle, scale = drawn[0] * (12 * np.pi / 180), 1 + 0.1 * drawn[1]
    shift = drawn[2:] * (2 * 2 / SIDE)
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = (torch.stack([cosine, -sine, shift[0]], 1), torch.stack([sine, cosine, shift[1]], 1))
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


ARMS = {
    "none": ("plain", False),
    "classic": ("plain", True),
    "latent": ("latent", False),
    "classic + latent": ("latent", True),
    "latent mix": ("latent_mix", False),
    "classic + latent mix": ("latent_mix", True),
    "noise": ("noise", False),
    "blur": ("blur", False),
    "pixel mix": ("pixel_mix", False),
    "classic + pixel mix": ("pixel_mix", True),
}
"""Which copies an arm draws from, and whether they are also moved by `classic`."""


# --- training --------------------------------------------------------------------------------------


def network() -> nn.Sequential:
    """Two convolutions, 46,000 weights."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.25), nn.Linear(32 * 49, 26), nn.ReLU(), nn.Linear(26, CLASSES),
    )  # fmt: skip


def accuracy(arm: str, banks: Banks, digits: Digits, steps: int) -> float:
    """Share of test pictures that the network gets right after training, in per cent."""
    name, moved = ARMS[arm]
    torch.manual_seed(banks.seed)  # the same weights for every arm
    model = network()
    generator = torch.Generator().manual_seed(banks.seed)
    bank, classes = torch.from_numpy(getattr(banks, name)), torch.from_numpy(banks.classes)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    model.train()
    for _ in range(steps):
        places = torch.randint(len(bank), (BATCH,), generator=generator)
        images = bank[places, torch.randint(bank.shape[1], (BATCH,), generator=generator)][:, None]
        images = classic(images, generator) if moved else images
        loss = F.cross_entropy(model(images), classes[places])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        parts = torch.from_numpy(digits.test_images)[:, None].split(1000)
        found = torch.cat([model(part).argmax(1) for part in parts]).numpy()
    return float(100 * (found == digits.test_classes).mean())


def compare(name: str, digits: Digits, options: argparse.Namespace) -> dict[str, Any]:
    """Accuracies by arm and number of pictures per class, one for each seed."""
    found: dict[str, dict[str, list[float]]] = {arm: {} for arm in options.arms}
    for count, seed in itertools.product(options.counts, range(options.seeds)):
        banks = Banks(*few_of(digits, count, seed), seed, options)
        for arm in options.arms:
            score = accuracy(arm, banks, digits, options.steps)
            found[arm].setdefault(str(count), []).append(score)
        row = ", ".join(
            f"{arm} {statistics.fmean(by[str(count)]):.2f}" for arm, by in found.items()
        )
        print(f"{name}, {count} per class, seed {seed}: {row}", file=sys.stderr, flush=True)
    return {"tested": len(digits.test_classes), "accuracy": found}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, help="folder with MNIST's four idx files")
    parser.add_argument("--digits", action="store_true", help="the digits of scikit-learn as well")
    parser.add_argument("--out", type=Path, default=Path("bench-augment"))
    parser.add_argument("--model", default="mnist-conv", help="a VAE for 28 x 28 [mnist-conv]")
    parser.add_argument("--models-dir", type=Path, action="append", default=[])
    parser.add_argument("--counts", type=int, nargs="+", default=[5, 10, 20, 50])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=600, help="gradient steps of every arm [600]")
    parser.add_argument("--copies", type=int, default=16, help="of each picture [16]")
    parser.add_argument("--strength", type=float, default=1.0, help="of the latent arms [1]")
    parser.add_argument("--arms", nargs="+", choices=[*ARMS], default=[*ARMS], metavar="ARM")
    parser.add_argument("--tested", type=int, default=10_000, help="first N test pictures [10000]")
    options = parser.parse_args()
    if options.mnist is None and not options.digits:
        parser.error("name --mnist MNIST, or --digits, or both")
    if options.seeds < 2:
        parser.error("error bars need --seeds of at least 2")
    return options


def main() -> None:
    options = parse()
    torch.set_num_threads(1)  # a larger number would be slower, for networks of this size
    hub = vaetools.open("cpu", models_dirs=options.models_dir, threads=1)
    options.opened = hub.registry.open(options.model)
    sets = {}
    if options.mnist is not None:
        sets["MNIST"] = read_mnist(options.mnist)
    if options.digits:
        sets["scikit-learn digits"] = read_sklearn_digits()
    results = {}
    for name, digits in sets.items():
        tested = slice(options.tested)
        shown = Digits(
            digits.images,
            digits.classes,
            digits.test_images[tested],
            digits.test_classes[tested],
        )
        results[name] = compare(name, shown, options)
    command = shlex.join(["python", "benchmarks/augment.py", *sys.argv[1:]])
    found = {
        "circumstances": circumstances(command),
        "settings": {
            "model": options.model,
            "model_sha256": options.opened.manifest.fingerprint,
            "counts": options.counts,
            "seeds": options.seeds,
            "steps": options.steps,
            "copies": options.copies,
            "strength": options.strength,
        },
        "sets": results,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "augment.json").write_text(json.dumps(found, indent=1) + "\n")
    text = report(found)
    (options.out / "augment.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
