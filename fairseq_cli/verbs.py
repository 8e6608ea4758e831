"""DATA ONLY: the verbs of the command ``fairseq``, and where each one lives.

The dispatcher (``fairseq_cli.main``) imports the module of the chosen verb and no other. A later verb is one more row:
its module has a function that reads ``sys.argv`` and one that makes its ``argparse`` parser.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["VERBS", "Verb"]


@dataclass(frozen=True)
class Verb:
    """One row of the table.

    Attributes:
        run: ``"module:function"``; the function reads ``sys.argv``, does the work and exits.
        help: one line for ``fairseq --help``.
        parser: ``"module:function"`` that returns the verb's parser, for completion; ``None`` where another program
            (Hydra) reads the command line.
        script: the dashed script that does the same, if there is one.
    """

    run: str
    help: str
    parser: str | None = None
    script: str | None = None


VERBS: dict[str, Verb] = {
    "prepare": Verb(
        "fairseq_cli.prepare.command:console_main",
        "make a data folder from raw text: the tutorial's corpora or a corpus of yours",
        "fairseq_cli.prepare.command:get_parser",
    ),
    "preprocess": Verb(
        "fairseq_cli.preprocess:console_main",
        "make dictionaries and memory-mapped data from tokenised text",
        "fairseq.options:get_preprocessing_parser",
        "fairseq-preprocess",
    ),
    "train": Verb(
        "fairseq_cli.train:console_main",
        "train a model from options",
        "fairseq_cli.train:get_parser",
        "fairseq-train",
    ),
    "hydra-train": Verb(
        "fairseq_cli.hydra_train:console_main",
        "train a model from YAML files, with overrides and sweeps",
        None,
        "fairseq-hydra-train",
    ),
    "validate": Verb(
        "fairseq_cli.validate:console_main",
        "compute the loss of a trained model",
        "fairseq.options:get_validation_parser",
        "fairseq-validate",
    ),
    "generate": Verb(
        "fairseq_cli.generate:console_main",
        "translate a data set",
        "fairseq.options:get_generation_parser",
        "fairseq-generate",
    ),
    "interactive": Verb(
        "fairseq_cli.interactive:console_main",
        "translate lines of text as they come",
        "fairseq.options:get_interactive_generation_parser",
        "fairseq-interactive",
    ),
    "score": Verb(
        "fairseq_cli.score:console_main",
        "compute the BLEU score of a file",
        "fairseq_cli.score:get_parser",
        "fairseq-score",
    ),
    "eval-lm": Verb(
        "fairseq_cli.eval_lm:console_main",
        "compute the perplexity of a language model",
        "fairseq.options:get_eval_lm_parser",
        "fairseq-eval-lm",
    ),
    "checkpoint": Verb(
        "fairseq_cli.checkpoint:console_main",
        "inspect, average, convert and compare checkpoints without running what is in them",
        "fairseq_cli.checkpoint:get_parser",
        "fairseq-checkpoint",
    ),
    "patch": Verb(
        "patches.cli:main",
        "repair an old copy of fairseq inside another repository",
        "patches.cli:build_parser",
        "fairseq-patch",
    ),
    "env": Verb(
        "fairseq.collect_env:main",
        "print versions, compiled parts and devices for a bug report",
        "fairseq.collect_env:get_parser",
        "fairseq-env",
    ),
}
