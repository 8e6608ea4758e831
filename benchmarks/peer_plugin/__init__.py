"""The tutorial LSTM as its documentation describes it: a plain decoder that rereads its output at every step.

Runs on the peer, so that it is measured with the model its users have. Weights are interchangeable with those of
``plugins/tutorial_lstm``.
"""

import torch
import torch.nn as nn

from fairseq import utils
from fairseq.models import (
    FairseqDecoder,
    FairseqEncoder,
    FairseqEncoderDecoderModel,
    register_model,
    register_model_architecture,
)

SIZES = {"embed_dim": 256, "hidden_dim": 256, "dropout": 0.1}


class PeerEncoder(FairseqEncoder):
    def __init__(self, dictionary, embed_dim, hidden_dim, dropout):
        super().__init__(dictionary)
        self.pad = dictionary.pad()
        self.embed_tokens = nn.Embedding(len(dictionary), embed_dim, padding_idx=self.pad)
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(embed_dim, hidden_dim, batch_first=True)

    def forward(self, src_tokens, src_lengths):
        src_tokens = utils.convert_padding_direction(src_tokens, self.pad, left_to_right=True)
        embedded = self.dropout(self.embed_tokens(src_tokens))
        packed = nn.utils.rnn.pack_padded_sequence(embedded, src_lengths.cpu(), batch_first=True)
        _, (hidden, _) = self.lstm(packed)
        return {"final_hidden": hidden.squeeze(0)}

    def reorder_encoder_out(self, encoder_out, new_order):
        return {"final_hidden": encoder_out["final_hidden"].index_select(0, new_order)}


class PeerDecoder(FairseqDecoder):
    def __init__(self, dictionary, embed_dim, hidden_dim, dropout):
        super().__init__(dictionary)
        self.embed_tokens = nn.Embedding(len(dictionary), embed_dim, padding_idx=dictionary.pad())
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(hidden_dim + embed_dim, hidden_dim, batch_first=True)
        self.output_projection = nn.Linear(hidden_dim, len(dictionary))

    def forward(self, prev_output_tokens, encoder_out=None, **_):
        summary = encoder_out["final_hidden"]
        embedded = self.dropout(self.embed_tokens(prev_output_tokens))
        repeated = summary.unsqueeze(1).expand(-1, embedded.size(1), -1)
        start = summary.unsqueeze(0)
        outputs, _ = self.lstm(torch.cat([embedded, repeated], dim=2), (start, torch.zeros_like(start)))
        return self.output_projection(outputs), None


@register_model("simple_lstm")
class PeerModel(FairseqEncoderDecoderModel):
    @staticmethod
    def add_args(parser):
        for side in ("encoder", "decoder"):
            parser.add_argument(f"--{side}-embed-dim", type=int)
            parser.add_argument(f"--{side}-hidden-dim", type=int)
            parser.add_argument(f"--{side}-dropout", type=float)

    @classmethod
    def build_model(cls, args, task):
        fill(args)

        def sizes(side):
            return {name: getattr(args, f"{side}_{name}") for name in SIZES}

        return cls(
            PeerEncoder(task.source_dictionary, **sizes("encoder")),
            PeerDecoder(task.target_dictionary, **sizes("decoder")),
        )


@register_model_architecture("simple_lstm", "tutorial_simple_lstm")
def fill(args):
    for side in ("encoder", "decoder"):
        for name, value in SIZES.items():
            key = f"{side}_{name}"
            setattr(args, key, getattr(args, key, value))
