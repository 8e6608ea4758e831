"""The LSTM encoder."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fairseq import utils
from fairseq.models.fairseq_encoder import FairseqEncoder
from fairseq.models.lstm.layers import DEFAULT_MAX_SOURCE_POSITIONS, LSTM, Embedding
from fairseq.modules.fairseq_dropout import FairseqDropout
from fairseq.utils.host import on_host

__all__ = ["LSTMEncoder"]


class LSTMEncoder(FairseqEncoder):
    """Read the source with an LSTM.

    Args:
        dictionary: source vocabulary.
        embed_dim: width of word vectors.
        hidden_size: width of the state, per direction.
        num_layers: number of layers.
        dropout_in: dropout on word vectors.
        dropout_out: dropout between layers and on the output.
        bidirectional: read in both directions; the two states are concatenated.
        left_pad: whether batches are padded on the left; they are turned, since packing needs padding at the end.
        pretrained_embed: an embedding to use instead of a fresh one.
        padding_idx: index of padding, if not that of the dictionary.
        max_source_positions: longest source, in tokens.
    """

    def __init__(
        self,
        dictionary: Any,
        embed_dim: int = 512,
        hidden_size: int = 512,
        num_layers: int = 1,
        dropout_in: float = 0.1,
        dropout_out: float = 0.1,
        bidirectional: bool = False,
        left_pad: bool = True,
        pretrained_embed: nn.Embedding | None = None,
        padding_idx: int | None = None,
        max_source_positions: float = DEFAULT_MAX_SOURCE_POSITIONS,
    ) -> None:
        super().__init__(dictionary)
        self.num_layers = num_layers
        self.dropout_in_module = FairseqDropout(dropout_in * 1.0, module_name=type(self).__name__)
        self.dropout_out_module = FairseqDropout(dropout_out * 1.0, module_name=type(self).__name__)
        self.bidirectional = bidirectional
        self.hidden_size = hidden_size
        self.max_source_positions = max_source_positions
        self.padding_idx = dictionary.pad() if padding_idx is None else padding_idx
        self.embed_tokens = pretrained_embed or Embedding(len(dictionary), embed_dim, self.padding_idx)
        between_layers = dropout_out if num_layers > 1 else 0.0
        self.lstm = LSTM(
            embed_dim, hidden_size, num_layers=num_layers, bidirectional=bidirectional, dropout=between_layers
        )
        self.left_pad = left_pad
        self.output_units = hidden_size * 2 if bidirectional else hidden_size

    def forward(  # type: ignore[override]
        self, src_tokens: Tensor, src_lengths: Tensor, enforce_sorted: bool = True
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Encode a batch.

        Args:
            src_tokens: ``(batch, src_len)``.
            src_lengths: ``(batch,)``, padding not counted.
            enforce_sorted: promise that the lengths descend, which saves sorting them.

        Returns:
            ``(output (src_len, batch, units), final states (layers, batch, units), final cells, padding mask
            (src_len, batch))``. The output holds ``padding_idx`` at padding.
        """
        if self.left_pad:
            src_tokens = utils.convert_padding_direction(src_tokens, self.padding_idx, left_to_right=True)
        batch, src_len = src_tokens.size(0), src_tokens.size(1)
        x = self.dropout_in_module(self.embed_tokens(src_tokens)).transpose(0, 1)
        packed = nn.utils.rnn.pack_padded_sequence(x, on_host(src_lengths), enforce_sorted=enforce_sorted)
        packed_out, (final_hiddens, final_cells) = self.lstm(packed)
        x, _ = nn.utils.rnn.pad_packed_sequence(packed_out, padding_value=self.padding_idx * 1.0, total_length=src_len)
        x = self.dropout_out_module(x)
        if self.bidirectional:
            final_hiddens = self.combine_bidir(final_hiddens, batch)
            final_cells = self.combine_bidir(final_cells, batch)
        encoder_padding_mask = src_tokens.eq(self.padding_idx).t()
        return x, final_hiddens, final_cells, encoder_padding_mask

    def combine_bidir(self, outs: Tensor, bsz: int) -> Tensor:
        """Put the two directions of each layer side by side: ``(2 * layers, B, H)`` to ``(layers, B, 2 * H)``."""
        outs = outs.view(self.num_layers, 2, bsz, -1).transpose(1, 2).contiguous()
        return outs.view(self.num_layers, bsz, -1)

    def reorder_encoder_out(
        self, encoder_out: tuple[Tensor, Tensor, Tensor, Tensor], new_order: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Rearrange the sentences; all four parts have them in dimension 1."""
        return (
            encoder_out[0].index_select(1, new_order),
            encoder_out[1].index_select(1, new_order),
            encoder_out[2].index_select(1, new_order),
            encoder_out[3].index_select(1, new_order),
        )

    def max_positions(self) -> Any:
        """Longest source, in tokens."""
        return self.max_source_positions
