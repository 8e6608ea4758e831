"""A learned codebook whose entries are chosen by distance (van den Oord et al. 2017, https://arxiv.org/abs/1711.00937;
Baevski et al. 2020, https://arxiv.org/abs/1910.05453).

Shapes in this file:  B = batch, T = time, G = groups, V = entries per group, D = width of an entry
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fairseq.modules.fp32_group_norm import Fp32GroupNorm
from fairseq.modules.gumbel_vector_quantizer import perplexity

__all__ = ["KmeansVectorQuantizer"]


class KmeansVectorQuantizer(nn.Module):
    """Replaces each vector by the nearest codebook entry of each group; gradients pass straight through.

    Args:
        dim: width of the input.
        num_vars: V.
        groups: G.
        combine_groups: all groups choose from the same entries.
        vq_dim: width of the output, G times D; equal to ``dim``.
        time_first: input is ``(B, T, dim)``, else ``(B, dim, T)``; the output likewise.
        gamma: weight of the commitment loss, which keeps the input near its entry.

    Raises:
        AssertionError: ``vq_dim`` is no multiple of ``groups``.
    """

    def __init__(
        self,
        dim: int,
        num_vars: int,
        groups: int,
        combine_groups: bool,
        vq_dim: int,
        time_first: bool,
        gamma: float = 0.25,
    ) -> None:
        super().__init__()
        if vq_dim % groups != 0:
            raise AssertionError(f"vq_dim {vq_dim} is no multiple of the {groups} groups")
        self.groups, self.combine_groups = groups, combine_groups
        self.input_dim, self.num_vars, self.vq_dim = dim, num_vars, vq_dim
        self.time_first, self.gamma = time_first, gamma
        self.var_dim = vq_dim // groups
        owners = 1 if combine_groups else groups
        self.embedding = nn.Parameter(0.01 * torch.randn(num_vars, owners, self.var_dim))
        self.projection = nn.Sequential(
            nn.Conv1d(dim, dim, kernel_size=1, groups=groups, bias=False),
            Fp32GroupNorm(groups, dim),
        )
        self.mse_mean = nn.MSELoss(reduction="mean")

    @property
    def expand_embedding(self) -> Tensor:
        """The entries of every group, ``(V, G, D)``."""
        return self.embedding.expand(self.num_vars, self.groups, self.var_dim)

    def forward_idx(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The quantised input and the entries ``(B, T, G)``."""
        result = self.forward(x, produce_targets=True)
        return result["x"], result["targets"]

    def forward(self, x: Tensor, produce_targets: bool = False) -> dict[str, Any]:
        """Quantise.

        Args:
            x: ``(B, T, dim)``, or ``(B, dim, T)`` unless ``time_first``.
            produce_targets: also return ``targets``, the entries ``(B, T, G)``.

        Returns:
            ``x``: as the input; ``num_vars``: V; ``code_perplexity``: summed over groups; ``kmeans_loss``: entries
            towards inputs, plus ``gamma`` times inputs towards entries.
        """
        if self.time_first:
            x = x.transpose(1, 2)
        encoded = self.projection(x)
        batch, width, time = encoded.shape
        rows = (
            encoded.view(batch, self.groups, self.var_dim, time)
            .permute(1, 0, 3, 2)
            .reshape(self.groups, -1, self.var_dim)
        )
        entries = self.expand_embedding.transpose(0, 1)
        nearest = torch.cdist(rows, entries, compute_mode="donot_use_mm_for_euclid_dist").argmin(-1)
        taken = entries.gather(1, nearest.unsqueeze(-1).expand(-1, -1, self.var_dim))
        taken = taken.view(self.groups, batch, time, self.var_dim).permute(1, 0, 3, 2).reshape(batch, width, time)
        straight = encoded + (taken - encoded).detach()
        shares = F.one_hot(nearest, self.num_vars).float().mean(dim=1)
        result: dict[str, Any] = {
            "num_vars": self.num_vars,
            "code_perplexity": perplexity(shares),
            "x": straight.transpose(1, 2) if self.time_first else straight,
        }
        if produce_targets:
            result["targets"] = nearest.view(self.groups, batch, time).permute(1, 2, 0)
        towards_inputs = self.mse_mean(taken.float(), encoded.float().detach())
        towards_entries = self.mse_mean(encoded.float(), taken.float().detach())
        result["kmeans_loss"] = towards_inputs + self.gamma * towards_entries
        return result
