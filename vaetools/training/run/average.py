"""Which weights a run keeps: their moving average, and the best ones so far."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn


class Average:
    """Exponential moving average of a network's weights; the average is what is exported.

    At first the decay is smaller, so that the random initial weights are soon forgotten. With a decay
    of 0 the average equals the network.

    Attributes:
        since: the step at which the average began.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network: nn.Module = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.since: int = 0

    def restart(self, network: nn.Module, step: int) -> None:
        """Drop the history before `step`: other parameters are trained from now on."""
        self.network.load_state_dict(network.state_dict())
        self.since = step

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        count = step - self.since
        decay = min(self.decay, (1 + count) / (10 + count))
        ours, theirs = (list[Tensor](n.parameters()) for n in (self.network, network))
        torch._foreach_lerp_(ours, theirs, 1 - decay)


class Best:
    """The weights with the lowest score, for early stopping.

    Args:
        patience: number of scores without an improvement after which training stops; 0 to never stop,
            and to keep no weights.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.score: float = math.inf
        self.since: int = 0
        self.weights: dict[str, Tensor] = {}

    @property
    def stopped(self) -> bool:
        return 0 < self.patience <= self.since

    def offer(self, score: float, network: nn.Module) -> bool:
        """Add a score; True if it is the lowest so far."""
        if not self.patience:
            return False
        if not score < self.score:
            self.since += 1
            return False
        self.score, self.since = score, 0
        self.weights = {name: value.clone() for name, value in network.state_dict().items()}
        return True

    def state(self) -> dict[str, Any]:
        return {"score": self.score, "since": self.since, "weights": self.weights}

    def load(self, state: dict[str, Any]) -> None:
        self.score, self.since, self.weights = state["score"], state["since"], state["weights"]
