"""Restoration networks.

network     the base class: U-Net, std and ladder of latents
denoiser    for noise of a known level, and the estimator of the level
inpainter   for holes, and the fill that it starts from
"""
