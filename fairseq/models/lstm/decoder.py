"""The LSTM decoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fairseq.models.fairseq_incremental_decoder import FairseqIncrementalDecoder
from fairseq.models.lstm.layers import DEFAULT_MAX_TARGET_POSITIONS, AttentionLayer, Embedding, Linear, LSTMCell
from fairseq.modules.adaptive_softmax import AdaptiveSoftmax
from fairseq.modules.fairseq_dropout import FairseqDropout

__all__ = ["LSTMDecoder"]


class LSTMDecoder(FairseqIncrementalDecoder):
    """Generate with an LSTM, over a source (with input feeding) or as a language model.

    Args:
        dictionary: target vocabulary.
        embed_dim: width of word vectors.
        hidden_size: width of the state.
        out_embed_dim: width before the output layer.
        num_layers: number of layers.
        dropout_in: dropout on word vectors.
        dropout_out: dropout on the output of layers.
        attention: attend to the source.
        encoder_output_units: width of the encoder's output; 0 for a language model.
        pretrained_embed: an embedding to use instead of a fresh one.
        share_input_output_embed: use the embedding as output layer.
        adaptive_softmax_cutoff: bands of an adaptive softmax, which takes the place of the output layer.
        max_target_positions: longest target, in tokens.
        residuals: add a layer's previous state to what it passes to the next layer.
    """

    def __init__(
        self,
        dictionary: Any,
        embed_dim: int = 512,
        hidden_size: int = 512,
        out_embed_dim: int = 512,
        num_layers: int = 1,
        dropout_in: float = 0.1,
        dropout_out: float = 0.1,
        attention: bool = True,
        encoder_output_units: int = 512,
        pretrained_embed: nn.Embedding | None = None,
        share_input_output_embed: bool = False,
        adaptive_softmax_cutoff: list[int] | None = None,
        max_target_positions: float = DEFAULT_MAX_TARGET_POSITIONS,
        residuals: bool = False,
    ) -> None:
        super().__init__(dictionary)
        self.dropout_in_module = FairseqDropout(dropout_in * 1.0, module_name=type(self).__name__)
        self.dropout_out_module = FairseqDropout(dropout_out * 1.0, module_name=type(self).__name__)
        self.need_attn = True
        self.num_layers, self.hidden_size, self.residuals = num_layers, hidden_size, residuals
        self.share_input_output_embed = share_input_output_embed
        self.max_target_positions = max_target_positions
        self.adaptive_softmax: nn.Module | None = None
        vocab, padding_idx = len(dictionary), dictionary.pad()
        self.embed_tokens = Embedding(vocab, embed_dim, padding_idx) if pretrained_embed is None else pretrained_embed
        self.encoder_output_units = encoder_output_units
        self.encoder_hidden_proj: nn.Module | None = None
        self.encoder_cell_proj: nn.Module | None = None
        if encoder_output_units not in (0, hidden_size):
            self.encoder_hidden_proj = Linear(encoder_output_units, hidden_size)
            self.encoder_cell_proj = Linear(encoder_output_units, hidden_size)
        # Input feeding is for decoders that look at a source.
        self.input_feed_size = 0 if encoder_output_units == 0 else hidden_size
        self.layers = nn.ModuleList(
            LSTMCell(embed_dim + self.input_feed_size if layer == 0 else hidden_size, hidden_size)
            for layer in range(num_layers)
        )
        self.attention: nn.Module | None = None
        if attention:
            self.attention = AttentionLayer(hidden_size, encoder_output_units, hidden_size, bias=False)
        if hidden_size != out_embed_dim:
            self.additional_fc = Linear(hidden_size, out_embed_dim)
        if adaptive_softmax_cutoff is not None:
            self.adaptive_softmax = AdaptiveSoftmax(vocab, hidden_size, adaptive_softmax_cutoff, dropout=dropout_out)
        elif not share_input_output_embed:
            self.fc_out = Linear(out_embed_dim, vocab, dropout=dropout_out)

    def forward(  # type: ignore[override]
        self,
        prev_output_tokens: Tensor,
        encoder_out: tuple[Tensor, Tensor, Tensor, Tensor] | None = None,
        incremental_state: dict[str, dict[str, Tensor | None]] | None = None,
        src_lengths: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Score the next token at every position, or after the last one only when a state is given.

        Args:
            prev_output_tokens: ``(batch, tgt_len)``.
            encoder_out: what :class:`LSTMEncoder` returned; ``None`` for a language model.
            incremental_state: the shared dictionary of generation.
            src_lengths: not used; a language model is called with it.

        Returns:
            ``(logits (batch, tgt_len, vocab), attention (batch, tgt_len, src_len) or None)``. Attention is given in
            evaluation only. With an adaptive softmax the first item holds features.
        """
        x, attn_scores = self.extract_features(prev_output_tokens, encoder_out, incremental_state)
        return self.output_layer(x), attn_scores

    def extract_features(  # type: ignore[override]
        self,
        prev_output_tokens: Tensor,
        encoder_out: tuple[Tensor, Tensor, Tensor, Tensor] | None = None,
        incremental_state: dict[str, dict[str, Tensor | None]] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """As ``forward``, but stop before the output layer."""
        if incremental_state is not None and len(incremental_state) > 0:
            prev_output_tokens = prev_output_tokens[:, -1:]
        x = self.dropout_in_module(self.embed_tokens(prev_output_tokens)).transpose(0, 1)
        hiddens, cells, input_feed = self._initial_state(x, encoder_out, incremental_state)
        attn_scores: Tensor | None = None
        if input_feed is None and self.attention is None:
            x = self._run_layers(x, hiddens, cells)
        else:
            x, input_feed, attn_scores = self._run_steps(x, hiddens, cells, input_feed, encoder_out)
        self._keep_state(incremental_state, hiddens, cells, input_feed)
        x = x.transpose(0, 1)
        if hasattr(self, "additional_fc") and self.adaptive_softmax is None:
            x = self.dropout_out_module(self.additional_fc(x))
        return x, attn_scores

    def _run_steps(
        self,
        x: Tensor,
        hiddens: list[Tensor],
        cells: list[Tensor],
        input_feed: Tensor | None,
        encoder_out: tuple[Tensor, Tensor, Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Go through ``(tgt_len, batch, embed_dim)`` a word at a time, since each step feeds the next one.

        ``hiddens`` and ``cells`` are updated in place.

        Returns:
            ``(output (tgt_len, batch, hidden), last input feed, attention (batch, tgt_len, src_len) or None)``.
        """
        steps: list[Tensor] = []
        weights: list[Tensor] = []
        for step in x.unbind(0):
            # What went out of the attention goes in again with the next word.
            input = step if input_feed is None else torch.cat([step, input_feed], dim=1)
            for i, rnn in enumerate(self.layers):
                previous = hiddens[i]
                hiddens[i], cells[i] = rnn(input, (previous, cells[i]))
                input = self.dropout_out_module(hiddens[i])
                if self.residuals:
                    input = input + previous
            out = hiddens[len(hiddens) - 1]
            if self.attention is not None:
                if encoder_out is None:
                    raise ValueError("a decoder with attention needs encoder_out; a language model has none")
                out, step_weights = self.attention(out, encoder_out[0], encoder_out[3])
                weights.append(step_weights)
            out = self.dropout_out_module(out)
            if input_feed is not None:
                input_feed = out
            steps.append(out)
        attn_scores: Tensor | None = None
        if not self.training and self.need_attn and self.attention is not None:
            # (src_len, batch) per step
            attn_scores = torch.stack(weights, dim=1).permute(2, 1, 0)
        return torch.stack(steps), input_feed, attn_scores

    def _run_layers(self, x: Tensor, hiddens: list[Tensor], cells: list[Tensor]) -> Tensor:
        """Go through ``(tgt_len, batch, embed_dim)`` a layer at a time, all words at once.

        ``hiddens`` and ``cells`` are updated in place.
        """
        for i, rnn in enumerate(self.layers):
            first = hiddens[i].unsqueeze(0)
            weights = [rnn.weight_ih, rnn.weight_hh, rnn.bias_ih, rnn.bias_hh]
            state = [first, cells[i].unsqueeze(0)]
            out, hidden, cell = torch._VF.lstm(x, state, weights, True, 1, 0.0, self.training, False, False)  # type: ignore[arg-type]
            hiddens[i], cells[i] = hidden.squeeze(0), cell.squeeze(0)
            x = self.dropout_out_module(out)
            if self.residuals and i + 1 < self.num_layers:
                x = x + torch.cat([first, out[:-1]])
        return x

    def _initial_state(
        self,
        x: Tensor,
        encoder_out: tuple[Tensor, Tensor, Tensor, Tensor] | None,
        incremental_state: dict[str, dict[str, Tensor | None]] | None,
    ) -> tuple[list[Tensor], list[Tensor], Tensor | None]:
        """Where to go on: the cached state, the encoder's final state, or zeros."""
        if incremental_state is not None and len(incremental_state) > 0:
            return self.get_cached_state(incremental_state)
        zeros = x.new_zeros(x.size(1), self.hidden_size)
        if encoder_out is None:
            hiddens = [zeros for _ in range(self.num_layers)]
            cells = [zeros for _ in range(self.num_layers)]
            return hiddens, cells, None
        hiddens = [encoder_out[1][i] for i in range(self.num_layers)]
        cells = [encoder_out[2][i] for i in range(self.num_layers)]
        if self.encoder_hidden_proj is not None:
            hiddens = [self.encoder_hidden_proj(hidden) for hidden in hiddens]
        if self.encoder_cell_proj is not None:
            cells = [self.encoder_cell_proj(cell) for cell in cells]
        return hiddens, cells, zeros

    def _keep_state(
        self,
        incremental_state: dict[str, dict[str, Tensor | None]] | None,
        hiddens: list[Tensor],
        cells: list[Tensor],
        input_feed: Tensor | None,
    ) -> None:
        if incremental_state is None:
            return
        state: dict[str, Tensor | None] = {}
        state["prev_hiddens"] = torch.stack(hiddens)
        state["prev_cells"] = torch.stack(cells)
        state["input_feed"] = input_feed
        self.set_incremental_state(incremental_state, "cached_state", state)

    def output_layer(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Project features to the vocabulary; with an adaptive softmax they are returned as they are."""
        if self.adaptive_softmax is not None:
            return x
        if self.share_input_output_embed:
            return F.linear(x, self.embed_tokens.weight)
        return self.fc_out(x)

    def get_cached_state(
        self, incremental_state: dict[str, dict[str, Tensor | None]]
    ) -> tuple[list[Tensor], list[Tensor], Tensor | None]:
        """Return ``(hidden state per layer (batch, hidden), cell per layer, input feed (batch, hidden) or None)``."""
        state = self.get_incremental_state(incremental_state, "cached_state")
        assert state is not None
        hiddens, cells = state["prev_hiddens"], state["prev_cells"]
        assert hiddens is not None
        assert cells is not None
        return (
            [hiddens[i] for i in range(self.num_layers)],
            [cells[i] for i in range(self.num_layers)],
            state["input_feed"],
        )

    def reorder_incremental_state(
        self, incremental_state: dict[str, dict[str, Tensor | None]], new_order: Tensor
    ) -> None:
        """Let the cached state follow its hypotheses."""
        if incremental_state is None or len(incremental_state) == 0:
            return
        hiddens, cells, input_feed = self.get_cached_state(incremental_state)
        state: dict[str, Tensor | None] = {}
        state["prev_hiddens"] = torch.stack([hidden.index_select(0, new_order) for hidden in hiddens])
        state["prev_cells"] = torch.stack([cell.index_select(0, new_order) for cell in cells])
        state["input_feed"] = input_feed.index_select(0, new_order) if input_feed is not None else None
        self.set_incremental_state(incremental_state, "cached_state", state)

    def max_positions(self) -> Any:
        """Longest target, in tokens."""
        return self.max_target_positions

    def make_generation_fast_(self, need_attn: bool = False, **kwargs: Any) -> None:
        """Leave out the attention weights unless they are asked for."""
        self.need_attn = need_attn
