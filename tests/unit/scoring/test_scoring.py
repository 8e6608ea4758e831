"""BLEU against counting by hand, and the measures over text."""

from __future__ import annotations

import importlib.util
import math
import random
import sys
from collections import Counter

import pytest
import torch

from fairseq.data import Dictionary
from fairseq.scoring import build_scorer
from fairseq.scoring.unknown import OUTPUT_UNKNOWN, REFERENCE_UNKNOWN, telling_unknowns_apart
from fairseq.scoring.wer import edit_distance


def tensor(ids: list[int]) -> torch.Tensor:
    return torch.tensor(ids, dtype=torch.int32)


def test_counts_are_those_of_counting_one_sentence_after_the_other() -> None:
    random.seed(1)
    scorer = build_scorer("bleu", Dictionary())
    matches, counts = [0] * 4, [0] * 4
    for _ in range(200):
        ref, pred = ([random.randint(4, 8) for _ in range(random.randint(1, 9))] for _ in range(2))
        scorer.add(tensor([*ref, 2]), tensor([*pred, 2]))
        for n in range(1, 5):
            grams = [Counter(tuple(s[i : i + n]) for i in range(len(s) - n + 1)) for s in (ref, pred)]
            matches[n - 1] += sum((grams[0] & grams[1]).values())
            counts[n - 1] += sum(grams[1].values())
    assert [getattr(scorer.stat, f"match{n}") for n in range(1, 5)] == matches
    assert [getattr(scorer.stat, f"count{n}") for n in range(1, 5)] == counts


def test_padding_and_ends_do_not_count_and_unknown_words_never_match() -> None:
    scorer = build_scorer("bleu", Dictionary())
    scorer.add(tensor([1, 1, 4, 3, 5, 2, 1]), tensor([4, 3, 5, 2]))
    assert (scorer.stat.reflen, scorer.stat.predlen, scorer.stat.match1) == (3, 3, 2)
    scorer.reset()
    scorer.add(tensor([2]), tensor([2, 1]))
    assert (scorer.stat.reflen, scorer.stat.match1) == (1, 1)


def test_the_line_has_its_known_form() -> None:
    scorer = build_scorer("bleu", Dictionary())
    scorer.add(tensor([4, 5, 6, 7, 8]), tensor([4, 5, 6, 9]))
    brevity = math.exp(1 - 5 / 4)
    assert scorer.brevity() == pytest.approx(brevity)
    line = scorer.result_string()
    assert line == "BLEU4 = 0.00, 75.0/66.7/50.0/0.0 (BP=0.779, ratio=0.800, syslen=4, reflen=5)"
    assert scorer.result_string(2).startswith("BLEU2 = 55.07, 75.0/66.7 (")
    scorer.reset(one_init=True)
    scorer.add(tensor([4, 5]), tensor([4, 5]))
    assert scorer.score() == pytest.approx(100.0)


def test_something_else_than_integers_is_refused() -> None:
    with pytest.raises(TypeError, match="must be a torch.IntTensor"):
        build_scorer("bleu", Dictionary()).add(torch.tensor([0.5]), tensor([4]))


def test_no_sentence_at_all_scores_zero() -> None:
    assert build_scorer("bleu", Dictionary()).result_string().startswith("BLEU4 = 0.00")


def test_words_are_counted_by_edits() -> None:
    assert edit_distance(["a", "b", "c", "d"], ["a", "c", "d", "e"]) == 2
    assert edit_distance([], ["a"]) == 1 and edit_distance(["a"], []) == 1
    random.seed(2)
    for _ in range(30):
        first, second = ([random.choice("abc") for _ in range(random.randint(0, 7))] for _ in range(2))
        table = [[max(i, j) for j in range(len(second) + 1)] for i in range(len(first) + 1)]
        for i, x in enumerate(first, 1):
            for j, y in enumerate(second, 1):
                table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (x != y))
        assert edit_distance(first, second) == table[-1][-1]
    scorer = build_scorer("wer", Dictionary())
    scorer.add_string("a b c d", "a c d")
    assert scorer.result_string() == "WER: 25.00"


@pytest.mark.parametrize(("name", "start"), [("sacrebleu", "BLEU = 100.00"), ("chrf", "chrF2 = 100.00")])
def test_measures_over_text_use_sacrebleu(name: str, start: str) -> None:
    scorer = build_scorer(name, Dictionary())
    scorer.add_string("the cat sat on the mat .", "the cat sat on the mat .")
    assert scorer.result_string().startswith(start)
    assert scorer.score() == pytest.approx(100.0)


@pytest.mark.parametrize(("name", "package"), [("meteor", "nltk"), ("bert_score", "bert_score")])
def test_a_missing_package_is_named_before_anything_is_generated(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted, *a: None if wanted == package else find(wanted, *a))
    with pytest.raises(ImportError, match=r"fairseq\[scoring\]"):
        build_scorer(name, None)


@pytest.mark.parametrize("name", ["sacrebleu", "chrf", "wer"])
def test_unknown_words_of_reference_and_output_share_nothing(name: str) -> None:
    plain, marked = build_scorer(name, Dictionary()), build_scorer(name, Dictionary())
    corpus = [
        (f"a {unknown} b, {unknown}. c", "a <unk> b, <unk>. d") for unknown in ("<unk>", "<<unk>>", "&lt;unk&gt;")
    ]
    for ref, pred in telling_unknowns_apart(corpus):
        marked.add_string(ref, pred)
        plain.add_string("a R b, R. c", "a H b, H. d")
    assert marked.result_string() == plain.result_string()


def test_another_unknown_symbol_is_found_too() -> None:
    assert telling_unknowns_apart([("a [UNK]", "[UNK]@ <unk>")], "[UNK]") == [
        (f"a {REFERENCE_UNKNOWN}", f"{OUTPUT_UNKNOWN}@ <unk>")
    ]


def test_a_corpus_whose_outputs_hold_no_unknown_word_is_scored_as_it_stands() -> None:
    corpus = [("a <<unk>> b", "a c b"), ("a", "a")]
    assert telling_unknowns_apart(corpus) == corpus
