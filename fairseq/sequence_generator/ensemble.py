"""One or several models behind one decoding step."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["EnsembleModel", "EnsembleModelWithAlignment", "last_attention"]

IncrementalStates = list[dict[str, dict[str, Any]]]


def last_attention(extra: Any) -> Tensor | None:
    """The attention of the last target position, ``(rows, source)``, from what a decoder returned beside its scores.

    Decoders return a tensor ``(rows, target, source)``, a dict with that tensor or a list of such under ``attn``, or
    nothing of the kind.
    """
    attention = extra.get("attn") if isinstance(extra, dict) else extra
    if isinstance(attention, (list, tuple)):
        attention = attention[0] if attention else None
    return attention[:, -1, :] if isinstance(attention, Tensor) else None


class EnsembleModel(nn.Module):
    """Several models that vote: the mean of their probabilities.

    Args:
        models: encoder-decoder models, or decoder-only ones; all of one kind.
    """

    def __init__(self, models: Iterable[nn.Module]) -> None:
        super().__init__()
        members = list(models)
        self.models_size = len(members)
        self.single_model = members[0]
        self.models = nn.ModuleList(members)
        self.has_incremental = all(_decodes_incrementally(model) for model in members)

    def __prepare_scriptable__(self) -> nn.Module:
        """What ``torch.jit.script`` compiles in place of this module."""
        from fairseq.sequence_generator.scripted import ScriptableEnsemble

        return ScriptableEnsemble(self.models, self.max_decoder_positions())

    def forward(self) -> None:
        """Nothing: an ensemble is asked for encoder outputs and decoder steps."""

    def has_encoder(self) -> bool:
        """Whether the models read a source."""
        return hasattr(self.single_model, "encoder")

    def has_incremental_states(self) -> bool:
        """Whether every decoder can keep what it computed for the words before."""
        return self.has_incremental

    def max_decoder_positions(self) -> int:
        """The shortest of the models' length limits."""
        members: list[Any] = list(self.models)
        limits = [m.max_decoder_positions() for m in members if hasattr(m, "max_decoder_positions")]
        return min([*limits, sys.maxsize])

    def set_decoder_beam_size(self, beam_size: int) -> None:
        """Tell decoders that care how many rows in a row share a source."""
        members: list[Any] = list(self.models)
        for model in members:
            if hasattr(model, "set_beam_size"):
                model.set_beam_size(beam_size)
            elif hasattr(getattr(model, "decoder", None), "set_beam_size"):
                model.decoder.set_beam_size(beam_size)

    def forward_encoder(self, net_input: dict[str, Any]) -> list[Any] | None:
        """The encoder output of every model; ``None`` when there is no encoder."""
        if not self.has_encoder():
            return None
        return [_encode(model.encoder, net_input) for model in self.models]

    def forward_decoder(
        self,
        tokens: Tensor,
        encoder_outs: list[Any] | None,
        incremental_states: IncrementalStates,
        temperature: float = 1.0,
    ) -> tuple[Tensor, Tensor | None]:
        """Score the next word.

        Args:
            tokens: ``(rows, length)``, the words so far.
            encoder_outs: from ``forward_encoder``, reordered to the rows.
            incremental_states: one dict per model, filled by the decoders.
            temperature: divides the scores before they become probabilities.

        Returns:
            ``(log-probabilities (rows, vocab) in float32, attention (rows, source) or None)``.
        """
        votes: list[Tensor] = []
        attention: Tensor | None = None
        for i, model in enumerate(self.models):
            encoder_out = encoder_outs[i] if encoder_outs else None
            lprobs, seen = self._step(model, tokens, encoder_out, incremental_states[i], temperature)
            votes.append(lprobs)
            if seen is not None:
                attention = seen if attention is None else attention + seen
        if self.models_size == 1:
            return votes[0], attention
        mean = torch.logsumexp(torch.stack(votes), dim=0) - math.log(self.models_size)
        return mean, attention if attention is None else attention / self.models_size

    def _step(
        self, model: Any, tokens: Tensor, encoder_out: Any, incremental_state: dict[str, Any], temperature: float
    ) -> tuple[Tensor, Tensor | None]:
        """One model's log-probabilities ``(rows, vocab)`` and attention for the last position."""
        if self.has_incremental:
            output = model.decoder.forward(tokens, encoder_out=encoder_out, incremental_state=incremental_state)
        elif hasattr(model, "decoder"):
            output = model.decoder.forward(tokens, encoder_out=encoder_out)
        else:
            output = model.forward(tokens)
        scores = output[0][:, -1:, :]
        extra = output[1] if len(output) > 1 else None
        if temperature != 1.0:
            scores = scores.div_(temperature)
        lprobs = model.get_normalized_probs((scores, extra), log_probs=True, sample=None)
        return lprobs[:, -1, :], last_attention(extra)

    def reorder_encoder_out(self, encoder_outs: list[Any] | None, new_order: Tensor) -> list[Any]:
        """Select the rows ``new_order`` of every model's encoder output, in that order."""
        if not self.has_encoder() or encoder_outs is None:
            return []
        members: list[Any] = list(self.models)
        return [model.encoder.reorder_encoder_out(out, new_order) for model, out in zip(members, encoder_outs)]

    def reorder_incremental_state(self, incremental_states: IncrementalStates, new_order: Tensor) -> None:
        """Select the rows ``new_order`` of everything the decoders keep, in place."""
        if not self.has_incremental_states():
            return
        members: list[Any] = list(self.models)
        for model, state in zip(members, incremental_states):
            model.decoder.reorder_incremental_state_scripting(state, new_order)


def _decodes_incrementally(model: nn.Module) -> bool:
    from fairseq.models.fairseq_incremental_decoder import FairseqIncrementalDecoder

    return isinstance(getattr(model, "decoder", None), FairseqIncrementalDecoder)


def _encode(encoder: Any, net_input: dict[str, Any]) -> Any:
    if hasattr(encoder, "forward_torchscript"):
        return encoder.forward_torchscript(net_input)
    return encoder(**{name: value for name, value in net_input.items() if name != "prev_output_tokens"})


class EnsembleModelWithAlignment(EnsembleModel):
    """An ensemble that can also be asked for the attention over a complete target."""

    def forward_align(self, src_tokens: Tensor, src_lengths: Tensor, prev_output_tokens: Tensor) -> Tensor | None:
        """Mean attention ``(rows, target, source)`` when the whole target is given."""
        total: Tensor | None = None
        for model in self.models:
            attention = model(src_tokens, src_lengths, prev_output_tokens)[1]["attn"]
            if isinstance(attention, (list, tuple)):
                attention = attention[0] if attention else None
            if attention is not None:
                total = attention if total is None else total + attention
        return total if total is None or self.models_size == 1 else total / self.models_size
