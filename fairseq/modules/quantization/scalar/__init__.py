"""Scalar quantisation: weights and activations are rounded to a few bits while training."""

from fairseq.modules.quantization.scalar.utils import quantize_model_

__all__ = ["quantize_model_"]
