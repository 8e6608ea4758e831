"""The encoder layer of BERT and XLM, post-norm.

Shapes in this file:  T = length, B = batch, C = embedding, H = heads
"""

from typing import Any, Callable, Optional, Tuple

from torch import Tensor, nn

from fairseq import utils
from fairseq.modules.fairseq_dropout import FairseqDropout
from fairseq.modules.layer_norm import LayerNorm
from fairseq.modules.multihead_attention import MultiheadAttention
from fairseq.modules.quant_noise import quant_noise

__all__ = ["TransformerSentenceEncoderLayer"]


class TransformerSentenceEncoderLayer(nn.Module):
    """Self-attention and a feed-forward block, each followed by a norm.

    Args:
        embedding_dim: C.
        ffn_embedding_dim: width inside the feed-forward block.
        num_attention_heads: H.
        dropout, attention_dropout, activation_dropout: after blocks, on attention weights, after the activation.
        activation_fn: name of the activation.
        export: build for tracing.
        q_noise, qn_block_size: quantisation noise on linear maps.
        init_fn: called before anything is built, to set up the random numbers.
    """

    def __init__(
        self, embedding_dim: int = 768, ffn_embedding_dim: int = 3072, num_attention_heads: int = 8,
        dropout: float = 0.1, attention_dropout: float = 0.1, activation_dropout: float = 0.1,
        activation_fn: str = "relu", export: bool = False, q_noise: float = 0.0, qn_block_size: int = 8,
        init_fn: Optional[Callable[[], None]] = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if init_fn is not None:
            init_fn()
        self.embedding_dim, self.num_attention_heads = embedding_dim, num_attention_heads
        self.q_noise, self.qn_block_size = q_noise, qn_block_size
        self.attention_dropout = attention_dropout
        self.dropout_module = FairseqDropout(dropout, module_name=self.__class__.__name__)
        self.activation_dropout_module = FairseqDropout(activation_dropout, module_name=self.__class__.__name__)
        self.activation_fn = utils.get_activation_fn(activation_fn)
        self.self_attn = self.build_self_attention(
            embedding_dim,
            num_attention_heads,
            dropout=attention_dropout,
            self_attention=True,
            q_noise=q_noise,
            qn_block_size=qn_block_size,
        )
        self.self_attn_layer_norm = LayerNorm(embedding_dim, export=export)
        self.fc1 = self.build_fc1(embedding_dim, ffn_embedding_dim, q_noise=q_noise, qn_block_size=qn_block_size)
        self.fc2 = self.build_fc2(ffn_embedding_dim, embedding_dim, q_noise=q_noise, qn_block_size=qn_block_size)
        self.final_layer_norm = LayerNorm(embedding_dim, export=export)

    def build_fc1(self, input_dim: int, output_dim: int, q_noise: float, qn_block_size: int) -> Any:
        """The first linear map of the feed-forward block; a hook for subclasses."""
        return quant_noise(nn.Linear(input_dim, output_dim), q_noise, qn_block_size)

    def build_fc2(self, input_dim: int, output_dim: int, q_noise: float, qn_block_size: int) -> Any:
        """The second linear map of the feed-forward block; a hook for subclasses."""
        return quant_noise(nn.Linear(input_dim, output_dim), q_noise, qn_block_size)

    def build_self_attention(
        self,
        embed_dim: int,
        num_attention_heads: int,
        dropout: float,
        self_attention: bool,
        q_noise: float,
        qn_block_size: int,
    ) -> Any:
        """The attention module; a hook for subclasses."""
        return MultiheadAttention(
            embed_dim,
            num_attention_heads,
            dropout=dropout,
            self_attention=self_attention,
            q_noise=q_noise,
            qn_block_size=qn_block_size,
        )

    def forward(
        self, x: Tensor, self_attn_mask: Optional[Tensor] = None, self_attn_padding_mask: Optional[Tensor] = None
    ) -> Tuple[Tensor, Optional[Tensor]]:
        """Run the layer.

        Args:
            x: ``(T, B, C)``.
            self_attn_mask: ``(T, T)``, see :class:`MultiheadAttention`; ``self_attn_padding_mask``: ``(B, T)``.

        Returns:
            ``(x, attn)``: ``(T, B, C)`` and ``None``.
        """
        attended, attn = self.self_attn(
            query=x, key=x, value=x, key_padding_mask=self_attn_padding_mask, need_weights=False,
            attn_mask=self_attn_mask,
        )  # fmt: skip
        x = self.self_attn_layer_norm(x + self.dropout_module(attended))
        hidden = self.activation_dropout_module(self.activation_fn(self.fc1(x)))
        x = self.final_layer_norm(x + self.dropout_module(self.fc2(hidden)))
        return x, attn
