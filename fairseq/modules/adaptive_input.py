"""Adaptive input: the rarer a word, the narrower its vector (Baevski & Auli 2018, https://arxiv.org/abs/1809.10853)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fairseq.modules.quant_noise import quant_noise
from fairseq.utils.host import known_on_host

__all__ = ["AdaptiveInput"]


def _places_between(words: Tensor, start: int, end: int) -> tuple[Tensor, ...]:
    """Indices, one tensor per dimension, of the words of one band."""
    here = words.lt(end) if start == 0 else words.lt(end) & words.ge(start)
    return here.nonzero(as_tuple=True)


class AdaptiveInput(nn.Module):
    """An embedding in bands of a vocabulary that is sorted by frequency, each projected to one common width.

    Args:
        vocab_size: number of words.
        padding_idx: index of padding; it lies in the first band.
        initial_dim: width of the first band.
        factor: each band is this many times narrower than the one before.
        output_dim: width of the result.
        cutoff: where the bands begin; the vocabulary size is added as the last one if it is missing.
        q_noise: probability of quantisation noise on the projections.
        qn_block_size: its block size.
    """

    def __init__(
        self,
        vocab_size: int,
        padding_idx: int | None,
        initial_dim: int,
        factor: float,
        output_dim: int,
        cutoff: list[int],
        q_noise: float = 0,
        qn_block_size: int = 8,
    ) -> None:
        super().__init__()
        if vocab_size > cutoff[-1]:
            cutoff = [*cutoff, vocab_size]
        elif vocab_size != cutoff[-1]:
            raise AssertionError(
                f"cannot specify cutoff larger than vocab size: --adaptive-input-cutoff ends at {cutoff[-1]}, "
                f"the vocabulary has {vocab_size} words"
            )
        self.cutoff = list(cutoff)
        self.embedding_dim = output_dim
        self.padding_idx = padding_idx
        self.embeddings = nn.ModuleList()
        start = 0
        for band, end in enumerate(self.cutoff):
            width = int(initial_dim // factor**band)
            self.embeddings.append(
                nn.Sequential(
                    nn.Embedding(end - start, width, padding_idx if band == 0 else None),
                    quant_noise(nn.Linear(width, output_dim, bias=False), q_noise, qn_block_size),
                )
            )
            start = end
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, mean=0, std=module.weight.shape[1] ** -0.5)
                # In every band, though it stands for padding in the first one only: seeds give upstream's numbers.
                if padding_idx is not None and padding_idx < module.num_embeddings:
                    nn.init.constant_(module.weight[padding_idx], 0)
            elif isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
        # Checkpoints hold this entry.
        self.register_buffer("_float_tensor", torch.zeros(1))

    def weights_for_band(self, band: int) -> tuple[nn.Parameter, nn.Parameter]:
        """Return a band's vectors, ``(words, width)``, and its projection, ``(output_dim, width)``."""
        layers = self.embeddings[band]
        return layers[0].weight, layers[1].weight  # type: ignore[index, return-value]

    def forward(self, input: Tensor) -> Tensor:
        """Embed tokens of any shape: ``(..., output_dim)``."""
        weight = self.embeddings[0][1].weight  # type: ignore[index]
        result = weight.new_zeros(input.shape + (self.embedding_dim,))  # type: ignore[operator]
        known, start = known_on_host(input), 0
        for end, layers in zip(self.cutoff, self.embeddings):
            here = _places_between(input if known is None else known, start, end)
            if len(here[0]) > 0:
                here = tuple(index.to(input.device, non_blocking=True) for index in here)
                result[here] = layers(input[here] - start).to(result.dtype)
            start = end
        return result
