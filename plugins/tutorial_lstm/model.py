"""The tutorial LSTM (after Sutskever et al. 2014, without attention).

A plugin model has three parts, and this file shows each in its smallest form:

1. an encoder, which turns source tokens into whatever the decoder needs;
2. a decoder, which predicts the next target token at every position, and one step at a time while generating;
3. a model class, which declares command-line options, builds both, and is registered under a name.

Shapes in this file: B = sentences, S = source length, T = target length, E = embedding, H = hidden, V = vocabulary.
"""

from argparse import ArgumentParser, Namespace
from typing import Any, Dict, Optional, Tuple

import torch
from torch import Tensor, nn

from fairseq import utils
from fairseq.data import Dictionary
from fairseq.models import (
    FairseqEncoder,
    FairseqEncoderDecoderModel,
    FairseqIncrementalDecoder,
    register_model,
    register_model_architecture,
)

# What generation keeps between two steps: hidden and cell state, each (1, B, H).
IncrementalState = Dict[str, Dict[str, Optional[Tensor]]]


class SimpleLSTMEncoder(FairseqEncoder):
    """Reads the source; its last hidden state is the summary the decoder writes from.

    Args:
        dictionary: source vocabulary.
        embed_dim: E.
        hidden_dim: H.
        dropout: probability of zeroing an element of an embedding while training.
    """

    def __init__(
        self, dictionary: Dictionary, embed_dim: int = 128, hidden_dim: int = 128, dropout: float = 0.1
    ) -> None:
        super().__init__(dictionary)
        self.padding_idx = dictionary.pad()
        self.embed_tokens = nn.Embedding(len(dictionary), embed_dim, padding_idx=self.padding_idx)
        self.dropout = nn.Dropout(p=dropout)
        self.lstm = nn.LSTM(embed_dim, hidden_dim, num_layers=1, bidirectional=False, batch_first=True)

    def forward(self, src_tokens: Tensor, src_lengths: Optional[Tensor] = None, **_: Any) -> Dict[str, Tensor]:
        """Encode ``src_tokens``, (B, S) indices padded on either side; returns ``final_hidden``, (B, H)."""
        # The translation task pads sources on the left. An LSTM must not run over padding before the sentence,
        # so the padding is moved to the right (nothing happens if it is there already).
        src_tokens = utils.convert_padding_direction(src_tokens, self.padding_idx, left_to_right=True)
        outputs, _ = self.lstm(self.dropout(self.embed_tokens(src_tokens)))
        # The state after the last real token; padding comes later and cannot reach back. Lengths are counted here,
        # on the device, so that nothing waits for the GPU.
        last = src_tokens.ne(self.padding_idx).sum(dim=1).clamp(min=1) - 1
        rows = torch.arange(src_tokens.size(0), device=src_tokens.device)
        return {"final_hidden": outputs[rows, last]}

    def reorder_encoder_out(self, encoder_out: Dict[str, Tensor], new_order: Tensor) -> Dict[str, Tensor]:
        """Rearrange (or repeat, or drop) sentences, as beam search asks for it."""
        return {name: value.index_select(0, new_order) for name, value in encoder_out.items()}


