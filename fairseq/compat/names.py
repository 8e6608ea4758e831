"""Names that a module lends: module -> name -> the home where the object lives.

``HOMES``             name -> home; a name has the same home in every module that lends it
``OLD_NAMES``         module -> names that older releases had there, whole modules too
``UPSTREAM_IMPORTS``  module -> names that upstream's module only imports, and plugins import from there

Data only: ``fairseq.compat.hook`` serves it. Old names are public, so ``dir()`` of a package lists them. The names that
upstream imports are in no ``dir()`` and no ``__all__``.
"""

from __future__ import annotations

__all__ = ["HOMES", "OLD_NAMES", "UPSTREAM_IMPORTS", "homes_of", "module_alias"]

# Name -> "module" for a module, "module:" for the object of that name in it, "module:object" for another object.
HOMES: dict[str, str] = {
    "AMPOptimizer": "fairseq.optim.amp_optimizer:",
    "AdaptiveInput": "fairseq.modules.adaptive_input:",
    "AdaptiveSoftmax": "fairseq.modules.adaptive_softmax:",
    "AlignmentDatasetBinarizer": "fairseq.binarizer:",
    "AppendTokenDataset": "fairseq.data.append_token_dataset:",
    "BaseLayer": "fairseq.modules.base_layer:",
    "BaseWrapperDataset": "fairseq.data.base_wrapper_dataset:",
    "BeamableMM": "fairseq.modules.beamable_mm:",
    "BertDictionary": "fairseq.data.legacy.masked_lm_dictionary:",
    "BlockPairDataset": "fairseq.data.legacy.block_pair_dataset:",
    "CharacterTokenEmbedder": "fairseq.modules.character_token_embedder:",
    "Chunker": "fairseq.file_chunker_utils:",
    "CompositeEncoder": "fairseq.models.composite_encoder:",
    "ConcatDataset": "fairseq.data.concat_dataset:",
    "DATASET_IMPL_CHOICES": "fairseq.dataclass.constants:",
    "DEFAULT_MAX_SOURCE_POSITIONS": "fairseq.models.transformer.transformer_config:",
    "DEFAULT_MAX_TARGET_POSITIONS": "fairseq.models.transformer.transformer_config:",
    "DEFAULT_MIN_PARAMS_TO_WRAP": "fairseq.models.transformer.transformer_config:",
    "Dictionary": "fairseq.data.dictionary:",
    "DistributedTimeoutWrapper": "fairseq.distributed.distributed_timeout_wrapper:",
    "DistributedTrainingConfig": "fairseq.dataclass.configs:",
    "DownsampledMultiHeadAttention": "fairseq.modules.downsampled_multihead_attention:",
    "DummyDataset": "fairseq.benchmark.dummy_dataset:",
    "DynamicConv": "fairseq.modules.dynamic_convolution:DynamicConv_scripatable",
    "Embedding": "fairseq.models.lstm:",
    "EmptyClusterResolveError": "fairseq.modules.quantization.pq.em:",
    "EncoderLangtok": "fairseq.data.multilingual.multilingual_utils:",
    "EncoderOut": "fairseq.models.fairseq_encoder:",
    "FairseqBMUFConfig": "fairseq.dataclass.configs:",
    "FairseqConfig": "fairseq.dataclass.configs:",
    "FairseqDataclass": "fairseq.dataclass.configs:",
    "FairseqDataset": "fairseq.data.fairseq_dataset:",
    "FairseqDecoder": "fairseq.models.fairseq_decoder:",
    "FairseqDropout": "fairseq.modules.fairseq_dropout:",
    "FairseqEncoder": "fairseq.models.fairseq_encoder:",
    "FairseqEncoderDecoderModel": "fairseq.models.fairseq_model:",
    "FairseqIncrementalDecoder": "fairseq.models.fairseq_incremental_decoder:",
    "FairseqTask": "fairseq.tasks.fairseq_task:",
    "FastaDataset": "fairseq.data.fasta_dataset:",
    "FileBinarizer": "fairseq.binarizer:",
    "FileContentsAction": "fairseq.utils:",
    "GradMultiply": "fairseq.modules.grad_multiply:",
    "HuffmanMMapIndex": "fairseq.data.huffman.huffman_mmap_indexed_dataset:",
    "HuffmanMMapIndexedDataset": "fairseq.data.huffman.huffman_mmap_indexed_dataset:",
    "IdDataset": "fairseq.data.id_dataset:",
    "LMContextWindowDataset": "fairseq.data.lm_context_window_dataset:",
    "LangTokStyle": "fairseq.data.multilingual.multilingual_utils:",
    "LanguagePairDataset": "fairseq.data.language_pair_dataset:",
    "LayerDropModuleList": "fairseq.modules.layer_drop:",
    "LayerNorm": "fairseq.modules.layer_norm:",
    "LearnedPositionalEmbedding": "fairseq.modules.learned_positional_embedding:",
    "LegacyDistributedDataParallel": "fairseq.distributed.legacy_distributed_data_parallel:",
    "LegacyFairseqTask": "fairseq.tasks.fairseq_task:",
    "LightweightConv": "fairseq.modules.lightweight_convolution:",
    "LinearizedConvolution": "fairseq.modules.linearized_convolution:",
    "MaskedLMDataset": "fairseq.data.legacy.masked_lm_dataset:",
    "MaskedLMDictionary": "fairseq.data.legacy.masked_lm_dictionary:",
    "MegatronTrainer": "fairseq.model_parallel.megatron_trainer:",
    "ModuleProxyWrapper": "fairseq.distributed.module_proxy_wrapper:",
    "MultiheadAttention": "fairseq.modules.multihead_attention:",
    "NGramRepeatBlock": "fairseq.ngram_repeat_block:",
    "NanDetector": "fairseq.nan_detector:",
    "NestedDictionaryDataset": "fairseq.data.nested_dictionary_dataset:",
    "NumelDataset": "fairseq.data.numel_dataset:",
    "PadDataset": "fairseq.data.pad_dataset:",
    "PathManager": "fairseq.file_io:",
    "PlasmaStore": "fairseq.data.plasma_utils:",
    "PositionalEmbedding": "fairseq.modules.positional_embedding:",
    "PrependTokenDataset": "fairseq.data.prepend_token_dataset:",
    "SequenceScorer": "fairseq.sequence_scorer:",
    "SinusoidalPositionalEmbedding": "fairseq.modules.sinusoidal_positional_embedding:",
    "StopwatchMeter": "fairseq.logging.meters:",
    "StripTokenDataset": "fairseq.data.strip_token_dataset:",
    "TPUDistributedDataParallel": "fairseq.distributed.tpu_distributed_data_parallel:",
    "TimeMeter": "fairseq.logging.meters:",
    "Trainer": "fairseq.trainer:",
    "TransformerConfig": "fairseq.models.transformer.transformer_config:",
    "TransformerDecoderLayer": "fairseq.modules.transformer_layer:",
    "TransformerEncoderLayer": "fairseq.modules.transformer_layer:",
    "TruncateDataset": "fairseq.data.shorten_dataset:",
    "VocabularyDatasetBinarizer": "fairseq.binarizer:",
    "add_defaults": "fairseq.dataclass.initialize:",
    "apply_quant_noise_": "fairseq.modules.quant_noise:quant_noise",
    "base_architecture": "fairseq.models.transformer.transformer_legacy:",
    "best_fitting_int_dtype": "fairseq.data.indexed_dataset:",
    "bleu": "fairseq.scoring.bleu",
    "block_pair_dataset": "fairseq.data.legacy.block_pair_dataset",
    "build_ema": "fairseq.models.ema:",
    "checkpoint_utils": "fairseq.checkpoint_utils",
    "checkpoint_wrapper": "fairseq.modules.checkpoint_activations:",
    "compute_mask_indices": "fairseq.data.data_utils:",
    "convert_namespace_to_omegaconf": "fairseq.dataclass.utils:",
    "csv_str_list": "fairseq.utils:",
    "data_utils": "fairseq.data.data_utils",
    "dictionary": "fairseq.data.dictionary",
    "dist_utils": "fairseq.distributed.utils",
    "distributed_utils": "fairseq.distributed.utils",
    "emulate_int": "fairseq.modules.quantization.scalar.ops:",
    "encoders": "fairseq.data.encoders",
    "eval_str_dict": "fairseq.utils:",
    "file_utils": "fairseq.file_utils",
    "fsdp_enable_wrap": "fairseq.distributed.fully_sharded_data_parallel:",
    "fsdp_wrap": "fairseq.distributed.fully_sharded_data_parallel:",
    "gen_parser_from_dataclass": "fairseq.dataclass.utils:",
    "get_available_dataset_impl": "fairseq.data.indexed_dataset:",
    "get_fused_adam_class": "fairseq.optim.fused_adam:",
    "get_symbols_to_strip_from_output": "fairseq_cli.generate:",
    "get_whole_word_mask": "fairseq.data.encoders.utils:",
    "has_FSDP": "fairseq.distributed.fully_sharded_data_parallel:",
    "hydra_init": "fairseq.dataclass.initialize:",
    "indexed_dataset": "fairseq.data.indexed_dataset",
    "iterators": "fairseq.data.iterators",
    "legacy_distributed_data_parallel": "fairseq.distributed.legacy_distributed_data_parallel",
    "lr_scheduler": "fairseq.optim.lr_scheduler",
    "masked_lm_dataset": "fairseq.data.legacy.masked_lm_dataset",
    "masked_lm_dictionary": "fairseq.data.legacy.masked_lm_dictionary",
    "merge_with_parent": "fairseq.dataclass.utils:",
    "meters": "fairseq.logging.meters",
    "metrics": "fairseq.logging.metrics",
    "models": "fairseq.models",
    "numpy_seed": "fairseq.data.data_utils:",
    "omegaconf_no_object_check": "fairseq.dataclass.utils:",
    "optim": "fairseq.optim",
    "options": "fairseq.options",
    "pack_constraints": "fairseq.token_generation_constraints:",
    "plasma_utils": "fairseq.data.plasma_utils",
    "pre_main": "fairseq_cli.train:main",
    "process_bpe_symbol": "fairseq.compat.lines:",
    "progress_bar": "fairseq.logging.progress_bar",
    "quantization_utils": "fairseq.quantization_utils",
    "register_model": "fairseq.models:",
    "register_model_architecture": "fairseq.models:",
    "registry": "fairseq.registry",
    "reset_logging": "fairseq.utils:",
    "safe_getattr": "fairseq.utils:",
    "safe_hasattr": "fairseq.utils:",
    "safe_readline": "fairseq.compat.lines:",
    "safe_round": "fairseq.logging.meters:",
    "scoring": "fairseq.scoring",
    "search": "fairseq.search",
    "tasks": "fairseq.tasks",
    "tokenizer": "fairseq.tokenizer",
    "torch": "torch",
    "transformer_layer": "fairseq.modules.transformer_layer",
    "transformer_wmt_en_de_big": "fairseq.models.transformer.transformer_legacy:",
    "unfold1d": "fairseq.modules.unfold:",
    "unpack_constraints": "fairseq.token_generation_constraints:",
    "utils": "fairseq.utils",
    "with_incremental_state": "fairseq.incremental_decoding_utils:",
}

