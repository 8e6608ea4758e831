"""The scripts that recipes call, as a table. Only the chosen one is imported."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from fairseq_cli._console import run_command

__all__ = ["SCRIPTS", "console_main", "run"]

# name -> module and function; the function takes the words of the command line
SCRIPTS = {
    "average_checkpoints": ("fairseq_cli.recipes.average", "main"),
    "compound_split_bleu": ("fairseq_cli.recipes.bleu", "compound_split"),
    "prepare-iwslt14": ("fairseq_cli.recipes.iwslt14", "main"),
    "prepare-wikitext-103": ("fairseq_cli.recipes.wikitext103", "main"),
    "prepare-wmt14en2de": ("fairseq_cli.recipes.wmt14", "english_german"),
    "prepare-wmt14en2fr": ("fairseq_cli.recipes.wmt14", "english_french"),
    "rm_pt": ("fairseq_cli.recipes.rm_pt", "main"),
    "sacrebleu": ("fairseq_cli.recipes.bleu", "sacrebleu"),
    "spm_decode": ("fairseq_cli.recipes.pieces", "decode"),
    "spm_encode": ("fairseq_cli.recipes.pieces", "encode"),
    "spm_train": ("fairseq_cli.recipes.pieces", "train"),
}


def run(name: str, argv: Sequence[str]) -> None:
    """Run one script by its name (without the ending), with the words of its command line.

    Raises:
        SystemExit: with the script's exit code, if that is not 0; 2 for a wrong command line.
    """
    module, function = SCRIPTS[name]
    getattr(import_module(module), function)(list(argv))


def _main() -> None:
    words = sys.argv[1:]
    if not words or words[0] not in SCRIPTS:
        known = ", ".join(SCRIPTS)
        given = f"{words[0]}: no such recipe script. " if words and not words[0].startswith("-") else ""
        wants_help = bool(words) and words[0] in ("-h", "--help")
        (sys.stdout if wants_help else sys.stderr).write(
            f"{given}usage: python -m fairseq_cli.recipes NAME [options]\nNAME is one of: {known}\n"
        )
        sys.exit(0 if wants_help else 2)
    run(words[0], words[1:])


def console_main() -> None:
    """``python -m fairseq_cli.recipes``: an error is one line and an exit code."""
    run_command(_main)
