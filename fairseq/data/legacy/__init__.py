"""Dictionaries and masked blocks of the cross-lingual and first BERT-style tasks."""

from fairseq._lazy import attach

EXPORTS = {
    "BertDictionary": "masked_lm_dictionary",
    "BlockPairDataset": "block_pair_dataset",
    "MaskedLMDataset": "masked_lm_dataset",
    "MaskedLMDictionary": "masked_lm_dictionary",
}

__all__ = sorted(EXPORTS)  # type: ignore[assignment]

__getattr__, __dir__ = attach(__name__, EXPORTS)
