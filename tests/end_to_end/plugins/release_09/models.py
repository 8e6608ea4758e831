"""A recurrent translation model from scratch, with a state kept between decoding steps."""

import torch
from torch import nn

from fairseq import utils
from fairseq.models import (
    FairseqEncoder,
    FairseqEncoderDecoderModel,
    FairseqIncrementalDecoder,
    register_model,
    register_model_architecture,
)


class Encoder(FairseqEncoder):
    def __init__(self, dictionary, width):
        super().__init__(dictionary)
        self.embed = nn.Embedding(len(dictionary), width, padding_idx=dictionary.pad())
        self.rnn = nn.GRU(width, width, batch_first=True)

    def forward(self, src_tokens, src_lengths):
        tokens = utils.convert_padding_direction(src_tokens, self.dictionary.pad(), left_to_right=True)
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embed(tokens), src_lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        return {"last": self.rnn(packed)[1].squeeze(0)}

    def reorder_encoder_out(self, encoder_out, new_order):
        return {"last": encoder_out["last"].index_select(0, new_order)}

    def max_positions(self):
        return 64


class Decoder(FairseqIncrementalDecoder):
    def __init__(self, dictionary, width):
        super().__init__(dictionary)
        self.embed = nn.Embedding(len(dictionary), width, padding_idx=dictionary.pad())
        self.cell = nn.GRUCell(width, width)
        self.project = nn.Linear(width, len(dictionary))

    def forward(self, prev_output_tokens, encoder_out, incremental_state=None):
        hidden = encoder_out["last"]
        if incremental_state is not None:
            prev_output_tokens = prev_output_tokens[:, -1:]
            cached = utils.get_incremental_state(self, incremental_state, "hidden")
            hidden = hidden if cached is None else cached
        outputs = []
        for column in self.embed(prev_output_tokens).unbind(1):
            hidden = self.cell(column, hidden)
            outputs.append(hidden)
        if incremental_state is not None:
            utils.set_incremental_state(self, incremental_state, "hidden", hidden)
        return self.project(torch.stack(outputs, 1)), None

    def reorder_incremental_state(self, incremental_state, new_order):
        super().reorder_incremental_state(incremental_state, new_order)
        hidden = utils.get_incremental_state(self, incremental_state, "hidden")
        utils.set_incremental_state(self, incremental_state, "hidden", hidden.index_select(0, new_order))

    def max_positions(self):
        return 64


@register_model("old_gru")
class OldGRU(FairseqEncoderDecoderModel):
    @staticmethod
    def add_args(parser):
        parser.add_argument("--gru-width", type=int, metavar="N", help="width; 100%% of it is used")
        parser.add_argument("--max-source-positions", type=int, metavar="N")

    @classmethod
    def build_model(cls, args, task):
        base(args)
        return cls(Encoder(task.source_dictionary, args.gru_width), Decoder(task.target_dictionary, args.gru_width))


@register_model_architecture("old_gru", "old_gru")
def base(args):
    args.gru_width = getattr(args, "gru_width", 8)
