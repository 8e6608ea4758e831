"""The config groups of every run, and ``FairseqDataclass``, which all config classes extend.

One class per section of a run's configuration; ``FairseqConfig`` is the whole. Field names, types and defaults are the
interface: flags, YAML keys and checkpoints carry them. The file is long because the table is.
"""

import sys
from dataclasses import dataclass, field
from typing import Any, List, Optional

from fairseq.dataclass.constants import (
    DATASET_IMPL_CHOICES,
    DDP_BACKEND_CHOICES,
    DDP_COMM_HOOK_CHOICES,
    GENERATION_CONSTRAINTS_CHOICES,
    GENERATION_DECODING_FORMAT_CHOICES,
    LOG_FORMAT_CHOICES,
    PIPELINE_CHECKPOINT_CHOICES,
    PRINT_ALIGNMENT_CHOICES,
    ZERO_SHARDING_CHOICES,
)
from fairseq.dataclass.fields import II, MISSING, default_of, field_types, option

__all__ = [
    "II",
    "MISSING",
    "CheckpointConfig",
    "CommonConfig",
    "CommonEvalConfig",
    "DatasetConfig",
    "DistributedTrainingConfig",
    "EMAConfig",
    "EvalLMConfig",
    "FairseqBMUFConfig",
    "FairseqConfig",
    "FairseqDataclass",
    "GenerationConfig",
    "InteractiveConfig",
    "OptimizationConfig",
]


@dataclass
class FairseqDataclass:
    """Base of every config class. ``_name`` is the registered name of the component that the config is for."""

    _name: Optional[str] = None

    @staticmethod
    def name() -> Optional[str]:
        """The name to register under; ``None`` unless a subclass says otherwise."""
        return None

    def _metadata(self, attribute: str, key: str, default: Any = None) -> Any:
        return self.__dataclass_fields__[attribute].metadata.get(key, default)

    def _get_all_attributes(self) -> List[str]:
        """Names of all fields, in order."""
        return list(self.__dataclass_fields__)

    def _get_meta(self, attribute_name: str, meta: str, default: Optional[Any] = None) -> Any:
        """One entry of a field's metadata."""
        return self._metadata(attribute_name, meta, default)

    def _get_name(self, attribute_name: str) -> str:
        return self.__dataclass_fields__[attribute_name].name

    def _get_default(self, attribute_name: str) -> Any:
        """The default as an option shows it: the instance's own value if it differs from the class's, else that.

        An interpolation reads as itself; a field without default as ``MISSING``.
        """
        declared = self.__dataclass_fields__[attribute_name]
        own = getattr(self, attribute_name, None)
        default = default_of(declared)
        if isinstance(default, str) and default.startswith("${"):
            return default
        return own if str(own) != str(default) or default is None else default

    def _get_type(self, attribute_name: str) -> Any:
        return field_types(type(self))[attribute_name]

    def _get_help(self, attribute_name: str) -> Any:
        return self._metadata(attribute_name, "help")

    def _get_argparse_const(self, attribute_name: str) -> Any:
        return self._metadata(attribute_name, "argparse_const")

    def _get_argparse_alias(self, attribute_name: str) -> Any:
        return self._metadata(attribute_name, "argparse_alias")

    def _get_choices(self, attribute_name: str) -> Any:
        return self._metadata(attribute_name, "choices")

    @classmethod
    def from_namespace(cls, args: Any) -> Any:
        """Make a config from flat options: an instance of ``cls`` stays, of a namespace every known name is taken."""
        if isinstance(args, cls):
            return args
        config = cls()
        for name in config.__dataclass_fields__:
            if not name.startswith("_") and hasattr(args, name):
                setattr(config, name, getattr(args, name))
        return config


