"""Transformer with one attention layer that is supervised to align words (Garg et al. 2019,
https://arxiv.org/abs/1909.02074)."""

from typing import Any, Dict, Optional

from torch import Tensor

from fairseq.compat.arch import Preset, preset_functions
from fairseq.models import register_model
from fairseq.models.transformer.transformer_legacy import PRESETS as TRANSFORMER_PRESETS
from fairseq.models.transformer.transformer_legacy import TransformerModel

__all__ = ["TransformerAlignModel", "transformer_align", "transformer_wmt_en_de_big_align"]

PRESETS = {
    **TRANSFORMER_PRESETS,
    "transformer_align": Preset(base="transformer", alignment_heads=1, alignment_layer=4, full_context_alignment=False),
    "transformer_wmt_en_de_big_align": Preset(base="transformer_wmt_en_de_big", alignment_heads=1, alignment_layer=4),
}


@register_model("transformer_align")
class TransformerAlignModel(TransformerModel):
    """A transformer whose ``extra["attn"]`` is the attention of chosen heads of a chosen layer.

    Args:
        encoder, decoder: the two halves.
        args: flat options; ``alignment_heads``, ``alignment_layer`` and ``full_context_alignment`` are read.
    """

    def __init__(self, encoder: Any, decoder: Any, args: Any) -> None:
        super().__init__(args, encoder, decoder)
        self.alignment_heads = args.alignment_heads
        self.alignment_layer = args.alignment_layer
        self.full_context_alignment = args.full_context_alignment

    @staticmethod
    def add_args(parser: Any) -> None:  # type: ignore[override]
        """Add the options of the transformer and those of the alignment."""
        super(TransformerAlignModel, TransformerAlignModel).add_args(parser)
        parser.add_argument(
            "--alignment-heads", type=int, metavar="D", help="number of heads whose mean is supervised to align"
        )
        parser.add_argument(
            "--alignment-layer", type=int, metavar="D", help="decoder layer that is supervised, counted from 0"
        )
        parser.add_argument(
            "--full-context-alignment",
            action="store_true",
            help="align in a second pass of the decoder, which sees the whole target",
        )

    @classmethod
    def build_model(cls, args: Any, task: Any) -> Any:
        """Build a model from flat options; what they leave open is that of architecture ``transformer_align``."""
        transformer_align(args)
        plain = TransformerModel.build_model(args, task)
        return cls(plain.encoder, plain.decoder, args)

    def forward(  # type: ignore[override]
        self, src_tokens: Tensor, src_lengths: Optional[Tensor], prev_output_tokens: Tensor
    ) -> Any:
        """As the transformer; ``extra["attn"]`` holds one ``(batch, tgt_len, src_len)``, the alignment."""
        encoder_out = self.encoder(src_tokens, src_lengths)
        return self.forward_decoder(prev_output_tokens, encoder_out)

    def forward_decoder(  # type: ignore[override]
        self,
        prev_output_tokens: Tensor,
        encoder_out: Optional[Dict[str, Any]] = None,
        incremental_state: Optional[Dict[str, Any]] = None,
        features_only: bool = False,
        **extra_args: Any,
    ) -> Any:
        """Run the decoder, and a second time with the whole target in view if the alignment wants that."""
        alignment = {"alignment_layer": self.alignment_layer, "alignment_heads": self.alignment_heads}
        attention = dict(alignment, **extra_args)
        output, extra = self.decoder(
            prev_output_tokens,
            encoder_out,
            incremental_state=incremental_state,
            features_only=features_only,
            **attention,
        )
        if self.full_context_alignment:
            attention["full_context_alignment"] = True
            _, other = self.decoder(prev_output_tokens, encoder_out, features_only=True, **attention)
            extra["attn"] = other["attn"]
        return output, extra


arch = preset_functions(__name__, model="transformer_align", presets=PRESETS)
transformer_align = arch("transformer_align")
transformer_wmt_en_de_big_align = arch("transformer_wmt_en_de_big_align")
