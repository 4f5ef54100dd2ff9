"""Pictures restored by conditional VAEs: the best answer, other possible ones, and how sure it is."""

from vaetools.restoration.denoiser import Denoised, Denoiser

__all__ = ["Denoised", "Denoiser"]
