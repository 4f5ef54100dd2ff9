"""Where to compute in bfloat16, and where float32 is needed.

Under autocast, layers compute in bfloat16: eight bits, as many as a pixel has. Inside a deep network
that does no harm. It does where results leave it, where pixels take a short way through, where
integers must stay integers, and in likelihoods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def is_native(device: torch.device) -> bool:
    """Whether a device multiplies matrices of bfloat16 itself: GPUs, CPUs with AMX or AVX512-BF16."""
    if device.type == "cpu":
        tell = getattr(torch.cpu, "get_capabilities", None)  # not in torch 2.10
        known = tell() if tell else {}
        return bool(known.get("amx_bf16") or known.get("avx512_bf16"))
    return device.type == "cuda"


def in_float32(layer: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """`layer(*inputs)` in float32, also under autocast."""
    kind = inputs[0].device.type
    if not torch.is_autocast_enabled(kind):  # so that exported graphs hold no trace of this
        return layer(*inputs)
    with torch.autocast(kind, enabled=False):
        return layer(*(tensor.float() for tensor in inputs))
