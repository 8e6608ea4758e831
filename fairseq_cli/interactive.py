"""fairseq-interactive: translate lines as they come, from standard input or a file."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from fairseq.compat.signatures import call_build_generator, fitting
from fairseq.dataclass.limits import GENERATION, check_limits
from fairseq.file_io import open_text, without_mark
from fairseq_cli._console import naming_source, run_command, setup_logging

__all__ = ["Batch", "Translation", "buffered_read", "cli_main", "console_main", "main", "make_batches"]

logger = logging.getLogger("fairseq_cli.interactive")


class Batch(NamedTuple):
    """Lines that are translated together; ``ids`` are their positions among the lines of the buffer."""

    ids: Any
    src_tokens: Any
    src_lengths: Any
    constraints: Any


class Translation(NamedTuple):
    """A source with what was found for it."""

    src_str: str
    hypos: Any
    pos_scores: Any
    alignments: Any


def buffered_read(input: str, buffer_size: int) -> Iterator[list[str]]:
    """Stripped lines of a file (``-`` for standard input) in groups of ``buffer_size``; the last may be smaller."""
    with contextlib.ExitStack() as files:
        files.enter_context(naming_source(input))
        if input == "-" and sys.stdin is None:
            raise ValueError("standard input is closed: pipe text into it, or give a file with --input")
        lines: Iterable[str] = without_mark(sys.stdin, "standard input")
        if input != "-":
            try:
                lines = files.enter_context(open_text(input))
            except FileNotFoundError as error:
                raise FileNotFoundError(f"--input {input}: there is no such file") from error
        buffer: list[str] = []
        for line in lines:
            buffer.append(line.strip())
            if len(buffer) >= buffer_size:
                yield buffer
                buffer = []
        if buffer:
            yield buffer


@contextlib.contextmanager
def _quiet_loader() -> Iterator[None]:
    """Keep what is said once per data set out of the answers: here every buffer of lines is a data set."""
    loggers = {"fairseq.tasks.fairseq_task": logging.WARNING, "fairseq.data.data_utils": logging.ERROR}
    before = {name: logging.getLogger(name).level for name in loggers}
    for name, level in loggers.items():
        logging.getLogger(name).setLevel(max(level, before[name]))
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def make_batches(
    lines: Sequence[str],
    cfg: Any,
    task: Any,
    max_positions: Any,
    encode_fn: Callable[[str], str],
    leave_out: bool = False,
) -> Iterator[Batch]:
    """Encode lines and sort them into batches. With ``--constraints``, phrases stand behind TABs in a line.

    Args:
        leave_out: lines that are longer than ``max_positions`` are in no batch, instead of an error.
    """
    constraints = None
    if cfg.generation.constraints:
        from fairseq.token_generation_constraints import pack_constraints

        columns = [line.split("\t") for line in lines]
        lines = [line[0] for line in columns]
        constraints = pack_constraints(
            [
                [
                    task.target_dictionary.encode_line(encode_fn(phrase), append_eos=False, add_if_not_exist=False)
                    for phrase in line[1:]
                    if phrase.strip()
                ]
                for line in columns
            ]
        )
    tokens, lengths = task.get_interactive_tokens_and_lengths(lines, encode_fn)
    build = task.build_dataset_for_inference
    dataset = build(tokens, lengths, **fitting(build, constraints=constraints))
    with _quiet_loader():
        iterator = task.get_batch_iterator(
            dataset=dataset,
            max_tokens=cfg.dataset.max_tokens,
            max_sentences=cfg.dataset.batch_size,
            max_positions=max_positions,
            ignore_invalid_inputs=leave_out or cfg.dataset.skip_invalid_size_inputs_valid_test,
        ).next_epoch_itr(shuffle=False)
    # A buffer is read once: keeping its iterator would fill the memory of a long session.
    getattr(task, "dataset_to_epoch_iter", {}).pop(dataset, None)
    for batch in iterator:
        inputs = batch["net_input"]
        yield Batch(batch["id"], inputs["src_tokens"], inputs["src_lengths"], batch.get("constraints"))


def main(cfg: Any, quantize: str | None = None, compiled: bool = False) -> None:
    """Read, translate and print until the input ends.

    Args:
        cfg: a config, or a namespace of flat options.
        quantize: see ``_inference.prepare_models``.
        compiled: see ``_inference.use_cuda_graphs``.

    Raises:
        AssertionError: options that contradict each other.
        Exception: at the end, lines were too long for the models.
    """
    setup_logging()
    from fairseq_cli._inference import as_config

    start = time.time()
    cfg = as_config(cfg)
    from fairseq import utils

    utils.import_user_module(cfg.common)
    if cfg.interactive.buffer_size < 1:
        cfg.interactive.buffer_size = 1
    if cfg.dataset.max_tokens is None and cfg.dataset.batch_size is None:
        cfg.dataset.batch_size = 1
    if cfg.common_eval.path is None:
        raise AssertionError("--path required for generation!")
    if cfg.generation.sampling and cfg.generation.nbest != cfg.generation.beam:
        raise AssertionError("--sampling requires --nbest to be equal to --beam")
    if cfg.dataset.batch_size is not None and cfg.dataset.batch_size > cfg.interactive.buffer_size:
        raise AssertionError("--batch-size cannot be larger than --buffer-size")
    check_limits(cfg, GENERATION)
    if cfg.generation.score_reference:
        raise ValueError(
            "--score-reference: what is read has no references; fairseq-generate scores those of a data set"
        )
    logger.info(cfg)
    session = _Session(cfg, quantize, compiled)
    if cfg.interactive.buffer_size > 1:
        logger.info("Sentence buffer size: %s", cfg.interactive.buffer_size)
    logger.info("NOTE: hypothesis and token scores are output in base 2")
    logger.info("Type the input sentence and press return:")
    for lines in buffered_read(cfg.interactive.input, cfg.interactive.buffer_size):
        session.translate(lines)
        sys.stdout.flush()
    logger.info("Total time: %.3f seconds; translation time: %.3f", time.time() - start, session.seconds)
    if session.too_long and not cfg.dataset.skip_invalid_size_inputs_valid_test:
        numbers = ", ".join(map(str, session.too_long[:10])) + (", ..." if len(session.too_long) > 10 else "")
        raise Exception(
            f"{len(session.too_long)} of {session.num_lines} lines were too long and are left out: {numbers}. Raise "
            "--max-source-positions as far as the model allows, or accept it with --skip-invalid-size-inputs-valid-test"
        )


class _Session:
    """Models that stay loaded, and the number of lines seen."""

    def __init__(self, cfg: Any, quantize: str | None, compiled: bool) -> None:
        import torch

        from fairseq import tasks, utils
        from fairseq_cli._idle import INTERACTIVE, warn_about_idle_options
        from fairseq_cli._inference import (
            HypothesisText,
            Text,
            load_models,
            model_overrides,
            prepare_models,
            seed_everything,
            symbols_to_strip,
            use_cuda_graphs,
        )
        from fairseq_cli.generate import _known_symbol, _language_model

        seed_everything(cfg)
        self.cfg = cfg
        self.use_cuda = torch.cuda.is_available() and not cfg.common.cpu
        self.task = tasks.setup_task(cfg.task)
        overrides = model_overrides(cfg)
        logger.info("loading model(s) from %s", cfg.common_eval.path)
        self.models, _ = load_models(cfg, cfg.common_eval.path, self.task, overrides)
        language_model = _language_model(cfg, overrides, self.task)
        prepare_models([*self.models, language_model], cfg, self.use_cuda, quantize)
        self.src_dict, self.tgt_dict = self.task.source_dictionary, self.task.target_dictionary
        extra: dict[str, Any] = {}
        if language_model is not None:
            extra = {"lm_model": language_model, "lm_weight": cfg.generation.lm_weight}
        if cfg.generation.eos_token is not None:
            extra["eos"] = _known_symbol(self.tgt_dict, cfg.generation.eos_token)
        self.generator = call_build_generator(self.task, self.models, cfg.generation, extra)
        warn_about_idle_options(cfg, INTERACTIVE, self.generator)
        if compiled:
            use_cuda_graphs(self.generator, self.use_cuda)
        self.text = Text(self.task, cfg)
        self.max_positions = utils.resolve_max_positions(
            self.task.max_positions(), *[model.max_positions() for model in self.models]
        )
        self.hypothesis_text = HypothesisText(
            cfg, self.text, self.src_dict, self.tgt_dict, symbols_to_strip(self.generator)
        )
        self.num_lines = 0
        # Numbers of the lines that could not be translated, from 1.
        self.too_long: list[int] = []
        self.seconds = 0.0

    def translate(self, lines: Sequence[str]) -> None:
        """Translate a buffer and print it in the order of its lines."""
        from fairseq_cli._inference import move_to_device

        found = []
        for batch in make_batches(lines, self.cfg, self.task, self.max_positions, self.text.encode, leave_out=True):
            sample = {"net_input": {"src_tokens": batch.src_tokens, "src_lengths": batch.src_lengths}}
            sample = move_to_device(sample, self.cfg, self.use_cuda)
            begin = time.time()
            step = self.task.inference_step
            hypotheses = step(self.generator, self.models, sample, **fitting(step, constraints=batch.constraints))
            seconds = time.time() - begin
            self.seconds += seconds
            for i, line in enumerate(batch.ids.tolist()):
                phrases = batch.constraints[i] if batch.constraints is not None else None
                found.append((line, batch.src_tokens[i], hypotheses[i], phrases, seconds / len(hypotheses)))
        for line, source, hypos, phrases, seconds in sorted(found, key=lambda item: item[0]):
            self.show(self.num_lines + line, lines[line], source, hypos, phrases, seconds)
        self.report_too_long(lines, {line for line, *_ in found})
        self.num_lines += len(lines)

    def report_too_long(self, lines: Sequence[str], translated: set[int]) -> None:
        """Name the lines of a buffer that no batch could take."""
        for i in range(len(lines)):
            if i not in translated:
                number = self.num_lines + i + 1
                self.too_long.append(number)
                logger.warning(
                    "line %s is left out: %s tokens, the limit is %s (source, target)",
                    *(number, len(self.typed(lines[i])) + 1, self.max_positions),
                )

    def typed(self, line: str) -> list[str]:
        """The source tokens of a line, those that the dictionary does not know included."""
        return self.text.encode(line.split("\t")[0] if self.cfg.generation.constraints else line).split()

    def show(self, number: int, line: str, row: Any, hypotheses: list[Any], phrases: Any, seconds: float) -> None:
        """Print what was found for one line; ``row`` holds its ids, padded."""
        from fairseq import utils
        from fairseq.token_generation_constraints import unpack_constraints
        from fairseq_cli._inference import format_alignment, positional_line

        options, post_process = self.cfg.generation, self.cfg.common_eval.post_process
        if self.src_dict is not None:
            src_str = self.src_dict.string(utils.strip_pad(row, self.tgt_dict.pad()), post_process)
            print(f"S-{number}\t{src_str}")
            print(f"W-{number}\t{seconds:.3f}\tseconds")
            for phrase in unpack_constraints(phrases) if phrases is not None else ():
                print(f"C-{number}\t{self.tgt_dict.string(phrase, post_process)}")
        for hypothesis in hypotheses[: options.nbest]:
            _, string, detokenized = self.hypothesis_text.write(hypothesis, row, lambda: self.typed(line))
            # Python's double precision here, the tensor's own in fairseq-generate: both are what scripts compare.
            score = float(hypothesis["score"]) / math.log(2)
            print(f"H-{number}\t{score}\t{string}")
            print(f"D-{number}\t{score}\t{detokenized}")
            print(f"P-{number}\t{positional_line(hypothesis['positional_scores'])}")
            if options.print_alignment:
                print(f"A-{number}\t{format_alignment(hypothesis['alignment'], options.print_alignment)}")


def cli_main() -> None:
    """Parse the command line and translate."""
    from fairseq import options
    from fairseq_cli.generate import add_speed_options

    setup_logging(sys.stdout)
    parser = options.get_interactive_generation_parser()
    add_speed_options(parser)
    args = options.parse_args_and_arch(parser)
    main(args, quantize=args.quantize, compiled=args.compile)


def console_main() -> None:
    """The console script: as ``cli_main``, and an error is one line and an exit code."""
    run_command(cli_main, needs="DATA --path CHECKPOINT")


if __name__ == "__main__":
    console_main()
