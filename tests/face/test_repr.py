"""What the objects of the Python interface look like in a console: one line, and no pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import vaetools
from vaetools.model.latent import Latent, Posterior
from vaetools.model.registry import ModelRegistry
from vaetools.model.runtime import Runtime
from vaetools.testing import TINY

if TYPE_CHECKING:
    from pathlib import Path

    from vaetools.hub import Hub


def test_images() -> None:
    grey = vaetools.Image.from_array(np.zeros((4, 6), np.uint8))
    assert repr(grey) == "<Image 6×4 grey uint8>"
    colour = vaetools.Image.from_array(np.zeros((4, 6, 4), np.float32))
    assert repr(colour) == "<Image 6×4 BGR with alpha float32>"
    assert repr(vaetools.Image(colour.pixels, format="png")) == "<Image 6×4 BGR float32 from png>"


def test_latents() -> None:
    values = np.zeros((1, 3, 2, 2), np.float32)
    assert repr(Latent(values, 8, 7)) == "<Latent (1, 3, 2, 2) of 7×8 pixels>"
    posterior = Posterior(values, values, 8, 7)
    assert repr(posterior) == "<Posterior Gaussian (1, 3, 2, 2) of 7×8 pixels>"
    assert "deterministic" in repr(Posterior(values, None, 8, 7))


def test_models(tiny_models: Path) -> None:
    vae = ModelRegistry([tiny_models], lambda: Runtime("cpu", threads=1)).open(TINY)
    assert repr(vae) == "<Vae tiny-vae 1 (generate, reconstruct) on cpu>"


def test_restorers(codec_hub: Hub) -> None:
    denoiser = vaetools.Denoiser(codec_hub.registry.for_task("denoise"))
    assert repr(denoiser) == "<Denoiser photo-denoise on cpu>"
    inpainter = vaetools.Inpainter(codec_hub.registry.for_task("inpaint"))
    assert repr(inpainter) == "<Inpainter photo-inpaint on cpu>"
