"""A convolutional language model (Dauphin et al. 2016, https://arxiv.org/abs/1612.08083)."""

from __future__ import annotations

import logging
from typing import Any

from fairseq import utils
from fairseq.compat.arch import Preset, preset_functions
from fairseq.models import register_model
from fairseq.models.fairseq_model import FairseqLanguageModel
from fairseq.models.fconv import FConvDecoder
from fairseq.models.fconv.layers import read_layers

__all__ = [
    "PRESETS",
    "FConvLanguageModel",
    "base_lm_architecture",
    "fconv_lm_dauphin_gbw",
    "fconv_lm_dauphin_wikitext103",
]

logger = logging.getLogger(__name__)

# (channels, kernel width[, residual distance]) per layer
_WIKITEXT_LAYERS = " + ".join(
    [
        "[(850, 6)] * 3",
        "[(850, 1)] * 1",
        "[(850, 5)] * 4",
        "[(850, 1)] * 1",
        "[(850, 4)] * 3",
        "[(1024, 4)] * 1",
        "[(2048, 4)] * 1",
    ]
)
_GBW_LAYERS = " + ".join(
    [
        "[(512, 5)]",
        "[(128, 1, 0), (128, 5, 0), (512, 1, 3)] * 3",
        "[(512, 1, 0), (512, 5, 0), (1024, 1, 3)] * 3",
        "[(1024, 1, 0), (1024, 5, 0), (2048, 1, 3)] * 6",
        "[(1024, 1, 0), (1024, 5, 0), (4096, 1, 3)]",
    ]
)

PRESETS = {
    "fconv_lm": Preset(
        dropout=0.1,
        decoder_embed_dim=128,
        decoder_layers="[(1268, 4)] * 13",
        decoder_attention="False",
        adaptive_softmax_cutoff=None,
        adaptive_softmax_dropout=0,
    ),
    "fconv_lm_dauphin_wikitext103": Preset(
        base="fconv_lm",
        decoder_embed_dim=280,
        decoder_layers=_WIKITEXT_LAYERS,
        decoder_attention="False",
        adaptive_softmax_cutoff="10000,20000,200000",
    ),
    "fconv_lm_dauphin_gbw": Preset(
        base="fconv_lm",
        decoder_embed_dim=128,
        decoder_layers=_GBW_LAYERS,
        decoder_attention="False",
        adaptive_softmax_cutoff="10000,50000,200000",
    ),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "--dropout": {"type": float, "metavar": "P", "help": "dropout on embeddings, layer inputs and output features"},
    "--decoder-embed-dim": {"type": int, "metavar": "N", "help": "width of word vectors, and before the output layer"},
    "--decoder-layers": {"type": str, "metavar": "SPEC", "help": "layers, [(channels, kernel[, residual]), ...]"},
    "--decoder-out-embed-dim": {
        "type": int,
        "metavar": "N",
        "help": "accepted for old commands and saved models; it is always --decoder-embed-dim",
    },
    "--adaptive-softmax-cutoff": {
        "metavar": "N,N,...",
        "help": "where the bands of the adaptive softmax begin; used with --criterion adaptive_loss",
    },
    "--adaptive-softmax-dropout": {"type": float, "metavar": "P", "help": "dropout inside the adaptive softmax"},
    "--decoder-attention": {"type": str, "metavar": "BOOL", "help": "leave it off: there is no source to attend to"},
}


@register_model("fconv_lm")
class FConvLanguageModel(FairseqLanguageModel):
    """Gated causal convolutions over the words so far."""

    def __init__(self, decoder: FConvDecoder) -> None:
        super().__init__(decoder)

    @staticmethod
    def add_args(parser: Any) -> None:  # type: ignore[override]
        """Add the options of the model."""
        for flag, settings in OPTIONS.items():
            parser.add_argument(flag, **settings)

    @classmethod
    def build_model(cls, args: Any, task: Any) -> FConvLanguageModel:
        """Build an instance from a namespace and the task's dictionary.

        Raises:
            ValueError: attention is asked for.
        """
        base_lm_architecture(args)
        attention = utils.parse_literal(str(args.decoder_attention))
        if attention and (not isinstance(attention, (list, tuple)) or any(attention)):
            raise ValueError("--decoder-attention: fconv_lm has no source to attend to; leave it at False")
        if utils.safe_hasattr(args, "max_target_positions") and not utils.safe_hasattr(args, "tokens_per_sample"):
            args.tokens_per_sample = args.max_target_positions
        out_embed_dim = getattr(args, "decoder_out_embed_dim", None)
        if out_embed_dim not in (None, args.decoder_embed_dim):
            logger.warning(
                "--decoder-out-embed-dim %s is not used: fconv_lm has --decoder-embed-dim %s there",
                out_embed_dim,
                args.decoder_embed_dim,
            )
        has_adaptive_loss = getattr(args, "criterion", None) == "adaptive_loss"
        decoder = FConvDecoder(
            dictionary=task.target_dictionary,
            embed_dim=args.decoder_embed_dim,
            convolutions=read_layers("--decoder-layers", args.decoder_layers),
            out_embed_dim=args.decoder_embed_dim,
            attention=attention,
            dropout=args.dropout,
            max_positions=args.tokens_per_sample,
            share_embed=False,
            positional_embeddings=False,
            adaptive_softmax_cutoff=utils.eval_str_list(args.adaptive_softmax_cutoff, type=int)
            if has_adaptive_loss
            else None,
            adaptive_softmax_dropout=args.adaptive_softmax_dropout,
        )
        return cls(decoder)


_arch = preset_functions(__name__, "fconv_lm", PRESETS)
base_lm_architecture = _arch("base_lm_architecture", "fconv_lm")
fconv_lm_dauphin_wikitext103 = _arch("fconv_lm_dauphin_wikitext103")
fconv_lm_dauphin_gbw = _arch("fconv_lm_dauphin_gbw")
