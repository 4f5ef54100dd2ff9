"""Pictures restored by conditional VAEs: the best answer, other possible ones, and how sure it is."""

from vaetools.restoration.denoiser import Denoised, Denoiser
from vaetools.restoration.inpainter import Inpainted, Inpainter

__all__ = ["Denoised", "Denoiser", "Inpainted", "Inpainter"]
