"""The convolutional model and its architectures."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fairseq import utils
from fairseq.compat.arch import preset_functions
from fairseq.models import register_model
from fairseq.models.fairseq_model import FairseqEncoderDecoderModel
from fairseq.models.fconv.decoder import FConvDecoder
from fairseq.models.fconv.encoder import FConvEncoder
from fairseq.models.fconv.layers import read_layers
from fairseq.models.fconv.options import OPTIONS
from fairseq.models.fconv.presets import PRESETS

__all__ = [
    "FConvModel",
    "base_architecture",
    "fconv_iwslt_de_en",
    "fconv_wmt_en_de",
    "fconv_wmt_en_fr",
    "fconv_wmt_en_ro",
]


@register_model("fconv")
class FConvModel(FairseqEncoderDecoderModel):
    """Convolutions on both sides, attention in every decoder layer."""

    def __init__(self, encoder: FConvEncoder, decoder: FConvDecoder) -> None:
        super().__init__(encoder, decoder)
        encoder.num_attention_layers = sum(layer is not None for layer in decoder.attention)

    @staticmethod
    def add_args(parser: Any) -> None:  # type: ignore[override]
        """Add the options of the model."""
        for flag, settings in OPTIONS.items():
            parser.add_argument(flag, **settings)

    @classmethod
    def hub_models(cls) -> dict[str, Any]:
        """Published translation models; they take Moses tokens and subword-nmt codes."""
        files = {
            "conv.wmt14.en-fr": "wmt14.v2.en-fr",
            "conv.wmt14.en-de": "wmt14.en-de",
            "conv.wmt17.en-de": "wmt17.v2.en-de",
        }
        folder = "https://dl.fbaipublicfiles.com/fairseq/models"
        return {
            name: {"path": f"{folder}/{file}.fconv-py.tar.bz2", "tokenizer": "moses", "bpe": "subword_nmt"}
            for name, file in files.items()
        }

    @classmethod
    def build_model(cls, args: Any, task: Any) -> FConvModel:
        """Build an instance from a namespace and the task's dictionaries.

        Raises:
            ValueError: the decoder cannot attend to an encoder of another width.
        """
        base_architecture(args)
        attention = utils.parse_literal(str(args.decoder_attention))
        check_widths(args, attends=any(attention) if isinstance(attention, (list, tuple)) else bool(attention))
        encoder = FConvEncoder(
            dictionary=task.source_dictionary,
            embed_dim=args.encoder_embed_dim,
            embed_dict=_vectors(args.encoder_embed_path, task.source_dictionary),
            convolutions=read_layers("--encoder-layers", args.encoder_layers),
            dropout=args.dropout,
            max_positions=args.max_source_positions,
        )
        decoder = FConvDecoder(
            dictionary=task.target_dictionary,
            embed_dim=args.decoder_embed_dim,
            embed_dict=_vectors(args.decoder_embed_path, task.target_dictionary),
            convolutions=read_layers("--decoder-layers", args.decoder_layers),
            out_embed_dim=args.decoder_out_embed_dim,
            attention=attention,
            dropout=args.dropout,
            max_positions=args.max_target_positions,
            share_embed=args.share_input_output_embed,
        )
        return cls(encoder, decoder)


def check_widths(args: Any, attends: bool) -> None:
    """Refuse word vectors of different widths on the two sides of an attention."""
    if attends and args.encoder_embed_dim != args.decoder_embed_dim:
        raise ValueError(
            "--decoder-attention requires --encoder-embed-dim to match --decoder-embed-dim: "
            f"{args.encoder_embed_dim} and {args.decoder_embed_dim}"
        )


def _vectors(path: str | None, dictionary: Any) -> dict[str, Tensor] | None:
    """Word vectors of a text file, if one is named."""
    if not path:
        return None
    vectors = utils.parse_embedding(path)
    utils.print_embed_overlap(vectors, dictionary)
    return vectors


_arch = preset_functions("fairseq.models.fconv", "fconv", PRESETS)
base_architecture = _arch("base_architecture", "fconv")
fconv_iwslt_de_en = _arch("fconv_iwslt_de_en")
fconv_wmt_en_ro = _arch("fconv_wmt_en_ro")
fconv_wmt_en_de = _arch("fconv_wmt_en_de")
fconv_wmt_en_fr = _arch("fconv_wmt_en_fr")
