"""``fairseq-preprocess``: count words, write dictionaries, turn text into token data.

``_Run.all_steps`` has the steps in order; ``dataset_dest_prefix`` the names of what is written.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
from argparse import Namespace
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from fairseq_cli._console import run_command, setup_logging

__all__ = ["cli_main", "console_main", "dataset_dest_file", "dataset_dest_prefix", "main"]

logger = logging.getLogger("fairseq_cli.preprocess")

# Left by the recipes' scripts, which binarise what upstream's left as text. The published recipe goes on with
# fairseq-preprocess, perhaps into the same folder: that must not be refused for files that the user did not ask for.
MADE_BY_RECIPE = ".binarised-by-recipe"


def main(args: Namespace) -> None:
    """Preprocess the texts that the options name.

    Args:
        args: what ``fairseq.options.get_preprocessing_parser()`` gives.

    Raises:
        FileExistsError: the destination has a dictionary already.
        FileNotFoundError: an input is missing.
        AssertionError: options that contradict each other, or too few of them.
        ValueError: an input is empty, or a line of it cannot be used (the message has the line).
        OSError: the destination cannot be written.

    After an error nothing that this run wrote is left, except ``preprocess.log``.
    """
    setup_logging()
    from fairseq import utils

    utils.import_user_module(args)
    os.makedirs(args.destdir, exist_ok=True)
    with _log_files(args), _progress(args), _Outputs() as outputs:
        logger.info(args)
        _Run(args, outputs).all_steps()


@contextlib.contextmanager
def _log_files(args: Namespace) -> Iterator[None]:
    """Keep what is logged in the destination folder, too (the text of each message, no more), and in ``--log-file``."""
    paths = [os.path.join(args.destdir, "preprocess.log"), getattr(args, "log_file", None)]
    handlers = [
        logging.FileHandler(filename=path, encoding="utf-8", errors="surrogateescape") for path in paths if path
    ]
    for handler in handlers:
        logger.addHandler(handler)
    # A caller that configured no logging still gets the file.
    level = logger.level
    if not logger.isEnabledFor(logging.INFO):
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()


def _progress(args: Namespace) -> contextlib.AbstractContextManager[None]:
    """How progress is shown, by ``--log-format`` and ``--no-progress-bar``."""
    from fairseq.data.text_files.parallel_lines import progress_style

    choice = getattr(args, "log_format", None)
    if choice == "none":
        return progress_style("none")
    wants_bar = choice in (None, "tqdm") and not getattr(args, "no_progress_bar", False)
    return progress_style("bar" if wants_bar and sys.stderr.isatty() else "log")


class _Outputs:
    """Files that this run put into the destination; after an error they are removed."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def __enter__(self) -> _Outputs:
        return self

    def add(self, *paths: str) -> None:
        self.paths += paths

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        for path in self.paths if kind is not None else ():
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)


# -- names


def dataset_dest_prefix(args: Namespace, output_prefix: str, lang: str | None) -> str:
    """Where a dataset goes, without extension: ``DESTDIR/train.SRC-TGT.LANG``; ``DESTDIR/train`` for a single text."""
    base = os.path.join(args.destdir, output_prefix)
    pair = f"{args.source_lang}-{args.target_lang}"
    if lang is not None:
        return f"{base}.{pair}.{lang}"
    return base if args.only_source else f"{base}.{pair}"


def dataset_dest_file(args: Namespace, output_prefix: str, lang: str | None, extension: str) -> str:
    """Where a file of a dataset goes."""
    return f"{dataset_dest_prefix(args, output_prefix, lang)}.{extension}"


def _text_path(prefix: str, lang: str | None) -> str:
    return f"{prefix}.{lang}" if lang else prefix


