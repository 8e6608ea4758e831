"""The scripts that recipes call, as a table. Only the chosen one is imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from fairseq.compat.suggest import near
from fairseq_cli._console import run_command

__all__ = ["INSTEAD", "SCRIPTS", "console_main", "run"]

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

# Other scripts of upstream's that recipes call: what does their job here
INSTEAD = {
    "build_sym_alignment": "align with fast_align or eflomal and give the result to fairseq-preprocess --align-suffix",
    "compare_namespaces": "fairseq-checkpoint diff FIRST SECOND",
    "convert_dictionary": "nothing is to be done: dictionaries of the Lua version are text files that load as they are",
    "convert_model": "models of the Lua version cannot be read; train again",
    "count_docs": "a document ends with an empty line: grep -c '^$' FILE",
    "eval_lm": "fairseq-eval-lm",
    "extract": "write the phrases behind the sentence, separated by tabs, for fairseq-interactive --constraints",
    "generate": "fairseq-generate",
    "hydra_train": "fairseq-hydra-train",
    "interactive": "fairseq-interactive",
    "prepare-iwslt17-multilingual": "fairseq prepare text --trainpref ..., once per language pair",
    "prepare-wmt18en2de": "fairseq prepare text --trainpref ... --clean",
    "preprocess": "fairseq-preprocess",
    "read_binarized": "fairseq.data.data_utils.load_indexed_dataset(path, dictionary) from Python",
    "score": "fairseq-score",
    "shard_docs": "split -n l/N FILE, and fairseq-preprocess for each part; name the folders as DATA1:DATA2",
    "split_train_valid_docs": "take every k-th document for validation; a document ends with an empty line",
    "train": "fairseq-train",
    "validate": "fairseq-validate",
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
    # Recipes name a script by its path.
    name = os.path.basename(words[0]) if words else ""
    for ending in (".py", ".sh", ".lua"):
        name = name.removesuffix(ending)
    if name in SCRIPTS:
        run(name, words[1:])
        return
    usage = f"usage: python -m fairseq_cli.recipes NAME [options]\nNAME is one of: {', '.join(SCRIPTS)}\n"
    if name in ("-h", "--help"):
        print(usage, end="")
        return
    if name in INSTEAD:
        usage = f"{words[0]}: what does this script's job: {INSTEAD[name]}\n"
    elif name and not name.startswith("-"):
        close = near(name, [*SCRIPTS, *INSTEAD])
        hint = f"Did you mean: {', '.join(close)}? " if close else ""
        usage = f"{words[0]}: no such recipe script. {hint}{usage}"
    sys.stderr.write(usage)
    sys.exit(2)


def console_main() -> None:
    """``python -m fairseq_cli.recipes``: an error is one line and an exit code."""
    run_command(_main)
