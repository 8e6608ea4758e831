"""Time-first tensors whose memory is batch-first.

The contracts of this toolkit are time-first, ``(T, B, C)``, while the fused attention kernels read and write
``(B, T, H, D)``. So encoders and decoders keep their tensors batch-first in memory and pass transposed views around.
Linear maps and norms insist on contiguous input and would copy such a view; a module that consists of them swaps both
dimensions first (and those of its result back), which costs nothing.
"""

import torch
from torch import Tensor, nn

from fairseq.modules.fused.layer_norm import OutputSavingLayerNorm
from fairseq.utils.overrides import is_unhooked

__all__ = ["acts_on_rows", "is_batch_first", "swap_batch_time"]


def is_batch_first(x: Tensor) -> bool:
    """Whether ``(T, B, C)`` is a view of contiguous ``(B, T, C)`` memory, and not contiguous itself."""
    return x.dim() == 3 and not x.is_contiguous() and x.transpose(0, 1).is_contiguous()


def swap_batch_time(x: Tensor, swap: bool) -> Tensor:
    """``(T, B, C)`` as ``(B, T, C)`` or back, if ``swap``; a view."""
    return x.transpose(0, 1) if swap else x


@torch.jit.unused
def acts_on_rows(*modules: nn.Module) -> bool:
    """Whether the first two dimensions may be swapped before calling these modules.

    True for plain linear maps and norms without hooks; a hook may expect time-first tensors.
    """
    return all(type(m) in (nn.Linear, nn.LayerNorm, OutputSavingLayerNorm) for m in modules) and is_unhooked(*modules)
