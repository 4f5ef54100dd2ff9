"""Blurred photographs."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from vaetools.training.data.blur import STDS, Blur, BlurSettings, blurred


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """(64, 3, 64, 64)"""
    photo = torch.from_numpy(data.astronaut()).permute(2, 0, 1) / 255
    tiles = photo.unfold(1, 64, 64).unfold(2, 64, 64)
    return tiles.permute(1, 2, 0, 3, 4).reshape(64, 3, 64, 64)


@pytest.mark.parametrize("std", [1.0, 3.0, 8.0])
def test_the_blur_is_that_of_opencv(images: torch.Tensor, std: float) -> None:
    found = blurred(images[:4], torch.full((4,), std))
    for image, result in zip(images, found, strict=False):
        pixels = image.permute(1, 2, 0).numpy()
        expected = cv2.GaussianBlur(pixels, (49, 49), std, borderType=cv2.BORDER_REFLECT_101)
        assert np.allclose(result.permute(1, 2, 0).numpy(), expected, atol=1e-4)


def test_images_are_blurred_each_by_its_own_width(images: torch.Tensor) -> None:
    both = blurred(images[:1].expand(2, -1, -1, -1), torch.tensor(STDS))
    assert both[0].std() > both[1].std()
    assert torch.allclose(both[0], blurred(images[:1], torch.tensor(STDS[:1]))[0], atol=1e-6)


def test_the_share_is_kept(images: torch.Tensor) -> None:
    def changed(share: float) -> int:
        blur = Blur(BlurSettings(share), torch.Generator().manual_seed(0))
        return int((blur(images) != images).flatten(1).any(dim=1).sum())

    assert changed(0.0) == 0 and changed(1.0) == 64 and 6 <= changed(0.25) <= 26