@dataclass
class CommonConfig(FairseqDataclass):
    """Logging, seeds, devices and number formats."""

    no_progress_bar: bool = option(False, "print plain log lines instead of a live progress bar")
    log_interval: int = option(100, "report training metrics every N updates (or batches, where nothing is updated)")
    log_format: Optional[LOG_FORMAT_CHOICES] = option(None, "form of the metric lines; by default a bar on a terminal")
    log_file: Optional[str] = option(None, "append metric lines to this file as well")
    aim_repo: Optional[str] = option(None, "folder of the Aim repository to record metrics in")
    aim_run_hash: Optional[str] = option(None, "Aim run to continue; a new one if not given")
    tensorboard_logdir: Optional[str] = option(None, "write TensorBoard event files below this folder")
    wandb_project: Optional[str] = option(None, "record the run in this Weights & Biases project")
    azureml_logging: Optional[bool] = option(False, "record scalars in the surrounding AzureML run")
    seed: int = option(1, "seed of every random number generator")
    cpu: bool = option(False, "use the CPU even if there is a GPU")
    tpu: bool = option(False, "run on a TPU (refused: not available in this version)")
    bf16: bool = option(False, "compute in bfloat16, with float32 master weights")
    memory_efficient_bf16: bool = option(False, "bfloat16 throughout, without float32 copies; implies --bf16")
    fp16: bool = option(False, "compute in float16 with loss scaling, with float32 master weights")
    memory_efficient_fp16: bool = option(False, "float16 throughout, without float32 copies; implies --fp16")
    fp16_no_flatten_grads: bool = option(False, "keep one float32 master per parameter instead of a single flat one")
    fp16_init_scale: int = option(2**7, "loss scale at the start of float16 training")
    fp16_scale_window: Optional[int] = option(None, "double the loss scale after this many updates without overflow")
    fp16_scale_tolerance: float = option(0.0, "share of overflowing updates to bear before the loss scale is halved")
    on_cpu_convert_precision: bool = option(False, "cast inputs on the host, before they travel to the device")
    min_loss_scale: float = option(1e-4, "give up when the loss scale would fall below this")
    threshold_loss_scale: Optional[float] = option(None, "never lower the loss scale below this value")
    amp: bool = option(False, "automatic mixed precision on the GPU: torch.autocast and a gradient scaler")
    amp_batch_retries: int = option(2, "how often --amp tries the same batch again after an overflow")
    amp_init_scale: int = option(2**7, "gradient scale at the start of --amp training")
    amp_scale_window: Optional[int] = option(None, "let the --amp scale grow after this many good updates")
    user_dir: Optional[str] = option(None, "folder of a plugin: its models, tasks, criteria, ... register themselves")
    empty_cache_freq: int = option(0, "release cached GPU memory every N updates (0: never)")
    all_gather_list_size: int = option(16384, "bytes each worker may send when statistics are gathered")
    model_parallel_size: int = option(1, "number of GPUs one model copy is split over")
    quantization_config_path: Optional[str] = option(None, "YAML file that says which layers are quantised, and how")
    profile: bool = option(False, "write a trace of the run with the PyTorch profiler")
    reset_logging: bool = option(False, "set logging up afresh when a Hydra run starts")
    suppress_crashes: bool = option(False, "log an exception and return instead of raising it (for sweeps)")
    use_plasma_view: bool = option(False, "hold index arrays once for all processes of a machine, as mapped files")
    plasma_path: Optional[str] = option("/tmp/plasma", "folder for --use-plasma-view; it is removed in the end")


