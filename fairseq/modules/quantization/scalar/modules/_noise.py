"""What the integer layers share: rounding noise on a random part of a tensor (Fan et al. 2020, sec. 4)."""

from typing import Any

import torch
from torch import Tensor

from fairseq.modules.quantization.scalar.ops import emulate_int

__all__ = ["noisy"]


def noisy(owner: Any, x: Tensor, p: float) -> Tensor:
    """Round a share ``p`` of ``x``; gradients pass as if nothing had happened, except outside the range.

    ``owner`` holds ``bits``, ``method``, ``update_step``, and keeps ``counter``, ``scale`` and ``zero_point``, which
    are found anew every ``update_step`` calls.
    """
    if owner.counter % owner.update_step == 0:
        owner.scale = owner.zero_point = None
    owner.counter += 1
    rounded, owner.scale, owner.zero_point = emulate_int(
        x.detach(), bits=owner.bits, method=owner.method, scale=owner.scale, zero_point=owner.zero_point
    )
    noise = rounded - x.detach()
    if p < 1:
        noise = noise.masked_fill(torch.empty_like(noise).bernoulli_(1 - p).bool(), 0)
    low = -owner.scale * owner.zero_point
    high = owner.scale * (2**owner.bits - 1 - owner.zero_point)
    return torch.clamp(x, low, high) + noise
