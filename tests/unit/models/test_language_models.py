"""Language models in training: the loss from features is the loss from logits, whatever a batch's input holds."""

from __future__ import annotations

import argparse
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from fairseq.criterions import build_criterion, fused_loss
from fairseq.criterions.projected_loss import SMALLEST_VOCABULARY, loss_without_logits
from fairseq.data.dictionary import Dictionary
from fairseq.models.fconv_lm import FConvLanguageModel
from fairseq.models.lstm_lm import LSTMLanguageModel
from fairseq.models.transformer_lm import TransformerLanguageModel, TransformerLanguageModelConfig


def many_words() -> Dictionary:
    dictionary = Dictionary()
    for index in range(SMALLEST_VOCABULARY):
        dictionary.add_symbol(f"w{index}")
    return dictionary


WORDS = many_words()
TASK = SimpleNamespace(source_dictionary=WORDS, target_dictionary=WORDS, dictionary=WORDS)
TOKENS = torch.tensor([[2, 5, 6, 7], [2, 8, 9, 1]])
SAMPLE = {
    "id": torch.arange(2),
    "net_input": {"src_tokens": TOKENS, "src_lengths": torch.tensor([4, 3])},
    "target": torch.tensor([[5, 6, 7, 2], [8, 9, 2, 1]]),
    "ntokens": 7,
    "nsentences": 2,
}


def transformer() -> Any:
    widths: dict[str, Any] = {f"decoder_{name}_dim": 8 for name in ("embed", "input", "output", "ffn_embed")}
    cfg = TransformerLanguageModelConfig(
        **widths, decoder_layers=1, decoder_attention_heads=2, dropout=0.0, max_target_positions=16
    )
    return TransformerLanguageModel.build_model(OmegaConf.structured(cfg), TASK)


def flat(kind: Any, **options: Any) -> Any:
    return kind.build_model(argparse.Namespace(**options, dropout=0.0, tokens_per_sample=16), TASK)


MODELS: dict[str, Any] = {
    "transformer_lm": transformer,
    "lstm_lm": lambda: flat(LSTMLanguageModel, decoder_embed_dim=8, decoder_hidden_size=8, decoder_out_embed_dim=8),
    "fconv_lm": lambda: flat(FConvLanguageModel, decoder_embed_dim=8, decoder_layers="[(8, 3)]"),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_criterion_gives_the_loss_of_the_logits(name: str) -> None:
    torch.manual_seed(0)
    model = MODELS[name]()
    criterion = build_criterion(argparse.Namespace(criterion="cross_entropy", sentence_avg=False), TASK)
    loss, size, _ = criterion(model, SAMPLE)
    lprobs = model.get_normalized_probs(model(**SAMPLE["net_input"]), log_probs=True)
    picked = lprobs.gather(-1, SAMPLE["target"].unsqueeze(-1)).squeeze(-1)  # type: ignore[attr-defined]
    torch.testing.assert_close(loss, -picked[SAMPLE["target"].ne(1)].sum())  # type: ignore[attr-defined]
    assert size == 7


def test_the_transformer_needs_no_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loss_without_logits(transformer(), SAMPLE, padding_idx=1) is None  # so few make the plain formulas do
    monkeypatch.setattr(fused_loss, "SMALL", 0)
    assert loss_without_logits(transformer(), SAMPLE, padding_idx=1) is not None
