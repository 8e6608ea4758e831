"""Entries of a learned codebook, chosen by noisy scores: wav2vec papers of 2019 (arXiv 1910.05453, sec. 3) and 2020
(arXiv 2006.11477, sec. 2).

Shapes in this file:  B = batch, T = time, G = groups, V = entries per group, D = width of an entry
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fairseq import utils

__all__ = ["GumbelVectorQuantizer", "perplexity"]


def perplexity(probs: Tensor) -> Tensor:
    """``exp`` of the entropy of each group ``(G, V)``, summed over groups."""
    return torch.exp(-torch.sum(probs * torch.log(probs + 1e-7), dim=-1)).sum()


class GumbelVectorQuantizer(nn.Module):
    """Replaces each vector by one codebook entry per group.

    In training the choice is drawn from a Gumbel softmax, whose temperature falls with the number of updates; otherwise
    the entry with the highest score is taken.

    Args:
        dim: width of the input.
        num_vars: V.
        temp: highest temperature, lowest one and the factor per update; also as text, ``"(2,0.5,0.999995)"``.
        groups: G.
        combine_groups: all groups choose from the same entries.
        vq_dim: width of the output, G times D.
        time_first: input is ``(B, T, dim)``, else ``(B, dim, T)``; the output likewise.
        activation: between the layers of the scoring network.
        weight_proj_depth: number of its layers.
        weight_proj_factor: its inner width, as a multiple of ``dim``.
        hard: in training give a single entry too, with the gradient of the mixture.
        std: entries begin normal with this deviation; 0: uniform in ``[0, 1)``.

    Raises:
        AssertionError: ``vq_dim`` is no multiple of ``groups``, or ``temp`` is not three numbers.
    """

    def __init__(
        self,
        dim: int,
        num_vars: int,
        temp: Any,
        groups: int,
        combine_groups: bool,
        vq_dim: int,
        time_first: bool,
        activation: nn.Module = nn.GELU(),  # noqa: B008  it has no state
        weight_proj_depth: int = 1,
        weight_proj_factor: int = 1,
        hard: bool = True,
        std: float = 0,
    ) -> None:
        super().__init__()
        self.groups, self.combine_groups = groups, combine_groups
        self.input_dim, self.num_vars = dim, num_vars
        self.time_first, self.hard = time_first, hard
        if vq_dim % groups != 0:
            raise AssertionError(f"vq_dim {vq_dim} is no multiple of the {groups} groups")
        owners = 1 if combine_groups else groups
        self.vars = nn.Parameter(torch.empty(1, owners * num_vars, vq_dim // groups))
        if std > 0:
            nn.init.normal_(self.vars, mean=0, std=std)
        else:
            nn.init.uniform_(self.vars)
        self.weight_proj = self._scoring_network(activation, weight_proj_depth, weight_proj_factor)
        temperatures = utils.parse_literal(temp) if isinstance(temp, str) else temp
        if len(temperatures) != 3:
            raise AssertionError(f"the temperature needs three numbers (highest, lowest, factor), not {temp}")
        self.max_temp, self.min_temp, self.temp_decay = temperatures
        self.curr_temp = self.max_temp
        self.codebook_indices: Tensor | None = None

    def _scoring_network(self, activation: nn.Module, depth: int, factor: int) -> nn.Module:
        outputs = self.groups * self.num_vars
        if depth <= 1:
            single = nn.Linear(self.input_dim, outputs)
            nn.init.normal_(single.weight, mean=0, std=1)
            nn.init.zeros_(single.bias)
            return single
        inner = self.input_dim * factor
        widths = [self.input_dim, *[inner] * (depth - 1)]
        hidden = [nn.Sequential(nn.Linear(into, out), activation) for into, out in itertools.pairwise(widths)]
        return nn.Sequential(*hidden, nn.Linear(inner, outputs))

    def set_num_updates(self, num_updates: int) -> None:
        """Lower the temperature to what it is after so many updates."""
        self.curr_temp = max(self.max_temp * self.temp_decay**num_updates, self.min_temp)

    def get_codebook_indices(self) -> Tensor:
        """Rows of ``vars`` for every combination of entries, one after the other: ``(V ** G * G,)``."""
        if self.codebook_indices is None:
            each = torch.arange(self.num_vars, device=self.vars.device)
            rows = torch.cartesian_prod(*[each] * self.groups).view(-1, self.groups)
            if not self.combine_groups:
                rows = rows + self.num_vars * torch.arange(self.groups, device=rows.device)
            self.codebook_indices = rows.flatten()
        return self.codebook_indices

    def codebook(self) -> Tensor:
        """Every vector that may come out, ``(V ** G, G * D)``."""
        return self.vars.squeeze(0).index_select(0, self.get_codebook_indices()).view(self.num_vars**self.groups, -1)

    def sample_from_codebook(self, b: int, n: int) -> Tensor:
        """Vectors drawn from :meth:`codebook`, ``(b, n, G * D)``."""
        rows = self.get_codebook_indices().view(-1, self.groups)
        if n >= rows.size(0):
            raise AssertionError(f"cannot draw {n} of the {rows.size(0)} rows: fewer are needed")
        drawn = rows[torch.randint(0, rows.size(0), (b * n,), device=rows.device)]
        return self.vars.squeeze(0).index_select(0, drawn.flatten()).view(b, n, -1)

    def to_codebook_index(self, indices: Tensor) -> Tensor:
        """Entries of all groups ``(..., G)`` as one row number of :meth:`codebook`, ``(...)``."""
        place = self.num_vars ** torch.arange(self.groups - 1, -1, -1, device=indices.device)
        return (indices * place).sum(-1)

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
            ``x``: ``(B, T, G * D)`` or ``(B, G * D, T)``; ``num_vars``: G times V; ``code_perplexity`` and
            ``prob_perplexity``: of the entries taken and of the scores, summed over groups; ``temp``.
        """
        if not self.time_first:
            x = x.transpose(1, 2)
        batch, time, width = x.shape
        scores = self.weight_proj(x.reshape(-1, width)).view(batch * time, self.groups, self.num_vars)
        best = F.one_hot(scores.argmax(-1), self.num_vars).to(scores.dtype)
        result: dict[str, Any] = {
            "num_vars": self.num_vars * self.groups,
            "code_perplexity": perplexity(best.float().mean(dim=0)),
            "prob_perplexity": perplexity(torch.softmax(scores.float(), dim=-1).mean(dim=0)),
            "temp": self.curr_temp,
        }
        chosen = best
        if self.training:
            chosen = F.gumbel_softmax(scores.float(), tau=self.curr_temp, hard=self.hard).type_as(scores)
        if produce_targets:
            result["targets"] = chosen.argmax(-1).view(batch, time, self.groups).detach()
        entries = self.vars.view(-1, self.num_vars, self.vars.size(-1)).expand(self.groups, -1, -1)
        quantised = torch.einsum("ngv,gvd->ngd", chosen, entries).reshape(batch, time, -1)
        result["x"] = quantised if self.time_first else quantised.transpose(1, 2)
        return result
