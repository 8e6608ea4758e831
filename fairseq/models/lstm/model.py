"""The LSTM model and its architectures."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fairseq import utils
from fairseq.compat.arch import preset_functions
from fairseq.models import register_model
from fairseq.models._shared_embeddings import check_shared_embeddings
from fairseq.models.fairseq_model import FairseqEncoderDecoderModel
from fairseq.models.lstm.decoder import LSTMDecoder
from fairseq.models.lstm.encoder import LSTMEncoder
from fairseq.models.lstm.layers import DEFAULT_MAX_SOURCE_POSITIONS, DEFAULT_MAX_TARGET_POSITIONS, Embedding
from fairseq.models.lstm.options import OPTIONS
from fairseq.models.lstm.presets import PRESETS

__all__ = ["LSTMModel", "base_architecture", "lstm_luong_wmt_en_de", "lstm_wiseman_iwslt_de_en"]


@register_model("lstm")
class LSTMModel(FairseqEncoderDecoderModel):
    """An LSTM encoder and an LSTM decoder with attention."""

    def __init__(self, encoder: LSTMEncoder, decoder: LSTMDecoder) -> None:
        super().__init__(encoder, decoder)

    @staticmethod
    def add_args(parser: Any) -> None:  # type: ignore[override]
        """Add the options of the model."""
        for flag, settings in OPTIONS.items():
            parser.add_argument(flag, **settings)

    @classmethod
    def build_model(cls, args: Any, task: Any) -> LSTMModel:
        """Build an instance from a namespace and the task's dictionaries.

        Raises:
            ValueError: options that do not go together.
        """
        base_architecture(args)
        if args.encoder_layers != args.decoder_layers:
            raise ValueError("--encoder-layers must match --decoder-layers")
        encoder_embed, decoder_embed = build_embeddings(args, task)
        encoder = LSTMEncoder(
            task.source_dictionary,
            **shape_options(args, "encoder"),
            bidirectional=args.encoder_bidirectional,
            pretrained_embed=encoder_embed,
            max_source_positions=getattr(args, "max_source_positions", DEFAULT_MAX_SOURCE_POSITIONS),
        )
        decoder = LSTMDecoder(
            task.target_dictionary,
            **shape_options(args, "decoder"),
            attention=utils.eval_bool(args.decoder_attention),
            encoder_output_units=encoder.output_units,
            pretrained_embed=decoder_embed,
            adaptive_softmax_cutoff=adaptive_cutoff(args),
            max_target_positions=getattr(args, "max_target_positions", DEFAULT_MAX_TARGET_POSITIONS),
        )
        for part, is_frozen in ((encoder, args.encoder_freeze_embed), (decoder, args.decoder_freeze_embed)):
            if is_frozen:
                part.embed_tokens.weight.requires_grad = False
        return cls(encoder, decoder)

    def forward(  # type: ignore[override]
        self,
        src_tokens: Tensor,
        src_lengths: Tensor,
        prev_output_tokens: Tensor,
        incremental_state: dict[str, dict[str, Tensor | None]] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Encode the source and score the target: ``((batch, tgt_len, vocab), attention or None)``."""
        encoder_out = self.encoder(src_tokens, src_lengths=src_lengths)
        return self.decoder(prev_output_tokens, encoder_out=encoder_out, incremental_state=incremental_state)


def shape_options(args: Any, side: str) -> dict[str, Any]:
    """Constructor arguments that are options of the same name with ``encoder_`` or ``decoder_`` before them."""
    names = {"embed_dim": "embed_dim", "hidden_size": "hidden_size", "num_layers": "layers"}
    names.update({"dropout_in": "dropout_in", "dropout_out": "dropout_out"})
    shape = {argument: getattr(args, f"{side}_{option}") for argument, option in names.items()}
    if side == "decoder":
        shape["out_embed_dim"] = args.decoder_out_embed_dim
        shape["share_input_output_embed"] = args.share_decoder_input_output_embed
    return shape


def adaptive_cutoff(args: Any) -> list[int] | None:
    """Bands of the adaptive softmax, which is there for ``--criterion adaptive_loss`` only."""
    criterion = getattr(args, "criterion", None)
    return utils.eval_str_list(args.adaptive_softmax_cutoff, type=int) if criterion == "adaptive_loss" else None


def load_embedding_file(path: str, dictionary: Any, embed_dim: int) -> nn.Embedding:
    """A fresh embedding with the vectors of a text file where it has them."""
    embedding = Embedding(len(dictionary), embed_dim, dictionary.pad())
    vectors = utils.parse_embedding(path)
    utils.print_embed_overlap(vectors, dictionary)
    return utils.load_embedding(vectors, dictionary, embedding)


def build_embeddings(args: Any, task: Any) -> tuple[nn.Embedding, nn.Embedding | None]:
    """Source and target embeddings, shared and loaded as the options say.

    Returns:
        ``(source, target)``; the target's is ``None`` where the decoder has to make its own: its numbers are drawn
        after those of the encoder.
    """
    source, target = task.source_dictionary, task.target_dictionary
    check_sharing(args, source, target)
    if args.encoder_embed_path:
        encoder_embed = load_embedding_file(args.encoder_embed_path, source, args.encoder_embed_dim)
    else:
        encoder_embed = Embedding(len(source), args.encoder_embed_dim, source.pad())
    decoder_embed: nn.Embedding | None = None
    if args.share_all_embeddings:
        decoder_embed = encoder_embed
        args.share_decoder_input_output_embed = True
    elif args.decoder_embed_path:
        decoder_embed = load_embedding_file(args.decoder_embed_path, target, args.decoder_embed_dim)
    return encoder_embed, decoder_embed


def check_sharing(args: Any, source: Any, target: Any) -> None:
    """Refuse shared embeddings that cannot be shared."""
    if args.share_all_embeddings:
        widths = args.encoder_embed_dim, args.decoder_embed_dim
        check_shared_embeddings(source, target, widths, (args.encoder_embed_path, args.decoder_embed_path))
    shares_output = args.share_all_embeddings or args.share_decoder_input_output_embed
    if shares_output and args.decoder_embed_dim != args.decoder_out_embed_dim:
        raise ValueError(
            "--share-decoder-input-output-embed requires --decoder-embed-dim to match --decoder-out-embed-dim"
        )


_arch = preset_functions("fairseq.models.lstm", "lstm", PRESETS)
base_architecture = _arch("base_architecture", "lstm")
lstm_wiseman_iwslt_de_en = _arch("lstm_wiseman_iwslt_de_en")
lstm_luong_wmt_en_de = _arch("lstm_luong_wmt_en_de")
