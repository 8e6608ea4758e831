"""Outputs together with the source word behind every output word."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from fairseq.sequence_generator.ensemble import EnsembleModelWithAlignment
from fairseq.sequence_generator.finalize import Hypothesis
from fairseq.sequence_generator.generator import SequenceGenerator

__all__ = ["SequenceGeneratorWithAlignment"]


class SequenceGeneratorWithAlignment(SequenceGenerator):
    """Fill in ``alignment`` of every hypothesis from attention (Garg et al. 2019).

    Args:
        left_pad_target: on which side the models were trained to see target padding.
        print_alignment: ``hard``, pairs of positions; ``soft``, a distribution per output word.
        kwargs: as for ``SequenceGenerator``.

    Raises:
        ValueError: another ``print_alignment``.
    """

    def __init__(
        self,
        models: Any,
        tgt_dict: Any,
        left_pad_target: bool = False,
        print_alignment: str = "hard",
        **kwargs: Any,
    ) -> None:
        from fairseq import utils

        super().__init__(EnsembleModelWithAlignment(models), tgt_dict, **kwargs)
        self.left_pad_target = left_pad_target
        kinds = {"hard": utils.extract_hard_alignment, "soft": utils.extract_soft_alignment}
        name = str(getattr(print_alignment, "value", print_alignment))
        if name not in kinds:
            raise ValueError(f"--print-alignment {name}: expected one of {', '.join(kinds)}")
        self.extract_alignment = kinds[name]

    @torch.no_grad()
    def generate(self, models: Any, sample: dict[str, Any], **kwargs: Any) -> list[list[Hypothesis]]:
        """See ``SequenceGenerator.generate``; every hypothesis also gets its ``alignment``."""
        found = super()._generate(sample, **kwargs)
        source = sample["net_input"]["src_tokens"]
        entries = [(i, hypothesis) for i, hypotheses in enumerate(found) for hypothesis in hypotheses]
        if not entries:
            return found
        rows = torch.tensor([i for i, _ in entries], device=source.device)
        src_cpu = source.index_select(0, rows).cpu()
        outputs = [hypothesis["tokens"] for _, hypothesis in entries]
        if any(getattr(model, "full_context_alignment", False) for model in self.model.models):
            attention, targets = self._realign(sample, found)
        else:
            attention = [hypothesis["attention"].transpose(1, 0).cpu() for _, hypothesis in entries]
            targets = [tokens.cpu() for tokens in outputs]
        for i, (_, hypothesis) in enumerate(entries):
            hypothesis["alignment"] = self.extract_alignment(attention[i], src_cpu[i], targets[i], self.pad, self.eos)
        return found

    def _realign(self, sample: dict[str, Any], found: list[list[Hypothesis]]) -> tuple[list[Tensor], list[Tensor]]:
        """Attention over complete outputs, and the outputs padded as the attention is."""
        src_tokens, src_lengths, previous, targets = self._prepare_batch_for_alignment(sample, found)
        full = cast(EnsembleModelWithAlignment, self.model).forward_align(src_tokens, src_lengths, previous)
        if full is None:
            raise ValueError("--print-alignment: the model gives no attention to read alignments from")
        return list(full.cpu().unbind()), list(targets.cpu().unbind())

    def _prepare_batch_for_alignment(
        self, sample: dict[str, Any], hypothesis: list[list[Hypothesis]]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The batch of the forward pass that looks at complete outputs; models with full-context alignment need it.

        Args:
            sample: the batch that was generated for.
            hypothesis: per sentence, its hypotheses.

        Returns:
            ``src_tokens (N, src_len)``, ``src_lengths (N,)``, ``prev_output_tokens (N, tgt_len)`` and the outputs
            ``(N, tgt_len)``, for the N hypotheses one after another.
        """
        net_input = sample["net_input"]
        device = net_input["src_tokens"].device
        rows = torch.tensor([i for i, found in enumerate(hypothesis) for _ in found], device=device)
        src_tokens, src_lengths = (net_input[name].index_select(0, rows) for name in ("src_tokens", "src_lengths"))
        previous, targets = self._targets([one["tokens"] for found in hypothesis for one in found], device)
        return src_tokens, src_lengths, previous, targets

    def _targets(self, tokens: list[Tensor], device: torch.device) -> tuple[Tensor, Tensor]:
        """Outputs as decoder input (end moved to the front) and as targets, padded."""
        from fairseq.data import data_utils

        def collate(move_eos: bool) -> Tensor:
            batch = data_utils.collate_tokens(
                tokens, self.pad, self.eos, self.left_pad_target, move_eos_to_beginning=move_eos
            )
            return batch.to(device)

        return collate(True), collate(False)
