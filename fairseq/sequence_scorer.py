"""Score given outputs instead of searching for new ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

__all__ = ["SequenceScorer"]


class SequenceScorer:
    """Log-probabilities that models give to reference outputs.

    Args:
        tgt_dict: dictionary of the outputs.
        softmax_batch: positions to normalise at once, to bound memory; ``None`` for all.
        compute_alignment: also align every output word with a source word.
        eos: the word that ends outputs; default the dictionary's.
        symbols_to_strip_from_output: ids that callers should not print.

    Raises:
        ValueError: ``softmax_batch`` is not positive.
    """

    def __init__(
        self,
        tgt_dict: Any,
        softmax_batch: int | None = None,
        compute_alignment: bool = False,
        eos: int | None = None,
        symbols_to_strip_from_output: Iterable[int] | None = None,
    ) -> None:
        import sys

        self.pad = tgt_dict.pad()
        self.eos = tgt_dict.eos() if eos is None else eos
        self.softmax_batch = softmax_batch or sys.maxsize
        if self.softmax_batch <= 0:
            raise ValueError(f"--softmax-batch {softmax_batch}: expected a positive number of positions")
        self.compute_alignment = compute_alignment
        self.symbols_to_strip_from_output = {*(symbols_to_strip_from_output or ()), self.eos}

    @torch.no_grad()
    def generate(self, models: Any, sample: dict[str, Any], **kwargs: Any) -> list[list[dict[str, Any]]]:
        """Score the targets of a batch.

        Args:
            models: the ensemble; probabilities are averaged.
            sample: a batch with ``target`` ``(bsz, T)`` beside ``net_input``; ``start_indices`` says for each sentence
                how many first positions are context and do not count.

        Returns:
            per sentence one hypothesis: ``tokens`` without padding, ``score`` (mean log-probability), ``attention``
            ``(T, S)`` or ``None``, ``alignment`` or ``None``, ``positional_scores``; natural logarithms.
        """
        average: Tensor | None = None
        attention: Tensor | None = None
        members = list(models)
        for model in members:
            model.eval()
            scores, seen = self._score(model, sample, as_log=len(members) == 1)
            average = scores if average is None else average.add_(scores)
            if seen is not None:
                attention = seen if attention is None else attention + seen
        if average is None:
            raise ValueError("no model to score with")
        if len(members) > 1:
            average = average.div_(len(members)).log_()
            attention = attention if attention is None else attention / len(members)
        return self._hypotheses(sample, average, attention)

    def _score(self, model: Any, sample: dict[str, Any], as_log: bool) -> tuple[Tensor, Tensor | None]:
        """Probabilities (or their logarithms) of the targets, ``(bsz, T)``, and attention ``(bsz, T, S)``."""
        output = model(**sample["net_input"])
        extra = output[1] if isinstance(output, (list, tuple)) and len(output) > 1 else None
        attention = extra.get("attn") if isinstance(extra, dict) else extra
        if isinstance(attention, (list, tuple)):
            attention = attention[0] if attention else None
        target = sample["target"]
        parts = []
        # An adaptive softmax reads the target of the positions it normalises from the sample.
        for scores, sample["target"] in self._in_chunks(output, target):
            probs = model.get_normalized_probs(scores, log_probs=as_log, sample=sample)
            parts.append(probs.gather(2, sample["target"].to(probs.device).unsqueeze(-1)).view(-1))
        sample["target"] = target
        picked = parts[0] if len(parts) == 1 else torch.cat(parts)
        return picked.view(target.shape), attention if isinstance(attention, Tensor) else None

    def _in_chunks(self, output: Any, target: Tensor) -> Iterator[tuple[Any, Tensor]]:
        """``(decoder output, target)`` whole, or in runs of ``softmax_batch`` positions."""
        first, *rest = output
        bsz, length = first.shape[:2]
        if bsz * length < self.softmax_batch:
            yield output, target
            return
        flat = first.contiguous().view(1, -1, first.size(-1))
        flat_target = target.contiguous().view(1, -1)
        for start in range(0, flat.size(1), self.softmax_batch):
            end = start + self.softmax_batch
            yield (flat[:, start:end], *rest), flat_target[:, start:end]

    def _hypotheses(
        self, sample: dict[str, Any], scores: Tensor, attention: Tensor | None
    ) -> list[list[dict[str, Any]]]:
        target = sample["target"]
        starts = sample.get("start_indices")
        first = starts.tolist() if isinstance(starts, Tensor) else list(starts or [0] * target.size(0))
        real = target.ne(self.pad)
        hypotheses: list[list[dict[str, Any]]] = []
        for i, start in enumerate(first):
            tokens = target[i, start:][real[i, start:]]
            # Context stands before the scored words; padding behind them.
            single = scores[i, start : start + len(tokens)]
            seen = attention[i] if attention is not None else None
            hypotheses.append(
                [
                    {
                        "tokens": tokens,
                        "score": single.sum() / max(len(tokens), 1),
                        "attention": seen,
                        "alignment": self._align(sample, i, seen),
                        "positional_scores": single,
                    }
                ]
            )
        return hypotheses

    def _align(self, sample: dict[str, Any], row: int, attention: Tensor | None) -> Any:
        if attention is None or not self.compute_alignment:
            return None
        from fairseq import utils

        source, target = sample["net_input"]["src_tokens"][row], sample["target"][row]
        return utils.extract_hard_alignment(attention, source, target, self.pad, self.eos)
