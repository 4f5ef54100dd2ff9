"""The inpainter: a `Restorer` of images with holes, and the classical fill that it starts from.

Outside of the hole the result is exactly the input: the mean starts there, and the gate, which is the
mask, is 0. Pixels under the mask are never read.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vaetools.training.networks.restoration.fill import fill
from vaetools.training.networks.restoration.network import Conditioning, Restorer


class Inpainter(Restorer):
    """A `Restorer` of images with holes."""

    planes = 7
    damage = "mask"

    def condition(self, image: Tensor, damage: Tensor) -> Conditioning:
        """Image (B, 3, H, W), about [0, 1], and mask (B, 1, H, W): 1 in the hole, else 0.

        The planes are the known pixels, the mask, and the image with the hole filled.
        """
        known = image * (1.0 - damage)
        base = known + damage * fill(image, damage)
        return Conditioning(torch.cat([known, damage, base], dim=1), base, damage)
