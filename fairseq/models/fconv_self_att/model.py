"""The model and its architectures."""

from __future__ import annotations

from typing import Any

from torch import nn

from fairseq import utils
from fairseq.compat.arch import preset_functions
from fairseq.models import register_model
from fairseq.models.composite_encoder import CompositeEncoder
from fairseq.models.fairseq_encoder import FairseqEncoder
from fairseq.models.fairseq_model import FairseqEncoderDecoderModel
from fairseq.models.fconv.layers import read_layers
from fairseq.models.fconv_self_att.decoder import FConvDecoder
from fairseq.models.fconv_self_att.encoder import FConvEncoder
from fairseq.models.fconv_self_att.presets import OPTIONS, PRESETS

__all__ = ["FConvModelSelfAtt", "base_architecture", "fconv_self_att_wp"]


@register_model("fconv_self_att")
class FConvModelSelfAtt(FairseqEncoderDecoderModel):
    """Convolutions with self-attention, alone or fused with a model that was trained before.

    Args:
        encoder: the encoder that is trained.
        decoder: the decoder.
        pretrained_encoder: that of the model to fuse with.
    """

    def __init__(
        self, encoder: FConvEncoder, decoder: FConvDecoder, pretrained_encoder: FairseqEncoder | None = None
    ) -> None:
        encoder.num_attention_layers = sum(layer is not None for layer in decoder.attention)
        encoders: dict[str, FairseqEncoder] = {"encoder": encoder}
        if pretrained_encoder is not None:
            encoders["pretrained"] = pretrained_encoder
        super().__init__(CompositeEncoder(encoders), decoder)
        self.pretrained_encoder = pretrained_encoder

    @staticmethod
    def add_args(parser: Any) -> None:  # type: ignore[override]
        """Add the options of the model."""
        for flag, settings in OPTIONS.items():
            parser.add_argument(flag, **settings)

    @classmethod
    def build_model(cls, args: Any, task: Any) -> FConvModelSelfAtt:
        """Build an instance from a namespace and the task's dictionaries.

        Raises:
            ValueError: options that do not go together.
        """
        base_architecture(args)
        attention = utils.parse_literal(str(args.decoder_attention))
        if attention and args.encoder_embed_dim != args.decoder_embed_dim:
            raise ValueError(
                "--decoder-attention requires --encoder-embed-dim to match --decoder-embed-dim: "
                f"{args.encoder_embed_dim} and {args.decoder_embed_dim}"
            )
        selfattention = utils.parse_literal(str(args.self_attention))
        if selfattention and utils.eval_bool(args.downsample) and not utils.eval_bool(args.project_input):
            raise ValueError("--downsample True requires --project-input True: heads narrow their keys as they project")
        trained = _load_frozen(args.pretrained_checkpoint, task) if utils.eval_bool(args.pretrained) else None
        encoder = FConvEncoder(
            task.source_dictionary,
            embed_dim=args.encoder_embed_dim,
            convolutions=read_layers("--encoder-layers", args.encoder_layers),  # type: ignore[arg-type]
            dropout=args.dropout,
            max_positions=args.max_source_positions,
            attention=utils.parse_literal(str(args.encoder_attention)),
            attention_nheads=args.encoder_attention_nheads,
        )
        decoder = FConvDecoder(
            task.target_dictionary,
            embed_dim=args.decoder_embed_dim,
            convolutions=read_layers("--decoder-layers", args.decoder_layers),  # type: ignore[arg-type]
            out_embed_dim=args.decoder_out_embed_dim,
            attention=attention,
            dropout=args.dropout,
            max_positions=args.max_target_positions,
            selfattention=selfattention,
            attention_nheads=args.multihead_attention_nheads,
            selfattention_nheads=args.multihead_self_attention_nheads,
            project_input=utils.eval_bool(args.project_input),
            gated_attention=utils.eval_bool(args.gated_attention),
            downsample=utils.eval_bool(args.downsample),
            pretrained=trained is not None,
            trained_decoder=None if trained is None else trained.decoder,
        )
        return cls(encoder, decoder, None if trained is None else trained.encoder)

    @property
    def pretrained(self) -> bool:
        """Whether the model is fused with another one."""
        return self.pretrained_encoder is not None


def _load_frozen(path: str, task: Any) -> Any:
    """Load the model to fuse with; its parameters get no gradient."""
    if not path:
        raise ValueError("--pretrained True needs --pretrained-checkpoint, the model to fuse with")
    # Upwards in the layer table: only the checkpoint side reads files.
    from fairseq import checkpoint_utils

    model: nn.Module = checkpoint_utils.load_model_ensemble([path], task=task)[0][0]
    return model.requires_grad_(False)


_arch = preset_functions("fairseq.models.fconv_self_att", "fconv_self_att", PRESETS)
base_architecture = _arch("base_architecture", "fconv_self_att")
fconv_self_att_wp = _arch("fconv_self_att_wp")