@dataclass
class DistributedTrainingConfig(FairseqDataclass):
    """Which processes take part, and how they share gradients and parameters."""

    distributed_world_size: int = option(
        factory=lambda: max(1, _visible_gpus()), help="number of processes over all machines; by default one per GPU"
    )
    distributed_num_procs: Optional[int] = option(
        factory=lambda: max(1, _visible_gpus()), help="number of processes to start on this machine"
    )
    distributed_rank: Optional[int] = option(0, "rank of this machine's first process")
    distributed_backend: str = option("nccl", "torch.distributed backend; gloo is taken on machines without GPU")
    distributed_init_method: Optional[str] = option(None, "where processes meet, e.g. tcp://host:port")
    distributed_port: int = option(-1, "port of the meeting point (not needed with --distributed-init-method)")
    device_id: int = option(0, "GPU of this process; set by the launcher", alias="--local_rank")
    distributed_no_spawn: bool = option(False, "do not start further processes, even with several GPUs visible")
    ddp_backend: DDP_BACKEND_CHOICES = option("pytorch_ddp", "how gradients and parameters are shared")
    ddp_comm_hook: DDP_COMM_HOOK_CHOICES = option("none", "compress gradients while they travel")
    bucket_cap_mb: int = option(25, "megabytes of gradients per all-reduce")
    fix_batches_to_gpus: bool = option(False, "deal batches to workers once and shuffle only within each worker")
    find_unused_parameters: bool = option(False, "look for parameters without gradient in every update")
    gradient_as_bucket_view: bool = option(False, "let gradients live in the communication buckets, saving one copy")
    fast_stat_sync: bool = option(False, "accepted for old scripts; criteria say themselves if their numbers add up")
    heartbeat_timeout: int = option(-1, "stop the job if a worker makes no progress for N seconds (-1: wait for ever)")
    broadcast_buffers: bool = option(False, "copy buffers from rank 0 before each forward pass")
    slowmo_momentum: Optional[float] = option(None, "momentum of the SlowMo backend")
    slowmo_base_algorithm: str = option("localsgd", "algorithm below SlowMo: localsgd or sgp")
    localsgd_frequency: int = option(3, "updates between two parameter averages of LocalSGD")
    nprocs_per_node: int = option(factory=lambda: max(1, _visible_gpus()), help="GPUs per machine, for SlowMo")
    pipeline_model_parallel: bool = option(False, "split the layers of the model over GPUs")
    pipeline_balance: Optional[str] = option(None, "layers per pipeline stage, separated by commas")
    pipeline_devices: Optional[str] = option(None, "GPU of each pipeline stage, separated by commas")
    pipeline_chunks: Optional[int] = option(0, "micro-batches per batch in the pipeline")
    pipeline_encoder_balance: Optional[str] = option(None, "layers per encoder stage, separated by commas")
    pipeline_encoder_devices: Optional[str] = option(None, "GPU of each encoder stage, separated by commas")
    pipeline_decoder_balance: Optional[str] = option(None, "layers per decoder stage, separated by commas")
    pipeline_decoder_devices: Optional[str] = option(None, "GPU of each decoder stage, separated by commas")
    pipeline_checkpoint: PIPELINE_CHECKPOINT_CHOICES = option("never", "which micro-batches recompute activations")
    zero_sharding: ZERO_SHARDING_CHOICES = option("none", "share optimizer state between workers")
    fp16: bool = II("common.fp16")
    memory_efficient_fp16: bool = II("common.memory_efficient_fp16")
    tpu: bool = II("common.tpu")
    no_reshard_after_forward: bool = option(False, "fully_sharded: keep whole parameters until the backward pass")
    fp32_reduce_scatter: bool = option(False, "fully_sharded: add gradients up in float32")
    cpu_offload: bool = option(False, "fully_sharded: keep parameters in host memory")
    use_sharded_state: bool = option(False, "fully_sharded: one checkpoint file per worker")
    not_fsdp_flatten_parameters: bool = option(False, "fully_sharded: accepted; they never are flattened")


def _visible_gpus() -> int:
    # torch is asked only if something has imported it already: a --help screen must not wait for CUDA.
    torch = sys.modules.get("torch")
    return torch.cuda.device_count() if torch is not None else 0


