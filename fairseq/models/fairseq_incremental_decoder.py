"""Decoders that generate a token at a time and keep what they computed for the tokens before."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fairseq.incremental_decoding_utils import FairseqIncrementalState
from fairseq.models.fairseq_decoder import FairseqDecoder
from fairseq.models.feature_forward import ends_with_output_layer

__all__ = ["FairseqIncrementalDecoder"]


class FairseqIncrementalDecoder(FairseqIncrementalState, FairseqDecoder):
    """Base class of incremental decoders.

    During generation every step passes the whole prefix, ``(batch, tokens so far)``, and one ``incremental_state``
    dictionary. With a state, a decoder uses the last token of the prefix only and finds the rest in the state. When the
    search drops or copies hypotheses, it calls ``reorder_incremental_state_scripting``, which visits every submodule
    that has a ``reorder_incremental_state``.
    """

    def __init__(self, dictionary: Any) -> None:
        super().__init__(dictionary)

    def forward(
        self, prev_output_tokens: Tensor, encoder_out: Any = None, incremental_state: Any = None, **kwargs: Any
    ) -> tuple[Tensor, Any]:
        """Score the next token at every position, or after the last one only when a state is given.

        Returns:
            ``(logits, extra)`` with logits ``(batch, tgt_len, vocab)``; ``tgt_len`` is 1 with a state.
        """
        features, extra = self.extract_features(
            prev_output_tokens, encoder_out=encoder_out, incremental_state=incremental_state, **kwargs
        )
        return self.output_layer(features), extra

    def extract_features(
        self, prev_output_tokens: Tensor, encoder_out: Any = None, incremental_state: Any = None, **kwargs: Any
    ) -> tuple[Tensor, Any]:
        """As ``forward``, but stop before the output layer."""
        raise NotImplementedError(f"{type(self).__name__} must implement extract_features, or override forward")

    def reorder_incremental_state(
        self, incremental_state: dict[str, dict[str, Tensor | None]], new_order: Tensor
    ) -> dict[str, dict[str, Tensor | None]] | None:
        """Let this module's own state follow its hypotheses; ``new_order`` ``(batch,)`` indexes the old ones.

        Returns:
            A new state to use from here on, or ``None`` when the given one was changed in place (or nothing was kept).
        """
        # TorchScript wants the return spelled out.
        return None

    def reorder_incremental_state_scripting(
        self, incremental_state: dict[str, dict[str, Tensor | None]], new_order: Tensor
    ) -> None:
        """Let the state of this module and all its parts follow the hypotheses."""
        for module in self.modules():
            if hasattr(module, "reorder_incremental_state"):
                result = module.reorder_incremental_state(incremental_state, new_order)  # type: ignore[operator]
                if result is not None:
                    incremental_state = result

    def set_beam_size(self, beam_size: int) -> None:
        """Tell every part that wants to know how many hypotheses share a source sentence."""
        if getattr(self, "_beam_size", -1) == beam_size:
            return
        for module in self.modules():
            if module is not self and hasattr(module, "set_beam_size"):
                module.set_beam_size(beam_size)  # type: ignore[operator]
        self._beam_size = beam_size


ends_with_output_layer(FairseqIncrementalDecoder.forward)