# Module -> the names. A name whose home is a module can be imported as a submodule, and is that very module:
# ``fairseq.metrics`` shares one set of aggregators with ``fairseq.logging.metrics``, and checkpoints of 2019 pickle
# ``fairseq.meters.AverageMeter``.
OLD_NAMES: dict[str, str] = {
    # Up to 0.9: bleu, legacy_distributed_data_parallel. Upstream has the others to this day.
    "fairseq": "bleu distributed_utils legacy_distributed_data_parallel meters metrics progress_bar",
    # Up to 0.10 the reader of one worker's part of a file. Forks of MASS and ProphetNet call it.
    "fairseq.binarizer": "safe_readline",
    # Up to 0.8; since then in fairseq.data.legacy.
    "fairseq.data": (
        "BertDictionary BlockPairDataset MaskedLMDataset MaskedLMDictionary block_pair_dataset masked_lm_dataset "
        "masked_lm_dictionary"
    ),
    # Up to 0.9; the extensions of ProphetNet and GLAT call it.
    "fairseq.data.data_utils": "process_bpe_symbol",
    # Up to 0.10 the transformer was one module, and what it imported could be imported from there.
    "fairseq.models.transformer": (
        "AdaptiveSoftmax BaseLayer EncoderOut FairseqDropout FairseqEncoder FairseqEncoderDecoderModel "
        "FairseqIncrementalDecoder LayerDropModuleList LayerNorm MultiheadAttention PositionalEmbedding "
        "SinusoidalPositionalEmbedding TransformerDecoderLayer TransformerEncoderLayer"
    ),
}

