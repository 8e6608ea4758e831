"""Cross entropy straight from logits, without a matrix of log-probabilities.

A loss over a large vocabulary is the memory peak of a training step. Here the forward pass works through the rows in
pieces that stay in the cache and keeps nothing but the logits; the backward pass goes through them again and writes
their gradient once, in their own dtype. Everything is accumulated in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fairseq.models.feature_forward import is_plain_softmax

__all__ = ["is_small", "plain_logits", "smoothed_cross_entropy", "smoothing_weights"]

# Up to so many logits (1 MB) there is nothing to save, and the losses go step by step in the order in which upstream
# computes them: gradients that are zero but for rounding (those of the keys' biases) then come out the same, which
# optimizers that only see their sign make visible.
SMALL = 1 << 18

# Elements of one piece: small enough for a CPU's cache, large enough to keep a GPU busy.
_CPU_PIECE = 1 << 18
_GPU_PIECE = 1 << 26


def is_small(logits: int) -> bool:
    """Whether a batch with so many logits is left to the plain formulas."""
    return logits <= SMALL


def plain_logits(model: Any, net_output: Any) -> Tensor | None:
    """Return the logits in ``net_output`` if a plain softmax over them is all that the model would do.

    ``None`` is for models (or their decoders) with an own ``get_normalized_probs`` or an adaptive softmax: they must be
    asked for their probabilities.
    """
    from fairseq.models.fairseq_decoder import FairseqDecoder
    from fairseq.models.fairseq_model import BaseFairseqModel

    # Through bound methods, so that wrappers (DDP, proxies) that pass attributes on are looked through.
    inner = _owner_of_default(model, BaseFairseqModel)
    decoder = _owner_of_default(getattr(inner, "decoder", None), FairseqDecoder)
    if decoder is None or getattr(decoder, "adaptive_softmax", None) is not None:
        return None
    logits = net_output[0] if isinstance(net_output, (tuple, list)) and len(net_output) > 0 else None
    return logits if isinstance(logits, Tensor) and logits.is_floating_point() else None


def _owner_of_default(module: Any, contract: type) -> Any:
    """The object whose ``get_normalized_probs`` is called through ``module``; ``None`` if it is not the contract's."""
    owner = None
    for name in ("get_normalized_probs", "get_normalized_probs_scriptable"):
        method = getattr(module, name, None)
        function = getattr(method, "__func__", None)
        if function is not getattr(contract, name) and not is_plain_softmax(function):
            return None
        owner = getattr(method, "__self__", None)
    return owner


def smoothed_cross_entropy(
    logits: Tensor, target: Tensor, epsilon: float = 0.0, ignore_index: int = -100, reduce: bool = True
) -> tuple[Tensor, Tensor]:
    """Cross entropy, and the same mixed with a uniform prior over the other words (Szegedy et al. 2016, sec. 7).

    With ``e = epsilon / (vocab - 1)`` the loss of a row is ``(1 - epsilon - e) * nll - e * sum(log p)``.

    Args:
        logits: ``(rows, vocab)``, any float dtype.
        target: ``(rows,)``, int64; rows whose target is ``ignore_index`` count as zero.
        epsilon: mass given to the prior.
        ignore_index: the padding index.
        reduce: sum over rows; otherwise ``(rows,)``.

    Returns:
        ``(loss, nll)``, float32, in nats. Only ``loss`` carries gradients.
    """
    loss, nll = _SmoothedCrossEntropy.apply(logits, target, epsilon, ignore_index)
    return (loss.sum(), nll.sum()) if reduce else (loss, nll)


def smoothing_weights(vocab: int, epsilon: float) -> tuple[float, float]:
    """Factors of a row's nll and of its negated sum of log-probabilities."""
    if epsilon == 0:
        return 1.0, 0.0
    each = epsilon / (vocab - 1)
    return 1.0 - epsilon - each, each


def _pieces(logits: Tensor) -> list[tuple[int, int]]:
    rows, vocab = logits.shape
    step = max(1, (_CPU_PIECE if logits.device.type == "cpu" else _GPU_PIECE) // max(vocab, 1))
    return [(start, min(start + step, rows)) for start in range(0, rows, step)]


class _SmoothedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, logits: Tensor, target: Tensor, epsilon: float, ignore_index: int
    ) -> tuple[Tensor, Tensor]:
        rows, vocab = logits.shape
        on_target, on_all = smoothing_weights(vocab, epsilon)
        kept = target.ne(ignore_index)
        # Padding may lie outside the vocabulary (-100).
        column = target.masked_fill(~kept, 0).unsqueeze(1)
        nll = torch.empty(rows, dtype=torch.float32, device=logits.device)
        summed = torch.empty_like(nll) if on_all else None
        for start, end in _pieces(logits):
            lprobs = F.log_softmax(logits[start:end], dim=1, dtype=torch.float32)
            nll[start:end] = -lprobs.gather(1, column[start:end]).squeeze(1)
            if summed is not None:
                summed[start:end] = lprobs.sum(dim=1)
        nll.masked_fill_(~kept, 0.0)
        loss = nll.clone() if summed is None else nll * on_target - summed.masked_fill_(~kept, 0.0) * on_all
        ctx.save_for_backward(logits, column, kept)
        ctx.factors = (on_target, on_all)
        ctx.mark_non_differentiable(nll)
        return loss, nll

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor, _: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        logits, column, kept = ctx.saved_tensors
        on_target, on_all = ctx.factors
        vocab = logits.size(1)
        scale = (grad_loss * kept).float().unsqueeze(1)
        grad = torch.empty_like(logits)
        for start, end in _pieces(logits):
            # d loss / d logit_j = (on_target + vocab * on_all) p_j - on_all - on_target [j is the target]
            row_scale = scale[start:end]
            if grad.dtype == torch.float32:
                piece = torch.softmax(logits[start:end], 1, out=grad[start:end])
            else:
                piece = torch.softmax(logits[start:end], 1, dtype=torch.float32)
            piece.mul_(row_scale * (on_target + vocab * on_all))
            if on_all:
                piece.sub_(row_scale * on_all)
            piece.scatter_add_(1, column[start:end], -on_target * row_scale)
            if grad.dtype != torch.float32:
                grad[start:end] = piece
        return grad, None, None, None
