"""The encoder of BERT and XLM (Devlin et al. 2018, https://arxiv.org/abs/1810.04805).

Shapes in this file:  T = length, B = batch, C = embedding
"""

from typing import Any, Dict, List, Optional, Tuple, Union

import torch
from torch import Tensor, nn

from fairseq.modules.fairseq_dropout import FairseqDropout
from fairseq.modules.layer_drop import LayerDropModuleList
from fairseq.modules.layer_norm import LayerNorm
from fairseq.modules.multihead_attention import MultiheadAttention
from fairseq.modules.positional_embedding import PositionalEmbedding
from fairseq.modules.quant_noise import quant_noise
from fairseq.modules.transformer_sentence_encoder_layer import TransformerSentenceEncoderLayer

__all__ = ["TransformerSentenceEncoder", "init_bert_params"]

_STD = 0.02


def init_bert_params(module: nn.Module) -> None:
    """Initialise as BERT does; for ``model.apply``.

    Linear maps and embeddings from ``N(0, 0.02)``, biases and the padding row zero; queries, keys and values of an
    attention likewise.
    """

    def normal_(data: Tensor) -> None:
        # Drawn on the CPU, so that all devices (and shards of a parameter) begin alike.
        data.copy_(data.cpu().normal_(mean=0.0, std=_STD).to(data.device))

    if isinstance(module, (nn.Linear, nn.Embedding)):
        normal_(module.weight.data)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        module.weight.data[module.padding_idx] = 0
    if isinstance(module, MultiheadAttention):
        for projection in (module.q_proj, module.k_proj, module.v_proj):
            normal_(projection.weight.data)


