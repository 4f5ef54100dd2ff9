"""Measure how well `anomaly` finds defects painted into photographs of textures.

python examples/plugins/anomaly/measure.py --out runs/anomaly

Brick, grass and gravel from scikit-image, 512 × 512 greyscale pixels each: the left half is for
training, the right half for testing. Test images are 128 × 128 crops, half of them with a scratch, a
stain or a hole. For each texture a VAE is trained, exported and used through the operation. Baselines
are the linear VAE (probabilistic PCA: Tipping & Bishop, 1999) of the same windows, and the difference
to a blurred image.
"""

from __future__ import annotations

import argparse
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from skimage import data

import vaetools

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent

TEXTURES: dict[str, Callable[[], np.ndarray]] = {
    "brick": data.brick,
    "grass": data.grass,
    "gravel": data.gravel,
}
DEFECTS = ("scratch", "stain", "hole")

SIDE = 128
"""Side of test images in pixels."""

WINDOW = 16
"""Side of the models' input, as in texture.toml."""

WINDOWS = 8000
"""Number of training windows. Half are mirrored: the joints of the right half lean the other way."""

BLUR = 6.0
"""Standard deviation of the blur in pixels, the best of 2, 4, 6 and 8."""


def halves(texture: str) -> tuple[np.ndarray, np.ndarray]:
    """The training half and the test half, (512, 256) uint8 each."""
    pixels = TEXTURES[texture]()
    return pixels[:, :256], pixels[:, 256:]


def training_windows(texture: str) -> np.ndarray:
    """(WINDOWS, WINDOW, WINDOW) uint8."""
    rng, (half, _) = np.random.default_rng(0), halves(texture)
    cut = np.lib.stride_tricks.sliding_window_view(half, (WINDOW, WINDOW))
    rows, columns = (rng.integers(0, n, WINDOWS) for n in cut.shape[:2])
    windows = cut[rows, columns]
    return np.concatenate([windows[::2], windows[1::2, :, ::-1]])


def paint(rng: np.random.Generator, kind: str, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An image (SIDE, SIDE), 0 … 1, with a defect, and the mask of the defect (bool).

    Defects are clearly visible: a scratch is lighter or darker by 0.35 … 0.5 of the range, a stain by
    0.25 … 0.35, a hole is nearly black. The standard deviations of the textures are 0.10 to 0.15.
    """
    if kind == "scratch":
        mask = _line(rng)
        depth = rng.choice([-1, 1]) * rng.uniform(0.35, 0.5)
        changed = image + mask * depth
    elif kind == "stain":
        mask = _ellipse(rng, 8, 14, soft=2.0)
        changed = image + mask * rng.choice([-1, 1]) * rng.uniform(0.25, 0.35)
    else:
        mask = _ellipse(rng, 5, 9, soft=0.8)
        changed = image + mask * (rng.uniform(0, 0.1) - image)
    return changed.clip(0, 1), mask > 0.5


def _line(rng: np.random.Generator) -> np.ndarray:
    """A bent line, 40 to 70 pixels long and about 3 wide: (SIDE, SIDE), 0 … 1."""
    pieces, length = 6, rng.uniform(40, 70)
    angles = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.12, pieces))
    steps = length / pieces * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = rng.uniform(24, SIDE - 24, 2) + np.cumsum(steps, axis=0) - steps.sum(axis=0) / 2
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.polylines(mask, [np.rint(points * 8).astype(np.int32)], False, 255, 3, cv2.LINE_AA, 3)
    return mask / 255


def _ellipse(rng: np.random.Generator, low: float, high: float, *, soft: float) -> np.ndarray:
    """An ellipse with half axes of `low` … `high` pixels and a soft edge: (SIDE, SIDE), 0 … 1."""
    middle, axes = rng.uniform(high + 2, SIDE - high - 2, 2), rng.uniform(low, high, 2)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    centre, radii = (np.rint(pair * 8).astype(int).tolist() for pair in (middle, axes))
    cv2.ellipse(mask, centre, radii, rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA, 3)
    return cv2.GaussianBlur(mask / 255, (0, 0), soft)


def drawn_images(texture: str, each: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Good images, bad images with `each` of every kind of defect in order, and the defect masks:
    (N, SIDE, SIDE), uint8 and bool."""
    rng, (_, half) = np.random.default_rng(1), halves(texture)

    def crop() -> np.ndarray:
        top, left = (rng.integers(0, n - SIDE + 1) for n in half.shape)
        return half[top : top + SIDE, left : left + SIDE] / 255

    painted = [paint(rng, kind, crop()) for kind in DEFECTS for _ in range(each)]
    good = np.stack([crop() for _ in painted])
    bad = np.stack([image for image, _ in painted])
    masks = np.stack([mask for _, mask in painted])
    return np.rint(good * 255).astype(np.uint8), np.rint(bad * 255).astype(np.uint8), masks


def auroc(bad: np.ndarray, good: np.ndarray) -> float:
    """Area under the ROC curve: how often a bad image has the higher score; ties count half."""
    values = np.concatenate([bad, good])
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[: len(bad)].mean() - (len(bad) + 1) / 2) / len(good))


