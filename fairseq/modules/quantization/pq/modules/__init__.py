"""Layers whose weight is a list of indices into a table of blocks."""

from fairseq.modules.quantization.pq.modules.qconv import PQConv2d
from fairseq.modules.quantization.pq.modules.qemb import PQEmbedding
from fairseq.modules.quantization.pq.modules.qlinear import PQLinear

__all__ = ["PQConv2d", "PQEmbedding", "PQLinear"]
