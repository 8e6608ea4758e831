"""The transformer model built from a nested config (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762)."""

import logging
from typing import Any, Dict, List, Optional, Tuple

import torch
from torch import Tensor, nn

from fairseq import utils
from fairseq.models._shared_embeddings import check_shared_embeddings
from fairseq.models.fairseq_model import FairseqEncoderDecoderModel
from fairseq.models.feature_forward import ends_with_output_layer, plain_softmax
from fairseq.models.transformer._parts import Embedding
from fairseq.models.transformer.transformer_config import (
    DEFAULT_MAX_SOURCE_POSITIONS,
    DEFAULT_MAX_TARGET_POSITIONS,
    TransformerConfig,
    int_list,
)
from fairseq.models.transformer.transformer_decoder import TransformerDecoderBase
from fairseq.models.transformer.transformer_encoder import TransformerEncoderBase
from fairseq.modules.transformer_layer import TransformerDecoderLayerBase
from fairseq.utils.overrides import uses_default_methods

__all__ = ["Embedding", "TransformerModelBase"]

logger = logging.getLogger(__name__)


class TransformerModelBase(FairseqEncoderDecoderModel):
    """Transformer encoder and decoder.

    Args:
        cfg: a nested :class:`TransformerConfig`.
        encoder: a :class:`TransformerEncoderBase` or a relative.
        decoder: a :class:`TransformerDecoderBase` or a relative.
    """

    def __init__(self, cfg: Any, encoder: Any, decoder: Any) -> None:
        super().__init__(encoder, decoder)
        self.cfg = cfg
        self.supports_align_args = True

    @classmethod
    def add_args(cls, parser: Any) -> None:
        """Add the options of :class:`TransformerConfig`, with flat names, to an argparse parser."""
        from fairseq.dataclass.utils import gen_parser_from_dataclass

        gen_parser_from_dataclass(parser, TransformerConfig(), delete_default=False, with_prefix="")

    @classmethod
    def build_model(cls, cfg: Any, task: Any) -> "TransformerModelBase":
        """Build a model for the task's dictionaries.

        Raises:
            ValueError: embeddings are to be shared that differ in dictionary, width or file.
        """
        # These may come as text from the command line.
        cfg.decoder.input_dim = int(cfg.decoder.input_dim)
        cfg.decoder.output_dim = int(cfg.decoder.output_dim)
        for side, part in (("encoder", cfg.encoder), ("decoder", cfg.decoder)):
            kept = int_list(part.layers_to_keep)
            if kept:
                part.layers = len(kept)
            for name, least in (("layers", 0), ("embed_dim", 1), ("ffn_embed_dim", 1), ("attention_heads", 1)):
                if getattr(part, name) < least:
                    option = f"--{side}-{name.replace('_', '-')}"
                    raise ValueError(f"{option} {getattr(part, name)}: at least {least} is expected")
        if cfg.max_source_positions is None:
            cfg.max_source_positions = DEFAULT_MAX_SOURCE_POSITIONS
        if cfg.max_target_positions is None:
            cfg.max_target_positions = DEFAULT_MAX_TARGET_POSITIONS
        if cfg.offload_activations:
            cfg.checkpoint_activations = True

        src_dict, tgt_dict = task.source_dictionary, task.target_dictionary
        if cfg.merge_src_tgt_embed and not cfg.share_all_embeddings:
            src_dict = tgt_dict = _merge_dictionaries(task, src_dict, tgt_dict)
        encoder_embed_tokens, decoder_embed_tokens = cls._build_embeddings(cfg, src_dict, tgt_dict)
        encoder = cls.build_encoder(cfg, src_dict, encoder_embed_tokens)
        decoder = cls.build_decoder(cfg, tgt_dict, decoder_embed_tokens)
        return cls(cfg, encoder, decoder)

    @classmethod
    def _build_embeddings(cls, cfg: Any, src_dict: Any, tgt_dict: Any) -> Tuple[nn.Module, nn.Module]:
        if cfg.share_all_embeddings:
            check_shared_embeddings(
                src_dict,
                tgt_dict,
                (cfg.encoder.embed_dim, cfg.decoder.embed_dim),
                (cfg.encoder.embed_path, cfg.decoder.embed_path),
            )
        shared = cfg.share_all_embeddings or cfg.merge_src_tgt_embed
        encoder_embed = cls.build_embedding(cfg, src_dict, cfg.encoder.embed_dim, cfg.encoder.embed_path)
        if shared:
            cfg.share_decoder_input_output_embed = True
            return encoder_embed, encoder_embed
        return encoder_embed, cls.build_embedding(cfg, tgt_dict, cfg.decoder.embed_dim, cfg.decoder.embed_path)

    @classmethod
    def build_embedding(cls, cfg: Any, dictionary: Any, embed_dim: int, path: Optional[str] = None) -> nn.Embedding:
        """Build the embedding of a dictionary, with the vectors of a text file where it has any."""
        embedding = Embedding(len(dictionary), embed_dim, dictionary.pad())
        if path:
            vectors = utils.parse_embedding(path)
            utils.print_embed_overlap(vectors, dictionary)
            utils.load_embedding(vectors, dictionary, embedding)
        return embedding

    @classmethod
    def build_encoder(cls, cfg: Any, src_dict: Any, embed_tokens: Any) -> Any:
        """Build the encoder; a hook for subclasses."""
        return TransformerEncoderBase(cfg, src_dict, embed_tokens)

    @classmethod
    def build_decoder(cls, cfg: Any, tgt_dict: Any, embed_tokens: Any) -> Any:
        """Build the decoder; a hook for subclasses."""
        return TransformerDecoderBase(cfg, tgt_dict, embed_tokens, no_encoder_attn=cfg.no_cross_attention)

    # TorchScript takes no **kwargs, so the arguments of the base class are written out.
    def forward(  # type: ignore[override]
        self,
        src_tokens: Tensor,
        src_lengths: Optional[Tensor],
        prev_output_tokens: Tensor,
        return_all_hiddens: bool = True,
        features_only: bool = False,
        alignment_layer: Optional[int] = None,
        alignment_heads: Optional[int] = None,
    ) -> Tuple[Tensor, Dict[str, List[Optional[Tensor]]]]:
        """Encode the source and score the target under teacher forcing.

        Shapes: S source length, T target length, B batch, V vocabulary.

        Args:
            src_tokens: ``(B, S)``; ``src_lengths`` ``(B,)``.
            prev_output_tokens: ``(B, T)``, the target shifted right by one.
            return_all_hiddens: keep the outputs of all encoder layers.
            features_only: stop before the output layer.
            alignment_layer, alignment_heads: which attention to return, see the decoder.

        Returns:
            ``((B, T, V), extra)`` as the decoder does.
        """
        encoder_out = self.encoder(src_tokens, src_lengths=src_lengths, return_all_hiddens=return_all_hiddens)
        return self.decoder(
            prev_output_tokens, encoder_out=encoder_out, features_only=features_only,
            alignment_layer=alignment_layer, alignment_heads=alignment_heads, src_lengths=src_lengths,
            return_all_hiddens=return_all_hiddens,
        )  # fmt: skip

    @torch.jit.unused
    def arguments_without_attention(self) -> Dict[str, int]:
        """Arguments of ``forward`` with which no attention is returned, if nothing else changes with it; else none."""
        decoder: Any = self.decoder
        written = uses_default_methods(self, TransformerModelBase) and uses_default_methods(
            decoder, TransformerDecoderBase
        )
        if not written or not all(uses_default_methods(layer, TransformerDecoderLayerBase) for layer in decoder.layers):
            return {}
        return {"alignment_layer": -1}  # no layer has that number

    @torch.jit.export
    def get_normalized_probs(
        self, net_output: Tuple[Tensor, Optional[Dict[str, List[Optional[Tensor]]]]], log_probs: bool,
        sample: Optional[Dict[str, Tensor]] = None,
    ) -> Tensor:  # fmt: skip
        """(Log-)probabilities ``(B, T, V)``, float32, from what :meth:`forward` returned."""
        return self.get_normalized_probs_scriptable(net_output, log_probs, sample)


def _merge_dictionaries(task: Any, src_dict: Any, tgt_dict: Any) -> Any:
    """One dictionary with all words of both, put into the task as well."""
    sizes = len(src_dict), len(tgt_dict)
    src_dict.update(tgt_dict)
    moved = [word for word in tgt_dict.symbols if src_dict.index(word) != tgt_dict.index(word)]
    if moved:
        logger.warning(
            "--merge-src-tgt-embed: %d target words, %r among them, get another index in the merged dictionary; "
            "data binarised with the separate target dictionary will be misread (binarise with --joined-dictionary)",
            len(moved),
            moved[0],
        )
    logger.info("merged dictionaries of %d and %d types into one of %d", *sizes, len(src_dict))
    task.src_dict = task.tgt_dict = src_dict
    return src_dict


ends_with_output_layer(TransformerModelBase.forward, "features_only")
plain_softmax(TransformerModelBase.get_normalized_probs)