class _Run:
    """One run of the tool.

    Args:
        args: the options.
        outputs: is told of every file.
    """

    def __init__(self, args: Namespace, outputs: _Outputs) -> None:
        from fairseq import tasks

        self.args, self.outputs = args, outputs
        self.task = tasks.get_task(args.task)
        self.has_target = not args.only_source
        self.splits = [
            (prefix, name if k == 0 else f"{name}{k}")
            for name, option, listed in (
                ("train", args.trainpref, False),
                ("valid", args.validpref, True),
                ("test", args.testpref, True),
            )
            for k, prefix in enumerate((option.split(",") if listed else [option]) if option else [])
        ]

    def all_steps(self) -> None:
        """The whole run, in the order in which its lines are logged."""
        args = self.args
        self._check_options()
        self._check_inputs()
        source, target = self._dictionaries()
        self._save_dictionary(source, args.source_lang)
        if target is not None:
            self._save_dictionary(target, args.target_lang)
        if args.dict_only:
            return
        counts = {"source": self._datasets(source, args.source_lang)}
        if target is not None:
            counts["target"] = self._datasets(target, args.target_lang)
        if args.align_suffix:
            counts["alignments"] = self._alignment_datasets()
        self._warn_of_unequal(counts)
        logger.info("Wrote preprocessed data to %s", args.destdir)
        if args.alignfile:
            self._alignment_dictionary(source, target)

    # -- checks

    def _dictionary_path(self, lang: str | None) -> str:
        return os.path.join(self.args.destdir, f"dict.{lang}.txt" if lang else "dict.txt")

    def _check_options(self) -> None:
        args = self.args
        made_by_recipe = os.path.join(args.destdir, MADE_BY_RECIPE)
        if os.path.exists(made_by_recipe):
            logger.info("%s was binarised by a recipe's script; it is made anew", args.destdir)
            for lang in (args.source_lang, args.target_lang):
                with contextlib.suppress(FileNotFoundError):
                    os.remove(self._dictionary_path(lang))
            os.remove(made_by_recipe)
        if args.dataset_impl == "huffman":
            raise AssertionError("preprocessing.py doesn't support Huffman yet, use HuffmanCodeBuilder directly.")
        if args.dataset_impl == "fasta":
            raise ValueError("--dataset-impl fasta can be read, not written; choose mmap")
        sides = [("--srcdict", args.srcdict, args.source_lang)]
        if self.has_target:
            sides.append(("--tgtdict", args.tgtdict, args.target_lang))
        for option, given, lang in sides:
            path = self._dictionary_path(lang)
            if not given and os.path.exists(path):
                raise FileExistsError(
                    f"{path} exists already: choose another --destdir, remove it, or use it again with {option} {path}"
                )
        if args.joined_dictionary:
            if args.srcdict and args.tgtdict:
                raise AssertionError("cannot use both --srcdict and --tgtdict with --joined-dictionary")
            sides = [("--srcdict", args.srcdict or args.tgtdict, None)]
        for option, given, _ in sides:
            if not given and not args.trainpref:
                raise AssertionError(f"--trainpref must be set if {option} is not specified")

    def _check_inputs(self) -> None:
        """Miss a file now rather than after an hour of work on the others."""
        args = self.args
        langs = [args.source_lang, args.target_lang] if self.has_target else [args.source_lang]
        splits = self.splits[:1] if args.dict_only else self.splits
        texts = [(f"--{name}pref", _text_path(prefix, lang)) for prefix, name in splits for lang in langs]
        dictionaries = [("--srcdict", args.srcdict), ("--tgtdict", args.tgtdict if self.has_target else None)]
        for option, path in [*texts, *dictionaries, ("--alignfile", args.alignfile)]:
            if path and not os.path.isfile(path):
                hint = ""
                if self.has_target and not (args.source_lang and args.target_lang):
                    hint = " (--source-lang and --target-lang say which two files there are; --only-source: just one)"
                raise FileNotFoundError(f"{path}: no such file, see {option.rstrip('0123456789')}{hint}")

    def _warn_of_unequal(self, counts: dict[str, dict[str, tuple[str, int]]]) -> None:
        """Parallel files with different numbers of lines can be written, but not trained on: say so early."""
        for other in ("target", "alignments"):
            for split, (path, number) in counts.get(other, {}).items():
                source_path, expected = counts["source"].get(split, (path, number))
                if number != expected:
                    logger.warning(
                        f"{source_path} has {expected:,} lines but {path} has {number:,}: from line "
                        f"{min(expected, number) + 1:,} on there are no pairs, and an earlier line may be missing. "
                        f"Mend the texts before training on the {split} data."
                    )

    # -- dictionaries

    def _tokenizer(self, lang: str | None) -> Any:
        """How lines are split: at white space, after ``--tokenizer`` and ``--bpe`` if they are given."""
        from fairseq.tokenizer import tokenize_line

        if not (getattr(self.args, "tokenizer", None) or getattr(self.args, "bpe", None)):
            return tokenize_line
        from fairseq.data.encoders.pipeline import EncodingTokenizer

        return EncodingTokenizer.from_args(self.args, lang)

    def _dictionaries(self) -> tuple[Any, Any]:
        """Load or build both; the second is ``None`` for a single text."""
        args = self.args
        langs = [args.source_lang, args.target_lang]
        if args.joined_dictionary:
            given = args.srcdict or args.tgtdict
            joined = self.task.load_dictionary(given) if given else self._build(langs[: 1 + self.has_target], "src")
            return joined, joined if self.has_target else None
        source = self.task.load_dictionary(args.srcdict) if args.srcdict else self._build(langs[:1], "src")
        if not self.has_target:
            return source, None
        return source, self.task.load_dictionary(args.tgtdict) if args.tgtdict else self._build(langs[1:], "tgt")

    def _build(self, langs: list[str | None], side: str) -> Any:
        """Count the words of the training texts in these languages."""
        from fairseq.tokenizer import tokenize_line

        args = self.args
        limits = {
            "threshold": getattr(args, f"threshold{side}"),
            "nwords": getattr(args, f"nwords{side}"),
            "padding_factor": args.padding_factor,
        }
        texts = {_text_path(args.trainpref, lang): self._tokenizer(lang) for lang in langs}
        if all(tokenize is tokenize_line for tokenize in texts.values()):
            return self.task.build_dictionary(list(texts), workers=args.workers, **limits)
        from fairseq.data.dictionary import Dictionary

        dictionary = Dictionary()
        for text, tokenize in texts.items():
            Dictionary.add_file_to_dictionary(text, dictionary, tokenize, args.workers)
        dictionary.finalize(**limits)
        return dictionary

    def _save_dictionary(self, dictionary: Any, lang: str | None) -> None:
        path = self._dictionary_path(lang)
        dictionary.save(path)
        # One that was there before and given with --srcdict is not this run's to remove.
        if os.path.abspath(path) not in {os.path.abspath(p) for p in (self.args.srcdict, self.args.tgtdict) if p}:
            self.outputs.add(path)

    # -- data

    def _datasets(self, dictionary: Any, lang: str | None) -> dict[str, tuple[str, int]]:
        """Write all splits of one language. Returns, by split, the text's path and its number of lines."""
        counts = {}
        for prefix, name in self.splits:
            text = _text_path(prefix, lang)
            number = self._copy(text, name, lang) if self.args.dataset_impl == "raw" else 0
            counts[name] = text, number or self._binarize(text, name, dictionary, lang)
        return counts

    def _copy(self, text: str, name: str, lang: str | None) -> int:
        from fairseq.file_chunker_utils import read_line_blocks, split_lines
        from fairseq.file_io import BYTE_ORDER_MARK, atomic_open
        from fairseq.tokenizer import tokenize_line

        pair = f"{name}.{self.args.source_lang}-{self.args.target_lang}"
        path = os.path.join(self.args.destdir, f"{pair}.{lang}" if lang else pair)
        self.outputs.add(path)
        tokenize, num_lines = self._tokenizer(lang), 0
        with atomic_open(path, "wb") as out:
            # Reading as text finds bytes that are not UTF-8 now, and not when training begins.
            for block, _ in read_line_blocks(text):
                lines = split_lines(block)
                num_lines += len(lines)
                if tokenize is not tokenize_line:
                    out.writelines((" ".join(tokenize(line)) + "\n").encode() for line in lines)
            if tokenize is tokenize_line:
                with open(text, "rb") as file:
                    if file.read(len(BYTE_ORDER_MARK)) != BYTE_ORDER_MARK:
                        file.seek(0)
                    shutil.copyfileobj(file, out, 1 << 20)
        return self._not_empty(text, num_lines)

    def _binarize(self, text: str, name: str, dictionary: Any, lang: str | None) -> int:
        from fairseq.binarizer import FileBinarizer, VocabularyDatasetBinarizer

        logger.info("[%s] Dictionary: %s types", lang, len(dictionary))
        prefix = dataset_dest_prefix(self.args, name, lang)
        self.outputs.add(prefix + ".bin", prefix + ".idx")
        summary = FileBinarizer.multiprocess_dataset(
            text,
            self.args.dataset_impl,
            VocabularyDatasetBinarizer(dictionary, tokenize=self._tokenizer(lang), append_eos=True),
            prefix,
            vocab_size=len(dictionary),
            num_workers=self.args.workers,
        )
        logger.info(
            f"[{lang}] {text}: {summary.num_seq} sents, {summary.num_tok} tokens, "
            f"{summary.replaced_percent:.3}% replaced (by {dictionary.unk_word})"
        )
        return self._not_empty(text, summary.num_seq)

    def _alignment_datasets(self) -> dict[str, tuple[str, int]]:
        """Write the alignments of those splits that have them."""
        from fairseq import utils
        from fairseq.binarizer import AlignmentDatasetBinarizer, FileBinarizer

        args, counts = self.args, {}
        for name, prefix in (("train", args.trainpref), ("valid", args.validpref), ("test", args.testpref)):
            # The option as it stands: lists are not split here, so they have no alignments.
            text = f"{prefix}.{args.align_suffix}"
            if not prefix or not os.path.exists(text):
                continue
            output = os.path.join(args.destdir, f"{name}.align.{args.source_lang}-{args.target_lang}")
            self.outputs.add(output + ".bin", output + ".idx")
            binarizer = AlignmentDatasetBinarizer(utils.parse_alignment)
            # Beside raw text, alignments are numbers in the older format all the same.
            impl = "lazy" if args.dataset_impl == "raw" else args.dataset_impl
            summary = FileBinarizer.multiprocess_dataset(text, impl, binarizer, output, None, args.workers)
            logger.info("[alignments] %s: parsed %s alignments", text, summary.num_seq)
            counts[name] = text, self._not_empty(text, summary.num_seq)
        if not counts:
            logger.warning("--align-suffix %s: there is no file with this suffix beside the texts", args.align_suffix)
        return counts

    @staticmethod
    def _not_empty(text: str, num_lines: int) -> int:
        if num_lines == 0:
            raise ValueError(f"{text} is empty: there is nothing to preprocess. Leave the split out, or give its text.")
        return num_lines

    # -- --alignfile

    def _alignment_dictionary(self, source: Any, target: Any) -> None:
        """Write the two words of each link of the alignment, in order; links of unknown words are left out.

        A reader that keeps one target per source word (``--replace-unk``) thus takes the one seen last.
        """
        from fairseq.file_io import atomic_open

        args = self.args
        if target is None or not args.trainpref:
            raise ValueError("--alignfile needs --trainpref with both languages")
        path = os.path.join(args.destdir, f"alignment.{args.source_lang}-{args.target_lang}.txt")
        self.outputs.add(path)
        with atomic_open(path) as out:
            for source_index, target_index in self._aligned_words(source, target):
                out.write(f"{source[source_index]} {target[target_index]}\n")

    def _aligned_words(self, source: Any, target: Any) -> Iterator[tuple[int, int]]:
        """Pairs of known words, in the order of the file."""
        tokenizers = [self._tokenizer(lang) for lang in (self.args.source_lang, self.args.target_lang)]
        for number, (links, *texts) in enumerate(self._aligned_lines(), start=1):
            sides = [
                vocabulary.encode_line(text, line_tokenizer=tokenize, add_if_not_exist=False).tolist()
                for vocabulary, text, tokenize in zip((source, target), texts, tokenizers, strict=True)
            ]
            for link in links.split():
                try:
                    # The positions behind the words are the ends of the sentences: not to be linked.
                    first, second = (side[:-1][int(at)] for side, at in zip(sides, link.split("-"), strict=True))
                except (ValueError, IndexError):
                    raise ValueError(
                        f"{self.args.alignfile}, line {number}: {link!r} does not link words of sentences with "
                        f"{len(sides[0]) - 1} and {len(sides[1]) - 1} words (expected: source-target, from 0)"
                    ) from None
                if first != source.unk() and second != target.unk():
                    yield first, second

    def _aligned_lines(self) -> Iterator[tuple[str, ...]]:
        """Lines of ``--alignfile`` with the source's and the target's."""
        from fairseq.file_chunker_utils import Chunker

        args = self.args
        languages = (args.source_lang, args.target_lang)
        paths = [args.alignfile, *(_text_path(args.trainpref, lang) for lang in languages)]
        with contextlib.ExitStack() as files:
            lines = [files.enter_context(Chunker(path, 0, -1)) for path in paths]
            for number, row in enumerate(zip_longest(*lines), start=1):
                if None in row:
                    short = paths[row.index(None)]
                    others = " and ".join(path for path in paths if path != short)
                    raise ValueError(f"{short} ends before line {number}, unlike {others}")
                yield row


