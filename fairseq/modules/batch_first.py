"""Time-first tensors whose memory is batch-first.

The contracts of this toolkit are time-first, ``(T, B, C)``, while the fused attention kernels read and write
``(B, T, H, D)``. So encoders and decoders keep their tensors batch-first in memory and pass transposed views around.
Linear maps and norms insist on contiguous input and would copy such a view; a module that consists of them turns it
round first (and its result back), which costs nothing.
"""

import torch
from torch import Tensor, nn

from fairseq.modules.lean_layer_norm import LeanLayerNorm
from fairseq.utils.overrides import is_unhooked

__all__ = ["act_on_rows", "is_batch_first", "turn"]


def is_batch_first(x: Tensor) -> bool:
    """Whether ``(T, B, C)`` is a view of contiguous ``(B, T, C)`` memory, and not contiguous itself."""
    return x.dim() == 3 and not x.is_contiguous() and x.transpose(0, 1).is_contiguous()


def turn(x: Tensor, really: bool) -> Tensor:
    """``(T, B, C)`` as ``(B, T, C)`` or back, if ``really``."""
    return x.transpose(0, 1) if really else x


@torch.jit.unused
def act_on_rows(*modules: nn.Module) -> bool:
    """Whether modules do not care which of the first two dimensions is which.

    True for plain linear maps and norms, unless somebody hooked into one to look at time-first tensors.
    """
    return all(type(m) in (nn.Linear, nn.LayerNorm, LeanLayerNorm) for m in modules) and is_unhooked(*modules)
