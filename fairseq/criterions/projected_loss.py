"""Cross entropy from features: projection, softmax and gradients together, a piece of the batch at a time.

No tensor of the size ``(tokens, vocab)`` is ever made, and positions that do not count are not projected. The gradient
is computed in the forward pass, while a piece of logits is at hand, and only scaled in the backward pass; so the work
is that of an ordinary step, without reading the logits a second time. The idea is that of fused linear cross entropy
(Hsu et al. 2024, "Liger Kernel").
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fairseq.criterions.fused_loss import is_small, plain_logits, smoothing_weights
from fairseq.models.feature_forward import feature_forward

__all__ = ["loss_without_logits"]

# Elements of one piece of logits (16 MB in float32): large enough for full speed of the products, small beside a model.
PIECE = 1 << 22
PIECE_ON_GPU = 1 << 25  # 128 MB: a dozen launches a piece must be worth their while
SMALLEST_VOCABULARY = 512  # below it, the pieces save nothing


def loss_without_logits(
    model: Any, sample: dict[str, Any], padding_idx: int, epsilon: float = 0.0
) -> tuple[Tensor, Tensor] | None:
    """Run the model on a batch and return its summed loss, if the loss may be taken from its features.

    Args:
        model: see ``feature_forward`` for which models qualify.
        sample: a batch with ``net_input`` and ``target``.
        padding_idx: targets that do not count.
        epsilon: label smoothing, as in ``smoothed_cross_entropy``.

    Returns:
        ``(loss, nll)``, scalars in nats, float32, of which only ``loss`` carries gradients; ``None`` when the model has
        to be asked for logits (nothing has been computed then).
    """
    from fairseq.models.fairseq_model import BaseFairseqModel

    found = feature_forward(model)
    if found is None or type(model).get_targets is not BaseFairseqModel.get_targets:
        return None
    forward, projection = found
    weight = projection.weight
    supported = weight.dtype in (torch.float32, torch.bfloat16) and weight.size(0) >= SMALLEST_VOCABULARY
    # Under autocast, and in float16, gradients must be scaled before they are computed: the ordinary way does that.
    supported = supported and not is_small(weight.size(0) * sample["target"].numel())
    if not supported or torch.is_autocast_enabled() or _torchscripted():
        return None
    if plain_logits(model, (weight, None)) is None:
        return None
    features, _ = forward(**sample["net_input"])
    target = sample["target"].reshape(-1)
    features = features.reshape(-1, features.size(-1))
    if target.numel() != features.size(0):
        raise ValueError(f"{target.numel()} targets for {features.size(0)} positions: the batch does not fit the model")
    if features.device.type == "cpu":
        # Picking rows needs their number, which on a GPU would mean to wait for it.
        kept = target.ne(padding_idx).nonzero().squeeze(1)
        features, target = features.index_select(0, kept), target.index_select(0, kept)
    return _ProjectedCrossEntropy.apply(features, weight, projection.bias, target, epsilon, padding_idx)


def _torchscripted() -> bool:
    return torch.jit.is_scripting() or torch.jit.is_tracing() or torch.compiler.is_compiling()


class _ProjectedCrossEntropy(torch.autograd.Function):
    """``(features (N, D), weight (V, D), bias (V) or None, target (N)) -> (loss, nll)``, both summed."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        epsilon: float,
        padding_idx: int,
    ) -> tuple[Tensor, Tensor]:
        wanted = any(ctx.needs_input_grad[:3])
        grads = _Gradients(features, weight, bias) if wanted else None
        loss, nll = _pieces(features, weight, bias, target, epsilon, padding_idx, grads)
        ctx.grads = grads
        ctx.settings = (epsilon, padding_idx)
        ctx.save_for_backward(features, weight, bias, target)
        ctx.mark_non_differentiable(nll)
        return loss, nll

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor, _: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        grads, ctx.grads = ctx.grads, None
        if grads is None:
            # With retain_graph=True the gradient is taken a second time.
            features, weight, bias, target = ctx.saved_tensors
            grads = _Gradients(features, weight, bias)
            epsilon, padding_idx = ctx.settings
            _pieces(features, weight, bias, target, epsilon, padding_idx, grads)
        return (*grads.scaled(grad_loss), None, None, None)


def _pieces(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    epsilon: float,
    padding_idx: int,
    grads: _Gradients | None,
) -> tuple[Tensor, Tensor]:
    """Loss and nll of all rows, piece by piece; their gradients go to ``grads``."""
    loss = features.new_zeros((), dtype=torch.float32)
    nll = torch.zeros_like(loss)
    rows = max(1, (PIECE if features.device.type == "cpu" else PIECE_ON_GPU) // weight.size(0))
    for start in range(0, features.size(0), rows):
        piece = slice(start, start + rows)
        piece_loss, piece_nll = _piece(features[piece], weight, bias, target[piece], epsilon, padding_idx, grads, start)
        loss += piece_loss
        nll += piece_nll
    return loss, nll


class _Gradients:
    """Gradients of a sum that grows piece by piece; those of the parameters are added up in float32."""

    def __init__(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> None:
        self.features = torch.empty_like(features)
        self.weight = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device)
        self.bias = None if bias is None else torch.zeros(bias.shape, dtype=torch.float32, device=weight.device)
        self.dtypes = (features.dtype, weight.dtype)

    def add(self, start: int, features: Tensor, weight: Tensor, grad_logits: Tensor) -> None:
        """Add the part of one piece; ``grad_logits`` is float32."""
        if self.bias is not None:
            self.bias += grad_logits.sum(dim=0)
        narrow = grad_logits.to(weight.dtype)
        torch.mm(narrow, weight, out=self.features[start : start + features.size(0)])
        if weight.dtype == torch.float32:
            self.weight.addmm_(narrow.t(), features)
        else:
            self.weight += narrow.t() @ features

    def scaled(self, factor: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """All gradients times the gradient of the loss."""
        of_features, of_weight = self.dtypes
        bias = None if self.bias is None else (self.bias * factor).to(of_weight)
        return self.features.mul_(factor.to(of_features)), self.weight.mul_(factor).to(of_weight), bias


def _piece(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    epsilon: float,
    padding_idx: int,
    grads: _Gradients | None,
    start: int,
) -> tuple[Tensor, Tensor]:
    """Loss and nll of some rows; their gradients go to ``grads``."""
    on_target, on_all = smoothing_weights(weight.size(0), epsilon)
    kept = target.ne(padding_idx)
    column = target.masked_fill(~kept, 0).unsqueeze(1)
    counted = kept.to(torch.float32).unsqueeze(1)
    lprobs = F.log_softmax(F.linear(features, weight, bias), dim=1, dtype=torch.float32)
    nll = -(lprobs.gather(1, column) * counted).sum()
    loss = nll * on_target
    if on_all:
        loss = loss - on_all * (lprobs.sum(dim=1, keepdim=True) * counted).sum()
    if grads is not None:
        # d loss / d logit_j = (on_target + vocab * on_all) p_j - on_all - on_target [j is the target]
        grad = lprobs.exp_().mul_(counted * (on_target + weight.size(0) * on_all))
        if on_all:
            grad.sub_(counted * on_all)
        grad.scatter_add_(1, column, counted * -on_target)
        grads.add(start, features, weight, grad)
    return loss, nll