def cli_main() -> None:
    """Parse the command line and run."""
    args = _parse_command_line()
    setup_logging(stream=sys.stdout)
    main(args)


def _parse_command_line() -> Namespace:
    """The options; a chosen ``--tokenizer`` or ``--bpe`` adds its own."""
    from fairseq import options
    from fairseq.dataclass.utils import gen_parser_from_dataclass
    from fairseq.registry import REGISTRIES

    parser = options.get_preprocessing_parser()
    words = [word for word in sys.argv[1:] if word not in ("-h", "--help")]
    chosen, _ = parser.parse_known_args(words)
    for name in ("tokenizer", "bpe"):
        choice = getattr(chosen, name)
        if choice is None:
            continue
        encoder = REGISTRIES[name]["registry"][choice]
        config = getattr(encoder, "__dataclass", None)
        if config is not None:
            gen_parser_from_dataclass(parser.add_argument_group(f"--{name} {choice}"), config())
        elif hasattr(encoder, "add_args"):
            encoder.add_args(parser)
    return parser.parse_args()


def console_main() -> None:
    """The console script: as ``cli_main``, and an error is one line and an exit code."""
    run_command(cli_main, needs="--trainpref PREFIX --source-lang SRC --target-lang TGT")


if __name__ == "__main__":
    console_main()
