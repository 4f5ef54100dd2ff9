"""A plugin with one operation: local contrast enhancement with OpenCV's CLAHE."""

from dataclasses import dataclass

import cv2
import numpy as np

import vaetools
from vaetools import hookimpl, option


class LocalContrast(vaetools.ImageOperation):
    """Enhance the local contrast of an image."""

    name = "local-contrast"

    @dataclass(frozen=True)
    class Options:
        clip: float = option(2.0, min=1, max=40, help="clip limit of CLAHE")

    def apply(self, image):  # float32 RGB (H, W, 3) in [0, 1]
        lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)  # lightness 0 … 100
        lightness = np.round(lab[:, :, 0] * 655.35).astype(np.uint16)
        lab[:, :, 0] = cv2.createCLAHE(self.options.clip).apply(lightness) / 655.35
        return np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), 0, 1)


@hookimpl
def register_operations():
    return [LocalContrast]
