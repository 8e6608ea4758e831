"""Expected alignment of monotonic attention (Raffel et al. 2017), under the name of upstream's compiled extension.

Programs for simultaneous translation call ``alignment_train_cpu(p_choose, alpha, eps)``. This is plain PyTorch: it runs
on every device, and gradients flow from ``alpha`` to ``p_choose``.

Shapes in this file:  B = batch (or batch times heads), T = target length, S = source length
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["alignment_train_cpu"]


def alignment_train_cpu(p_choose: Tensor, alpha: Tensor, eps: float) -> None:
    """Write the probability that target position i is aligned with source position j into ``alpha``.

    ``alpha[i, j] = p[i, j] * q[i, j]``, where ``q[i, j] = (1 - p[i, j - 1]) * q[i, j - 1] + alpha[i - 1, j]`` is the
    probability of arriving at j; everything begins at source position 0. The recurrence over j is solved in closed
    form, ``q[i] = c * cumsum(alpha[i - 1] / c)`` with ``c`` the products of ``1 - p`` over earlier positions.

    Args:
        p_choose: probability of stopping at j when one is there, ``(B, T, S)``, floating point.
        alpha: receives the result, ``(B, T, S)``; what it held does not matter.
        eps: smallest ``c`` that is divided by. Mass that arrives behind positions where ``c`` is smaller is lost in
            part, as in the extension; with 0 the recurrence is exact.

    Raises:
        ValueError: the shapes differ or are no ``(B, T, S)``, or ``eps`` is negative.
    """
    if p_choose.dim() != 3 or p_choose.shape != alpha.shape:
        raise ValueError(
            f"p_choose and alpha must be (batch, target, source) both; got {tuple(p_choose.shape)} and "
            f"{tuple(alpha.shape)}"
        )
    if eps < 0:
        raise ValueError(f"eps must not be negative, got {eps}")
    if p_choose.numel() == 0:
        return
    # Half precision would lose the small products.
    p = p_choose if p_choose.dtype == torch.float64 else p_choose.float()
    stay = F.pad(1 - p[:, :, :-1], (1, 0), value=1.0)
    products = stay.cumprod(2)
    divisors = products.clamp(min=eps)
    row = F.pad(p.new_ones(p.size(0), 1), (0, p.size(2) - 1))
    rows = []
    for step in range(p.size(1)):
        if eps > 0:
            arrivals = products[:, step] * (row / divisors[:, step]).cumsum(1)
        else:
            arrivals = _arrivals(stay[:, step], row)
        row = (p[:, step] * arrivals).clamp(0, 1)
        rows.append(row)
    alpha.copy_(torch.stack(rows, dim=1))


def _arrivals(stay: Tensor, before: Tensor) -> Tensor:
    """``q[j] = stay[j] * q[j - 1] + before[j]`` for all j, ``(B, S)``, in log2(S) steps and without a division.

    Two neighbouring steps of such a recurrence are one step over twice the distance (Blelloch 1990).
    """
    total, factor, distance = before, F.pad(stay[:, 1:], (1, 0)), 1
    while distance < before.size(1):
        total = total + factor * F.pad(total[:, :-distance], (distance, 0))
        factor = factor * F.pad(factor[:, :-distance], (distance, 0))
        distance *= 2
    return total
