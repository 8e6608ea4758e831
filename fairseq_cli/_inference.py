"""What generate, interactive and eval-lm share: models ready to run, text encoders, and printing hypotheses."""

from __future__ import annotations

import ast
import logging
import math
from argparse import Namespace
from collections.abc import Callable, Iterable
from typing import Any

__all__ = [
    "Text",
    "as_config",
    "format_alignment",
    "load_models",
    "model_overrides",
    "positional_line",
    "prepare_models",
    "replay_steps",
    "seed_everything",
    "symbols_to_strip",
    "to_base_2",
]

logger = logging.getLogger("fairseq_cli.inference")


def as_config(cfg: Any) -> Any:
    """A config, from a config or a namespace of flat options."""
    if isinstance(cfg, Namespace):
        from fairseq.dataclass.utils import convert_namespace_to_omegaconf

        return convert_namespace_to_omegaconf(cfg)
    return cfg


def seed_everything(cfg: Any) -> None:
    """Seed NumPy and torch, unless ``--no-seed-provided``."""
    import numpy as np

    from fairseq import utils

    if cfg.common.seed is not None and not cfg.generation.no_seed_provided:
        np.random.seed(cfg.common.seed)
        utils.set_torch_seed(cfg.common.seed)


def model_overrides(cfg: Any) -> dict[str, Any]:
    """``--model-overrides``, a Python dict as text.

    Raises:
        ValueError: it is something else.
    """
    text = cfg.common_eval.model_overrides
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise ValueError(f"--model-overrides {text!r} is not a Python dict: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"--model-overrides {text!r} is a {type(value).__name__}; expected a dict")
    return value


def load_models(cfg: Any, path: str, task: Any, overrides: dict[str, Any]) -> tuple[list[Any], Any]:
    """The ensemble that ``path`` names (several files are separated like a search path), and the last one's config."""
    import contextlib

    from fairseq import checkpoint_utils, utils
    from fairseq.checkpoint_utils.building import drawing_weights

    # Samples are the same as ever only if as many numbers as ever were drawn before them.
    samples = cfg.generation.sampling or cfg.generation.retain_dropout
    with drawing_weights() if samples else contextlib.nullcontext():
        return checkpoint_utils.load_model_ensemble(
            utils.split_paths(path),
            arg_overrides=overrides,
            task=task,
            suffix=cfg.checkpoint.checkpoint_suffix,
            strict=cfg.checkpoint.checkpoint_shard_count == 1,
            num_shards=cfg.checkpoint.checkpoint_shard_count,
        )


def prepare_models(models: Iterable[Any], cfg: Any, use_cuda: bool, quantize: str | None = None) -> None:
    """Bring models to the device and the precision that was asked for, and make them ready to infer.

    Args:
        quantize: ``int8`` keeps the weights of linear layers as 8-bit integers (CPU only).

    Raises:
        ValueError: ``quantize`` together with CUDA or another precision, or an unknown kind.
    """
    if quantize not in (None, "int8"):
        raise ValueError(f"--quantize {quantize}: expected int8")
    if quantize and (use_cuda or cfg.common.fp16 or cfg.common.bf16):
        raise ValueError("--quantize int8 runs on the CPU in float32; add --cpu and leave out --fp16 and --bf16")
    if use_cuda:
        from fairseq.utils.devices import leave_out_cudnn_attention

        leave_out_cudnn_attention()
    for model in models:
        if model is None:
            continue
        if cfg.common.fp16:
            model.half()
        elif cfg.common.bf16:
            model.bfloat16()
        if use_cuda and not cfg.distributed_training.pipeline_model_parallel:
            model.cuda()
        model.prepare_for_inference_(cfg)
        if quantize:
            from fairseq.sequence_generator.int8 import quantize_linear

            quantize_linear(model)


def replay_steps(generator: Any, use_cuda: bool) -> None:
    """Have a generator record its decoding steps on the GPU and play them again; says so where that cannot be.

    Args:
        generator: as a task built it; only those of ``SequenceGenerator`` can.
    """
    from fairseq.sequence_generator import SequenceGenerator

    if not use_cuda:
        logger.warning("--compile: decoding steps are recorded on a GPU only; here they run as they are")
    elif isinstance(generator, SequenceGenerator):
        generator.stepping = "replayed"
    else:
        logger.warning("--compile: a %s computes its own steps; they run as they are", type(generator).__name__)


def move_to_device(sample: Any, cfg: Any, use_cuda: bool) -> Any:
    """A batch on the models' device, its real numbers in the models' precision."""
    import torch

    from fairseq import utils

    if use_cuda:
        sample = utils.move_to_cuda(sample)
    dtype = torch.half if cfg.common.fp16 else torch.bfloat16 if cfg.common.bf16 else None
    if dtype is None:
        return sample

    def cast(tensor: Any) -> Any:
        return tensor.to(dtype) if tensor.dtype is torch.float32 else tensor

    return utils.apply_to_sample(cast, sample)


def symbols_to_strip(generator: Any) -> Any:
    """Ids that are not printed."""
    if hasattr(generator, "symbols_to_strip_from_output"):
        return generator.symbols_to_strip_from_output
    return {generator.eos}


class Text:
    """Between text as people write it and tokens separated by blanks.

    Args:
        task: makes the tokenizer and the BPE from their config sections.
    """

    def __init__(self, task: Any, cfg: Any) -> None:
        self.tokenizer = task.build_tokenizer(cfg.tokenizer)
        self.bpe = task.build_bpe(cfg.bpe)

    def encode(self, text: str) -> str:
        """Tokenize, then split into subwords."""
        if self.tokenizer is not None:
            text = self.tokenizer.encode(text)
        return self.bpe.encode(text) if self.bpe is not None else text

    def decode(self, text: str) -> str:
        """Join subwords, then undo the tokenization."""
        if self.bpe is not None:
            text = self.bpe.decode(text)
        return self.tokenizer.decode(text) if self.tokenizer is not None else text


def to_base_2(value: Any) -> Any:
    """Natural logarithms -> base 2, in the precision they came in; a tensor gives numbers."""
    scaled = value / math.log(2)
    return scaled.tolist() if hasattr(scaled, "tolist") else scaled


def positional_line(scores: Any) -> str:
    """Scores of single tokens in base 2, four decimals, separated by blanks."""
    return " ".join(f"{score:.4f}" for score in to_base_2(scores))


def format_alignment(alignment: Iterable[Any], kind: Any) -> str:
    """``0-0 1-2`` for hard alignments, one comma-separated distribution per token for soft ones."""
    if str(kind) == "soft":
        return " ".join(",".join(probabilities) for probabilities in alignment)
    return " ".join(f"{source}-{target}" for source, target in alignment)


Decode = Callable[[str], str]