class TransformerSentenceEncoder(nn.Module):
    """Bidirectional transformer over tokens, segments and positions.

    Args:
        padding_idx: index of padding.
        vocab_size: number of tokens.
        num_encoder_layers, embedding_dim, ffn_embedding_dim, num_attention_heads: sizes of the layers.
        dropout, attention_dropout, activation_dropout, layerdrop: probabilities.
        max_seq_len: longest sequence.
        num_segments: kinds of segments; 0 for none.
        use_position_embeddings, learned_pos_embedding: whether there are positions, learned or sinusoidal.
        offset_positions_by_padding: count positions from ``padding_idx + 1``.
        encoder_normalize_before: normalise the embeddings.
        apply_bert_init: initialise as BERT does.
        activation_fn: name of the activation.
        embed_scale: factor for token embeddings.
        freeze_embeddings, n_trans_layers_to_freeze: keep embeddings, and that many layers, as they are.
        export, traceable: build for tracing; ``traceable`` also returns states as one tensor.
        q_noise, qn_block_size: quantisation noise.
    """

    def __init__(
        self, padding_idx: int, vocab_size: int, num_encoder_layers: int = 6, embedding_dim: int = 768,
        ffn_embedding_dim: int = 3072, num_attention_heads: int = 8, dropout: float = 0.1,
        attention_dropout: float = 0.1, activation_dropout: float = 0.1, layerdrop: float = 0.0,
        max_seq_len: int = 256, num_segments: int = 2, use_position_embeddings: bool = True,
        offset_positions_by_padding: bool = True, encoder_normalize_before: bool = False,
        apply_bert_init: bool = False, activation_fn: str = "relu", learned_pos_embedding: bool = True,
        embed_scale: Optional[float] = None, freeze_embeddings: bool = False, n_trans_layers_to_freeze: int = 0,
        export: bool = False, traceable: bool = False, q_noise: float = 0.0, qn_block_size: int = 8,
    ) -> None:  # fmt: skip
        super().__init__()
        self.padding_idx = padding_idx
        self.vocab_size = vocab_size
        self.dropout_module = FairseqDropout(dropout, module_name=self.__class__.__name__)
        self.layerdrop, self.traceable, self.apply_bert_init = layerdrop, traceable, apply_bert_init
        self.max_seq_len, self.embedding_dim, self.num_segments = max_seq_len, embedding_dim, num_segments
        self.use_position_embeddings = use_position_embeddings
        self.learned_pos_embedding = learned_pos_embedding
        self.embed_scale = embed_scale

        self.embed_tokens = self.build_embedding(vocab_size, embedding_dim, padding_idx)
        self.quant_noise = (
            quant_noise(nn.Linear(embedding_dim, embedding_dim, bias=False), q_noise, qn_block_size)
            if q_noise > 0
            else None
        )
        self.segment_embeddings = nn.Embedding(num_segments, embedding_dim) if num_segments > 0 else None
        self.embed_positions = (
            PositionalEmbedding(
                max_seq_len,
                embedding_dim,
                padding_idx=padding_idx if offset_positions_by_padding else None,
                learned=learned_pos_embedding,
            )
            if use_position_embeddings
            else None
        )
        self.emb_layer_norm = LayerNorm(embedding_dim, export=export) if encoder_normalize_before else None
        self.layers = LayerDropModuleList(p=layerdrop) if layerdrop > 0.0 else nn.ModuleList([])
        sizes: Dict[str, Any] = {
            "embedding_dim": embedding_dim, "ffn_embedding_dim": ffn_embedding_dim,
            "num_attention_heads": num_attention_heads, "dropout": dropout, "attention_dropout": attention_dropout,
            "activation_dropout": activation_dropout, "activation_fn": activation_fn, "export": export,
            "q_noise": q_noise, "qn_block_size": qn_block_size,
        }  # fmt: skip
        self.layers.extend(self.build_transformer_sentence_encoder_layer(**sizes) for _ in range(num_encoder_layers))
        if apply_bert_init:
            self.apply(init_bert_params)
        if freeze_embeddings:
            for part in (self.embed_tokens, self.segment_embeddings, self.embed_positions, self.emb_layer_norm):
                _freeze(part)
        for index in range(n_trans_layers_to_freeze):
            _freeze(self.layers[index])

    def build_embedding(self, vocab_size: int, embedding_dim: int, padding_idx: int) -> nn.Embedding:
        """The token embedding; a hook for subclasses."""
        return nn.Embedding(vocab_size, embedding_dim, padding_idx)

    def build_transformer_sentence_encoder_layer(
        self,
        embedding_dim: int,
        ffn_embedding_dim: int,
        num_attention_heads: int,
        dropout: float,
        attention_dropout: float,
        activation_dropout: float,
        activation_fn: str,
        export: bool,
        q_noise: float,
        qn_block_size: int,
    ) -> nn.Module:
        """One layer; a hook for subclasses."""
        return TransformerSentenceEncoderLayer(
            embedding_dim=embedding_dim, ffn_embedding_dim=ffn_embedding_dim,
            num_attention_heads=num_attention_heads, dropout=dropout, attention_dropout=attention_dropout,
            activation_dropout=activation_dropout, activation_fn=activation_fn, export=export, q_noise=q_noise,
            qn_block_size=qn_block_size,
        )  # fmt: skip

    def forward(
        self, tokens: Tensor, segment_labels: Optional[Tensor] = None, last_state_only: bool = False,
        positions: Optional[Tensor] = None, token_embeddings: Optional[Tensor] = None,
        attn_mask: Optional[Tensor] = None,
    ) -> Tuple[Union[Tensor, List[Tensor]], Tensor]:  # fmt: skip
        """Encode a batch.

        Args:
            tokens: ``(B, T)``; ``segment_labels``: ``(B, T)`` or ``None``.
            last_state_only: return the output of the last layer only.
            positions: row numbers of the position table, ``(B, T)``.
            token_embeddings: ``(B, T, C)``, to use instead of looking the tokens up.
            attn_mask: ``(T, T)``.

        Returns:
            ``(states, sentence)``: input and outputs of the layers, ``(T, B, C)`` each (stacked if ``traceable``), and
            the last state of the first token, ``(B, C)``.
        """
        padding_mask: Optional[Tensor] = tokens.eq(self.padding_idx)
        if not self.traceable and padding_mask is not None and not bool(padding_mask.any()):
            padding_mask = None
        x = self._embed(tokens, segment_labels, positions, token_embeddings)
        if padding_mask is not None:
            x = x * (1 - padding_mask.unsqueeze(-1).type_as(x))
        x = x.transpose(0, 1)
        states: List[Tensor] = [] if last_state_only else [x]
        for layer in self.layers:
            x, _ = layer(x, self_attn_padding_mask=padding_mask, self_attn_mask=attn_mask)
            if not last_state_only:
                states.append(x)
        sentence = x[0]
        if last_state_only:
            states = [x]
        if self.traceable:
            return torch.stack(states), sentence
        return states, sentence

    def _embed(
        self,
        tokens: Tensor,
        segment_labels: Optional[Tensor],
        positions: Optional[Tensor],
        token_embeddings: Optional[Tensor],
    ) -> Tensor:
        x = self.embed_tokens(tokens) if token_embeddings is None else token_embeddings
        x = x if self.embed_scale is None else x * self.embed_scale
        if segment_labels is not None and self.segment_embeddings is not None:
            x = x + self.segment_embeddings(segment_labels)
        if self.embed_positions is not None:
            x = x + self.embed_positions(tokens, positions=positions)
        if self.quant_noise is not None:
            x = self.quant_noise(x)
        if self.emb_layer_norm is not None:
            x = self.emb_layer_norm(x)
        result: Tensor = self.dropout_module(x)
        return result


def _freeze(module: Any) -> None:
    if module is not None:
        for parameter in module.parameters():
            parameter.requires_grad = False
