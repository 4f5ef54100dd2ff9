"""The classical fill that the inpainter starts from."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from skimage import data
from skimage.restoration import inpaint_biharmonic

from vaetools.training.data.holes import KINDS, Holes, HoleSettings
from vaetools.training.networks.restoration import fill as module
from vaetools.training.networks.restoration.fill import fill
from vaetools.training.tasks.inpaint import hole_psnr

SIDE = 96


@pytest.fixture(scope="module")
def photos() -> torch.Tensor:
    """(6, 3, SIDE, SIDE)"""
    names, corners = ("astronaut", "coffee", "chelsea"), ((10, 200), (130, 90))
    crops = [
        getattr(data, name)()[y : y + SIDE, x : x + SIDE] for name in names for y, x in corners
    ]
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2) / 255


@pytest.fixture(scope="module")
def blurred(photos: torch.Tensor) -> torch.Tensor:
    planes = [cv2.GaussianBlur(p.permute(1, 2, 0).numpy(), (0, 0), 6) for p in photos]
    return torch.from_numpy(np.stack(planes)).permute(0, 3, 1, 2)


def masks_of(kind: str, images: torch.Tensor) -> torch.Tensor:
    drawn = Holes(HoleSettings(), torch.Generator().manual_seed(0)).of_kind(kind, images)
    drawn[:, :, 5, 5] = 1
    return drawn


def square(images: torch.Tensor, side: int = 32) -> torch.Tensor:
    mask = torch.zeros_like(images[:, :1])
    begin = (SIDE - side) // 2 + 3  # not on the grid of cells
    mask[:, :, begin : begin + side, begin : begin + side] = 1
    return mask


def psnr_of_opencv(images: torch.Tensor, masks: torch.Tensor, method: int) -> float:
    filled = []
    for image, mask in zip(images, masks, strict=True):
        pixels = (255 * image.permute(1, 2, 0)).round().byte().numpy()
        painted = cv2.inpaint(pixels, mask[0].byte().numpy(), 3, method)
        filled.append(torch.from_numpy(painted).permute(2, 0, 1) / 255)
    return float(hole_psnr(images - torch.stack(filled), masks))


def psnr_of_biharmonic(images: torch.Tensor, masks: torch.Tensor) -> float:
    filled = [
        inpaint_biharmonic(i.permute(1, 2, 0).numpy(), m[0].bool().numpy(), channel_axis=2)
        for i, m in zip(images, masks, strict=True)
    ]
    found = torch.from_numpy(np.stack(filled)).float().clamp(0, 1).permute(0, 3, 1, 2)
    return float(hole_psnr(images - found, masks))


def psnr(images: torch.Tensor, masks: torch.Tensor) -> float:
    return float(hole_psnr(images - fill(images, masks), masks))


@pytest.mark.parametrize("kind", KINDS)
def test_photographs(photos: torch.Tensor, kind: str) -> None:
    masks = masks_of(kind, photos)
    for method in (cv2.INPAINT_TELEA, cv2.INPAINT_NS):
        assert psnr(photos, masks) > psnr_of_opencv(photos, masks, method) - 0.4
    assert psnr(photos, masks) > psnr_of_biharmonic(photos, masks) - 0.7


@pytest.mark.parametrize("kind", KINDS)
def test_blurred_photographs(blurred: torch.Tensor, kind: str) -> None:
    masks = masks_of(kind, blurred)
    for method in (cv2.INPAINT_TELEA, cv2.INPAINT_NS):
        assert psnr(blurred, masks) > psnr_of_opencv(blurred, masks, method) + 2.0


@pytest.mark.parametrize(("side", "levels"), [(2, 0.1), (6, 1.0), (32, 1.5), (48, 2.5)])
def test_a_slope_is_continued(side: int, levels: float) -> None:
    """A ramp over the whole range, in another direction in each channel."""
    y, x = torch.meshgrid(*[torch.linspace(0, 1, SIDE)] * 2, indexing="ij")
    image = torch.stack([x, 1 - y, (x + y) / 2])[None]
    hole = square(image, side)
    assert torch.allclose(fill(image, hole), image, atol=levels / 255)


def test_curvature_is_continued() -> None:
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, SIDE)] * 2, indexing="ij")
    image = torch.stack([x**2, 0.5 + x * y / 2, 1 - (x**2 + y**2) / 2])[None]
    hole = square(image)
    assert torch.allclose(fill(image, hole), image, atol=4 / 255)


def test_an_even_image_stays_even() -> None:
    image = torch.full((1, 3, 64, 80), 0.3)
    mask = masks_of("brush", image)
    mask[..., :20] = 1  # at the border as well
    assert torch.allclose(fill(image, mask), image, atol=1e-3)


def test_a_fill_in_a_large_hole_is_finite(photos: torch.Tensor) -> None:
    for mask in (torch.ones_like(photos[:, :1]), torch.zeros_like(photos[:, :1])):
        filled = fill(photos, mask)
        assert torch.isfinite(filled).all()
        assert torch.equal(filled == photos, (mask == 0).expand_as(photos)) or mask.any()
    everything = fill(photos, torch.ones_like(photos[:, :1]))
    assert float(everything.min()) > 0.4 and float(everything.max()) < 0.6


def test_what_the_hole_shows_is_not_read(photos: torch.Tensor) -> None:
    masks = masks_of("block", photos)
    other = torch.where(masks > 0, torch.rand_like(photos), photos)
    assert torch.equal(fill(photos, masks), fill(other, masks))


def test_the_surface_ends_at_known_cells(photos: torch.Tensor) -> None:
    wide = torch.cat([*photos], dim=2)[None]
    mask = torch.zeros_like(wide[:, :1])
    mask[:, :, 32:64, 32:64] = 1
    known = wide * (1 - mask)
    far = known.clone()
    far[..., 64 + 16 + module.DEEPEST :] = torch.nan
    near, changed = (module._surface(k, mask) for k in (known, far))
    assert torch.equal(near[..., :64], changed[..., :64])


@pytest.mark.parametrize("steps", [2, 3, 12])
def test_chebyshev_steps_take_care_of_all_frequencies(steps: int) -> None:
    """On one number, with the eigenvalue in place of the bilaplacian."""
    softest = module.SOFTEST[steps]
    ratio = (module.STIFFEST - softest) / (module.STIFFEST + softest)
    worst = 1 / np.cosh(steps * np.arccosh(1 / ratio))  # Saad, theorem 6.25
    for eigenvalue in np.linspace(softest, module.STIFFEST, 50):
        error, change = 1.0, 0.0
        for momentum, rate in module._chebyshev(steps, softest):
            change = momentum * change - rate * eigenvalue * error
            error += change
        assert abs(error) <= worst + 1e-6


def test_the_stiffest_pattern() -> None:
    y, x = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    board = ((x + y) % 2 * 2.0 - 1).expand(1, 3, 32, 32)
    stripes = (x % 2 * 2.0 - 1).expand(1, 3, 32, 32)
    for pattern in (board, stripes):
        inner = (module._bilaplacian(pattern) / pattern)[..., 4:-4, 4:-4]
        assert torch.allclose(inner, torch.full_like(inner, module.STIFFEST), atol=1e-5)


def test_autocast_changes_nothing(photos: torch.Tensor) -> None:
    masks = masks_of("text", photos)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = fill(photos, masks)
    assert torch.equal(found, fill(photos, masks))
