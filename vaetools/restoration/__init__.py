"""Image restoration with conditional VAEs: posterior mean, posterior samples and uncertainty."""

from vaetools.restoration.denoiser import Denoiser
from vaetools.restoration.inpainter import Inpainter
from vaetools.restoration.restored import Restored

__all__ = ["Denoiser", "Inpainter", "Restored"]
