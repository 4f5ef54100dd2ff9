"""Looking inside a model: what its latents say and do, and which images it knows.

pictures     files -> images as the model takes them
latents      what each latent says about the images: KL, variance, active units
base         where moves of the latents start, and how far one step is
effect       where in the image each latent shows
traversal    images along each latent
uncertainty  how far samples of one posterior differ, pixel by pixel
novelty      which images are unlike what the model knows
look         all of that, in order -> findings, and why the rest is missing
report       findings -> JSON
summary      findings -> text for a terminal
sheets       findings -> PNG files (drawn by draw)

Works on the ONNX graphs alone: no torch, no gradients.
"""

from vaetools.inspection.findings import Findings, Settings
from vaetools.inspection.look import look
from vaetools.inspection.report import FILES, facts
from vaetools.inspection.sheets import figures
from vaetools.inspection.summary import text

__all__ = ["FILES", "Findings", "Settings", "facts", "figures", "look", "text"]
