"""fairseq-eval-lm: the perplexity of a language model on a text."""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Iterable
from typing import Any

from fairseq.dataclass.limits import SCORING, check_limits
from fairseq_cli._console import run_command, setup_logging

__all__ = ["WordStat", "cli_main", "console_main", "eval_lm", "main"]

logger = logging.getLogger("fairseq_cli.eval_lm")


class WordStat:
    """How often a word came, and how well it was predicted.

    Attributes:
        log_prob: sum of its log-probabilities.
        next_word_prob: sum of the log-probabilities of the words after it.
        missing_next_words: how often it was the last of its sample.
    """

    def __init__(self, word: str, is_bpe: bool) -> None:
        self.word = word
        self.is_bpe = is_bpe
        self.log_prob: float = 0
        self.next_word_prob: float = 0
        self.count = 0
        self.missing_next_words = 0

    def add(self, log_prob: float, next_word_prob: float | None) -> None:
        """Count one occurrence; ``next_word_prob`` is ``None`` when no word follows."""
        self.count += 1
        self.log_prob += log_prob
        if next_word_prob is None:
            self.missing_next_words += 1
            return
        self.next_word_prob += next_word_prob

    def __str__(self) -> str:
        followed = self.count - self.missing_next_words
        return f"{self.word}\t{self.count}\t{self.log_prob}\t{self.is_bpe}\t{self.next_word_prob}\t{followed}"


class _Continuations:
    """Joins pieces of words: a piece that is continued passes its score on and does not count."""

    def __init__(self, dictionary: Any, post_process: str | None) -> None:
        self.continued: frozenset[int] = frozenset()
        self.mark = ""
        if post_process is None:
            return
        if post_process not in ("subword_nmt", "@@ "):
            raise NotImplementedError(f"--post-process={post_process} is not implemented")
        self.mark = "@@"
        self.continued = frozenset(i for i in range(len(dictionary)) if dictionary[i].endswith(self.mark))

    def __contains__(self, token: int) -> bool:
        return token in self.continued


def eval_lm(
    models: list[Any],
    source_dictionary: Any,
    batch_iterator: Iterable[Any],
    post_process: str | None = None,
    output_word_probs: bool = False,
    output_word_stats: bool = False,
    target_dictionary: Any = None,
    softmax_batch: int = 0,
    remove_bos_token: bool = False,
    device: Any = None,
) -> dict[str, float]:
    """Score a text.

    Args:
        models: the ensemble.
        source_dictionary: words of the text.
        batch_iterator: its batches.
        post_process: ``subword_nmt`` counts words instead of their pieces.
        output_word_probs: log the log-probability of every word.
        output_word_stats: log counts and sums per word at the end.
        target_dictionary: defaults to the source's.
        softmax_batch: positions to normalise at once; 0 for all.
        remove_bos_token: every sample begins with a begin-of-sentence token, which does not count.
        device: where to score; default the batches' own.

    Returns:
        ``loss``, base 2 per counted token, and ``perplexity``.

    Raises:
        NotImplementedError: another ``post_process``.
        ValueError: there is no token to score.
    """
    from fairseq import utils
    from fairseq.logging.meters import StopwatchMeter
    from fairseq.sequence_scorer import SequenceScorer

    dictionary = source_dictionary if target_dictionary is None else target_dictionary
    pieces = _Continuations(dictionary, post_process)
    scorer = SequenceScorer(dictionary, softmax_batch or sys.maxsize)
    timer = StopwatchMeter()
    text = _Text(dictionary, pieces, remove_bos_token, output_word_probs, output_word_stats)
    for sample in batch_iterator:
        if "net_input" not in sample:
            continue
        if device is not None:
            sample = utils.apply_to_sample(lambda tensor: tensor.to(device), sample)
        timer.start()
        found = scorer.generate(models, sample)
        timer.stop(sample["ntokens"])
        for sample_id, hypotheses in zip(sample["id"].tolist(), found):
            text.add(sample_id, hypotheses[0]["tokens"].tolist(), hypotheses[0]["positional_scores"].float().tolist())
    if text.count == 0:
        raise ValueError("nothing was scored: no batch holds a token that counts")
    loss = -text.total / text.count / math.log(2)
    logger.info(
        "Evaluated %s tokens in %.1fs (%.2f tokens/s)", f"{timer.n:,}", timer.sum, timer.n / max(timer.sum, 1e-9)
    )
    if output_word_stats:
        for stat in sorted(text.stats.values(), key=lambda stat: stat.count, reverse=True):
            logger.info(stat)
    return {"loss": loss, "perplexity": 2**loss}


