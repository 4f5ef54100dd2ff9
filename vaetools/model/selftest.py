"""The self-test of a model: what its graphs give for seeded inputs is what was exported."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from vaetools.errors import ModelBrokenError

if TYPE_CHECKING:
    from vaetools.model.session import Session
    from vaetools.model.spec import Manifest

MAX_ELEMENTS = 2**24
"""Elements that an input of a self-test may have."""


def self_test(session: Session, manifest: Manifest) -> float:
    """Mean absolute value of a graph's outputs, for inputs drawn from the manifest's seed.

    Raises:
        ModelBrokenError: an input would be too large, or the graph fails.
    """
    outputs = session(*seeded_inputs(session, manifest))
    return float(np.mean([np.abs(o.astype(np.float64)).mean() for o in outputs]))


def seeded_inputs(session: Session, manifest: Manifest) -> list[np.ndarray]:
    """Inputs of a graph for an image of the self-test's size. Raises as `self_test`."""
    rng = np.random.default_rng(manifest.selftest.seed)
    sizes = small_sizes(manifest)
    shapes = [
        tuple(side if isinstance(side, int) else sizes.get(side or "", 1) for side in shape)
        for shape in session.input_shapes
    ]
    inputs = zip(session.inputs, shapes, strict=True)
    return [_seeded(name, shape, rng) for name, shape in inputs]


def small_sizes(manifest: Manifest) -> dict[str, int]:
    """Sides of the self-test's image and latents, by the symbolic names of exported graphs."""
    height, width = manifest.selftest.height, manifest.selftest.width
    down = manifest.latent.downscale
    return {
        "height": height,
        "width": width,
        "latent_height": height // down,
        "latent_width": width // down,
        "hyper_height": height // (4 * down),
        "hyper_width": width // (4 * down),
    }


def _seeded(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """One input: images and noise levels are uniform, masks hide a quarter, the rest is integers."""
    if min(shape, default=1) < 1 or math.prod(shape) > MAX_ELEMENTS:
        raise ModelBrokenError(f"self-test: {name!r} would have the shape {shape}")
    if name in {"image", "sigma"}:
        return rng.random(shape, dtype=np.float32)
    if name == "mask":
        return (rng.random(shape) < 0.25).astype(np.float32)
    return rng.integers(-3, 4, shape).astype(np.float32)
