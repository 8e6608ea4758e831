"""Layers that train with rounded weights, and a hook that rounds what a layer gives out."""

from fairseq.modules.quantization.scalar.modules.qact import ActivationQuantizer
from fairseq.modules.quantization.scalar.modules.qconv import IntConv2d
from fairseq.modules.quantization.scalar.modules.qemb import IntEmbedding
from fairseq.modules.quantization.scalar.modules.qlinear import IntLinear

__all__ = ["ActivationQuantizer", "IntConv2d", "IntEmbedding", "IntLinear"]