class _Text:
    """Sums over the samples of a text."""

    def __init__(self, dictionary: Any, pieces: _Continuations, remove_bos: bool, probs: bool, stats: bool) -> None:
        self.dictionary, self.pieces, self.remove_bos = dictionary, pieces, remove_bos
        self.wants_probs, self.wants_stats = probs, stats
        self.total = 0.0
        self.count = 0
        self.stats: dict[str, WordStat] = {}

    def add(self, sample_id: int, tokens: list[int], scores: list[float]) -> None:
        """Count one sample.

        Raises:
            AssertionError: it was said to begin with a begin-of-sentence token, and does not.
        """
        if self.remove_bos:
            if tokens[0] != self.dictionary.bos():
                raise AssertionError("--add-bos-token: a sample does not begin with the begin-of-sentence token")
            tokens, scores = tokens[1:], scores[1:]
        counted = len(tokens)
        if self.pieces.continued:
            scores = list(scores)
            for i, token in enumerate(tokens[:-1]):
                if token in self.pieces:
                    scores[i + 1] += scores[i]
                    scores[i] = 0.0
                    counted -= 1
        infinite = [token for token, score in zip(tokens, scores) if math.isinf(score)]
        if infinite:
            logger.info("skipping tokens with infinite scores: %s", self.dictionary.string(infinite))
            scores = [0.0 if math.isinf(score) else score for score in scores]
            counted -= len(infinite)
        self.total += sum(scores)
        self.count += counted
        if self.wants_probs or self.wants_stats:
            self._words(sample_id, tokens, scores)

    def _words(self, sample_id: int, tokens: list[int], scores: list[float]) -> None:
        words: list[tuple[str, float]] = []
        word, is_bpe = "", False
        for i, (token, score) in enumerate(zip(tokens, scores)):
            word += self.dictionary[token]
            if token in self.pieces:
                word = word[: -len(self.pieces.mark)]
                is_bpe = True
                continue
            words.append((word, score))
            following = next((s for s in scores[i + 1 :] if s != 0), None)
            self.stats.setdefault(word, WordStat(word, is_bpe)).add(score, following)
            word, is_bpe = "", False
        if self.wants_probs:
            logger.info("%s %s", sample_id, "\t".join(f"{word} [{score:2f}]" for word, score in words))


def main(cfg: Any, **unused_kwargs: Any) -> dict[str, float]:
    """Score ``cfg.dataset.gen_subset`` with the models of ``cfg.common_eval.path``; returns what ``eval_lm`` does."""
    setup_logging()
    import torch

    from fairseq import tasks, utils
    from fairseq.logging import progress_bar
    from fairseq_cli._idle import LANGUAGE_MODEL, warn_about_idle_options
    from fairseq_cli._inference import as_config, model_overrides, prepare_models

    cfg = as_config(cfg)
    utils.import_user_module(cfg.common)
    logger.info(cfg)
    warn_about_idle_options(cfg, LANGUAGE_MODEL)
    if cfg.common_eval.path is None:
        raise AssertionError("--path required for evaluation!")
    check_limits(cfg, SCORING)
    asked = getattr(cfg.task, "tokens_per_sample", None)
    _check_window(cfg, asked)
    if asked is not None and cfg.eval_lm.context_window > 0:
        # A window of context and the tokens to score share the model's length.
        cfg.task.tokens_per_sample -= cfg.eval_lm.context_window
    use_cuda = torch.cuda.is_available() and not cfg.common.cpu
    task = tasks.setup_task(cfg.task)
    if not hasattr(task, "eval_lm_dataloader"):
        raise ValueError(
            f"--task {cfg.task._name}: fairseq-eval-lm scores running text, which this task has none of; choose one "
            "such as language_modeling, or compute the loss of this task with fairseq-validate"
        )
    logger.info("loading model(s) from %s", cfg.common_eval.path)
    models, _ = _load(cfg, task, model_overrides(cfg))
    prepare_models(models, cfg, use_cuda)
    max_positions = utils.resolve_max_positions(*[model.max_positions() for model in models])
    if asked is not None and asked == _default_block(cfg.task):
        asked = _fit_blocks(cfg, task, asked, max_positions)
    subset = cfg.dataset.gen_subset
    task.load_dataset(subset)
    dataset = task.dataset(subset)
    logger.info("%s %s %s examples", cfg.task.data, subset, f"{len(dataset):,}")
    logger.info("num. model params: %s", f"{sum(p.numel() for p in models[0].parameters()):,}")
    itr = task.eval_lm_dataloader(
        dataset=dataset,
        max_tokens=cfg.dataset.max_tokens or 36000,
        context_window=cfg.eval_lm.context_window,
        batch_size=cfg.dataset.batch_size,
        max_positions=max_positions,
        data_buffer_size=cfg.dataset.data_buffer_size,
        num_workers=cfg.dataset.num_workers,
        shard_id=max(cfg.dataset.shard_id, cfg.distributed_training.distributed_rank),
        num_shards=max(cfg.dataset.num_shards, cfg.distributed_training.distributed_world_size),
    )
    _check_batches(itr, dataset, subset, asked, max_positions)
    itr = progress_bar.progress_bar(
        itr,
        log_format=cfg.common.log_format,
        log_interval=cfg.common.log_interval,
        default_log_format="simple" if cfg.common.no_progress_bar else "tqdm",
    )
    wanted = cfg.eval_lm
    results = eval_lm(
        models,
        task.source_dictionary,
        itr,
        cfg.common_eval.post_process,
        wanted.output_word_probs,
        wanted.output_word_stats,
        target_dictionary=task.target_dictionary,
        softmax_batch=wanted.softmax_batch,
        remove_bos_token=getattr(cfg.task, "add_bos_token", False),
        device=torch.device("cuda") if use_cuda else None,
    )
    logger.info("Loss (base 2): %.4f, Perplexity: %.2f", results["loss"], results["perplexity"])
    return results


