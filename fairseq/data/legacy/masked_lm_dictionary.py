"""Dictionaries of the cross-lingual and BERT-style tasks: with symbols for masking and for sentence pairs."""

from __future__ import annotations

from fairseq.data.dictionary import Dictionary

__all__ = ["BertDictionary", "MaskedLMDictionary"]


class MaskedLMDictionary(Dictionary):
    """A dictionary with a mask.

    Args:
        pad, eos, unk, mask: how the symbols are spelled.
    """

    def __init__(self, pad: str = "<pad>", eos: str = "</s>", unk: str = "<unk>", mask: str = "<mask>") -> None:
        super().__init__(pad=pad, eos=eos, unk=unk)
        self.mask_word = mask
        self.mask_index = self.add_symbol(mask)
        self.nspecial = len(self.symbols)

    def mask(self) -> int:
        """Index of the mask."""
        return self.mask_index


class BertDictionary(MaskedLMDictionary):
    """A dictionary with a mask, a symbol for the whole input, and one between its sentences.

    Args:
        pad, eos, unk, mask, cls, sep: how the symbols are spelled.
    """

    def __init__(
        self,
        pad: str = "<pad>",
        eos: str = "</s>",
        unk: str = "<unk>",
        mask: str = "<mask>",
        cls: str = "<cls>",
        sep: str = "<sep>",
    ) -> None:
        super().__init__(pad=pad, eos=eos, unk=unk, mask=mask)
        self.cls_word, self.sep_word = cls, sep
        self.cls_index = self.add_symbol(cls)
        self.sep_index = self.add_symbol(sep)
        self.nspecial = len(self.symbols)

    def cls(self) -> int:
        """Index of the symbol for the whole input."""
        return self.cls_index

    def sep(self) -> int:
        """Index of the symbol between sentences."""
        return self.sep_index
