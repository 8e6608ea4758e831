"""Cross entropy in float32."""

import torch.nn.functional as F
from torch import Tensor

__all__ = ["cross_entropy"]


def cross_entropy(logits: Tensor, target: Tensor, ignore_index: int = -100, reduction: str = "mean") -> Tensor:
    """Cross entropy of logits in any float type, computed in float32.

    Args:
        logits: ``(rows, classes)``.
        target: ``(rows,)``, int64; rows with ``ignore_index`` do not count.
        reduction: ``mean``, ``sum`` or ``none``.
    """
    return F.cross_entropy(logits.float(), target, ignore_index=ignore_index, reduction=reduction)
