"""Weights of a smaller photo codec in the shapes of a larger one.

What the larger codec has more of begins as it is best for what was learned: further latents are those
principal components of the training patches that the old ones do not reach, further rate points go on
where the old ones end, and overlapping blocks begin without their rims. A context of another kind begins
anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vaetools.training.networks.codec.photo_codec import PhotoCodec

GAINS = ("log_gain", "log_inverse_gain", "index_offset")
PRIOR = ("hyper_prior.place", "hyper_prior.log_width")
CONTEXT = "context_mean."
NEEDED = (*GAINS, *PRIOR, "analysis.linear.weight", "synthesis.linear.0.weight")


@torch.no_grad()
def adopted(codec: PhotoCodec, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`weights` for `codec`, whose own are those of its start; what does not fit is left as it is."""
    own, found = codec.state_dict(), dict(weights)
    if not all(name in found for name in NEEDED):
        return found
    _context(own, found)
    _rates(own, found)
    _latents(codec, own, found)
    _overlap(codec, found)
    if codec.config.centroids:
        found.setdefault("centroid", own["centroid"])
    return found


def _context(own: Mapping[str, Tensor], found: dict[str, Tensor]) -> None:
    """Another kind of context begins anew; `element_steps` joins one of the same kind."""
    mine = {name: value for name, value in own.items() if name.startswith(CONTEXT)}
    theirs = {name for name in found if name.startswith(CONTEXT)}
    if not theirs <= mine.keys():
        for name in theirs:
            del found[name]
        found |= mine
    for name in mine.keys() - found.keys():
        if ".step." in name:
            found[name] = mine[name]


def _rates(own: Mapping[str, Tensor], found: dict[str, Tensor]) -> None:
    """Further rows of what has one per rate; the old rates are the first of the new ones."""
    before, after = len(found[GAINS[0]]), len(own[GAINS[0]])
    if not 2 <= before < after:
        return
    latents = found[GAINS[0]].shape[1]
    for name in GAINS:
        beyond = own[name][before:, :1] - own[name][before - 1, :1]
        found[name] = torch.cat([found[name], found[name][-1:] + beyond.expand(-1, latents)])
    for name in PRIOR:
        last = found[name][-1:].expand(after - before, -1)
        found[name] = torch.cat([found[name], last])
    for name, value in found.items():  # a rate is a share of the whole range
        if name.startswith("synthesis.gates.") and name.endswith(".net.0.weight"):
            found[name] = value * ((after - 1) / (before - 1))


def _latents(codec: PhotoCodec, own: Mapping[str, Tensor], found: dict[str, Tensor]) -> None:
    before, after = found[GAINS[0]].shape[1], codec.config.latents
    if before >= after:
        return
    for name in GAINS:
        if len(found[name]) == len(own[name]):
            found[name] = torch.cat([found[name], own[name][:, before:]], dim=1)
    for place in ("analysis.exit", f"hyper_mean.net.{len(codec.hyper_mean.net) - 1}"):
        for name in (f"{place}.weight", f"{place}.bias"):
            old = found[name]
            found[name] = torch.cat([old, old.new_zeros(after - before, *old.shape[1:])])
    old = found["synthesis.linear.0.weight"]
    reached = torch.linalg.qr(old[:, :, 0, 0])[0]
    wanted = own["analysis.linear.weight"].flatten(1).T
    wanted = wanted - reached @ (reached.T @ wanted)
    fresh = torch.linalg.svd(wanted, full_matrices=False)[0][:, : after - before]
    found["synthesis.linear.0.weight"] = torch.cat([old, fresh[:, :, None, None]], dim=1)
    old = found["analysis.linear.weight"]
    rows = fresh.T.reshape(-1, *old.shape[1:])
    found["analysis.linear.weight"] = torch.cat([old, rows])


def _overlap(codec: PhotoCodec, found: dict[str, Tensor]) -> None:
    """Kernels of 8x8 within larger ones; the exit's biases, which an overlap cannot have, move to the
    shortcut."""
    entry = codec.analysis.entry.weight
    rim = (entry.shape[-1] - found["analysis.entry.weight"].shape[-1]) // 2
    found["analysis.entry.weight"] = F.pad(found["analysis.entry.weight"], (rim,) * 4)
    layer = codec.synthesis.exit
    if not isinstance(layer, nn.ConvTranspose2d) or "synthesis.exit.0.weight" not in found:
        return
    weight, bias = (found.pop(f"synthesis.exit.0.{part}") for part in ("weight", "bias"))
    kernel = weight.reshape(3, 8, 8, -1).permute(3, 0, 1, 2)
    rim = (layer.weight.shape[-1] - 8) // 2
    found["synthesis.exit.weight"] = F.pad(kernel, (rim,) * 4)
    tiled = bias.reshape(3, 8, 8).repeat(1, 2, 2).flatten()
    found["synthesis.linear.0.bias"] = found["synthesis.linear.0.bias"] + tiled
