"""The encoder layer of BERT with sparse attention."""

from fairseq.modules.sparse_multihead_attention import SparseMultiheadAttention
from fairseq.modules.transformer_sentence_encoder_layer import TransformerSentenceEncoderLayer

__all__ = ["SparseTransformerSentenceEncoderLayer"]


class SparseTransformerSentenceEncoderLayer(TransformerSentenceEncoderLayer):
    """A :class:`TransformerSentenceEncoderLayer` whose attention is a :class:`SparseMultiheadAttention`.

    Args:
        embedding_dim ... export: of the layer.
        is_bidirectional, stride, expressivity: of the attention.
    """

    def __init__(
        self, embedding_dim: int = 768, ffn_embedding_dim: int = 3072, num_attention_heads: int = 8,
        dropout: float = 0.1, attention_dropout: float = 0.1, activation_dropout: float = 0.1,
        activation_fn: str = "relu", export: bool = False, is_bidirectional: bool = True, stride: int = 32,
        expressivity: int = 8,
    ) -> None:  # fmt: skip
        super().__init__(
            embedding_dim, ffn_embedding_dim, num_attention_heads, dropout, attention_dropout, activation_dropout,
            activation_fn, export,
        )  # fmt: skip
        # In the place of the dense one, and after it: runs with a seed begin with the weights they always had.
        self.self_attn = SparseMultiheadAttention(
            embedding_dim, num_attention_heads, dropout=attention_dropout, self_attention=True,
            is_bidirectional=is_bidirectional, stride=stride, expressivity=expressivity,
        )  # fmt: skip
