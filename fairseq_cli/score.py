"""fairseq-score: compare a file of outputs with a file of references."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from fairseq.file_io import open_text, without_mark
from fairseq_cli._console import naming_source, run_command

__all__ = ["cli_main", "console_main", "get_parser"]

logger = logging.getLogger("fairseq_cli.score")


def get_parser() -> argparse.ArgumentParser:
    """Options of fairseq-score."""
    from fairseq import _index
    from fairseq.compat.suggest import Parser

    parser = Parser(description="Score outputs against references, line by line.")
    parser.add_argument("-s", "--sys", default="-", help="file with outputs, - for standard input")
    parser.add_argument("-r", "--ref", required=True, help="file with references")
    parser.add_argument("-o", "--order", default=4, metavar="N", type=int, help="longest n-gram of BLEU")
    parser.add_argument("--ignore-case", action="store_true", help="lower-case everything first")
    parser.add_argument("--sacrebleu", action="store_true", help="score with sacreBLEU")
    parser.add_argument("--sentence-bleu", action="store_true", help="one smoothed BLEU per line")
    parser.add_argument(
        "--scoring",
        default="bleu",
        choices=sorted(_index.ENTRIES.get("scoring", {})) or None,
        help="another measure, with its default options",
    )
    return parser


def _pairs(args: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Reference and output of each line.

    Raises:
        ValueError: one file has more lines than the other.
    """
    with contextlib.ExitStack() as files:
        if args.sys == "-" and sys.stdin is None:
            raise ValueError("standard input is closed: pipe the output into it, or give a file with --sys")
        files.enter_context(naming_source(f"{args.sys} or {args.ref}"))
        read = files.enter_context
        lines = without_mark(sys.stdin, "standard input") if args.sys == "-" else read(open_text(args.sys))
        references = read(open_text(args.ref))
        for number, (output, reference) in enumerate(zip_longest(lines, references), start=1):
            if output is None or reference is None:
                short, other = (args.sys, args.ref) if output is None else (args.ref, args.sys)
                raise ValueError(f"{short} ends before line {number}, unlike {other}")
            if args.ignore_case:
                output, reference = output.lower(), reference.lower()
            yield reference.rstrip("\n"), output.rstrip("\n")


def cli_main() -> None:
    """Parse the command line and score."""
    args = get_parser().parse_args()
    print(args)
    if args.sys != "-" and not os.path.exists(args.sys):
        raise AssertionError(f"System output file {args.sys} does not exist")
    if not os.path.exists(args.ref):
        raise AssertionError(f"Reference file {args.ref} does not exist")
    if args.order < 1:
        raise ValueError(f"--order {args.order}: at least 1 is expected")
    if args.sacrebleu:
        args.scoring = "sacrebleu"
    if args.sentence_bleu and args.scoring != "bleu":
        raise ValueError("--sentence-bleu is about BLEU over words; leave out --sacrebleu and --scoring")
    from fairseq.scoring.unknown import telling_unknowns_apart

    scorer = _bleu() if args.scoring == "bleu" else _text_scorer(args.scoring)
    if args.scoring != "bleu" and args.order != 4:
        logger.warning("--order has no effect: only BLEU over words, the default, reads it")
    pairs = telling_unknowns_apart(_pairs(args))
    if not pairs:
        raise ValueError(f"{args.sys} and {args.ref} are empty: there is nothing to score")
    if args.scoring != "bleu":
        for reference, output in pairs:
            scorer.add_string(reference, output)
        print(scorer.result_string())
        return
    from fairseq.data.dictionary import Dictionary

    words = Dictionary()
    for number, (reference, output) in enumerate(pairs):
        if args.sentence_bleu:
            # One match more in one n-gram more, or a line without a common 4-gram would score 0.
            scorer.reset(one_init=True)
        scorer.add(words.encode_line(reference), words.encode_line(output))
        if args.sentence_bleu:
            print(number, scorer.result_string(args.order))
    if not args.sentence_bleu:
        print(scorer.result_string(args.order))


def _bleu() -> Any:
    from fairseq.data.dictionary import Dictionary
    from fairseq.scoring import build_scorer

    return build_scorer("bleu", Dictionary())


def _text_scorer(name: str) -> Any:
    from fairseq.scoring import SCORER_DATACLASS_REGISTRY, SCORER_REGISTRY

    return SCORER_REGISTRY[name](SCORER_DATACLASS_REGISTRY[name]())


def console_main() -> None:
    """The console script: as ``cli_main``, and an error is one line and an exit code."""
    run_command(cli_main, needs="--sys FILE --ref FILE")


if __name__ == "__main__":
    console_main()