@dataclass
class DatasetConfig(FairseqDataclass):
    """Batches: their size, their order, the subsets they come from."""

    num_workers: int = option(1, "background processes that load data (0: load in the main process)")
    skip_invalid_size_inputs_valid_test: bool = option(
        False, "leave out too long or too short lines when validating and testing, instead of stopping"
    )
    max_tokens: Optional[int] = option(None, "tokens per batch, padding included")
    batch_size: Optional[int] = option(None, "sentences per batch", alias="--max-sentences")
    required_batch_size_multiple: int = option(8, "prefer batch sizes that are a multiple of this; no sentence is lost")
    required_seq_len_multiple: int = option(1, "pad sequences to a multiple of this length")
    dataset_impl: Optional[DATASET_IMPL_CHOICES] = option(None, "file format of the binarised data; found out if unset")
    data_buffer_size: int = option(10, "batches to prepare ahead")
    train_subset: str = option("train", "subset to train on, e.g. train, valid, test")
    valid_subset: str = option("valid", "subsets to validate on, separated by commas; the first one decides")
    combine_valid_subsets: Optional[bool] = option(
        None, "validate on valid, valid1, ... as one set", alias="--combine-val"
    )
    ignore_unused_valid_subsets: Optional[bool] = option(False, "accept validation files that no option mentions")
    validate_interval: int = option(1, "validate every N epochs")
    validate_interval_updates: int = option(0, "validate every N updates (0: only by epochs)")
    validate_after_updates: int = option(0, "do not validate before this many updates")
    fixed_validation_seed: Optional[int] = option(None, "seed to set before each validation")
    disable_validation: bool = option(False, "do not validate")
    max_tokens_valid: Optional[int] = option(II("dataset.max_tokens"), "tokens per validation batch")
    batch_size_valid: Optional[int] = option(
        II("dataset.batch_size"), "sentences per validation batch (as --batch-size)", alias="--max-sentences-valid"
    )
    max_valid_steps: Optional[int] = option(None, "validate on this many batches at most", alias="--nval")
    curriculum: int = option(0, "keep the order of batches fixed for the first N epochs")
    gen_subset: str = option("test", "subset to generate for, e.g. train, valid, test")
    num_shards: int = option(1, "split the data into this many parts")
    shard_id: int = option(0, "the part to work on, counted from 0")
    grouped_shuffling: bool = option(False, "shuffle groups of as many batches as there are workers")
    update_epoch_batch_itr: bool = option(II("dataset.grouped_shuffling"), "make batches afresh in every epoch")
    update_ordered_indices_seed: bool = option(False, "let the order within batches depend on the epoch")


@dataclass
class OptimizationConfig(FairseqDataclass):
    """When to stop, how large the steps are."""

    max_epoch: int = option(0, "stop after this many epochs (0: no limit)")
    max_update: int = option(0, "stop after this many updates (0: no limit)")
    stop_time_hours: float = option(0, "stop after this many hours, earlier runs included (0: no limit)")
    clip_norm: float = option(0.0, "scale gradients down to this L2 norm (0: leave them)")
    sentence_avg: bool = option(False, "divide gradients by the number of sentences instead of tokens")
    update_freq: List[int] = option(factory=lambda: [1], help="batches per update; a list gives one value per epoch")
    lr: List[float] = option(
        factory=lambda: [0.25], help="learning rate; a list gives one value per epoch where the schedule allows it"
    )
    stop_min_lr: float = option(-1.0, "stop when the learning rate has fallen to this value")
    use_bmuf: bool = option(False, "blockwise model update filtering instead of synchronous updates")
    skip_remainder_batch: Optional[bool] = option(
        False, "leave out the last, incomplete group of --update-freq batches"
    )
    debug_param_names: bool = False


@dataclass
class CheckpointConfig(FairseqDataclass):
    """What is restored, what is saved and what is kept."""

    save_dir: str = option("checkpoints", "folder to save checkpoints in")
    restore_file: str = option("checkpoint_last.pt", "checkpoint to continue from; a bare name is sought in --save-dir")
    continue_once: Optional[str] = option(None, "continue from this file unless --restore-file exists already")
    finetune_from_model: Optional[str] = option(None, "start from the weights of this file; everything else is new")
    reset_dataloader: bool = option(False, "start reading data at the first epoch")
    reset_lr_scheduler: bool = option(False, "do not restore the learning-rate schedule")
    reset_meters: bool = option(False, "do not restore statistics and the best score")
    reset_optimizer: bool = option(False, "do not restore the optimizer")
    optimizer_overrides: str = option("{}", "dictionary of optimizer settings to change when restoring")
    save_interval: int = option(1, "save every N epochs")
    save_interval_updates: int = option(0, "save and validate every N updates (0: only by epochs)")
    keep_interval_updates: int = option(-1, "keep the last N files of --save-interval-updates (-1: all)")
    keep_interval_updates_pattern: int = option(-1, "besides, keep every file whose update is a multiple of this")
    keep_last_epochs: int = option(-1, "keep the files of the last N epochs (-1: all)")
    keep_best_checkpoints: int = option(-1, "keep the N best files by score (-1: only checkpoint_best)")
    no_save: bool = option(False, "save nothing")
    no_epoch_checkpoints: bool = option(False, "save only checkpoint_last and checkpoint_best")
    no_last_checkpoints: bool = option(False, "do not save checkpoint_last")
    no_save_optimizer_state: bool = option(False, "leave the optimizer state out (such a file cannot be resumed)")
    best_checkpoint_metric: str = option("loss", "validation metric that decides which checkpoint is best")
    maximize_best_checkpoint_metric: bool = option(False, "the largest metric is the best, not the smallest")
    patience: int = option(-1, "stop if validation has not improved N times in a row (-1: go on)")
    checkpoint_suffix: str = option("", "put this before .pt in every checkpoint name")
    checkpoint_shard_count: int = option(1, "number of files a checkpoint is split into")
    load_checkpoint_on_all_dp_ranks: bool = option(False, "every worker reads the file instead of receiving a copy")
    write_checkpoints_asynchronously: bool = option(False, "write files in the background", alias="--save-async")
    model_parallel_size: int = II("common.model_parallel_size")


