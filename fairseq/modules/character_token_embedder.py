"""Word vectors from characters (Kim et al. 2015, https://arxiv.org/abs/1508.06615)."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["CHAR_EOS_IDX", "CHAR_PAD_IDX", "CharacterTokenEmbedder", "Highway"]

logger = logging.getLogger(__name__)

CHAR_PAD_IDX = 0
CHAR_EOS_IDX = 257


class CharacterTokenEmbedder(nn.Module):
    """Convolutions of several widths over the UTF-8 bytes of a word, their maxima, highway layers, a projection.

    Args:
        vocab: the dictionary; words are spelled out from it. May be ``None`` with ``char_inputs``.
        filters: ``(width, channels)`` per convolution.
        char_embed_dim: width of byte vectors.
        word_embed_dim: width of the result.
        highway_layers: number of highway layers.
        max_char_len: bytes of a word that count.
        char_inputs: the input is bytes instead of words.
    """

    def __init__(
        self,
        vocab: Any,
        filters: list[tuple[int, int]],
        char_embed_dim: int,
        word_embed_dim: int,
        highway_layers: int,
        max_char_len: int = 50,
        char_inputs: bool = False,
    ) -> None:
        super().__init__()
        self.onnx_trace = False
        self.embedding_dim = word_embed_dim
        self.max_char_len = max_char_len
        self.char_embeddings = nn.Embedding(257, char_embed_dim, padding_idx=CHAR_PAD_IDX)
        # Words that have no spelling: the end of the sentence, and unknown.
        self.symbol_embeddings = nn.Parameter(torch.empty(2, word_embed_dim))
        self.eos_idx, self.unk_idx = 0, 1
        self.char_inputs = char_inputs
        self.convolutions = nn.ModuleList(
            nn.Conv1d(char_embed_dim, channels, kernel_size=width) for width, channels in filters
        )
        width = sum(channels for _, channels in filters)
        self.highway = Highway(width, highway_layers) if highway_layers > 0 else None
        self.projection = nn.Linear(width, word_embed_dim)
        if vocab is None and not char_inputs:
            raise AssertionError("vocab must be set if not using char inputs")
        self.vocab = None
        self.word_to_char: Tensor | None = None
        if vocab is not None:
            self.set_vocab(vocab, max_char_len)
        self.reset_parameters()

    def prepare_for_onnx_export_(self) -> None:
        """Take the ways through the code that ONNX can trace."""
        self.onnx_trace = True

    def set_vocab(self, vocab: Any, max_char_len: int) -> None:
        """Spell out the words of a dictionary; special symbols have no characters."""
        table = torch.full((len(vocab), max_char_len), CHAR_PAD_IDX, dtype=torch.long)
        truncated = 0
        for word in range(vocab.nspecial, len(vocab)):
            spelling = vocab[word].encode("utf-8")
            truncated += len(spelling) > max_char_len
            # 0 is padding, so bytes count from 1.
            codes = [byte + 1 for byte in spelling[:max_char_len]]
            table[word, : len(codes)] = torch.tensor(codes, dtype=torch.long)
        if truncated > 0:
            logger.info("cut the spelling of %d words to %d bytes", truncated, max_char_len)
        self.vocab = vocab
        self.max_char_len = max_char_len
        self.word_to_char = table

    @property
    def padding_idx(self) -> int:
        """Index of padding among words."""
        if self.vocab is None:
            from fairseq.data.dictionary import Dictionary

            return Dictionary().pad()
        return self.vocab.pad()  # type: ignore[unreachable]

    def reset_parameters(self) -> None:
        """Draw weights (Xavier, normal); the vector of byte padding and the bias are zero."""
        nn.init.xavier_normal_(self.char_embeddings.weight)
        nn.init.xavier_normal_(self.symbol_embeddings)
        nn.init.xavier_uniform_(self.projection.weight)
        nn.init.constant_(self.char_embeddings.weight[CHAR_PAD_IDX], 0.0)
        nn.init.constant_(self.projection.bias, 0.0)

    def forward(self, input: Tensor) -> Tensor:
        """Embed words, ``(batch, seq_len)``, or bytes, ``(batch, seq_len, bytes)``: ``(batch, seq_len, dim)``."""
        if self.char_inputs:
            chars = input.reshape(-1, input.size(-1))
            is_pad, is_eos = chars[:, 0].eq(CHAR_PAD_IDX), chars[:, 0].eq(CHAR_EOS_IDX)
            is_unk = torch.zeros_like(is_pad)
            chars = chars.masked_fill(is_eos.unsqueeze(1), CHAR_PAD_IDX)
        else:
            words = input.reshape(-1)
            if self.word_to_char is None or self.vocab is None:
                raise AssertionError("vocab must be set if not using char inputs")
            self.word_to_char = self.word_to_char.to(words.device)  # type: ignore[unreachable]
            chars = self.word_to_char[words]
            is_pad, is_eos = words.eq(self.vocab.pad()), words.eq(self.vocab.eos())
            is_unk = words.eq(self.vocab.unk())
        vectors = self._convolve(chars)
        vectors = torch.where(is_eos.unsqueeze(1), self.symbol_embeddings[self.eos_idx].to(vectors), vectors)
        vectors = torch.where(is_unk.unsqueeze(1), self.symbol_embeddings[self.unk_idx].to(vectors), vectors)
        vectors = vectors.masked_fill(is_pad.unsqueeze(1), 0)
        return vectors.view(*input.size()[:2], -1)

    def _convolve(self, chars: Tensor) -> Tensor:
        """``(words, bytes)`` to ``(words, dim)``."""
        x = self.char_embeddings(chars).transpose(1, 2)
        x = torch.cat([F.relu(conv(x).amax(dim=-1)) for conv in self.convolutions], dim=-1)
        if self.highway is not None:
            x = self.highway(x)
        return self.projection(x)


class Highway(nn.Module):
    """Layers that pass part of their input on unchanged (Srivastava et al. 2015, https://arxiv.org/abs/1505.00387).

    Args:
        input_dim: width of input and output.
        num_layers: number of layers.
    """

    def __init__(self, input_dim: int, num_layers: int = 1) -> None:
        super().__init__()
        self.input_dim = input_dim
        self.layers = nn.ModuleList(nn.Linear(input_dim, input_dim * 2) for _ in range(num_layers))
        self.activation = nn.ReLU()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights (Xavier, normal) and let the gates begin by passing most of the input on."""
        for layer in self.layers:
            nn.init.constant_(layer.bias[self.input_dim :], 1)  # type: ignore[index]
            nn.init.constant_(layer.bias[: self.input_dim], 0)  # type: ignore[index]
            nn.init.xavier_normal_(layer.weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., input_dim)`` to the same shape."""
        for layer in self.layers:
            changed, gate = layer(x).chunk(2, dim=-1)
            gate = torch.sigmoid(gate)
            x = gate * x + (1 - gate) * self.activation(changed)
        return x
