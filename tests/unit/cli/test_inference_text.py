"""Text between people and tokens, as the inference tools treat it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fairseq.data import Dictionary
from fairseq.data.data_utils import post_process
from fairseq_cli._inference import HypothesisText, Text


class Pieces:
    """Joins as the sentencepiece encoder does; the numbers of the other one are joined by it alone."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def encode(self, text: str) -> str:
        return " ".join("\u2581" + word for word in text.split())

    def decode(self, text: str) -> str:
        if self.kind == "sentencepiece":
            return text.replace(" ", "").replace("\u2581", " ").strip()
        return "".join({"17": "Two", "18": " dogs"}.get(word, word) for word in text.split())


def text_with(bpe: Any) -> Text:
    task = SimpleNamespace(build_tokenizer=lambda cfg: None, build_bpe=lambda cfg: bpe)
    return Text(task, SimpleNamespace(tokenizer=None, bpe=None))


@pytest.mark.parametrize(
    ("kind", "symbol", "pieces", "wanted"),
    [
        ("sentencepiece", "sentencepiece", "\u2581Two \u2581do gs", "Two dogs"),
        ("sentencepiece", None, "\u2581Two \u2581do gs", "Two dogs"),
        ("sentencepiece", "sentencepiece", "\u2581Two", "Two"),
        # --remove-bpe alone means @@, which these numbers do not have: the encoder must still join them.
        ("numbers", "subword_nmt", "17 18", "Two dogs"),
    ],
)
def test_subwords_are_joined_once(kind: str, symbol: str | None, pieces: str, wanted: str) -> None:
    dictionary = Dictionary()
    for piece in pieces.split():
        dictionary.add_symbol(piece)
    cfg = SimpleNamespace(
        common_eval=SimpleNamespace(post_process=symbol), generation=SimpleNamespace(replace_unk=None)
    )
    writer = HypothesisText(cfg, text_with(Pieces(kind)), dictionary, dictionary, {2})
    tokens = torch.tensor([dictionary.index(piece) for piece in pieces.split()] + [2])
    _, string, detokenized = writer.write({"tokens": tokens}, None, list)
    assert string == post_process(pieces, symbol)
    assert detokenized == wanted


def test_a_copied_word_of_pieces_is_joined_like_the_others() -> None:
    dictionary = Dictionary()
    for piece in ("\u2581Two", "\u2581dogs"):
        dictionary.add_symbol(piece)
    for symbol in (None, "sentencepiece"):
        cfg = SimpleNamespace(
            common_eval=SimpleNamespace(post_process=symbol), generation=SimpleNamespace(replace_unk="")
        )
        writer = HypothesisText(cfg, text_with(Pieces("sentencepiece")), dictionary, dictionary, {2})
        row = torch.tensor([dictionary.index("\u2581Two"), 3, 3, 2])
        hypothesis = {
            "tokens": torch.tensor([dictionary.index("\u2581Two"), 3, dictionary.index("\u2581dogs"), 2]),
            "attention": torch.eye(4)[:, :4],
        }
        _, _, text = writer.write(hypothesis, row, lambda: ["\u2581Two", "\u2581Xa", "ver"])
        assert text == "Two Xaver dogs"
