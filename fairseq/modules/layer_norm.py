"""Layer normalisation (Ba et al. 2016)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from fairseq.modules.fused.layer_norm import OutputSavingLayerNorm

__all__ = ["Fp32LayerNorm", "LayerNorm", "has_fused_layernorm"]

# torch's own kernel is fused; no second implementation is looked for.
has_fused_layernorm = False


def LayerNorm(
    normalized_shape: int | list[int] | tuple[int, ...],
    eps: float = 1e-5,
    elementwise_affine: bool = True,
    export: bool = False,
) -> nn.LayerNorm:
    """Build a ``torch.nn.LayerNorm``; a plain one with ``export``, else one that keeps less for the backward pass."""
    kind = nn.LayerNorm if export else OutputSavingLayerNorm
    return kind(normalized_shape, eps, elementwise_affine)


class Fp32LayerNorm(nn.LayerNorm):
    """Layer normalisation computed in float32 whatever the dtype of its input; the output has the input's dtype."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise the last dimensions of ``input``."""
        weight = None if self.weight is None else self.weight.float()
        bias = None if self.bias is None else self.bias.float()
        return F.layer_norm(input.float(), self.normalized_shape, weight, bias, self.eps).to(input.dtype)
