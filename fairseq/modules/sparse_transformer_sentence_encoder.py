"""The encoder of BERT with sparse attention."""

from typing import Any, Dict, Optional

from torch import nn

from fairseq.modules.sparse_transformer_sentence_encoder_layer import SparseTransformerSentenceEncoderLayer
from fairseq.modules.transformer_sentence_encoder import TransformerSentenceEncoder

__all__ = ["SparseTransformerSentenceEncoder"]


class SparseTransformerSentenceEncoder(TransformerSentenceEncoder):
    """A :class:`TransformerSentenceEncoder` of :class:`SparseTransformerSentenceEncoderLayer`.

    Args:
        padding_idx ... export: of the encoder.
        is_bidirectional, stride, expressivity: of each attention, see ``SparseMultiheadAttention``.
    """

    _pattern: Dict[str, Any]

    def __init__(
        self, padding_idx: int, vocab_size: int, num_encoder_layers: int = 6, embedding_dim: int = 768,
        ffn_embedding_dim: int = 3072, num_attention_heads: int = 8, dropout: float = 0.1,
        attention_dropout: float = 0.1, activation_dropout: float = 0.1, max_seq_len: int = 256,
        num_segments: int = 2, use_position_embeddings: bool = True, offset_positions_by_padding: bool = True,
        encoder_normalize_before: bool = False, apply_bert_init: bool = False, activation_fn: str = "relu",
        learned_pos_embedding: bool = True, embed_scale: Optional[float] = None, freeze_embeddings: bool = False,
        n_trans_layers_to_freeze: int = 0, export: bool = False, is_bidirectional: bool = True, stride: int = 32,
        expressivity: int = 8,
    ) -> None:  # fmt: skip
        # The base builds the layers while it is constructed; as a plain attribute this needs no module yet.
        object.__setattr__(
            self, "_pattern", {"is_bidirectional": is_bidirectional, "stride": stride, "expressivity": expressivity}
        )
        super().__init__(
            padding_idx, vocab_size, num_encoder_layers=num_encoder_layers, embedding_dim=embedding_dim,
            ffn_embedding_dim=ffn_embedding_dim, num_attention_heads=num_attention_heads, dropout=dropout,
            attention_dropout=attention_dropout, activation_dropout=activation_dropout, max_seq_len=max_seq_len,
            num_segments=num_segments, use_position_embeddings=use_position_embeddings,
            offset_positions_by_padding=offset_positions_by_padding,
            encoder_normalize_before=encoder_normalize_before, apply_bert_init=apply_bert_init,
            activation_fn=activation_fn, learned_pos_embedding=learned_pos_embedding, embed_scale=embed_scale,
            freeze_embeddings=freeze_embeddings, n_trans_layers_to_freeze=n_trans_layers_to_freeze, export=export,
        )  # fmt: skip

    def build_transformer_sentence_encoder_layer(self, **sizes: Any) -> nn.Module:  # type: ignore[override]
        """One sparse layer; quantisation noise, which the base offers, is not for it."""
        del sizes["q_noise"], sizes["qn_block_size"]
        return SparseTransformerSentenceEncoderLayer(**sizes, **self._pattern)
