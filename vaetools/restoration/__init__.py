"""Pictures restored by conditional VAEs: the best answer, other possible ones, and how sure it is."""

from vaetools.restoration.denoiser import Denoiser
from vaetools.restoration.inpainter import Inpainter
from vaetools.restoration.restored import Restored

__all__ = ["Denoiser", "Inpainter", "Restored"]
