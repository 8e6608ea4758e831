"""Quantisation noise: weights that survive being quantised in blocks (Fan et al. 2020, https://arxiv.org/abs/2004.07320)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["quant_noise"]


def quant_noise(module: nn.Module, p: float, block_size: int) -> nn.Module:
    """Drop blocks of a module's weights at random before each forward pass in training.

    Args:
        module: ``Linear``, ``Embedding`` or ``Conv2d``.
        p: probability of dropping a block; 0 leaves the module alone.
        block_size: size of the blocks. ``Linear``, ``Embedding`` and 1x1 convolutions: that many input features of one
            output; larger kernels: the whole kernel of one input and output channel.

    Returns:
        The same module. Its weights are changed in place: what stays is multiplied by ``1 / (1 - p)``.

    Raises:
        AssertionError: another kind of module, or sizes that are no multiple of the block size.
    """
    if p <= 0:
        return module
    if not isinstance(module, (nn.Linear, nn.Embedding, nn.Conv2d)):
        raise AssertionError(f"quant noise is for Linear, Embedding and Conv2d, not for {type(module).__name__}")
    _check_blocks(module, block_size)

    def add_noise(mod: nn.Module, inputs: Any) -> None:
        if mod.training:
            weight: Tensor = mod.weight  # type: ignore[assignment]
            weight.data.masked_fill_(_dropped_blocks(mod, p, block_size), 0).mul_(1 / (1 - p))

    module.register_forward_pre_hook(add_noise)
    return module


def _check_blocks(module: nn.Linear | nn.Embedding | nn.Conv2d, block_size: int) -> None:
    if not isinstance(module, nn.Conv2d):
        if module.weight.size(1) % block_size != 0:
            raise AssertionError(
                f"Input features must be a multiple of block sizes: {module.weight.size(1)} and {block_size}"
            )
    elif module.kernel_size == (1, 1):
        if module.in_channels % block_size != 0:
            raise AssertionError(
                f"Input channels must be a multiple of block sizes: {module.in_channels} and {block_size}"
            )
    elif module.kernel_size[0] * module.kernel_size[1] % block_size != 0:
        raise AssertionError(f"Kernel size must be a multiple of block size: {module.kernel_size} and {block_size}")


def _dropped_blocks(module: nn.Module, p: float, block_size: int) -> Tensor:
    """A mask that broadcasts over the weight, true where it is to be dropped."""
    weight: Tensor = module.weight  # type: ignore[assignment]
    out_features, in_features = weight.size(0), weight.size(1)
    if weight.dim() == 4 and tuple(weight.shape[2:]) != (1, 1):
        draws = torch.zeros(out_features, in_features, device=weight.device).bernoulli_(p)
        return draws.bool()[:, :, None, None]
    draws = torch.zeros(in_features // block_size * out_features, device=weight.device).bernoulli_(p)
    mask = draws.repeat_interleave(block_size, -1).view(out_features, in_features).bool()
    return mask[:, :, None, None] if weight.dim() == 4 else mask
