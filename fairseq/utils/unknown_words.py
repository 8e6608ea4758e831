"""Source words in place of unknown output words: which word a hypothesis attended to, and what is written for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["SourceWords", "attended_positions", "positions_of", "symbols_of", "with_source_words"]


class SourceWords:
    """The words of one source as they were typed, by position among the source tokens.

    Args:
        words: the text of every source token; padding and end marks are not among them.
        columns: where each of them stands in the source row of the batch, as attention counts.
        kept: the columns of the row that are not padding, end marks included, as soft alignments count.
        ineligible: positions that are no words (begin marks) and are never copied.
        join: turns tokens back into text; tokens that it joins without a blank are pieces of one word.
    """

    def __init__(
        self,
        words: Sequence[str],
        columns: Sequence[int],
        kept: Sequence[int],
        ineligible: Collection[int] = (),
        join: Callable[[str], str] | None = None,
    ) -> None:
        self.words, self.columns, self.kept = list(words), list(columns), list(kept)
        self.eligible = [i for i in range(len(self.words)) if i not in ineligible]
        self.join = join

    @classmethod
    def of_row(
        cls, row: Tensor, typed: Sequence[str], dictionary: Any, join: Callable[[str], str] | None = None
    ) -> SourceWords:
        """Match typed words to a source row of a batch.

        Args:
            row: source ids ``(S,)``, padding included.
            typed: the tokens of the typed line; a row may hold more (language tags) or fewer (truncated).
            dictionary: of the source.
            join: see the class.
        """
        ids = row.tolist()
        kept = [column for column, index in enumerate(ids) if index != dictionary.pad()]
        columns = [column for column in kept if ids[column] != dictionary.eos()]
        words = [dictionary[ids[column]] for column in columns]
        unknown = [ids[column] == dictionary.unk() for column in columns]
        begins = [i for i, column in enumerate(columns) if ids[column] == dictionary.bos()]
        start = _place(words, unknown, typed)
        if start is not None:
            count = min(len(words), len(typed))
            words[start : start + count] = typed[:count]
        return cls(words, columns, kept, begins, join)

    def whole(self, position: int) -> tuple[str, str]:
        """The word that the token at ``position`` belongs to: ``(its tokens, the word as text)``."""
        first = last = position
        if self.join is None:
            return self.words[position], self.words[position]
        while first > 0 and self._joined(first - 1):
            first -= 1
        while last + 1 < len(self.words) and self._joined(last):
            last += 1
        pieces = " ".join(self.words[first : last + 1])
        return pieces, self.join(pieces).strip()

    def _joined(self, position: int) -> bool:
        assert self.join is not None
        pair = self.words[position : position + 2]
        return " " not in self.join(" ".join(pair)).strip()

    def written_for(self, position: int, align_dict: dict[str, str]) -> str:
        """What stands for an unknown word that attended to ``position``: its translation, else the word."""
        pieces, word = self.whole(position)
        found = align_dict.get(word, align_dict.get(self.words[position]))
        return pieces if found is None else found


def _place(known: list[str], unknown: list[bool], typed: Sequence[str]) -> int | None:
    """Where the typed words begin in a row, or ``None``."""
    shorter = min(len(known), len(typed))
    for start in range(len(known) - shorter + 1):
        if all(unknown[start + i] or known[start + i] == typed[i] for i in range(shorter)):
            return start
    return None


def attended_positions(hypothesis: dict[str, Any], source: SourceWords) -> list[int | None]:
    """The source word with the most attention, for every token of a hypothesis.

    Alignments that the generator computed are used as they are printed; without them, the attention of the search.

    Returns:
        per token, the end mark included, a position among ``source.words``; ``None`` where it is not known.
    """
    count = len(hypothesis["tokens"])
    alignment = hypothesis.get("alignment")
    if alignment is not None and len(alignment) > 0:
        return positions_of(alignment, count, source)
    attention = hypothesis.get("attention")
    if attention is None or attention.numel() == 0 or not source.eligible:
        return [None] * count
    # A search gives (source, target), forced scoring (target, source).
    by_target = attention if attention.size(0) == count and attention.size(1) != count else attention.transpose(0, 1)
    columns = torch.tensor([source.columns[i] for i in source.eligible], device=attention.device)
    return [source.eligible[i] for i in by_target.index_select(1, columns).argmax(dim=1).tolist()]


def positions_of(alignment: Any, count: int, source: SourceWords | None = None) -> list[int | None]:
    """One source word per target token, from any form of alignment.

    Args:
        alignment: pairs ``(source, target)``; rows of probabilities as text (soft alignments); or one source position
            per target position (list or tensor).
        count: target tokens.
        source: says which columns are words; without it the last column of soft alignments is taken for the end mark,
            and positions are taken as they are.
    """
    result: list[int | None] = [None] * count
    for target, entry in enumerate(alignment.tolist() if hasattr(alignment, "tolist") else alignment):
        position: int | None
        if entry is None:
            continue
        if not isinstance(entry, (list, tuple)):
            position = _position_of_column(int(entry), source)
        elif entry and isinstance(entry[0], str):
            position = _most_probable(entry, source)
        else:
            position, target = int(entry[0]), int(entry[1])
        if target < count:
            result[target] = position
    return result


def _position_of_column(column: int, source: SourceWords | None) -> int | None:
    if source is None:
        return column
    return source.columns.index(column) if column in source.columns else None


def _most_probable(row: Sequence[str], source: SourceWords | None) -> int | None:
    """The word with the greatest probability; ``row`` has one column per token that is not padding."""
    if source is None:
        candidates = {i: i for i in range(len(row) - 1)}
    else:
        candidates = {source.kept.index(source.columns[i]): i for i in source.eligible}
    candidates = {column: position for column, position in candidates.items() if column < len(row)}
    return candidates[max(candidates, key=lambda column: float(row[column]))] if candidates else None


def symbols_of(dictionary: Any, extra: Any) -> set[int]:
    """Ids that ``Dictionary.string`` leaves out."""
    left_out = {*(extra or ()), dictionary.eos()}
    if hasattr(dictionary, "bos_index"):
        left_out.add(dictionary.bos())
    return left_out


def with_source_words(
    tokens: Sequence[int],
    positions: Sequence[int | None],
    write: Callable[[int], str],
    dictionary: Any,
    left_out: set[int],
) -> str:
    """A hypothesis as tokens separated by blanks, with source words in place of unknown ones.

    Args:
        tokens: ids.
        positions: see ``attended_positions``; an unknown token without a position stays.
        write: position -> text.
        left_out: ids not to write.
    """
    unk = dictionary.unk()
    words = []
    for i, index in enumerate(tokens):
        if index in left_out:
            continue
        position = positions[i] if i < len(positions) else None
        if index != unk:
            words.append(dictionary[index])
        else:
            words.append(dictionary.unk_string() if position is None else write(position))
    return " ".join(words)
