"""The model and its architectures."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fairseq import utils
from fairseq.compat.arch import preset_functions
from fairseq.models import register_model
from fairseq.models._shared_embeddings import check_shared_embeddings
from fairseq.models.fairseq_model import FairseqEncoderDecoderModel
from fairseq.models.lightconv.decoder import LightConvDecoder
from fairseq.models.lightconv.encoder import LightConvEncoder
from fairseq.models.lightconv.layers import Embedding
from fairseq.models.lightconv.options import OPTIONS
from fairseq.models.lightconv.presets import PRESETS

__all__ = [
    "LightConvModel",
    "base_architecture",
    "lightconv_iwslt_de_en",
    "lightconv_wmt_en_de",
    "lightconv_wmt_en_de_big",
    "lightconv_wmt_en_fr_big",
    "lightconv_wmt_zh_en_big",
]


@register_model("lightconv")
class LightConvModel(FairseqEncoderDecoderModel):
    """Convolutions on both sides, attention from the decoder to the encoder."""

    def __init__(self, encoder: LightConvEncoder, decoder: LightConvDecoder) -> None:
        super().__init__(encoder, decoder)

    @staticmethod
    def add_args(parser: Any) -> None:  # type: ignore[override]
        """Add the options of the model."""
        for flag, settings in OPTIONS.items():
            parser.add_argument(flag, **settings)

    @classmethod
    def build_model(cls, args: Any, task: Any) -> LightConvModel:
        """Build an instance from a namespace and the task's dictionaries.

        Raises:
            ValueError: options that do not go together.
        """
        base_architecture(args)
        for side in ("source", "target"):
            if getattr(args, f"max_{side}_positions", None) is None:
                setattr(args, f"max_{side}_positions", 1024)
        if args.encoder_embed_dim != args.decoder_embed_dim:
            raise ValueError(
                "the decoder attends to the encoder: --encoder-embed-dim must match --decoder-embed-dim, "
                f"not {args.encoder_embed_dim} and {args.decoder_embed_dim}"
            )
        source, target = task.source_dictionary, task.target_dictionary
        encoder_embed = _embedding(source, args.encoder_embed_dim, args.encoder_embed_path)
        if args.share_all_embeddings:
            widths = args.encoder_embed_dim, args.decoder_embed_dim
            check_shared_embeddings(source, target, widths, (args.encoder_embed_path, args.decoder_embed_path))
            decoder_embed = encoder_embed
            args.share_decoder_input_output_embed = True
        else:
            decoder_embed = _embedding(target, args.decoder_embed_dim, args.decoder_embed_path)
        return cls(
            LightConvEncoder(args, source, encoder_embed),
            LightConvDecoder(args, target, decoder_embed),
        )

    def forward(  # type: ignore[override]
        self, src_tokens: Tensor, src_lengths: Tensor, prev_output_tokens: Tensor
    ) -> tuple[Tensor, dict[str, list[Tensor | None]]]:
        """Encode the source and score the target: ``((batch, tgt_len, vocab), extra)``."""
        encoder_out = self.encoder(src_tokens, src_lengths)
        return self.decoder(prev_output_tokens, encoder_out=encoder_out)


def _embedding(dictionary: Any, width: int, path: str | None) -> nn.Embedding:
    """Fresh word vectors, or those of a text file where it has them."""
    embedding = Embedding(len(dictionary), width, dictionary.pad())
    if path:
        embedding = utils.load_embedding(utils.parse_embedding(path), dictionary, embedding)
    return embedding


_arch = preset_functions("fairseq.models.lightconv", "lightconv", PRESETS)
base_architecture = _arch("base_architecture", "lightconv")
lightconv_iwslt_de_en = _arch("lightconv_iwslt_de_en")
lightconv_wmt_en_de = _arch("lightconv_wmt_en_de")
lightconv_wmt_en_de_big = _arch("lightconv_wmt_en_de_big")
lightconv_wmt_en_fr_big = _arch("lightconv_wmt_en_fr_big")
lightconv_wmt_zh_en_big = _arch("lightconv_wmt_zh_en_big")
