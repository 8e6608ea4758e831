"""A linear-chain CRF over a whole vocabulary, by low-rank transitions and a beam (Sun et al. 2019).

Sun, Li, Wang, He, Lin, Deng: Fast structured decoding for sequence models. The score of a sentence is the sum of its
emissions and of ``E1[y_{t-1}] . E2[y_t]``. Normaliser and best path look at the K best symbols of each position.

Shapes in this file:  B = batch, T = length, V = vocabulary, K = beam, R = rank
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["DynamicCRF", "logsumexp"]


def logsumexp(x: Tensor, dim: int = 1) -> Tensor:
    """The logarithm of a sum of exponentials, computed in float32 and given in the dtype of ``x``."""
    return torch.logsumexp(x.float(), dim=dim).type_as(x)


class DynamicCRF(nn.Module):
    """Scores and decodes sentences.

    Args:
        num_embedding: V.
        low_rank: R.
        beam_size: K, cut to V.
    """

    def __init__(self, num_embedding: int, low_rank: int = 32, beam_size: int = 64) -> None:
        super().__init__()
        self.vocb, self.rank, self.beam = num_embedding, low_rank, beam_size
        self.E1, self.E2 = (nn.Embedding(num_embedding, low_rank) for _ in range(2))

    def extra_repr(self) -> str:
        """The sizes."""
        return f"vocab_size={self.vocb}, low_rank={self.rank}, beam_size={self.beam}"

    def forward(self, emissions: Tensor, targets: Tensor, masks: Tensor, beam: int | None = None) -> Tensor:
        """The log-likelihood of sentences, approximate as the normaliser covers K symbols per position and the targets.

        Args:
            emissions: ``(B, T, V)``, unnormalised.
            targets: ``(B, T)``.
            masks: ``(B, T)``, true at words; padding stands at the end.
            beam: K, if not that of the layer.

        Returns:
            ``(B,)``, in nats, summed over words.
        """
        return self._compute_score(emissions, targets, masks) - self._compute_normalizer(
            emissions, targets, masks, beam
        )

    def forward_decoder(
        self, emissions: Tensor, masks: Tensor | None = None, beam: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """The best sentences (Viterbi).

        Args:
            emissions: ``(B, T, V)``, unnormalised.
            masks: ``(B, T)``, true at words; padding repeats the last word's place in its beam.
            beam: K, if not that of the layer.

        Returns:
            ``(scores, tokens)``, ``(B, T)`` each; a score is emission plus transition of its word.
        """
        return self._viterbi_decode(emissions, masks, beam)

    def _compute_score(self, emissions: Tensor, targets: Tensor, masks: Tensor) -> Tensor:
        emitted = emissions.gather(2, targets[:, :, None]).squeeze(2)
        moved = (self.E1(targets[:, :-1]) * self.E2(targets[:, 1:])).sum(2)
        scores = torch.cat([emitted[:, :1], emitted[:, 1:] + moved], dim=1)
        return (scores * masks.type_as(scores)).sum(-1)

    def _candidates(self, emissions: Tensor, targets: Tensor | None, beam: int | None) -> tuple[Tensor, ...]:
        """The K best symbols of each position ``(B, T, K)``, their emissions, and transitions ``(B, T - 1, K, K)``."""
        size = min(self.beam if beam is None else beam, emissions.size(2))
        ranked = emissions.detach()
        if targets is not None:
            # The target is one of them, so that no sentence has a probability above 1.
            ranked = ranked.scatter(2, targets[:, :, None], math.inf)
        symbols = ranked.topk(size, dim=2)[1]
        transitions = self.E1(symbols[:, :-1]) @ self.E2(symbols[:, 1:]).transpose(2, 3)
        return symbols, emissions.gather(2, symbols), transitions

    def _compute_normalizer(
        self, emissions: Tensor, targets: Tensor | None = None, masks: Tensor | None = None, beam: int | None = None
    ) -> Tensor:
        _, emitted, transitions = self._candidates(emissions, targets, beam)
        score = emitted[:, 0]
        for position in range(1, emitted.size(1)):
            following = logsumexp(score[:, :, None] + transitions[:, position - 1], dim=1) + emitted[:, position]
            score = following if masks is None else torch.where(masks[:, position, None].bool(), following, score)
        return logsumexp(score, dim=1)

    def _viterbi_decode(
        self, emissions: Tensor, masks: Tensor | None = None, beam: int | None = None
    ) -> tuple[Tensor, Tensor]:
        symbols, emitted, transitions = self._candidates(emissions, None, beam)
        score = emitted[:, 0]
        stay = torch.arange(symbols.size(2), device=symbols.device).expand_as(score)
        totals, origins = [score], []
        for position in range(1, symbols.size(1)):
            following, origin = (score[:, :, None] + transitions[:, position - 1]).max(dim=1)
            following = following + emitted[:, position]
            if masks is not None:
                is_word = masks[:, position, None].bool()
                following, origin = torch.where(is_word, following, score), torch.where(is_word, origin, stay)
            score = following
            totals.append(score)
            origins.append(origin)
        places = [score.argmax(dim=1, keepdim=True)]
        for origin in reversed(origins):
            places.append(origin.gather(1, places[-1]))
        places.reverse()
        path = torch.cat(places, dim=1)
        tokens = symbols.gather(2, path[:, :, None]).squeeze(2)
        sums = torch.stack(totals, dim=1).gather(2, path[:, :, None]).squeeze(2)
        return torch.cat([sums[:, :1], sums[:, 1:] - sums[:, :-1]], dim=1), tokens
