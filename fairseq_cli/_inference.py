"""What generate, interactive and eval-lm share: models ready to run, text encoders, and printing hypotheses."""

from __future__ import annotations

import ast
import logging
import math
from argparse import Namespace
from collections.abc import Callable, Iterable
from typing import Any

__all__ = [
    "HypothesisText",
    "Text",
    "as_config",
    "format_alignment",
    "load_models",
    "model_overrides",
    "move_to_device",
    "nothing_left",
    "positional_line",
    "prepare_models",
    "use_cuda_graphs",
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
    from fairseq.checkpoint_utils.model_loading import drawing_weights

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


def use_cuda_graphs(generator: Any, use_cuda: bool) -> None:
    """Have a generator record its decoding steps on the GPU and play them again; says so where that cannot be.

    Args:
        generator: as a task built it; only those of ``SequenceGenerator`` can.
    """
    from fairseq.sequence_generator import SequenceGenerator

    if not use_cuda:
        logger.warning("--compile: decoding steps are recorded on a GPU only; here they run as they are")
    elif isinstance(generator, SequenceGenerator):
        generator.stepping = "cuda_graph"
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


def nothing_left(subset: str, count: int, max_positions: Any) -> ValueError:
    """The error of a subset whose ``count`` samples are all longer than ``max_positions``."""
    return ValueError(
        f"{subset}: all {count:,} sentences are longer than the limit {max_positions} (source, target), so nothing is "
        "left to score. Raise --max-source-positions and --max-target-positions as far as the model allows, or cut the "
        "sentences (--truncate-source)"
    )


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

    def decode(self, text: str, pieces: str | None = None) -> str:
        """Join subwords, then undo the tokenization.

        Args:
            text: the text, perhaps after ``--post-process``.
            pieces: the text before that. Where ``--post-process`` has joined the subwords already, joining them once
                more would remove the blanks between words.
        """
        if self.bpe is not None and (pieces is None or pieces == text or self.bpe.decode(pieces) != text):
            text = self.bpe.decode(text)
        return self.tokenizer.decode(text) if self.tokenizer is not None else text


class HypothesisText:
    """Hypotheses as text: unknown words replaced (``--replace-unk``), subwords joined, tokenization undone.

    Args:
        cfg: the options ``--replace-unk`` and ``--post-process``.
        strip: ids that are not printed.
    """

    def __init__(self, cfg: Any, text: Text, src_dict: Any, tgt_dict: Any, strip: Any) -> None:
        from fairseq import utils

        self.text, self.src_dict, self.tgt_dict, self.strip = text, src_dict, tgt_dict, strip
        self.post_process = cfg.common_eval.post_process
        self.align_dict = utils.load_align_dict(cfg.generation.replace_unk)
        self._warned = False

    def write(self, hypothesis: dict[str, Any], row: Any, typed: Callable[[], list[str]]) -> tuple[Any, str, str]:
        """One hypothesis as ``(tokens, string, detokenized)``.

        Args:
            row: the source ids as the model saw them, padding included; ``None`` without a text source.
            typed: gives the tokens of the source as they were typed.

        Returns:
            the tokens of the string, see ``utils.post_process_prediction``; the string after ``--post-process``; the
            same as people write it.
        """
        replacing = self._replacing(hypothesis, row, typed)
        tokens, string = self._string(hypothesis, replacing, self.post_process)
        if self.post_process is None or self.text.bpe is None:
            return tokens, string, self.text.decode(string)
        return tokens, string, self.text.decode(string, self._string(hypothesis, replacing, None)[1])

    def _string(self, hypothesis: dict[str, Any], replacing: dict[str, Any], post_process: Any) -> tuple[Any, str]:
        from fairseq import utils

        tokens, string, _ = utils.post_process_prediction(
            hypo_tokens=hypothesis["tokens"].int().cpu(),
            src_str="",
            align_dict=self.align_dict,
            tgt_dict=self.tgt_dict,
            remove_bpe=post_process,
            extra_symbols_to_ignore=self.strip,
            **replacing,
        )
        return tokens, string

    def _replacing(self, hypothesis: dict[str, Any], row: Any, typed: Callable[[], list[str]]) -> dict[str, Any]:
        """Which source word each token attended to, and what is written for it."""
        align_dict = self.align_dict
        if align_dict is None or self.tgt_dict.unk() not in hypothesis["tokens"].tolist():
            return {"alignment": None}
        from fairseq.utils.unknown_words import SourceWords, attended_positions

        if row is not None and self.src_dict is not None:
            words = SourceWords.of_row(row, typed(), self.src_dict, self._join())
            positions = attended_positions(hypothesis, words)
            if any(position is not None for position in positions):
                return {"alignment": positions, "source": lambda at: words.written_for(at, align_dict)}
        if not self._warned:
            self._warned = True
            logger.warning("--replace-unk: this model gives no attention to source words; unknown words stay")
        return {"alignment": None}

    def _join(self) -> Callable[[str], str] | None:
        """Turns subwords into text; ``None`` when tokens are words."""
        if self.post_process is None and self.text.bpe is None:
            return None
        from fairseq.data.data_utils import post_process

        def join(pieces: str) -> str:
            processed = post_process(pieces, self.post_process)
            if self.text.bpe is None or (processed != pieces and self.text.bpe.decode(pieces) == processed):
                return processed
            return self.text.bpe.decode(processed)

        return join


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