class SimpleLSTMDecoder(FairseqIncrementalDecoder):
    """Predicts the next token from the tokens before it and the encoder's summary.

    Args:
        dictionary: target vocabulary.
        encoder_hidden_dim: size of the encoder's summary.
        embed_dim: E.
        hidden_dim: H.
        dropout: probability of zeroing an element of an embedding while training.
    """

    def __init__(
        self,
        dictionary: Dictionary,
        encoder_hidden_dim: int = 128,
        embed_dim: int = 128,
        hidden_dim: int = 128,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(dictionary)
        self.embed_tokens = nn.Embedding(len(dictionary), embed_dim, padding_idx=dictionary.pad())
        self.dropout = nn.Dropout(p=dropout)
        # The summary is fed in again at every step, beside the embedding of the previous token.
        self.lstm = nn.LSTM(encoder_hidden_dim + embed_dim, hidden_dim, num_layers=1, batch_first=True)
        self.output_projection = nn.Linear(hidden_dim, len(dictionary))

    def extract_features(
        self,
        prev_output_tokens: Tensor,
        encoder_out: Optional[Dict[str, Tensor]] = None,
        incremental_state: Optional[IncrementalState] = None,
        **_: Any,
    ) -> Tuple[Tensor, None]:
        """What the scores of the next token are computed from, at every position.

        The base class does the rest: ``forward`` sends the features through ``self.output_projection``.

        Args:
            prev_output_tokens: (B, T), the target shifted right by one (teacher forcing), or what was generated so far.
            encoder_out: the encoder's result.
            incremental_state: given while generating; then only the last token is new, and T of the result is 1.

        Returns:
            features (B, T, H), and ``None`` where other decoders put their attention weights.
        """
        if encoder_out is None:
            raise ValueError("the tutorial decoder needs the encoder's output")
        summary = encoder_out["final_hidden"]
        state = self._initial_state(summary)
        if incremental_state is not None:
            prev_output_tokens = prev_output_tokens[:, -1:]
            state = self._cached_state(incremental_state) or state
        embedded = self.dropout(self.embed_tokens(prev_output_tokens))
        repeated = summary.unsqueeze(1).expand(-1, embedded.size(1), -1)
        outputs, state = self.lstm(torch.cat([embedded, repeated], dim=2), state)
        if incremental_state is not None:
            self.set_incremental_state(incremental_state, "lstm", {"hidden": state[0], "cell": state[1]})
        return outputs, None

    def _initial_state(self, summary: Tensor) -> Tuple[Tensor, Tensor]:
        hidden = summary.unsqueeze(0)
        return hidden, torch.zeros_like(hidden)

    def _cached_state(self, incremental_state: IncrementalState) -> Optional[Tuple[Tensor, Tensor]]:
        cached = self.get_incremental_state(incremental_state, "lstm")
        return None if cached is None else (cached["hidden"], cached["cell"])

    def reorder_incremental_state(self, incremental_state: IncrementalState, new_order: Tensor) -> None:
        """Let the kept states follow their hypotheses when beam search rearranges them."""
        cached = self.get_incremental_state(incremental_state, "lstm")
        if cached is not None:
            # The batch is the second dimension of LSTM states.
            moved = {name: value.index_select(1, new_order) for name, value in cached.items()}
            self.set_incremental_state(incremental_state, "lstm", moved)


@register_model("simple_lstm")
class SimpleLSTMModel(FairseqEncoderDecoderModel):
    """The two LSTMs as one model, available to architectures under the name ``simple_lstm``."""

    @staticmethod
    def add_args(parser: ArgumentParser) -> None:
        """Declare the model's options. No defaults here: what is not given is filled in by the architecture."""
        for side in ("encoder", "decoder"):
            parser.add_argument(f"--{side}-embed-dim", type=int, metavar="N", help=f"size of the {side}'s embeddings")
            parser.add_argument(f"--{side}-hidden-dim", type=int, metavar="N", help=f"size of the {side}'s LSTM")
            parser.add_argument(f"--{side}-dropout", type=float, metavar="P", help=f"dropout in the {side}")

    @classmethod
    def build_model(cls, args: Namespace, task: Any) -> "SimpleLSTMModel":
        """Make the model that the options describe, for the vocabularies of the task."""
        # A checkpoint or script may come without preset values.
        tutorial_simple_lstm(args)
        if args.decoder_hidden_dim != args.encoder_hidden_dim:
            raise ValueError(
                f"--decoder-hidden-dim {args.decoder_hidden_dim} must equal --encoder-hidden-dim "
                f"{args.encoder_hidden_dim}: the decoder starts from the encoder's last state"
            )
        encoder = SimpleLSTMEncoder(
            dictionary=task.source_dictionary,
            embed_dim=args.encoder_embed_dim,
            hidden_dim=args.encoder_hidden_dim,
            dropout=args.encoder_dropout,
        )
        decoder = SimpleLSTMDecoder(
            dictionary=task.target_dictionary,
            encoder_hidden_dim=args.encoder_hidden_dim,
            embed_dim=args.decoder_embed_dim,
            hidden_dim=args.decoder_hidden_dim,
            dropout=args.decoder_dropout,
        )
        return cls(encoder, decoder)


# An architecture is a set of values for the model's options. Only what the user left open is filled in.
@register_model_architecture("simple_lstm", "tutorial_simple_lstm")
def tutorial_simple_lstm(args: Namespace) -> None:
    """The size used in the tutorial."""
    args.encoder_embed_dim = getattr(args, "encoder_embed_dim", 256)
    args.encoder_hidden_dim = getattr(args, "encoder_hidden_dim", 256)
    args.encoder_dropout = getattr(args, "encoder_dropout", 0.1)
    args.decoder_embed_dim = getattr(args, "decoder_embed_dim", 256)
    args.decoder_hidden_dim = getattr(args, "decoder_hidden_dim", 256)
    args.decoder_dropout = getattr(args, "decoder_dropout", 0.1)
