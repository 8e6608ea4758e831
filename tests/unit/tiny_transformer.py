"""A tiny vocabulary and tiny models."""

from __future__ import annotations

from argparse import Namespace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fairseq.data.dictionary import Dictionary
from fairseq.models.transformer import TransformerModel

SIZES = {
    "encoder_embed_dim": 16,
    "encoder_ffn_embed_dim": 24,
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_layers": 2,
    "decoder_attention_heads": 4,
    "max_source_positions": 32,
    "max_target_positions": 32,
    "dropout": 0.0,
}


def make_dictionary(words: int = 20) -> Dictionary:
    dictionary = Dictionary()
    for index in range(words):
        dictionary.add_symbol(f"w{index}")
    return dictionary


@pytest.fixture
def dictionary() -> Dictionary:
    return make_dictionary()


@pytest.fixture
def build() -> Any:
    """Build a transformer from flat options; the same seed every time."""

    def build_model(seed: int = 0, **options: Any) -> TransformerModel:
        torch.manual_seed(seed)
        words = make_dictionary()
        task = SimpleNamespace(source_dictionary=words, target_dictionary=words)
        return TransformerModel.build_model(Namespace(**{**SIZES, **options}), task)

    return build_model


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    """Two sentence pairs: the first source and the second target are padded."""
    return {
        "src_tokens": torch.tensor([[1, 7, 8, 9, 2], [4, 5, 6, 10, 2]]),
        "src_lengths": torch.tensor([4, 5]),
        "prev_output_tokens": torch.tensor([[2, 5, 6, 7], [2, 8, 9, 1]]),
    }