# Module -> the names.
UPSTREAM_IMPORTS: dict[str, str] = {
    "fairseq.benchmark.dummy_masked_lm": "Dictionary DummyDataset FairseqTask",
    "fairseq.benchmark.dummy_model": "Dictionary register_model_architecture",
    "fairseq.benchmark.dummy_mt": "FairseqDataset",
    "fairseq.checkpoint_utils": "data_utils has_FSDP torch",
    "fairseq.criterions.adaptive_loss": "metrics utils",
    "fairseq.criterions.composite_loss": "utils",
    "fairseq.criterions.cross_entropy": "metrics utils",
    "fairseq.criterions.fairseq_criterion": "FairseqDataclass gen_parser_from_dataclass metrics utils",
    "fairseq.criterions.label_smoothed_cross_entropy": "metrics utils",
    "fairseq.criterions.label_smoothed_cross_entropy_with_alignment": "metrics utils",
    "fairseq.criterions.label_smoothed_cross_entropy_with_rdrop": "metrics utils",
    "fairseq.criterions.model_criterion": "metrics safe_round utils",
    "fairseq.criterions.speech_ulm_criterion": "FairseqTask metrics",
    "fairseq.data.append_token_dataset": "BaseWrapperDataset",
    "fairseq.data.backtranslation_dataset": "utils",
    "fairseq.data.data_utils": "PathManager utils",
    "fairseq.data.dictionary": "Chunker data_utils utils",
    "fairseq.data.encoders.byte_bpe": "file_utils",
    "fairseq.data.encoders.fastbpe": "file_utils",
    "fairseq.data.encoders.hf_byte_bpe": "file_utils",
    "fairseq.data.encoders.sentencepiece_bpe": "file_utils",
    "fairseq.data.encoders.subword_nmt_bpe": "file_utils",
    "fairseq.data.fairseq_dataset": "data_utils",
    "fairseq.data.huffman.huffman_mmap_indexed_dataset": "indexed_dataset",
    "fairseq.data.indexed_dataset": (
        "DATASET_IMPL_CHOICES FairseqDataset FastaDataset HuffmanMMapIndex HuffmanMMapIndexedDataset PathManager"
    ),
    "fairseq.data.iterators": "data_utils",
    "fairseq.data.legacy.masked_lm_dataset": "BlockPairDataset Dictionary",
    "fairseq.data.mask_tokens_dataset": "Dictionary data_utils",
    "fairseq.data.multi_corpus_dataset": "data_utils",
    "fairseq.data.multilingual.multilingual_data_manager": (
        "AppendTokenDataset EncoderLangtok FileContentsAction LangTokStyle StripTokenDataset TruncateDataset "
        "csv_str_list eval_str_dict indexed_dataset"
    ),
    "fairseq.data.multilingual.sampled_multi_dataset": "distributed_utils",
    "fairseq.data.noising": "data_utils",
    "fairseq.data.pad_dataset": "data_utils",
    "fairseq.data.padding_mask_dataset": "data_utils",
    "fairseq.data.prepend_token_dataset": "BaseWrapperDataset",
    "fairseq.data.resampling_dataset": "plasma_utils",
    "fairseq.data.round_robin_zip_datasets": "LanguagePairDataset",
    "fairseq.data.shorten_dataset": "data_utils",
    "fairseq.data.span_mask_tokens_dataset": "Dictionary",
    "fairseq.data.subsample_dataset": "numpy_seed",
    "fairseq.data.token_block_dataset": "best_fitting_int_dtype plasma_utils",
    "fairseq.distributed.fully_sharded_data_parallel": "DistributedTrainingConfig dist_utils",
    "fairseq.distributed.utils": "DistributedTrainingConfig FairseqConfig",
    "fairseq.hub_utils": "encoders utils",
    "fairseq.iterative_refinement_generator": "utils",
    "fairseq.model_parallel.megatron_trainer": "FairseqConfig distributed_utils",
    "fairseq.models.distributed_fairseq_model": (
        "DistributedTimeoutWrapper LegacyDistributedDataParallel ModuleProxyWrapper TPUDistributedDataParallel"
    ),
    "fairseq.models.ema.ema": "checkpoint_utils",
    "fairseq.models.fairseq_decoder": "utils",
    "fairseq.models.fairseq_incremental_decoder": "with_incremental_state",
    "fairseq.models.fairseq_model": "Dictionary convert_namespace_to_omegaconf gen_parser_from_dataclass utils",
    "fairseq.models.fconv": (
        "AdaptiveSoftmax BeamableMM FairseqDropout FairseqEncoder FairseqEncoderDecoderModel "
        "FairseqIncrementalDecoder GradMultiply LearnedPositionalEmbedding LinearizedConvolution "
        "register_model register_model_architecture utils"
    ),
    "fairseq.models.fconv_lm": "register_model_architecture safe_hasattr",
    "fairseq.models.fconv_self_att": (
        "CompositeEncoder DownsampledMultiHeadAttention FairseqDecoder FairseqDropout FairseqEncoder "
        "FairseqEncoderDecoderModel GradMultiply LayerNorm LearnedPositionalEmbedding LinearizedConvolution "
        "checkpoint_utils register_model register_model_architecture with_incremental_state"
    ),
    "fairseq.models.lightconv": (
        "AdaptiveSoftmax DynamicConv FairseqDropout FairseqEncoder FairseqEncoderDecoderModel "
        "FairseqIncrementalDecoder LayerNorm LightweightConv MultiheadAttention PositionalEmbedding "
        "register_model register_model_architecture safe_hasattr utils"
    ),
    "fairseq.models.lightconv_lm": "register_model_architecture",
    "fairseq.models.lstm": (
        "AdaptiveSoftmax FairseqDropout FairseqEncoder FairseqEncoderDecoderModel FairseqIncrementalDecoder "
        "register_model register_model_architecture utils"
    ),
    "fairseq.models.lstm_lm": "Embedding register_model_architecture",
    "fairseq.models.transformer.transformer_base": "fsdp_wrap gen_parser_from_dataclass",
    "fairseq.models.transformer.transformer_config": "safe_getattr safe_hasattr",
    "fairseq.models.transformer.transformer_decoder": (
        "BaseLayer SinusoidalPositionalEmbedding apply_quant_noise_ checkpoint_wrapper fsdp_wrap transformer_layer"
    ),
    "fairseq.models.transformer.transformer_encoder": (
        "SinusoidalPositionalEmbedding apply_quant_noise_ checkpoint_wrapper fsdp_wrap transformer_layer"
    ),
    "fairseq.models.transformer.transformer_legacy": (
        "DEFAULT_MAX_SOURCE_POSITIONS DEFAULT_MAX_TARGET_POSITIONS DEFAULT_MIN_PARAMS_TO_WRAP "
        "gen_parser_from_dataclass register_model_architecture"
    ),
    "fairseq.models.transformer_align": "base_architecture register_model_architecture transformer_wmt_en_de_big",
    "fairseq.models.transformer_lm": (
        "AdaptiveInput CharacterTokenEmbedder options register_model_architecture safe_getattr safe_hasattr"
    ),
    "fairseq.models.transformer_ulm": "FairseqDecoder compute_mask_indices register_model_architecture",
    "fairseq.modules.base_layer": "distributed_utils",
    "fairseq.modules.character_token_embedder": "Dictionary",
    "fairseq.modules.checkpoint_activations": "utils",
    "fairseq.modules.dynamic_convolution": "utils",
    "fairseq.modules.dynamicconv_layer.dynamicconv_layer": "FairseqDropout unfold1d utils with_incremental_state",
    "fairseq.modules.learned_positional_embedding": "utils",
    "fairseq.modules.lightconv_layer.lightconv_layer": "FairseqDropout utils with_incremental_state",
    "fairseq.modules.lightweight_convolution": "unfold1d utils",
    "fairseq.modules.linearized_convolution": "utils with_incremental_state",
    "fairseq.modules.multihead_attention": "utils",
    "fairseq.modules.quantization.pq.pq": "EmptyClusterResolveError",
    "fairseq.modules.quantization.scalar.modules.qact": "emulate_int",
    "fairseq.modules.quantization.scalar.modules.qconv": "emulate_int",
    "fairseq.modules.quantization.scalar.modules.qemb": "emulate_int",
    "fairseq.modules.quantization.scalar.modules.qlinear": "emulate_int",
    "fairseq.modules.sinusoidal_positional_embedding": "utils",
    "fairseq.modules.transformer_layer": "TransformerConfig",
    "fairseq.modules.transformer_sentence_encoder": "apply_quant_noise_",
    "fairseq.optim.adam": "get_fused_adam_class",
    "fairseq.optim.bmuf": "FairseqBMUFConfig gen_parser_from_dataclass",
    "fairseq.optim.fairseq_optimizer": "gen_parser_from_dataclass utils",
    "fairseq.optim.lr_scheduler.fairseq_lr_scheduler": "gen_parser_from_dataclass",
    "fairseq.options": "get_available_dataset_impl utils",
    "fairseq.registry": "FairseqDataclass merge_with_parent",
    "fairseq.scoring": "registry",
    "fairseq.sequence_generator": "FairseqIncrementalDecoder NGramRepeatBlock data_utils search utils",
    "fairseq.sequence_scorer": "utils",
    "fairseq.tasks.denoising": "data_utils get_whole_word_mask utils",
    "fairseq.tasks.fairseq_task": (
        "AMPOptimizer FairseqDataclass data_utils encoders gen_parser_from_dataclass iterators metrics search "
        "tokenizer utils"
    ),
    "fairseq.tasks.language_modeling": "data_utils utils",
    "fairseq.tasks.masked_lm": "data_utils get_whole_word_mask utils",
    "fairseq.tasks.multilingual_language_modeling": (
        "AppendTokenDataset IdDataset LMContextWindowDataset LegacyFairseqTask NestedDictionaryDataset "
        "NumelDataset PadDataset PrependTokenDataset StripTokenDataset data_utils utils"
    ),
    "fairseq.tasks.sentence_ranking": "utils",
    "fairseq.tasks.translation": (
        "ConcatDataset StripTokenDataset TruncateDataset encoders indexed_dataset metrics utils"
    ),
    "fairseq.trainer": (
        "FairseqConfig NanDetector PathManager build_ema checkpoint_utils convert_namespace_to_omegaconf "
        "distributed_utils lr_scheduler meters metrics models optim safe_hasattr utils"
    ),
    "fairseq_cli.eval_lm": (
        "SequenceScorer StopwatchMeter checkpoint_utils convert_namespace_to_omegaconf distributed_utils "
        "options progress_bar tasks utils"
    ),
    "fairseq_cli.generate": (
        "StopwatchMeter TimeMeter checkpoint_utils convert_namespace_to_omegaconf options progress_bar "
        "scoring tasks utils"
    ),
    "fairseq_cli.hydra_train": (
        "FairseqConfig add_defaults distributed_utils hydra_init metrics omegaconf_no_object_check pre_main "
        "reset_logging"
    ),
    "fairseq_cli.hydra_validate": (
        "FairseqConfig add_defaults checkpoint_utils distributed_utils hydra_init metrics "
        "omegaconf_no_object_check progress_bar reset_logging utils"
    ),
    "fairseq_cli.interactive": (
        "FairseqConfig checkpoint_utils convert_namespace_to_omegaconf distributed_utils "
        "get_symbols_to_strip_from_output options pack_constraints tasks unpack_constraints utils"
    ),
    "fairseq_cli.preprocess": (
        "AlignmentDatasetBinarizer Dictionary FileBinarizer VocabularyDatasetBinarizer options tasks utils"
    ),
    "fairseq_cli.score": "bleu dictionary",
    "fairseq_cli.train": (
        "FairseqConfig MegatronTrainer PathManager PlasmaStore Trainer add_defaults checkpoint_utils "
        "convert_namespace_to_omegaconf data_utils distributed_utils fsdp_enable_wrap fsdp_wrap iterators "
        "meters metrics options progress_bar quantization_utils tasks utils"
    ),
    "fairseq_cli.validate": (
        "checkpoint_utils convert_namespace_to_omegaconf distributed_utils metrics options progress_bar "
        "reset_logging utils"
    ),
}


def homes_of(module: str, table: dict[str, str] | None = None) -> dict[str, str]:
    """Name -> home of what a module lends.

    Args:
        module: full name, e.g. ``fairseq.trainer``.
        table: ``OLD_NAMES`` or ``UPSTREAM_IMPORTS``; default both.
    """
    tables = (OLD_NAMES, UPSTREAM_IMPORTS) if table is None else (table,)
    return {name: HOMES[name] for rows in tables for name in rows.get(module, "").split()}


def module_alias(name: str) -> str | None:
    """The module that ``import name`` gives under an old name, or None if ``name`` is no old name of a module."""
    package, _, short = name.rpartition(".")
    home = HOMES.get(short)
    return home if home and ":" not in home and short in OLD_NAMES.get(package, "").split() else None
