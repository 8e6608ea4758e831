"""``scripts/compound_split_bleu.sh`` and ``scripts/sacrebleu.sh``: scores of what ``fairseq-generate`` printed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fairseq.compat.suggest import Parser

__all__ = ["compound_split", "read_generated", "sacrebleu"]

HYPHEN = re.compile(r"(\S)-(\S)")


def read_generated(path: Path) -> tuple[dict[int, str], dict[int, str]]:
    """The best hypothesis and the reference of every sentence, by its number, from the output of a run.

    Raises:
        ValueError: the file has no hypotheses.
    """
    hypotheses: dict[int, str] = {}
    references: dict[int, str] = {}
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            match = re.match(r"([HT])-(\d+)\t", line)
            if match is None:
                continue
            rest = line[match.end() :].rstrip("\r\n")
            if match.group(1) == "T":
                references[int(match.group(2))] = rest
            else:
                # With --nbest, the best one comes first. The score stands before the text.
                hypotheses.setdefault(int(match.group(2)), rest.partition("\t")[2])
    if not hypotheses:
        raise ValueError(f"{path} has no H- lines: is this the output of fairseq-generate, run to its end?")
    return hypotheses, references


def _write(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="\n")


def compound_split(argv: Sequence[str]) -> None:
    """``compound_split_bleu.sh GENERATED``: BLEU with the parts of hyphenated compounds as words of their own.

    Writes ``GENERATED.sys`` and ``GENERATED.ref`` and prints what ``fairseq-score`` prints.
    """
    parser = Parser(prog="compound_split_bleu.sh", description="BLEU after splitting compounds.")
    parser.add_argument("generated", type=Path, help="output of fairseq-generate")
    args = parser.parse_args(argv)
    hypotheses, references = read_generated(args.generated)
    missing = [number for number in hypotheses if number not in references]
    if missing:
        raise ValueError(f"{args.generated}: sentence {missing[0]} has no reference (T-{missing[0]})")
    paths = [Path(f"{args.generated}.{ending}") for ending in ("sys", "ref")]
    for path, texts in zip(paths, (hypotheses, references)):
        _write(path, [HYPHEN.sub(r"\1 ##AT##-##AT## \2", texts[number]) for number in sorted(hypotheses)])
    command = [sys.executable, "-m", "fairseq_cli.score", "--sys", str(paths[0]), "--ref", str(paths[1])]
    _run(command)


def sacrebleu(argv: Sequence[str]) -> None:
    """``sacrebleu.sh TESTSET SRC TGT GENERATED``: detokenised BLEU against a test set that sacrebleu knows.

    Writes ``GENERATED.sorted.detok``: the hypotheses in the order of the test set, detokenised by Moses' rules.

    Raises:
        ImportError: sacremoses is not installed.
    """
    parser = Parser(prog="sacrebleu.sh", description="Detokenised BLEU by sacrebleu.")
    parser.add_argument("testset", help="name of the test set, e.g. wmt14/full")
    parser.add_argument("source", help="source language")
    parser.add_argument("target", help="target language")
    parser.add_argument("generated", type=Path, help="output of fairseq-generate")
    args = parser.parse_args(argv)
    try:
        from sacremoses import MosesDetokenizer
    except ImportError:
        raise ImportError("this script needs sacremoses; install it: pip install 'fairseq[tutorial]'") from None
    hypotheses, _ = read_generated(args.generated)
    detokeniser = MosesDetokenizer(args.target)
    # Dashes that the tokeniser split off stand alone after detokenising.
    lines = [detokeniser.detokenize(hypotheses[k].split()).replace(" - ", "-") for k in sorted(hypotheses)]
    path = Path(f"{args.generated}.sorted.detok")
    _write(path, lines)
    pair = f"{args.source}-{args.target}"
    command = [sys.executable, "-m", "sacrebleu", "--test-set", args.testset, "--language-pair", pair]
    _run([*command, "--input", str(path)])


def _run(command: list[str]) -> None:
    sys.stdout.flush()
    code = subprocess.run(command).returncode
    if code:
        sys.exit(code)
