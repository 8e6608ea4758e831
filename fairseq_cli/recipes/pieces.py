"""``scripts/spm_train.py``, ``spm_encode.py`` and ``spm_decode.py``: text to SentencePiece pieces and back."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import IO, Any

from fairseq.compat.suggest import Parser

__all__ = ["decode", "encode", "train"]


def _sentencepiece() -> Any:
    try:
        import sentencepiece
    except ImportError:
        raise ImportError("this script needs sentencepiece; install it: pip install 'fairseq[text]'") from None
    return sentencepiece


def train(argv: Sequence[str]) -> None:
    """``spm_train.py --input=... --model_prefix=... --vocab_size=...``: all flags are SentencePiece's own."""
    words = list(argv)
    if not words or "-h" in words or "--help" in words:
        usage = "usage: spm_train.py --input=FILE[,FILE] --model_prefix=NAME --vocab_size=N [flags of spm_train]\n"
        (sys.stdout if words else sys.stderr).write(usage)
        sys.exit(0 if words else 2)
    # As keyword arguments, values may hold spaces; in one text they may not.
    options: dict[str, str] = {}
    while words:
        flag, equals, value = words.pop(0).partition("=")
        if not flag.startswith("--"):
            sys.stderr.write(f"spm_train.py: error: {flag}: expected a flag of SentencePiece, --name=value\n")
            sys.exit(2)
        if not equals:
            value = words.pop(0) if words and not words[0].startswith("--") else "true"
        options[flag.removeprefix("--")] = value
    _sentencepiece().SentencePieceTrainer.Train(**options)


def _encode_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="spm_encode.py", description="Split text into SentencePiece pieces.")
    parser.add_argument("--model", required=True, help="SentencePiece model")
    parser.add_argument("--inputs", nargs="+", default=["-"], help="texts, line by line parallel; - is standard input")
    parser.add_argument("--outputs", nargs="+", default=["-"], help="one per text; - is standard output")
    parser.add_argument("--output_format", choices=("piece", "id"), default="piece", help="default: %(default)s")
    parser.add_argument("--min-len", type=int, metavar="N", help="drop lines of fewer pieces, in all texts")
    parser.add_argument("--max-len", type=int, metavar="N", help="drop lines of more pieces, in all texts")
    return parser


def encode(argv: Sequence[str]) -> None:
    """``spm_encode.py``: a line that is empty or of unwanted length is dropped from all parallel texts.

    Raises:
        ValueError: the texts have different numbers of lines.
    """
    parser = _encode_parser()
    args = parser.parse_args(argv)
    if len(args.inputs) != len(args.outputs):
        parser.error(f"{len(args.inputs)} --inputs need as many --outputs, not {len(args.outputs)}")
    model = _load(args.model)
    out_type = str if args.output_format == "piece" else int
    low, high = args.min_len, args.max_len
    num_empty = num_filtered = 0
    with contextlib.ExitStack() as stack:
        sources = [stack.enter_context(_text(path, "r")) for path in args.inputs]
        targets = [stack.enter_context(_text(path, "w")) for path in args.outputs]
        for number, lines in enumerate(zip_longest(*sources), 1):
            if None in lines:
                short = args.inputs[lines.index(None)]
                raise ValueError(f"{short} ends before line {number}: parallel texts need line for line")
            stripped = [line.strip() for line in lines]
            if not all(stripped):
                num_empty += 1
                continue
            rows = [model.encode(line, out_type=out_type) for line in stripped]
            if any((low is not None and len(row) < low) or (high is not None and len(row) > high) for row in rows):
                num_filtered += 1
                continue
            for row, target in zip(rows, targets):
                target.write(" ".join(map(str, row)) + "\n")
            if number % 10000 == 0:
                sys.stderr.write(f"processed {number} lines\n")
    for count, text in ((num_empty, "skipped {} empty lines"), (num_filtered, "filtered {} lines")):
        if count:
            sys.stderr.write(text.format(count) + "\n")


def decode(argv: Sequence[str]) -> None:
    """``spm_decode.py``: pieces or numbers, one sentence a line, to text on standard output.

    Raises:
        ValueError: a line of numbers holds something else.
    """
    parser = Parser(prog="spm_decode.py", description="Join SentencePiece pieces to text.")
    parser.add_argument("--model", required=True, help="SentencePiece model")
    parser.add_argument("--input", default="-", help="file of pieces (default: standard input)")
    parser.add_argument("--input_format", choices=("piece", "id"), default="piece", help="default: %(default)s")
    args = parser.parse_args(argv)
    model = _load(args.model)
    join: Callable[[list[str]], str] = model.DecodePieces
    with _text(args.input, "r") as source, _text("-", "w") as target:
        for number, line in enumerate(source, 1):
            words = line.split()
            if args.input_format == "id":
                try:
                    target.write(model.DecodeIds([int(word) for word in words]) + "\n")
                except (ValueError, IndexError) as error:
                    raise ValueError(f"{args.input}, line {number}: not numbers of pieces ({error})") from None
            else:
                target.write(join(words) + "\n")


def _load(path: str) -> Any:
    model = _sentencepiece().SentencePieceProcessor()
    try:
        with open(path, "rb") as file:
            model.LoadFromSerializedProto(file.read())
    except RuntimeError as error:
        raise ValueError(f"{path} is no SentencePiece model ({error})") from None
    return model


@contextlib.contextmanager
def _text(path: str, mode: str) -> Iterator[IO[str]]:
    """UTF-8 text whose lines end with line feeds alone, whatever the locale is."""
    if path != "-":
        with open(path, mode, encoding="utf-8", newline="\n") as file:
            yield file
        return
    stream: Any = sys.stdin if mode == "r" else sys.stdout
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(encoding="utf-8", newline="\n")
    yield stream
    if mode == "w":
        stream.flush()