@dataclass
class FairseqBMUFConfig(FairseqDataclass):
    """Blockwise model update filtering (Chen and Huo 2016)."""

    block_lr: float = option(1, "learning rate of the block update")
    block_momentum: float = option(0.875, "momentum of the block update")
    global_sync_iter: int = option(50, "updates per block")
    warmup_iterations: int = option(500, "updates before the first block; workers are equalised then")
    use_nbm: bool = option(False, "Nesterov momentum for the block update")
    average_sync: bool = option(False, "average the local optimizer state at each block instead of resetting it")
    distributed_world_size: int = II("distributed_training.distributed_world_size")


@dataclass
class GenerationConfig(FairseqDataclass):
    """Search: how hypotheses are found, limited, scored and printed."""

    beam: int = option(5, "beam size")
    beam_mt: int = option(0, "beam size of the first pass of two-pass models")
    nbest: int = option(1, "number of hypotheses to print per sentence")
    max_len_a: float = option(0, "longest output is a * x + b for a source of length x: this is a")
    max_len_b: int = option(200, "longest output is a * x + b for a source of length x: this is b")
    max_len_a_mt: float = option(0, "a of the length limit in the first pass of two-pass models")
    max_len_b_mt: int = option(200, "b of the length limit in the first pass of two-pass models")
    min_len: int = option(1, "shortest output, end of sentence not counted")
    match_source_len: bool = option(False, "make outputs exactly as long as the source")
    unnormalized: bool = option(False, "compare hypotheses by total score, not by score per token")
    no_early_stop: bool = option(False, "accepted for old scripts; the search always runs until the beam is full")
    no_beamable_mm: bool = option(False, "accepted for old scripts; attention shares keys over the beam by itself")
    lenpen: float = option(1, "length penalty: below 1 favours short outputs, above 1 long ones")
    lenpen_mt: float = option(1, "length penalty of the first pass of two-pass models")
    unkpen: float = option(0, "penalty on unknown words; a negative one produces more of them")
    replace_unk: Optional[str] = option(
        None, "replace unknown words by aligned source words, or by their entry in this file", const="@@ "
    )
    sacrebleu: bool = option(False, "score with sacreBLEU")
    score_reference: bool = option(False, "score the reference instead of searching")
    prefix_size: int = option(0, "begin each output with this many tokens of the reference")
    no_repeat_ngram_size: int = option(0, "never produce an n-gram of this size twice")
    sampling: bool = option(False, "draw tokens at random instead of searching")
    sampling_topk: int = option(-1, "draw from the k likeliest tokens only")
    sampling_topp: float = option(-1.0, "draw from the likeliest tokens that together reach this probability")
    constraints: Optional[GENERATION_CONSTRAINTS_CHOICES] = option(
        None, "force given phrases into the output, in order or in any order", const="ordered"
    )
    temperature: float = option(1.0, "divide logits by this: above 1 flattens, below 1 sharpens the distribution")
    diverse_beam_groups: int = option(-1, "number of groups in diverse beam search")
    diverse_beam_strength: float = option(0.5, "penalty between the groups of diverse beam search")
    diversity_rate: float = option(-1.0, "penalty between the continuations of one hypothesis")
    print_alignment: Optional[PRINT_ALIGNMENT_CHOICES] = option(
        None, "print which source tokens each output token attends to", const="hard"
    )
    print_step: bool = option(False, "print the number of refinement steps")
    lm_path: Optional[str] = option(None, "language model to add to the scores")
    lm_weight: float = option(0.0, "weight of the language model's scores")
    iter_decode_eos_penalty: float = option(0.0, "refinement: penalty on deciding for an early end")
    iter_decode_max_iter: int = option(10, "refinement: largest number of steps")
    iter_decode_force_max_iter: bool = option(False, "refinement: always do all steps")
    iter_decode_with_beam: int = option(1, "refinement: number of output lengths to try")
    iter_decode_with_external_reranker: bool = option(False, "refinement: the last model of --path ranks the results")
    retain_iter_history: bool = option(False, "refinement: print the output after every step")
    retain_dropout: bool = option(False, "keep dropout on while generating")
    retain_dropout_modules: Any = option(None, "restrict --retain-dropout to these module classes")
    decoding_format: Optional[GENERATION_DECODING_FORMAT_CHOICES] = option(
        None, "refinement: how the outputs of an ensemble are combined"
    )
    no_seed_provided: bool = option(False, "do not seed the random number generators")
    eos_token: Optional[str] = option(None, "token that ends an output")


