"""Which source word stands for an unknown output word."""

from __future__ import annotations

import torch

from fairseq import utils
from fairseq.data import Dictionary
from fairseq.utils.unknown_words import SourceWords, attended_positions, positions_of


def dictionary(*words: str) -> Dictionary:
    result = Dictionary()
    for word in words:
        result.add_symbol(word)
    return result


def row_of(source: Dictionary, line: str, *, left: int = 0, right: int = 0) -> torch.Tensor:
    ids = source.encode_line(line, add_if_not_exist=False).tolist()
    return torch.tensor([source.pad()] * left + ids + [source.pad()] * right)


def test_padding_and_end_marks_are_never_copied_on_either_side() -> None:
    source = dictionary("a", "b")
    for left, right in ((2, 0), (0, 2)):
        row = row_of(source, "a Xaver b", left=left, right=right)
        words = SourceWords.of_row(row, ["a", "Xaver", "b"], source)
        attention = torch.zeros(row.numel(), 2)
        # Most of all to padding and to the end, then to the unknown word.
        attention[:, :] = torch.tensor([0.3 if index in (1, 2) else 0.2 if index == 3 else 0.1 for index in row])[
            :, None
        ]
        hypothesis = {"tokens": torch.tensor([3, 2]), "attention": attention, "alignment": torch.empty(0)}
        assert attended_positions(hypothesis, words) == [1, 1]
        assert words.written_for(1, {}) == "Xaver" and words.written_for(1, {"Xaver": "XAVIER"}) == "XAVIER"


def test_rows_with_language_tags_or_cut_off_rows_keep_their_places() -> None:
    source = dictionary("a", "b", "[de]")
    tagged = SourceWords.of_row(row_of(source, "[de] a Xaver b"), ["a", "Xaver", "b"], source)
    assert tagged.words == ["[de]", "a", "Xaver", "b"]
    cut = SourceWords.of_row(row_of(source, "a Xaver"), ["a", "Xaver", "b", "b"], source)
    assert cut.words == ["a", "Xaver"]


def test_pieces_of_a_word_are_copied_together() -> None:
    words = ["Xa@@", "ver", "b"]
    pieces = SourceWords(words, range(3), range(4), join=lambda text: (text + " ").replace("@@ ", "").rstrip())
    assert [pieces.written_for(i, {}) for i in range(3)] == ["Xa@@ ver", "Xa@@ ver", "b"]
    assert pieces.written_for(0, {"Xaver": "XAVIER"}) == "XAVIER"


def test_every_form_of_alignment_is_read() -> None:
    assert positions_of([(2, 0), (0, 1)], 3) == [2, 0, None]
    assert positions_of([["0.1", "0.2", "0.7"], ["0.6", "0.1", "0.3"]], 3) == [1, 0, None]
    assert positions_of(torch.tensor([1, 0, 2]), 3) == [1, 0, 2]
    assert positions_of(torch.empty(0), 2) == [None, None]


def test_programs_may_give_the_alignments_of_a_generator() -> None:
    target = dictionary("x")
    tokens = torch.tensor([3, 4, 3, 2])
    for alignment in ([(1, 0), (0, 1), (0, 2)], [["0.1", "0.8", "0.1"], ["1", "0", "0"], ["0.5", "0.1", "0.4"]]):
        _, text, _ = utils.post_process_prediction(tokens, "Anna Xaver", alignment, {}, target)
        assert text == "Xaver x Anna"
    # Without an alignment there is no word to copy.
    _, text, _ = utils.post_process_prediction(tokens, "Anna Xaver", torch.empty(0), {}, target)
    assert text == "<unk> x <unk>"


def test_words_are_replaced_before_pieces_are_joined() -> None:
    target = dictionary("x@@", "y")
    _, text, _ = utils.post_process_prediction(torch.tensor([4, 5, 3, 2]), "a b", [0, 0, 1, 1], {}, target, "@@ ")
    assert text == "xy b"
