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
    "AddTargetDataset": "add_target_dataset",
    "AppendTokenDataset": "append_token_dataset",
    "BacktranslationDataset": "backtranslation_dataset",
    "BaseWrapperDataset": "base_wrapper_dataset",
    "BinarizedAudioDataset": "fairseq.data.audio.raw_audio_dataset",
    "BucketPadLengthDataset": "bucket_pad_length_dataset",
    "ColorizeDataset": "colorize_dataset",
    "ConcatDataset": "concat_dataset",
    "ConcatSentencesDataset": "concat_sentences_dataset",
    "CountingIterator": "iterators",
    "DenoisingDataset": "denoising_dataset",
    "Dictionary": "dictionary",
    "EncodedFastaDataset": "fasta_dataset",
    "EpochBatchIterator": "iterators",
    "FairseqDataset": "fairseq_dataset",
    "FairseqIterableDataset": "fairseq_dataset",
    "FastaDataset": "fasta_dataset",
    "FileAudioDataset": "fairseq.data.audio.raw_audio_dataset",
    "GroupedIterator": "iterators",
    "HubertDataset": "fairseq.data.audio.hubert_dataset",
    "IdDataset": "id_dataset",
    "IndexedCachedDataset": "indexed_dataset",
    "IndexedDataset": "indexed_dataset",
    "IndexedRawTextDataset": "indexed_dataset",
    "LMContextWindowDataset": "lm_context_window_dataset",
    "LRUCacheDataset": "lru_cache_dataset",
    "LanguagePairDataset": "language_pair_dataset",
    "LeftPadDataset": "pad_dataset",
    "LeftPaddingMaskDataset": "padding_mask_dataset",
    "ListDataset": "list_dataset",
    "MMapIndexedDataset": "indexed_dataset",
    "MaskTokensDataset": "mask_tokens_dataset",
    "MonolingualDataset": "monolingual_dataset",
    "MultiCorpusSampledDataset": "multi_corpus_sampled_dataset",
    "NestedDictionaryDataset": "nested_dictionary_dataset",
    "NoisingDataset": "noising",
    "NumSamplesDataset": "num_samples_dataset",
    "NumelDataset": "numel_dataset",
    "OffsetTokensDataset": "offset_tokens_dataset",
    "PadDataset": "pad_dataset",
    "PaddingMaskDataset": "padding_mask_dataset",
    "PrependDataset": "prepend_dataset",
    "PrependTokenDataset": "prepend_token_dataset",
    "RandomCropDataset": "shorten_dataset",
    "RawLabelDataset": "raw_label_dataset",
    "ReplaceDataset": "replace_dataset",
    "ResamplingDataset": "resampling_dataset",
    "RightPadDataset": "pad_dataset",
    "RightPaddingMaskDataset": "padding_mask_dataset",
    "RollDataset": "roll_dataset",
    "RoundRobinZipDatasets": "round_robin_zip_datasets",
    "SampledMultiDataset": "fairseq.data.multilingual.sampled_multi_dataset",
    "SampledMultiEpochDataset": "fairseq.data.multilingual.sampled_multi_epoch_dataset",
    "ShardedIterator": "iterators",
    "SortDataset": "sort_dataset",
    "StripTokenDataset": "strip_token_dataset",
    "SubsampleDataset": "subsample_dataset",
    "TokenBlockDataset": "token_block_dataset",
    "TransformEosConcatLangPairDataset": "transform_eos_concat_langpair_dataset",
    "TransformEosDataset": "transform_eos_dataset",
    "TransformEosLangPairDataset": "transform_eos_lang_pair_dataset",
    "TruncateDataset": "shorten_dataset",
    "TruncatedDictionary": "dictionary",
}

__all__ = sorted(EXPORTS)  # type: ignore[assignment]

__getattr__, __dir__ = attach(__name__, EXPORTS)
