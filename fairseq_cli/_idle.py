"""Options of the inference tools that were set and cannot have an effect: one warning each, with the reason.

Every tool accepts the options of whole sections, of which it reads some. What it reads is listed here (and what the
task's own config refers to is read by the task); everything else is idle. Further options are idle because of others:
they belong to a mode that is not in use.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from typing import Any

__all__ = ["GENERATE", "INTERACTIVE", "LANGUAGE_MODEL", "idle_options", "warn_about_idle_options"]

logger = logging.getLogger("fairseq_cli.inference")

_COMMON = {
    "common": "no_progress_bar log_interval log_format cpu bf16 fp16 seed user_dir use_plasma_view plasma_path",
    "distributed_training": "distributed_world_size distributed_rank",
    "checkpoint": "checkpoint_suffix checkpoint_shard_count",
}
_SEARCH = (
    "beam nbest max_len_a max_len_b min_len match_source_len unnormalized lenpen unkpen replace_unk "
    "no_repeat_ngram_size sampling sampling_topk sampling_topp temperature diverse_beam_groups diverse_beam_strength "
    "diversity_rate print_alignment lm_path lm_weight retain_dropout retain_dropout_modules no_seed_provided eos_token "
    "iter_decode_eos_penalty iter_decode_max_iter iter_decode_force_max_iter iter_decode_with_beam "
    "iter_decode_with_external_reranker decoding_format score_reference constraints"
)

# Section -> the options that the tool reads there. A section that is missing is not offered by the tool, or not a
# matter of single options.
GENERATE = {
    **_COMMON,
    "common_eval": "path post_process quiet model_overrides results_path",
    "dataset": "num_workers skip_invalid_size_inputs_valid_test max_tokens batch_size required_batch_size_multiple "
    "dataset_impl data_buffer_size gen_subset",
    "generation": _SEARCH + " sacrebleu prefix_size print_step retain_iter_history",
}
INTERACTIVE = {
    **_COMMON,
    "common": "cpu bf16 fp16 seed user_dir",
    "distributed_training": "",
    "common_eval": "path post_process model_overrides",
    "dataset": "skip_invalid_size_inputs_valid_test max_tokens batch_size",
    "generation": _SEARCH,
}
LANGUAGE_MODEL = {
    **_COMMON,
    "common_eval": "path post_process model_overrides",
    "dataset": "num_workers max_tokens batch_size dataset_impl data_buffer_size gen_subset num_shards shard_id",
}

_NOT_TRAINING = "it belongs to training"
_REASONS = {
    "no_early_stop": "the search always runs until the beam is full",
    "no_beamable_mm": "attention shares keys over the beam by itself",
    **dict.fromkeys(("beam_mt", "max_len_a_mt", "max_len_b_mt", "lenpen_mt"), "only models with two passes read it"),
    **dict.fromkeys(("log_format", "log_interval", "no_progress_bar"), "there is no progress bar"),
    "required_batch_size_multiple": "batches may be of any size",
    "num_workers": "what is read is not loaded by workers",
    "data_buffer_size": "what is read is not loaded by workers",
    "gen_subset": "the lines that are read are translated",
    "prefix_size": "what is read has no references",
    "sacrebleu": "what is read has no references to score with",
    "quiet": "there is nothing to leave out",
    "results_path": "the results go to standard output",
    "skip_invalid_size_inputs_valid_test": "blocks that are too long are always left out",
    "print_step": "refinement steps are not shown here",
    "retain_iter_history": "refinement steps are not shown here",
    "num_shards": "processes share the work by their --distributed-rank",
    "shard_id": "processes share the work by their --distributed-rank",
    "tpu": "TPUs are not offered",
}


def warn_about_idle_options(cfg: Any, reads: dict[str, str], generator: Any = None) -> None:
    """Log one warning for each option without effect; see ``idle_options``."""
    for sentence in idle_options(cfg, reads, generator):
        logger.warning("%s", sentence)


def idle_options(cfg: Any, reads: dict[str, str], generator: Any = None) -> list[str]:
    """One sentence for each option that was set and has no effect.

    Args:
        cfg: the whole config.
        reads: what the tool reads, e.g. ``GENERATE``.
        generator: what the task built, where there is one.
    """
    from fairseq.dataclass.configs import FairseqConfig

    told = []
    sections = {field.name: field.type for field in dataclasses.fields(FairseqConfig)}
    of_task = _referred_to(cfg)
    for section in ("common", "common_eval", "distributed_training", "dataset", "checkpoint", "generation"):
        known = set(reads.get(section, "").split())
        for field in dataclasses.fields(sections[section]):  # type: ignore[arg-type]
            name = field.name
            if name in known or f"{section}.{name}" in of_task or (section == "generation" and section not in reads):
                continue
            if _is_set(cfg, section, name):
                told.append(f"{flag(name)} has no effect: {_REASONS.get(name, _NOT_TRAINING)}")
    told += _idle_components(cfg, reads)
    if "generation" in reads:
        told += [f"{flag(name)} has no effect: {reason}" for name, reason in _idle_modes(cfg, generator)]
    # One for each option, the first reason found.
    return list({sentence.split()[0]: sentence for sentence in reversed(told)}.values())[::-1]


def flag(name: str) -> str:
    """The option of a config field."""
    return "--" + name.replace("_", "-")


def _referred_to(cfg: Any) -> set[str]:
    """Options that the task's own config takes its values from, as ``section.name``."""
    from fairseq.dataclass.fields import default_of, is_interpolation
    from fairseq.tasks import TASK_DATACLASS_REGISTRY

    task = TASK_DATACLASS_REGISTRY.get(str(getattr(cfg.task, "_name", "")))
    defaults = [default_of(field) for field in dataclasses.fields(task)] if task is not None else []
    return {default[2:-1] for default in defaults if is_interpolation(default)}


