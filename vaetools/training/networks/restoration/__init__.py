"""Restoration networks, what damages pictures for them, and what they learn.

network     U-Net, deviation and ladder of latents: the family
denoiser    for noise of a known level, and what finds the level
inpainter   for holes, and the fill that it starts from
noise, jpeg, holes   what is done to clean pictures
objective   regression, then the bound around it
"""