def train(texture: str, out: Path) -> None:
    """Train and export the VAE of a texture: `out/models/TEXTURE`."""
    folder = out / "windows" / texture
    folder.mkdir(parents=True, exist_ok=True)
    windows = training_windows(texture)
    head = struct.pack(">HBB3I", 0, 8, 3, *windows.shape)
    (folder / "train-images.idx3-ubyte").write_bytes(head + windows.tobytes())
    recipe = out / f"{texture}.toml"
    text = (HERE / "texture.toml").read_text(encoding="utf-8")
    recipe.write_text(text.replace('id = "texture"', f'id = "{texture}"'), encoding="utf-8")
    run = out / "runs" / texture
    _vaetools("train", recipe, "--data", folder, "--run", run, "--device", "cpu")
    _vaetools("export", run, "--to", out / "models" / texture)


def _vaetools(*words: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "vaetools", *map(str, words)], check=True)


def write_linear(texture: str, folder: Path, latents: int) -> None:
    """Export the linear VAE of a texture's windows; posterior and decoder have a closed form."""
    import torch
    from torch import nn

    from vaetools.training.importers.module import export_module

    flat = training_windows(texture).reshape(WINDOWS, -1) / 255
    values, vectors = np.linalg.eigh(np.cov(flat.T))
    noise, values = values[:-latents].mean(), values[-latents:]
    loadings = vectors[:, -latents:] * np.sqrt(values - noise)

    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.middle = nn.Parameter(torch.tensor(flat.mean(axis=0), dtype=torch.float32))
            self.into = nn.Parameter(torch.tensor(loadings / values, dtype=torch.float32))
            self.out = nn.Parameter(torch.tensor(loadings.T.copy(), dtype=torch.float32))
            self.logvar = nn.Parameter(torch.tensor(np.log(noise / values), dtype=torch.float32))

        def encode(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            mean = (image.flatten(1) - self.middle) @ self.into
            return mean, self.logvar + 0 * mean

        def decode(self, latent: torch.Tensor) -> torch.Tensor:
            return (latent @ self.out + self.middle).unflatten(1, (1, WINDOW, WINDOW))

    export_module(Linear().eval(), folder, size=(WINDOW, WINDOW), channels=1)


def blur_residual(image: np.ndarray) -> np.ndarray:
    """|image − blurred image|, smoothed as the operation does."""
    values = image.astype(np.float32)
    return cv2.GaussianBlur(np.abs(values - cv2.GaussianBlur(values, (0, 0), BLUR)), (0, 0), 2.0)


def score(
    heat: Callable[[np.ndarray], np.ndarray],
    good: np.ndarray,
    bad: np.ndarray,
    masks: np.ndarray,
) -> list[float]:
    """AUROC of images, of the images with each kind of defect, and of pixels."""
    calm, hot = (np.stack([heat(image) for image in images]) for images in (good, bad))
    low, high = (maps.max(axis=(1, 2)).astype(float) for maps in (calm, hot))
    kinds = [auroc(part, low) for part in np.split(high, len(DEFECTS))]
    outside = np.concatenate([calm.ravel(), hot[~masks]])
    return [auroc(high, low), *kinds, auroc(hot[masks], outside)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=Path("runs/anomaly"), help="folder for the models"
    )
    parser.add_argument("--each", type=int, default=20, help="images with each kind of defect")
    parser.add_argument("--latents", type=int, default=6, help="latents of the linear VAE")
    args = parser.parse_args()
    found: dict[str, list[list[float]]] = {}
    for texture in TEXTURES:
        if not (args.out / "models" / texture / "model.toml").exists():
            train(texture, args.out)
        write_linear(texture, args.out / "models" / f"{texture}-linear", args.latents)
        hub = vaetools.open("cpu", models_dirs=[args.out / "models"], plugins_dirs=[HERE / "src"])
        images = drawn_images(texture, args.each)
        methods = {
            f"{title}, {by}": hub.op("anomaly", model=model, by=by)
            for title, model in [("VAE", texture), ("linear VAE", f"{texture}-linear")]
            for by in ("kl", "residual")
        }
        for name, heat in {**methods, "blur, residual": blur_residual}.items():
            found.setdefault(name, []).append(score(heat, *images))
    show(found)
    used = os.times()
    training = f"{used.children_user:.0f} s of it training"
    print(f"\n{used.user + used.children_user:.0f} s of CPU time, {training}")


def show(found: dict[str, list[list[float]]]) -> None:
    """Print the table of the README."""
    print(f"| AUROC | {' | '.join(TEXTURES)} | mean | {' | '.join(DEFECTS)} | pixels |")
    print("|---|" + "---:|" * (len(TEXTURES) + len(DEFECTS) + 2))
    for name, rows in found.items():
        whole, *kinds, pixels = np.mean(rows, axis=0)
        figures = [*(row[0] for row in rows), whole, *kinds, pixels]
        print(f"| {name} | {' | '.join(f'{figure:.3f}' for figure in figures)} |")


if __name__ == "__main__":
    main()
