"""Keep a decoder from saying the same n words twice (Paulus et al. 2017, sec. 2.5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["EXTENSION_BUILT", "NGramRepeatBlock", "is_cuda_extension_usable"]

# One implementation serves every device; the name stays because outside code asks for it.
EXTENSION_BUILT = False


def is_cuda_extension_usable() -> bool:
    """Whether a compiled kernel would be used: never, tensor operations do the work on every device."""
    return EXTENSION_BUILT


class NGramRepeatBlock(nn.Module):
    """Forbid words that would complete an n-gram the hypothesis contains already.

    Args:
        no_repeat_ngram_size: n; with 1 there is no context to compare and nothing is forbidden here.
        use_extension: accepted for callers that choose between kernels; there is one implementation.
    """

    def __init__(self, no_repeat_ngram_size: int, use_extension: bool = True) -> None:
        super().__init__()
        self.use_extension = use_extension and is_cuda_extension_usable()
        self.no_repeat_ngram_size = no_repeat_ngram_size

    def reset_parameters(self) -> None:
        """Nothing to reset: there are no parameters."""

    def forward(self, tokens: Tensor, lprobs: Tensor, bsz: int, beam_size: int, step: int) -> Tensor:
        """Set the log-probability of every forbidden word to ``-inf``, in place.

        Args:
            tokens: ``(bsz * beam, >= step + 1)``, the hypotheses so far, their first symbol included.
            lprobs: ``(bsz * beam, vocab)``.
            bsz, beam_size: how the rows divide; rows are independent, so only documentation.
            step: columns ``0 .. step`` of ``tokens`` are filled.

        Returns:
            ``lprobs``.
        """
        size = self.no_repeat_ngram_size
        context = size - 1
        length = step + 1
        if context < 1 or length - context < 1:
            return lprobs
        history = tokens[:, :length]
        # earlier[:, i] says whether history[i : i + context] equals the last `context` words.
        count = length - context
        repeats = torch.ones(history.size(0), count, dtype=torch.bool, device=history.device)
        for offset in range(context):
            repeats &= history[:, offset : offset + count] == history[:, count + offset, None]
        limit = torch.full(repeats.shape, torch.inf, dtype=lprobs.dtype, device=lprobs.device)
        limit.masked_fill_(repeats.to(lprobs.device), -torch.inf)
        # A minimum instead of an assignment: one word may follow both a repeated and another context.
        return lprobs.scatter_reduce_(1, history[:, context:].to(lprobs.device), limit, "amin")

    def call_cuda_extension(self, tokens: Tensor, lprobs: Tensor, bsz: int, beam_size: int, step: int) -> Tensor:
        """The same as ``forward``, under the name that callers of the compiled kernel use."""
        return self.forward(tokens, lprobs, bsz, beam_size, step)
