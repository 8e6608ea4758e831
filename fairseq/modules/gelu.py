"""Gaussian error linear units (Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415)."""

from fairseq.utils.activations import gelu, gelu_accurate

__all__ = ["gelu", "gelu_accurate"]
