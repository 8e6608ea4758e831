"""Linear layers with 8-bit weights, for inference on a CPU."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Int8Linear", "quantize_linear", "rounded_up"]


class Int8Linear(nn.Module):
    """A linear layer whose weight is 8-bit integers with one scale per output; inputs are scaled as they come.

    Args:
        linear: the layer to stand in for; its weight is not kept.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach().float()
        bias = linear.bias.detach().float() if linear.bias is not None else None
        self._packed: Any = _pack(weight, bias)

    @classmethod
    def side_by_side(cls, layers: Sequence[Int8Linear]) -> Int8Linear:
        """One layer over the same input whose outputs are those of ``layers``, one after the other."""
        joined = cls.__new__(cls)
        nn.Module.__init__(joined)
        joined.in_features = layers[0].in_features
        joined.out_features = sum(layer.out_features for layer in layers)
        parts = [torch.ops.quantized.linear_unpack(layer._packed) for layer in layers]
        weight = torch.cat([weight.dequantize() for weight, _ in parts])
        bias = None
        if any(part is not None for _, part in parts):
            bias = torch.cat(
                [torch.zeros(layer.out_features) if part is None else part for layer, (_, part) in zip(layers, parts)]
            )
        # The greatest weight of an output is 127 steps, so the same integers come out again.
        joined._packed = _pack(weight, bias)
        return joined

    def forward(self, x: Tensor) -> Tensor:
        """``(..., in_features)`` -> ``(..., out_features)``, float32."""
        rows = x.reshape(-1, self.in_features)
        count = rows.size(0)
        missing = rounded_up(count) - count
        if missing:
            rows = F.pad(rows, (0, 0, 0, missing))
        # Inputs use 7 bits: sums of products of 8-bit numbers overflow on processors without the newest instructions.
        out = torch.ops.quantized.linear_dynamic(rows, self._packed, reduce_range=True)
        return out[:count].view(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        """Sizes, for printing a model."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


def rounded_up(count: int) -> int:
    """The next number of rows that is worth a kernel of its own: at most an eighth more, or a multiple of 32.

    The library compiles a kernel for every layer and number of rows, which takes longer than a hundred rows' product;
    while a batch shrinks, nearly every step would meet new numbers.
    """
    step = max(32, 1 << max(0, count.bit_length() - 4))
    return -(-count // step) * step


def _pack(weight: Tensor, bias: Tensor | None) -> Any:
    """Weight ``(out, in)`` as integers in the layout of the fastest library at hand."""
    scales = weight.abs().amax(dim=1).clamp(min=1e-8) / 127
    zeros = torch.zeros(weight.size(0), dtype=torch.long)
    with warnings.catch_warnings():
        # Some versions announce that these types will go away; there is nothing that a user could do about it.
        warnings.simplefilter("ignore")
        quantized = torch.quantize_per_channel(weight, scales.double(), zeros, 0, torch.qint8)
        with _engine("onednn"):
            return torch.ops.quantized.linear_prepack(quantized, bias)


@contextlib.contextmanager
def _engine(name: str) -> Iterator[None]:
    """Let ``name`` pack weights, if this torch has it; it then runs whatever was packed."""
    quantized: Any = torch.backends.quantized
    before = quantized.engine
    if name in quantized.supported_engines:
        quantized.engine = name
    try:
        yield
    finally:
        quantized.engine = before


def quantize_linear(model: nn.Module) -> int:
    """Replace every linear layer below ``model``, in place; returns how many there were."""
    count = 0
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            # Subclasses may compute something else.
            if type(child) is nn.Linear:
                setattr(parent, name, Int8Linear(child))
                count += 1
    return count
