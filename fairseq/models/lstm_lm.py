"""A recurrent language model: the LSTM decoder without a source."""

from __future__ import annotations

from typing import Any

from torch import nn

from fairseq import utils
from fairseq.compat.arch import Preset, preset_functions, same_as
from fairseq.models import register_model
from fairseq.models.fairseq_model import FairseqLanguageModel
from fairseq.models.lstm import LSTMDecoder
from fairseq.models.lstm.model import adaptive_cutoff, load_embedding_file, shape_options
from fairseq.models.lstm.options import OPTIONS as LSTM_OPTIONS

__all__ = ["DEFAULT_MAX_TARGET_POSITIONS", "PRESETS", "LSTMLanguageModel", "base_architecture"]

DEFAULT_MAX_TARGET_POSITIONS = 1e5

PRESETS = {
    "lstm_lm": Preset(
        dropout=0.1,
        decoder_embed_dim=512,
        decoder_embed_path=None,
        decoder_hidden_size=same_as("decoder_embed_dim"),
        decoder_layers=1,
        decoder_out_embed_dim=512,
        decoder_attention="0",
        decoder_dropout_in=same_as("dropout"),
        decoder_dropout_out=same_as("dropout"),
        share_decoder_input_output_embed=False,
        adaptive_softmax_cutoff="10000,50000,200000",
        residuals=False,
    ),
}
# What lstm has for its decoder, but for frozen vectors.
OPTIONS = {
    flag: settings
    for flag, settings in LSTM_OPTIONS.items()
    if "encoder" not in flag and flag not in ("--decoder-freeze-embed", "--share-all-embeddings")
}
OPTIONS["--residuals"] = {
    "action": "store_true",
    "help": "add a layer's previous state to what it passes to the next layer",
}


@register_model("lstm_lm")
class LSTMLanguageModel(FairseqLanguageModel):
    """An LSTM over the words so far."""

    def __init__(self, decoder: LSTMDecoder) -> None:
        super().__init__(decoder)

    @staticmethod
    def add_args(parser: Any) -> None:  # type: ignore[override]
        """Add the options of the model."""
        for flag, settings in OPTIONS.items():
            parser.add_argument(flag, **settings)

    @classmethod
    def build_model(cls, args: Any, task: Any) -> LSTMLanguageModel:
        """Build an instance from a namespace and the task's dictionary.

        Raises:
            ValueError: options that do not go together.
        """
        base_architecture(args)
        limit: Any = getattr(args, "max_target_positions", None)
        if limit is None:
            limit = getattr(args, "tokens_per_sample", DEFAULT_MAX_TARGET_POSITIONS)
        if utils.eval_bool(args.decoder_attention):
            raise ValueError("--decoder-attention: lstm_lm has no source to attend to; leave it at 0")
        embed: nn.Embedding | None = None
        if args.decoder_embed_path:
            embed = load_embedding_file(args.decoder_embed_path, task.target_dictionary, args.decoder_embed_dim)
        if args.share_decoder_input_output_embed and args.decoder_embed_dim != args.decoder_out_embed_dim:
            raise ValueError(
                "--share-decoder-input-output-embed requires --decoder-embed-dim to match --decoder-out-embed-dim"
            )
        decoder = LSTMDecoder(
            task.dictionary if hasattr(task, "dictionary") else task.target_dictionary,
            **shape_options(args, "decoder"),
            attention=False,
            encoder_output_units=0,
            pretrained_embed=embed,
            adaptive_softmax_cutoff=adaptive_cutoff(args),
            max_target_positions=limit,
            residuals=args.residuals,
        )
        return cls(decoder)


_arch = preset_functions(__name__, "lstm_lm", PRESETS)
base_architecture = _arch("base_architecture", "lstm_lm")
