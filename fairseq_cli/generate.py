"""fairseq-generate: translate (or continue, or score) a binarised data set with trained models."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, TextIO

from fairseq.compat.signatures import call_build_generator, fitting
from fairseq.dataclass.limits import GENERATION, check_limits
from fairseq_cli._console import run_command, setup_logging

__all__ = ["cli_main", "console_main", "get_symbols_to_strip_from_output", "main"]

logger = logging.getLogger("fairseq_cli.generate")


def main(cfg: Any, quantize: str | None = None, compiled: bool = False) -> Any:
    """Generate for ``cfg.dataset.gen_subset`` with the models of ``cfg.common_eval.path``.

    Args:
        cfg: a config, or a namespace of flat options.
        quantize: see ``_inference.prepare_models``.
        compiled: see ``_inference.use_cuda_graphs``.

    Returns:
        the scorer, which knows all references and outputs.

    Raises:
        AssertionError: options that contradict each other.
    """
    from fairseq_cli._inference import as_config

    cfg = as_config(cfg)
    if cfg.common_eval.path is None:
        raise AssertionError("--path required for generation!")
    if cfg.generation.sampling and cfg.generation.nbest != cfg.generation.beam:
        raise AssertionError("--sampling requires --nbest to be equal to --beam")
    if cfg.generation.replace_unk is not None and str(cfg.dataset.dataset_impl) != "raw":
        raise AssertionError("--replace-unk requires a raw text dataset (--dataset-impl=raw)")
    if cfg.common_eval.results_path is None:
        return _main(cfg, sys.stdout, quantize, compiled)
    os.makedirs(cfg.common_eval.results_path, exist_ok=True)
    path = os.path.join(cfg.common_eval.results_path, f"generate-{cfg.dataset.gen_subset}.txt")
    with open(path, "w", buffering=1, encoding="utf-8") as out:
        return _main(cfg, out, quantize, compiled)


def get_symbols_to_strip_from_output(generator: Any) -> Any:
    """Ids that are not printed."""
    from fairseq_cli._inference import symbols_to_strip

    return symbols_to_strip(generator)


def _main(cfg: Any, output_file: TextIO, quantize: str | None = None, compiled: bool = False) -> Any:
    """``main`` with the output going to an open file; programs call it for that."""
    setup_logging(output_file)
    import torch

    from fairseq import scoring, tasks, utils
    from fairseq_cli._idle import GENERATE, warn_about_idle_options
    from fairseq_cli._inference import (
        Text,
        load_models,
        model_overrides,
        prepare_models,
        seed_everything,
        use_cuda_graphs,
    )

    utils.import_user_module(cfg.common)
    if cfg.dataset.max_tokens is None and cfg.dataset.batch_size is None:
        cfg.dataset.max_tokens = 12000
    check_limits(cfg, GENERATION)
    logger.info(cfg)
    seed_everything(cfg)
    use_cuda = torch.cuda.is_available() and not cfg.common.cpu
    task = tasks.setup_task(cfg.task)
    overrides = model_overrides(cfg)
    logger.info("loading model(s) from %s", cfg.common_eval.path)
    models, saved_cfg = load_models(cfg, cfg.common_eval.path, task, overrides)
    # After the models: a task may need their config to read its data.
    task.load_dataset(cfg.dataset.gen_subset, **fitting(task.load_dataset, task_cfg=saved_cfg.task))
    language_model = _language_model(cfg, overrides, task)
    prepare_models([*models, language_model], cfg, use_cuda, quantize)
    name = "sacrebleu" if cfg.generation.sacrebleu and scoring.is_plain_bleu(cfg.scoring) else cfg.scoring
    scorer = scoring.build_scorer(name, task.target_dictionary)
    dataset = task.dataset(cfg.dataset.gen_subset)
    if cfg.generation.constraints and getattr(dataset, "constraints", None) is None:
        raise ValueError(
            "--constraints: a data set holds no phrases to force into its outputs; fairseq-interactive reads them "
            "behind TABs in each line"
        )
    if len(dataset) == 0:
        logger.info("nothing to generate: %s is empty", cfg.dataset.gen_subset)
        return scorer
    extra: dict[str, Any] = {"lm_model": language_model, "lm_weight": cfg.generation.lm_weight}
    if cfg.generation.eos_token is not None:
        extra["eos"] = _known_symbol(task.target_dictionary, cfg.generation.eos_token)
    generator = call_build_generator(task, models, cfg.generation, extra)
    warn_about_idle_options(cfg, GENERATE, generator)
    if compiled:
        use_cuda_graphs(generator, use_cuda)
    run = _Generation(cfg, output_file, task, models, generator, Text(task, cfg), scorer, use_cuda)
    run.all_batches(_batches(cfg, task, models))
    run.report()
    return scorer


def _needs_refinement(hypothesis: Any, options: Any) -> None:
    """Refuse options about refinement steps where outputs are made word by word."""
    for flag, wanted, name in (
        ("--print-step", options.print_step, "steps"),
        ("--retain-iter-history", options.retain_iter_history, "history"),
    ):
        if wanted and name not in hypothesis:
            raise ValueError(f"{flag}: this model makes outputs word by word; it has no refinement steps to show")


def _known_symbol(dictionary: Any, symbol: str) -> int:
    index = dictionary.index(symbol)
    if index == dictionary.unk() and symbol != dictionary.unk_word:
        raise ValueError(f"--eos-token {symbol}: not in the target dictionary")
    return index


def _language_model(cfg: Any, overrides: dict[str, Any], task: Any) -> Any:
    """The model of ``--lm-path``, or ``None``.

    Raises:
        FileNotFoundError: the data folder has no ``dict.txt``, which the model's task reads.
        ValueError: several models, or one over another dictionary.
    """
    path = cfg.generation.lm_path
    if path is None:
        return None
    from fairseq import checkpoint_utils

    folder = cfg.task.data.split(os.pathsep)[0]
    if not os.path.exists(os.path.join(folder, "dict.txt")):
        raise FileNotFoundError(
            f"--lm-path {path}: the language model reads its dictionary from {os.path.join(folder, 'dict.txt')}, which "
            "does not exist. Copy the target dictionary to that name."
        )
    models, _ = checkpoint_utils.load_model_ensemble([path], arg_overrides={**overrides, "data": cfg.task.data})
    if len(models) != 1:
        raise ValueError(f"--lm-path {path}: expected one language model, got {len(models)}")
    return models[0]


def _batches(cfg: Any, task: Any, models: list[Any]) -> Any:
    """The batches of the subset behind a progress bar."""
    from fairseq import utils
    from fairseq.logging import progress_bar
    from fairseq_cli._inference import nothing_left

    data, distributed = cfg.dataset, cfg.distributed_training
    make = task.get_batch_iterator
    dataset = task.dataset(data.gen_subset)
    max_positions = utils.resolve_max_positions(task.max_positions(), *[m.max_positions() for m in models])
    iterator = make(
        dataset=dataset,
        max_tokens=data.max_tokens,
        max_sentences=data.batch_size,
        max_positions=max_positions,
        ignore_invalid_inputs=data.skip_invalid_size_inputs_valid_test,
        required_batch_size_multiple=data.required_batch_size_multiple,
        seed=cfg.common.seed,
        # --num-shards and --shard-id divide training data and eval-lm; here the processes of a launcher share the work.
        num_shards=distributed.distributed_world_size,
        shard_id=distributed.distributed_rank,
        num_workers=data.num_workers,
        **fitting(make, data_buffer_size=data.data_buffer_size),
    ).next_epoch_itr(shuffle=False)
    if len(iterator) == 0:
        raise nothing_left(data.gen_subset, len(dataset), max_positions)
    return progress_bar.progress_bar(
        iterator,
        log_format=cfg.common.log_format,
        log_interval=cfg.common.log_interval,
        default_log_format="simple" if cfg.common.no_progress_bar else "tqdm",
    )


def _original_line(data: Any, side: str, index: int) -> str:
    """The text of one side (``src`` or ``tgt``) of a raw data set.

    Raises:
        ValueError: the data set does not keep its text.
    """
    while not hasattr(data, "get_original_text"):
        if getattr(data, side, None) is not None:
            data = getattr(data, side)
        elif hasattr(data, "_get_dataset_and_sample_index"):
            part, index = data._get_dataset_and_sample_index(index)
            data = data.datasets[part]
        elif hasattr(data, "dataset"):
            data = data.dataset
        else:
            raise ValueError(
                f"--replace-unk: a {type(data).__name__} does not keep the text it was made from; "
                "fairseq-interactive --replace-unk takes any text"
            )
    return data.get_original_text(index)


class _Generation:
    """One run over a subset: generate batch by batch, print, score."""

    def __init__(
        self,
        cfg: Any,
        out: TextIO,
        task: Any,
        models: list[Any],
        generator: Any,
        text: Any,
        scorer: Any,
        use_cuda: bool,
    ) -> None:
        from fairseq.logging.meters import StopwatchMeter, TimeMeter
        from fairseq_cli._inference import HypothesisText

        self.cfg, self.out, self.task, self.models = cfg, out, task, models
        self.generator, self.text, self.scorer, self.use_cuda = generator, text, scorer, use_cuda
        self.timer = StopwatchMeter()
        self.words_per_second = TimeMeter()
        self.num_sentences = 0
        self.pairs: list[tuple[str, str]] = []
        self.has_target = True
        self.tgt_dict = task.target_dictionary
        try:
            self.src_dict = getattr(task, "source_dictionary", None)
        except NotImplementedError:
            self.src_dict = None
        self.strip = get_symbols_to_strip_from_output(generator)
        self.hypothesis_text = HypothesisText(cfg, text, self.src_dict, self.tgt_dict, self.strip)

    def all_batches(self, batches: Any) -> None:
        """Generate everything."""
        from fairseq.data.text_files.vocabulary_check import explained
        from fairseq_cli._idle import flag
        from fairseq_cli._inference import move_to_device

        for sample in batches:
            sample = move_to_device(sample, self.cfg, self.use_cuda)
            if "net_input" not in sample:
                continue
            for name in ("score_reference", "prefix_size"):
                if getattr(self.cfg.generation, name) and sample.get("target") is None:
                    subset = self.cfg.dataset.gen_subset
                    raise ValueError(f"{flag(name)}: {subset} has no target side, so there is no reference")
            prefix = None
            if self.cfg.generation.prefix_size > 0:
                prefix = sample["target"][:, : self.cfg.generation.prefix_size]
            self.timer.start()
            step = self.task.inference_step
            given = fitting(step, prefix_tokens=prefix, constraints=sample.get("constraints"))
            try:
                hypotheses = step(self.generator, self.models, sample, **given)
            except IndexError as error:
                raise explained(error, self.task, sample) from error
            num_words = sum(len(found[0]["tokens"]) for found in hypotheses if found)
            self.timer.stop(num_words)
            for i, sample_id in enumerate(sample["id"].tolist()):
                self.sentence(sample, i, sample_id, hypotheses[i])
            self.words_per_second.update(num_words)
            batches.log({"wps": round(self.words_per_second.avg)})
            self.num_sentences += sample["nsentences"] if "nsentences" in sample else sample["id"].numel()

    def sentence(self, sample: Any, i: int, sample_id: int, hypotheses: list[Any]) -> None:
        """Print and score what was found for one sentence."""
        from fairseq import utils

        self.has_target = sample["target"] is not None
        pad, eval_cfg = self.tgt_dict.pad(), self.cfg.common_eval
        row = sample["net_input"]["src_tokens"][i, :].cpu() if "src_tokens" in sample["net_input"] else None
        source = utils.strip_pad(row, pad) if row is not None else None
        target = utils.strip_pad(sample["target"][i, :], pad).int().cpu() if self.has_target else None
        src_str, target_str = self.texts(sample_id, source, target)
        if not eval_cfg.quiet:
            if self.src_dict is not None:
                print(f"S-{sample_id}\t{src_str}", file=self.out)
            if self.has_target:
                print(f"T-{sample_id}\t{target_str}", file=self.out)
        for rank, hypothesis in enumerate(hypotheses[: self.cfg.generation.nbest]):
            tokens, string, detokenized = self.hypothesis_text.write(
                hypothesis, row, lambda: self.original(sample_id, "src").split()
            )
            if not eval_cfg.quiet:
                self.lines(sample_id, hypothesis, string, detokenized, src_str)
            if self.has_target and rank == 0:
                self.score(target, target_str, tokens, detokenized)

    def original(self, sample_id: int, side: str) -> str:
        """A line of the raw data as it stands in the file."""
        return _original_line(self.task.dataset(self.cfg.dataset.gen_subset), side, sample_id)

    def texts(self, sample_id: int, source: Any, target: Any) -> tuple[str, str]:
        """Source and reference as text, as far as there are any."""
        from fairseq.data import data_utils

        raw = self.cfg.generation.replace_unk is not None

        def written(side: str, dictionary: Any, tokens: Any, **options: Any) -> str:
            if dictionary is None or tokens is None:
                return ""

            def string(post_process: Any) -> str:
                if raw:
                    return data_utils.post_process(self.original(sample_id, side), post_process)
                return dictionary.string(tokens, post_process, **options)

            symbol = self.cfg.common_eval.post_process
            pieces = string(None) if symbol is not None and self.text.bpe is not None else None
            return self.text.decode(string(symbol), pieces)

        src_str = written("src", self.src_dict, source)
        return src_str, written("tgt", self.tgt_dict, target, escape_unk=True, extra_symbols_to_ignore=self.strip)

    def lines(self, sample_id: int, hypothesis: Any, string: str, detokenized: str, src_str: str) -> None:
        """Print one hypothesis."""
        from fairseq import utils
        from fairseq_cli._inference import format_alignment, positional_line, to_base_2

        options, out = self.cfg.generation, self.out
        if options.print_step or options.retain_iter_history:
            _needs_refinement(hypothesis, options)
        score = to_base_2(hypothesis["score"])
        print(f"H-{sample_id}\t{score}\t{string}", file=out)
        print(f"D-{sample_id}\t{score}\t{detokenized}", file=out)
        print(f"P-{sample_id}\t{positional_line(hypothesis['positional_scores'])}", file=out)
        if options.print_alignment:
            print(f"A-{sample_id}\t{format_alignment(hypothesis['alignment'], options.print_alignment)}", file=out)
        if options.print_step:
            print(f"I-{sample_id}\t{hypothesis['steps']}", file=out)
        for step, earlier in enumerate(hypothesis["history"] if options.retain_iter_history else ()):
            _, earlier_string, _ = utils.post_process_prediction(
                hypo_tokens=earlier["tokens"].int().cpu(),
                src_str=src_str,
                alignment=None,
                align_dict=None,
                tgt_dict=self.tgt_dict,
                remove_bpe=None,
            )
            print(f"E-{sample_id}_{step}\t{earlier_string}", file=out)

    def score(self, target: Any, target_str: str, tokens: Any, detokenized: str) -> None:
        """Count the best hypothesis against its reference."""
        if self.hypothesis_text.align_dict is not None or self.cfg.common_eval.post_process is not None:
            # The text changed: compare its words, new ones included.
            target = self.tgt_dict.encode_line(target_str, add_if_not_exist=True)
            tokens = self.tgt_dict.encode_line(detokenized, add_if_not_exist=True)
        if hasattr(self.scorer, "add_string"):
            # Scored at the end: whether unknown words matter is known when all outputs are.
            self.pairs.append((target_str, detokenized))
        else:
            self.scorer.add(target, tokens)

    def report(self) -> None:
        """The closing lines."""
        from fairseq import scoring
        from fairseq.scoring.unknown import telling_unknowns_apart

        for reference, output in telling_unknowns_apart(self.pairs, self.tgt_dict.unk_string()):
            self.scorer.add_string(reference, output)
        cfg, timer = self.cfg, self.timer
        logger.info("NOTE: hypothesis and token scores are output in base 2")
        seconds = max(timer.sum, 1e-9)
        logger.info(
            "Translated %s sentences (%s tokens) in %.1fs (%.2f sentences/s, %.2f tokens/s)",
            f"{self.num_sentences:,}",
            f"{timer.n:,}",
            timer.sum,
            self.num_sentences / seconds,
            timer.n / seconds,
        )
        if not self.has_target:
            return
        if cfg.bpe and not cfg.generation.sacrebleu and scoring.is_plain_bleu(cfg.scoring):
            if cfg.common_eval.post_process:
                logger.warning("BLEU compares detokenized text split at blanks; --scoring sacrebleu tokenizes it first")
            else:
                logger.warning("BLEU compares BPE tokens, not words; --scoring sacrebleu compares words")
        subset, beam = cfg.dataset.gen_subset, cfg.generation.beam
        # The line after which scripts look; the last one.
        print(f"Generate {subset} with beam={beam}: {self.scorer.result_string()}", file=self.out)


def cli_main() -> None:
    """Parse the command line and generate."""
    from fairseq import options

    parser = options.get_generation_parser()
    # Adds the options that a task reads from its model (audio tasks do). The checkpoint decides which model is built.
    parser.add_argument(
        "--arch", "-a", metavar="ARCH", default="wav2vec2", help="architecture whose options the task needs as well"
    )
    add_speed_options(parser)
    args = options.parse_args_and_arch(parser)
    main(args, quantize=args.quantize, compiled=args.compile)


def add_speed_options(parser: Any) -> None:
    """Add ``--quantize`` and ``--compile``."""
    parser.add_argument(
        "--compile",
        action="store_true",
        help="on a GPU, record the decoding steps of transformers (as CUDA graphs) and play them again: the first "
        "batches are slower, the others faster",
    )
    parser.add_argument(
        "--quantize", choices=["int8"], help="run linear layers with 8-bit weights: faster on a CPU, almost as good"
    )


def console_main() -> None:
    """The console script: as ``cli_main``, and an error is one line and an exit code."""
    run_command(cli_main, needs="DATA --path CHECKPOINT")


if __name__ == "__main__":
    console_main()
