"""Dynamic convolution under the names of upstream's CUDA extension. It is PyTorch code and runs on every device."""

from fairseq.modules.dynamicconv_layer.dynamicconv_layer import DynamicconvLayer

__all__ = ["DynamicconvLayer"]