@dataclass
class CommonEvalConfig(FairseqDataclass):
    """Which checkpoint to use, and where results go."""

    path: Optional[str] = option(None, "checkpoint file; several, separated by colons, form an ensemble")
    post_process: Optional[str] = option(
        None, "undo subwords before scoring: subword_nmt, sentencepiece, wordpiece, letter, ...",
        alias="--remove-bpe", const="subword_nmt",
    )  # fmt: skip
    quiet: bool = option(False, "print the final score only")
    model_overrides: str = option("{}", "dictionary of settings that replace those saved with the model")
    results_path: Optional[str] = option(None, "folder to write the results to, instead of standard output")


@dataclass
class EvalLMConfig(FairseqDataclass):
    """Scoring text with a language model."""

    output_word_probs: bool = option(False, "print the log-probability of every word")
    output_word_stats: bool = option(False, "print the mean log-probability of every word type")
    context_window: int = option(0, "tokens of the preceding block to condition on")
    softmax_batch: int = option(sys.maxsize, "positions per softmax; smaller values need less memory")


@dataclass
class InteractiveConfig(FairseqDataclass):
    """Input of fairseq-interactive."""

    buffer_size: int = option(0, "lines to read before they are translated together")
    input: str = option("-", "file to read from; - is standard input")


@dataclass
class EMAConfig(FairseqDataclass):
    """Exponential moving average of the weights."""

    store_ema: bool = field(default=False, metadata={})
    ema_decay: float = option(0.9999, "share of the old average that stays at each update")
    ema_start_update: int = option(0, "begin averaging after this many updates")
    ema_seed_model: Optional[str] = option(None, "checkpoint to start the average from")
    ema_update_freq: int = option(1, "average every N updates")
    ema_fp32: bool = option(False, "keep the average in float32 even if the model is not")


@dataclass
class FairseqConfig(FairseqDataclass):
    """The whole configuration of a run. Sections typed ``Any`` hold the config of a registered component."""

    common: CommonConfig = field(default_factory=CommonConfig)
    common_eval: CommonEvalConfig = field(default_factory=CommonEvalConfig)
    distributed_training: DistributedTrainingConfig = field(default_factory=DistributedTrainingConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    optimization: OptimizationConfig = field(default_factory=OptimizationConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    bmuf: FairseqBMUFConfig = field(default_factory=FairseqBMUFConfig)
    generation: GenerationConfig = field(default_factory=GenerationConfig)
    eval_lm: EvalLMConfig = field(default_factory=EvalLMConfig)
    interactive: InteractiveConfig = field(default_factory=InteractiveConfig)
    model: Any = MISSING
    task: Any = None
    criterion: Any = None
    optimizer: Any = None
    lr_scheduler: Any = None
    scoring: Any = None
    bpe: Any = None
    tokenizer: Any = None
    ema: EMAConfig = field(default_factory=EMAConfig)
