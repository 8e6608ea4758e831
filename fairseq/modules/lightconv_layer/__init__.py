"""Lightweight convolution under the names of upstream's CUDA extension. It is PyTorch code and runs on every device."""

from fairseq.modules.lightconv_layer.lightconv_layer import LightconvLayer

__all__ = ["LightconvLayer"]
