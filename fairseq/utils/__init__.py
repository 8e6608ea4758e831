"""Helpers that tasks, models and plugins share.

``tensors``      padding, positions, moving samples between devices, clipping
``activations``  activation functions by name
``strings``      option values given as text, perplexity, unknown-word replacement
``literals``     Python literals with ``+`` and ``*``, read without executing anything
``alignment``    word alignments from attention
``embeddings``   word vectors in text files
``modules_io``   attributes that may be missing, evaluation mode, random state, ensembles
``host``         what the host still knows about tensors on a device
``devices``      CUDA description, XLA hooks
``plugins``      ``--user-dir``
``processes``    how worker processes are started
``overrides``    may a fast path take the place of a module's methods
``shared_arrays`` big arrays in memory once per machine
``source_names`` which file a decoding error is about

Names load on first use.
"""

from fairseq._lazy import attach

MANIFOLD_PATH_SEP = "|"

_EXPORTS = {
    "tensors": (
        "apply_to_sample",
        "buffered_arange",
        "clip_grad_norm_",
        "convert_padding_direction",
        "fill_with_neg_inf",
        "index_put",
        "item",
        "log_softmax",
        "make_positions",
        "move_to_cpu",
        "move_to_cuda",
        "move_to_device",
        "move_to_tpu",
        "multi_tensor_l2norm_available",
        "multi_tensor_total_norm",
        "new_arange",
        "resolve_max_positions",
        "softmax",
        "strip_pad",
        "total_grad_norm",
    ),
    "activations": ("gelu", "gelu_accurate", "get_activation_fn", "get_available_activation_fns", "relu_squared"),
    "strings": (
        "FileContentsAction",
        "csv_str_list",
        "eval_bool",
        "eval_str_dict",
        "eval_str_list",
        "get_perplexity",
        "load_align_dict",
        "post_process_prediction",
        "replace_unk",
        "split_paths",
    ),
    "literals": ("parse_literal",),
    "alignment": (
        "extract_hard_alignment",
        "extract_soft_alignment",
        "get_token_to_word_mapping",
        "parse_alignment",
    ),
    "embeddings": ("load_embedding", "parse_embedding", "print_embed_overlap"),
    "modules_io": (
        "deprecation_warning",
        "get_incremental_state",
        "get_rng_state",
        "has_parameters",
        "hotreload_function",
        "load_ensemble_for_inference",
        "model_eval",
        "reset_logging",
        "safe_getattr",
        "safe_hasattr",
        "set_incremental_state",
        "set_rng_state",
        "set_torch_seed",
    ),
    "devices": (
        "CudaEnvironment",
        "get_tpu_device",
        "is_xla_tensor",
        "tpu_data_loader",
        "xla_device_to_cpu",
        "xm",
    ),
    "plugins": ("import_user_module",),
}
_MODULE_OF = {name: module for module, names in _EXPORTS.items() for name in names}

__all__ = ["MANIFOLD_PATH_SEP"]
__all__ += sorted(_MODULE_OF)

__getattr__, __dir__ = attach(__name__, _MODULE_OF)
