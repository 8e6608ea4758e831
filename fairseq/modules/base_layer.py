"""BASE layers: a mixture of experts whose tokens are dealt out evenly (Lewis et al. 2021,
https://arxiv.org/abs/2103.16716).

Every worker owns one expert. In training, tokens are assigned so that all experts get equally many and the sum of
affinities is as large as possible; otherwise each token goes to the expert it likes best.

Shapes in this file:  T = length, B = batch, C = embedding, N = tokens on this worker, E = experts
"""

from typing import Any, List, Optional, Tuple

import torch
from torch import Tensor, nn

from fairseq import utils
from fairseq.modules.layer_norm import LayerNorm

__all__ = ["All2All", "BaseLayer", "BaseSublayer"]


def _world() -> Tuple[int, int]:
    """``(rank, world size)`` of the default group; ``(0, 1)`` without one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


class BaseLayer(nn.Module):
    """Expert feed-forward blocks, one set per worker, behind a router.

    Args:
        args: options; ``decoder_embed_dim``, ``decoder_ffn_embed_dim``, ``activation_fn``, ``base_sublayers`` and
            ``base_shuffle`` are read.
    """

    def __init__(self, args: Any) -> None:
        super().__init__()
        rank, self.num_workers = _world()
        centroids = torch.empty(self.num_workers, args.decoder_embed_dim)
        nn.init.orthogonal_(centroids, gain=0.1)
        self.expert_centroids = nn.Parameter(centroids)
        self.expert_network = nn.Sequential(*[BaseSublayer(args) for _ in range(args.base_sublayers)])
        self.expert_id = rank
        self.shuffle = args.base_shuffle
        # Experts differ between workers, so their gradients are not averaged.
        for parameter in self.expert_network.parameters():
            parameter.expert = True  # type: ignore[attr-defined]

    def forward(
        self, input_features: Tensor, *args: Any, **kwargs: Any
    ) -> Tuple[Tensor, Optional[Tensor], Optional[List[Tensor]]]:
        """Run ``(T, B, C)`` through the experts; further arguments of decoder layers are not used.

        Returns:
            ``(x, None, None)`` as a decoder layer does.
        """
        features = input_features.reshape(-1, input_features.size(-1))
        is_training = input_features.requires_grad
        shuffle_sort = None
        if self.shuffle and is_training:
            # Neighbours in a sentence are alike; dealt out at random, every worker has a bit of everything.
            shuffle_sort = torch.randperm(features.size(0), device=features.device)
            features = All2All.apply(features[shuffle_sort])
        with torch.no_grad():
            affinities = features.matmul(self.expert_centroids.transpose(0, 1))
        if is_training:
            order, input_splits, output_splits = self.balanced_assignment(affinities)
        else:
            order, input_splits, output_splits = self.greedy_assignment(affinities)
        routed = All2All.apply(features[order], output_splits, input_splits)
        if routed.size(0) > 0:
            alpha = torch.sigmoid(routed.mv(self.expert_centroids[self.expert_id])).unsqueeze(1)
            routed = alpha * self.expert_network(routed) + (1 - alpha) * routed
        result = All2All.apply(routed, input_splits, output_splits)[self.inverse_sort(order)]
        if shuffle_sort is not None:
            result = All2All.apply(result)[self.inverse_sort(shuffle_sort)]
        return result.view(input_features.size()), None, None

    def inverse_sort(self, order: Tensor) -> Tensor:
        """The permutation that undoes ``order``."""
        inverse = torch.empty_like(order)
        inverse[order] = torch.arange(order.size(0), device=order.device)
        return inverse

    def balanced_assignment(self, scores: Tensor) -> Tuple[Tensor, Optional[List[int]], Optional[List[int]]]:
        """Deal ``N`` tokens out evenly over ``E`` experts.

        Args:
            scores: affinities ``(N, E)``.

        Returns:
            ``(order, None, None)``: token indices sorted by expert, ``N / E`` each (which needs no counts).
        """
        finite = torch.isfinite(scores)
        if not bool(finite.all()):
            # NaN here means that training has diverged; the trainer says so, the assignment must not hang.
            scores = scores.masked_fill(~finite, float(scores[finite].min()) if bool(finite.any()) else 0.0)
        return _balanced_order(scores.float()).to(scores.device), None, None

    def greedy_assignment(self, scores: Tensor, k: int = 1) -> Tuple[Tensor, List[int], List[int]]:
        """Send each token to its ``k`` favourite experts.

        Returns:
            ``(order, received, sent)``: token indices sorted by expert, and the numbers of tokens this worker receives
            from and sends to each of the others.
        """
        favourites = torch.topk(scores, dim=1, k=k, largest=True).indices.view(-1)
        favourites, order = favourites.sort()
        order = order // k
        sent = torch.bincount(favourites, minlength=self.num_workers)
        received = All2All.apply(sent)
        return order, received.tolist(), sent.tolist()

    def load_assignment(self) -> Any:
        """The assignment routine; here always the one of this module."""
        return _balanced_order


def _balanced_order(scores: Tensor) -> Tensor:
    """Balanced assignment by auction (Bertsekas 1992): experts raise their prices until each has equally many tokens.

    Args:
        scores: ``(N, E)``, float32, finite. The first ``N - N % E`` tokens are dealt evenly; what is left over goes to
            the experts one by one.

    Returns:
        Token indices ``(N,)`` sorted by expert.
    """
    num_tokens, num_experts = scores.shape
    per_expert, rest = divmod(num_tokens, num_experts)
    if per_expert == 0 or num_experts == 1:
        return torch.arange(num_tokens)
    values = scores[: num_tokens - rest].detach().cpu()
    spread = float(values.max() - values.min())
    # With bids of at least epsilon the result is within N * epsilon of the best; a coarse one will do for routing.
    epsilon = max(spread / 50, 1e-6)
    prices = torch.zeros(num_experts)
    owner = torch.full((values.size(0),), -1, dtype=torch.long)
    offer = torch.zeros(values.size(0))
    while bool((owner < 0).any()):
        free = (owner < 0).nonzero().squeeze(1)
        best, second = _two_best(values[free] - prices)
        offer[free] = prices[best.indices] + (best.values - second) + epsilon
        owner[free] = best.indices
        for expert in best.indices.unique().tolist():
            mine = (owner == expert).nonzero().squeeze(1)
            if mine.numel() <= per_expert:
                continue
            kept = offer[mine].topk(per_expert)
            released = torch.ones(mine.numel(), dtype=torch.bool)
            released[kept.indices] = False
            owner[mine[released]] = -1
            prices[expert] = kept.values.min()
    order = owner.argsort(stable=True)
    if rest == 0:
        return order
    extra = torch.arange(num_tokens - rest, num_tokens)
    chunks = list(order.split(per_expert))
    chunks = [torch.cat([chunk, extra[i : i + 1]]) for i, chunk in enumerate(chunks)]
    return torch.cat(chunks)


def _two_best(net: Tensor) -> Tuple[Any, Tensor]:
    two = net.topk(2, dim=1)
    best = net.max(dim=1)
    return best, two.values[:, 1]


class BaseSublayer(nn.Module):
    """A residual feed-forward block, pre-norm; its second map begins with zero weights.

    Args:
        args: options; ``decoder_embed_dim``, ``decoder_ffn_embed_dim`` and ``activation_fn`` are read.
    """

    def __init__(self, args: Any) -> None:
        super().__init__()
        self.activation_fn = utils.get_activation_fn(activation=str(getattr(args, "activation_fn", "relu") or "relu"))
        self.norm = LayerNorm(args.decoder_embed_dim, export=False)
        self.ff1 = nn.Linear(args.decoder_embed_dim, args.decoder_ffn_embed_dim)
        self.ff2 = nn.Linear(args.decoder_ffn_embed_dim, args.decoder_embed_dim)
        self.ff2.weight.data.zero_()

    def forward(self, xs: Tensor) -> Tensor:
        """``(N, C)`` -> ``(N, C)``."""
        result: Tensor = xs + self.ff2(self.activation_fn(self.ff1(self.norm(xs))))
        return result


class All2All(torch.autograd.Function):
    """Exchange rows between all workers; gradients travel back the same way."""

    @staticmethod
    def forward(
        ctx: Any, xs: Tensor, input_splits: Optional[List[int]] = None, output_splits: Optional[List[int]] = None
    ) -> Tensor:
        ctx.input_splits, ctx.output_splits = input_splits, output_splits
        return _exchange(xs, input_splits, output_splits)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tuple[Tensor, None, None]:  # type: ignore[override]
        return _exchange(grad_output.contiguous(), ctx.output_splits, ctx.input_splits), None, None


def _exchange(xs: Tensor, received: Optional[List[int]], sent: Optional[List[int]]) -> Tensor:
    """Rows for this worker from all; ``received`` and ``sent`` count rows per worker, ``None`` is an even split."""
    if _world()[1] == 1:
        return xs.clone()
    rows = xs.size(0) if received is None else sum(received)
    result = xs.new_empty((rows, *xs.shape[1:]))
    torch.distributed.all_to_all_single(result, xs.contiguous(), output_split_sizes=received, input_split_sizes=sent)
    return result
