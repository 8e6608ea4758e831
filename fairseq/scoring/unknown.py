"""Unknown words in text that is compared: that of a reference never equals that of an output."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["REFERENCE_UNKNOWN", "OUTPUT_UNKNOWN", "telling_unknowns_apart"]

# Private-use characters: no tokenizer splits them or joins them to punctuation, no text holds them, and they share no
# character, which matters to measures of character n-grams.
REFERENCE_UNKNOWN = "\ue0f0"
OUTPUT_UNKNOWN = "\ue0f1"


def telling_unknowns_apart(pairs: Iterable[tuple[str, str]], unknown: str = "<unk>") -> list[tuple[str, str]]:
    """A corpus with the unknown words of its references and of its outputs written as two different words.

    Tokenizers of text scorers split ``<unk>`` into pieces, which then match. Where no output holds an unknown word
    nothing can match: such a corpus is scored as it stands, and its figure is that of upstream.

    Args:
        pairs: ``(reference, output)`` after detokenization.
        unknown: the dictionary's unknown symbol. It is also found in a second pair of angle brackets, as references
            are printed, and with brackets that a tokenizer has escaped (``&lt;unk&gt;``).
    """
    pattern = _pattern(unknown)
    corpus = list(pairs)
    if not any(pattern.search(output) for _, output in corpus):
        return corpus
    return [
        (pattern.sub(REFERENCE_UNKNOWN, reference), pattern.sub(OUTPUT_UNKNOWN, output)) for reference, output in corpus
    ]


def _pattern(unknown: str) -> re.Pattern[str]:
    def escaped(text: str) -> str:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    # Longest first: the doubled form holds the plain one.
    forms = [f"<{unknown}>", escaped(f"<{unknown}>"), unknown, escaped(unknown)]
    return re.compile("|".join(map(re.escape, forms)))
