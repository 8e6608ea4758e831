"""Several encoders over the same source."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fairseq.models.fairseq_encoder import FairseqEncoder

__all__ = ["CompositeEncoder"]


class CompositeEncoder(FairseqEncoder):
    """Run every encoder on the source and return their outputs by name.

    Args:
        encoders: name -> encoder; the dictionary of the first one is that of the whole.
    """

    def __init__(self, encoders: dict[str, FairseqEncoder]) -> None:
        super().__init__(next(iter(encoders.values())).dictionary)
        self.encoders = encoders
        for name, encoder in encoders.items():
            self.add_module(name, encoder)

    def forward(self, src_tokens: Tensor, src_lengths: Tensor) -> dict[str, Any]:  # type: ignore[override]
        """Encode ``(batch, src_len)`` tokens with ``(batch,)`` lengths: name -> output of that encoder."""
        return {name: encoder(src_tokens, src_lengths) for name, encoder in self.encoders.items()}

    def reorder_encoder_out(self, encoder_out: dict[str, Any], new_order: Tensor) -> dict[str, Any]:
        """Rearrange the sentences of every output."""
        for name, encoder in self.encoders.items():
            encoder_out[name] = encoder.reorder_encoder_out(encoder_out[name], new_order)
        return encoder_out

    def max_positions(self) -> Any:
        """Longest source that every encoder takes."""
        return min(encoder.max_positions() for encoder in self.encoders.values())

    def upgrade_state_dict(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        """Let every encoder upgrade its entries, in place."""
        for name, encoder in self.encoders.items():
            encoder.upgrade_state_dict_named(state_dict, name)
        return state_dict
