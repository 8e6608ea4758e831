"""Iterative product quantisation (Stock et al. 2019, https://arxiv.org/abs/1907.05686)."""

from fairseq.modules.quantization.pq.utils import SizeTracker, attrsetter, get_param, quantize_like_, quantize_model_

__all__ = ["SizeTracker", "attrsetter", "get_param", "quantize_like_", "quantize_model_"]