def _is_set(cfg: Any, section: str, name: str) -> bool:
    """Whether an option has another value than it has by default."""
    from fairseq.dataclass.configs import FairseqConfig
    from fairseq.dataclass.fields import default_of, is_interpolation

    kind = next(field.type for field in dataclasses.fields(FairseqConfig) if field.name == section)
    default = default_of(kind.__dataclass_fields__[name])  # type: ignore[union-attr]
    value = getattr(getattr(cfg, section, None), name, None)
    if is_interpolation(default):
        other_section, _, other = default[2:-1].partition(".")
        default = getattr(getattr(cfg, other_section, None), other, None)
    # Numbers by value (0 and 0.0), choices by their text.
    return value is not None and value != default and str(value) != str(default)


def _idle_components(cfg: Any, reads: dict[str, str]) -> Iterator[str]:
    """Components that a tool lets choose and does not build."""
    idle = {"optimizer": None, "lr_scheduler": "fixed", "criterion": "cross_entropy"}
    if "generation" not in reads:
        idle.update({"scoring": "bleu", "tokenizer": None, "bpe": None})  # type: ignore[dict-item]
    elif "prefix_size" not in reads["generation"]:
        idle["scoring"] = "bleu"
    for section, default in idle.items():
        choice = getattr(cfg, section, None)
        name = choice if isinstance(choice, str) else getattr(choice, "_name", None)
        if name is not None and name != default:
            reason = _NOT_TRAINING if section in ("optimizer", "lr_scheduler", "criterion") else "nothing uses it here"
            yield f"{flag(section)} {name} has no effect: {reason}"


_BY_SEARCH = (
    *("beam", "nbest", "max_len_a", "max_len_b", "min_len", "match_source_len", "unnormalized", "lenpen", "unkpen"),
    *("no_repeat_ngram_size", "sampling", "sampling_topk", "sampling_topp", "temperature", "diverse_beam_groups"),
    *("diverse_beam_strength", "diversity_rate", "lm_path", "lm_weight", "prefix_size", "eos_token", "constraints"),
)
_BY_REFINEMENT = (
    *("iter_decode_eos_penalty", "iter_decode_max_iter", "iter_decode_force_max_iter", "iter_decode_with_beam"),
    *("iter_decode_with_external_reranker", "decoding_format"),
)


def _idle_modes(cfg: Any, generator: Any) -> Iterator[tuple[str, str]]:
    """Options of modes that are not in use, with the reason."""
    from fairseq.iterative_refinement_generator import IterativeRefinementGenerator
    from fairseq.scoring import is_plain_bleu
    from fairseq.sequence_generator import SequenceGenerator

    options = cfg.generation

    def set_among(*names: str) -> Iterator[str]:
        return (name for name in names if _is_set(cfg, "generation", name))

    if options.score_reference:
        for name in set_among(*_BY_SEARCH, *_BY_REFINEMENT):
            yield name, "--score-reference scores the reference and searches nothing"
        return
    if isinstance(generator, IterativeRefinementGenerator):
        for name in set_among(*_BY_SEARCH):
            yield name, "this model refines whole outputs instead of searching token by token"
        return
    if isinstance(generator, SequenceGenerator):
        for name in set_among(*_BY_REFINEMENT):
            yield name, "this model makes outputs token by token; there is nothing to refine"
    rules = (
        (options.lm_path is None, ("lm_weight",), "there is no --lm-path"),
        (options.lm_weight == 0, ("lm_path",), "--lm-weight is 0"),
        (options.diverse_beam_groups <= 0, ("diverse_beam_strength",), "there is no --diverse-beam-groups"),
        (not options.retain_dropout, ("retain_dropout_modules",), "there is no --retain-dropout"),
        (options.match_source_len, ("max_len_a", "max_len_b"), "--match-source-len sets the length"),
        (options.unnormalized, ("lenpen",), "--unnormalized compares total scores"),
        (not is_plain_bleu(cfg.scoring), ("sacrebleu",), "--scoring names another measure"),
        (options.nbest > options.beam, ("nbest",), f"beyond {options.beam}, which is all that --beam keeps"),
    )
    for holds, names, reason in rules:
        if holds:
            for name in set_among(*names):
                yield name, reason
