"""Data sets, dictionaries, batching and iterators. Names are imported when they are asked for.

``dictionary``, ``binarizer``  words <-> numbers
``indexed_dataset``            files of token sequences
``*_dataset``                  data sets and wrappers, one per file
``data_utils``                 padding, batching by size, seeds
``iterators``                  epochs of mini-batches, resumable
``encoders``                   tokenizers and subword segmenters
"""

from fairseq._lazy import attach

EXPORTS = {
    "AppendTokenDataset": "append_token_dataset",
    "BaseWrapperDataset": "base_wrapper_dataset",
    "BucketPadLengthDataset": "bucket_pad_length_dataset",
    "ConcatDataset": "concat_dataset",
    "CountingIterator": "iterators",
    "Dictionary": "dictionary",
    "EpochBatchIterator": "iterators",
    "FairseqDataset": "fairseq_dataset",
    "FairseqIterableDataset": "fairseq_dataset",
    "GroupedIterator": "iterators",
    "IndexedCachedDataset": "indexed_dataset",
    "IndexedDataset": "indexed_dataset",
    "IndexedRawTextDataset": "indexed_dataset",
    "LanguagePairDataset": "language_pair_dataset",
    "ListDataset": "list_dataset",
    "MMapIndexedDataset": "indexed_dataset",
    "PrependTokenDataset": "prepend_token_dataset",
    "RandomCropDataset": "shorten_dataset",
    "ShardedIterator": "iterators",
    "StripTokenDataset": "strip_token_dataset",
    "TruncateDataset": "shorten_dataset",
    "TruncatedDictionary": "dictionary",
}

__all__ = sorted(EXPORTS)  # type: ignore[assignment]

__getattr__, __dir__ = attach(__name__, EXPORTS)
