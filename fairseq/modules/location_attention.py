"""Attention that knows where it looked before (Chorowski et al. 2015), as Tacotron 2 uses it (Shen et al. 2018).

Shapes in this file:  B = batch, T = encoder frames, E = encoder width, D = decoder width, K = earlier weights
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["LocationAttention"]


class LocationAttention(nn.Module):
    """Additive attention over encoder states, decoder state and a convolution of earlier attention weights.

    Args:
        attn_dim: width of the space in which the three meet.
        encoder_dim: E.
        decoder_dim: D.
        attn_state_kernel_size: K, channels of ``attn_state``: the last weights and, usually, the sum of all.
        conv_dim: channels of the convolution over them.
        conv_kernel_size: odd; its frames.
        scaling: scores are multiplied by it before the softmax.

    Raises:
        ValueError: an even kernel.
    """

    def __init__(
        self,
        attn_dim: int,
        encoder_dim: int,
        decoder_dim: int,
        attn_state_kernel_size: int,
        conv_dim: int,
        conv_kernel_size: int,
        scaling: float = 2.0,
    ) -> None:
        super().__init__()
        if conv_kernel_size % 2 == 0:
            raise ValueError(f"conv_kernel_size must be odd to keep the length, got {conv_kernel_size}")
        self.attn_dim = attn_dim
        self.decoder_dim = decoder_dim
        self.scaling = scaling
        self.proj_enc = nn.Linear(encoder_dim, attn_dim, bias=True)
        self.proj_dec = nn.Linear(decoder_dim, attn_dim, bias=False)
        self.proj_attn = nn.Linear(conv_dim, attn_dim, bias=False)
        self.conv = nn.Conv1d(
            attn_state_kernel_size, conv_dim, conv_kernel_size, padding=conv_kernel_size // 2, bias=False
        )
        self.proj_out = nn.Sequential(nn.Tanh(), nn.Linear(attn_dim, 1))
        self.proj_enc_out: Tensor | None = None

    def clear_cache(self) -> None:
        """Forget the projected encoder states; to be called before another batch."""
        self.proj_enc_out = None

    def forward(
        self,
        encoder_out: Tensor,
        encoder_padding_mask: Tensor | None,
        decoder_h: Tensor | None,
        attn_state: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """One decoder step.

        Args:
            encoder_out: ``(B, T, E)``; projected at the first step and remembered until :meth:`clear_cache`.
            encoder_padding_mask: ``(B, T)``, true at padding.
            decoder_h: ``(B, D)``; ``None`` for zeros.
            attn_state: earlier weights, ``(B, K, T)``.

        Returns:
            The context ``(B, E)`` and the weights ``(B, T)``, which sum to 1.
        """
        if self.proj_enc_out is None:
            self.proj_enc_out = self.proj_enc(encoder_out)
        total = self.proj_enc_out + self.proj_attn(self.conv(attn_state).transpose(1, 2))
        if decoder_h is not None:
            total = total + self.proj_dec(decoder_h)[:, None]
        scores = self.proj_out(total).squeeze(2)
        if encoder_padding_mask is not None:
            scores = scores.masked_fill(encoder_padding_mask, -math.inf)
        weights = torch.softmax(self.scaling * scores, dim=1)
        return (weights[:, None] @ encoder_out).squeeze(1), weights
