"""The encoder contract: source tokens in, an encoder output that the decoder and the search understand."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["EncoderOut", "FairseqEncoder"]


class EncoderOut(NamedTuple):
    """Encoder output as a tuple; most encoders give a dictionary of lists with the same names.

    Shapes: S source length, B batch, D embedding.
    """

    encoder_out: Tensor  # (S, B, D)
    encoder_padding_mask: Tensor | None  # (B, S), true at padding
    encoder_embedding: Tensor | None  # (B, S, D)
    encoder_states: list[Tensor] | None  # one (S, B, D) per layer
    src_tokens: Tensor | None = None  # (B, S)
    src_lengths: Tensor | None = None  # (B, 1)


class FairseqEncoder(nn.Module):
    """Base class of encoders.

    Args:
        dictionary: the source vocabulary, or ``None`` when the input is not text.
    """

    def __init__(self, dictionary: Any) -> None:
        super().__init__()
        self.dictionary = dictionary

    def forward(self, src_tokens: Tensor, src_lengths: Tensor | None = None, **kwargs: Any) -> Any:
        """Encode a batch.

        Args:
            src_tokens: ``(batch, src_len)``, int64.
            src_lengths: ``(batch,)``, int64, padding not counted.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement forward")

    # No result type: TorchScript infers that of the subclass's forward.
    def forward_torchscript(self, net_input: dict[str, Tensor]):  # type: ignore[no-untyped-def]
        """Encode ``sample["net_input"]`` without the decoder's part; the entry point of generation."""
        if torch.jit.is_scripting():
            return self.forward(src_tokens=net_input["src_tokens"], src_lengths=net_input["src_lengths"])
        return self.forward_non_torchscript(net_input)

    @torch.jit.unused
    def forward_non_torchscript(self, net_input: dict[str, Tensor]) -> Any:
        """Encode everything in ``net_input`` but ``prev_output_tokens``."""
        encoder_input = {name: value for name, value in net_input.items() if name != "prev_output_tokens"}
        return self.forward(**encoder_input)

    def reorder_encoder_out(self, encoder_out: Any, new_order: Tensor) -> Any:
        """Rearrange (or repeat) the sentences of an encoder output.

        Args:
            encoder_out: what ``forward`` returned.
            new_order: ``(new_batch,)``, int64, indices into the old batch.

        Returns:
            An output of the same structure with every batch dimension selected by ``new_order``.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement reorder_encoder_out to be used in a search")

    def max_positions(self) -> Any:
        """Longest source, in tokens, that the encoder takes."""
        return 1e6

    def upgrade_state_dict_named(self, state_dict: dict[str, Any], name: str) -> dict[str, Any]:
        """Bring the entries under ``name`` of an old checkpoint up to date, in place."""
        return state_dict

    def set_num_updates(self, num_updates: int) -> None:
        """Tell every part that wants to know how many updates were made."""
        for module in self.modules():
            if module is not self and hasattr(module, "set_num_updates"):
                module.set_num_updates(num_updates)  # type: ignore[operator]