def _check_window(cfg: Any, tokens_per_sample: int | None) -> None:
    """Refuse a context that leaves no room for tokens to score."""
    window = cfg.eval_lm.context_window
    if window > 0 and tokens_per_sample is not None and window >= tokens_per_sample:
        raise ValueError(
            f"--context-window {window} leaves nothing of --tokens-per-sample {tokens_per_sample} to score; "
            "both together are what the model sees: lower the one or raise the other"
        )


def _default_block(task_cfg: Any) -> int | None:
    """``--tokens-per-sample`` of the task when it is not given."""
    from fairseq.tasks import TASK_DATACLASS_REGISTRY

    fields = getattr(TASK_DATACLASS_REGISTRY.get(task_cfg._name), "__dataclass_fields__", {})
    return fields["tokens_per_sample"].default if "tokens_per_sample" in fields else None


def _fit_blocks(cfg: Any, task: Any, default: int, limit: Any) -> int:
    """Cut blocks to what the model can take, when their length was not chosen; returns it, context included."""
    longest = min(limit) if isinstance(limit, (list, tuple)) else limit
    if longest is None or longest >= default or cfg.task.sample_break_mode == "eos":
        return default
    logger.info("--tokens-per-sample is not given: blocks of %s tokens, the model's limit", longest)
    _check_window(cfg, longest)
    for section in (cfg.task, task.args):
        section.tokens_per_sample = longest - cfg.eval_lm.context_window
    return longest


def _check_batches(itr: Any, dataset: Any, subset: str, tokens_per_sample: int | None, limit: Any) -> None:
    """Refuse to make a figure from nothing.

    Raises:
        ValueError: the text is empty, or every block is longer than the model can take.
    """
    if len(itr) > 0:
        return
    if len(dataset) == 0:
        raise ValueError(f"--gen-subset {subset}: the text is empty, so there is nothing to score")
    raise ValueError(
        f"nothing was scored: all {len(dataset):,} blocks of {subset} are longer than the model's limit of {limit} "
        f"tokens; --tokens-per-sample {tokens_per_sample} may be at most that"
    )


def _load(cfg: Any, task: Any, overrides: dict[str, Any]) -> tuple[list[Any], Any]:
    from fairseq import checkpoint_utils

    return checkpoint_utils.load_model_ensemble(
        cfg.common_eval.path.split(os.pathsep),
        arg_overrides=overrides,
        task=task,
        suffix=cfg.checkpoint.checkpoint_suffix,
        strict=cfg.checkpoint.checkpoint_shard_count == 1,
        num_shards=cfg.checkpoint.checkpoint_shard_count,
    )


def cli_main() -> None:
    """Parse the command line and score."""
    from fairseq import options

    setup_logging(sys.stdout)
    main(options.parse_args_and_arch(options.get_eval_lm_parser()))


def console_main() -> None:
    """The console script: as ``cli_main``, and an error is one line and an exit code."""
    run_command(cli_main, needs="DATA --path CHECKPOINT")


if __name__ == "__main__":
    console_main()
