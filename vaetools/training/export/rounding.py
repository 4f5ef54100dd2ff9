"""Weights rounded to float16, so that `vaetools.training.export.storage` halves their files."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def round_weights(network: nn.Module) -> None:
    """Round the weights of a network's layers to float16.

    Integer layers and other parameters, such as gain units, stay as they are.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            module.weight.copy_(module.weight.half().float())
        elif isinstance(module, nn.GRU):
            for name, weight in module.named_parameters():
                if name.startswith("weight"):
                    weight.copy_(weight.half().float())
