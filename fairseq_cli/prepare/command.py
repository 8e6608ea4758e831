"""Make a data folder from one of three sources of text.

    fairseq prepare numbers --destdir data-bin/numbers
    fairseq prepare iwslt14 --destdir data-bin/iwslt14.tokenized.de-en
    fairseq prepare text --trainpref corpus/train --validpref corpus/valid --testpref corpus/test \\
        --source-lang de --target-lang en --destdir data-bin/corpus

``numbers`` needs no download. ``iwslt14`` fetches the talks or takes ``--archive``. ``text`` takes any parallel
corpus, one sentence per line, plain or gzipped. All are tokenised, lower-cased and split into subwords the same way.
An interrupted run continues where it stopped.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from fairseq.compat.suggest import Parser
from fairseq_cli._console import run_command, setup_logging
from fairseq_cli.prepare import iwslt14
from fairseq_cli.prepare.numbers_corpus import make_corpus
from fairseq_cli.prepare.text_pipeline import (
    Cleaning,
    Stages,
    apply_subwords,
    clean_pairs,
    learn_subwords,
    need_packages,
    open_text,
    tokenise,
)
from fairseq_cli.recipes.download import check_archive

__all__ = ["console_main", "get_parser", "main", "prepare_iwslt14", "prepare_numbers", "prepare_text"]

PARTS = ("train", "valid", "test")
NEEDS = {
    "numbers": ("num2words", "subword_nmt"),
    "iwslt14": ("sacremoses", "subword_nmt"),
    "text": ("sacremoses", "subword_nmt"),
}


def prepare_numbers(args: argparse.Namespace) -> None:
    """The embedded corpus. Its words are words already; only the subwords have to be learnt."""
    stages = _stages(args)
    corpus = make_corpus(args.train_size, args.valid_size, args.test_size, args.seed)
    plain = {}
    for part, pairs in corpus.items():
        for side, language in enumerate(("de", "en")):
            path = stages.folder / f"plain.{part}.{language}"
            _write_if_new(path, "".join(pair[side] + "\n" for pair in pairs))
            plain[f"{part}.{language}"] = path
    finish(stages, plain, ("de", "en"), args)


def _write_if_new(path: Path, text: str) -> None:
    # An unchanged file keeps its date, so that later stages see that nothing is to be done.
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def prepare_iwslt14(args: argparse.Namespace) -> None:
    """The IWSLT'14 talks by the recipe that papers compare on."""
    stages = _stages(args)
    if args.archive is None:
        archive = iwslt14.fetch(stages.folder / "de-en.tgz", args.url, args.sha256)
    elif args.archive.is_file():
        archive = args.archive
        check_archive(archive, args.sha256)
    else:
        raise FileNotFoundError(f"--archive {args.archive}: no such file")
    raw = _extract_talks(stages, archive)
    languages = ("de", "en")
    tokens = {
        name: tokenise(stages, path, f"tok.{name}", name.rpartition(".")[2], lower=True) for name, path in raw.items()
    }
    sources = [tokens[f"train.{language}"] for language in languages]
    clean = clean_pairs(stages, sources, [f"clean.{language}" for language in languages], Cleaning())
    plain = {f"test.{language}": tokens[f"test.{language}"] for language in languages}
    for language, path in zip(languages, clean):
        plain.update(_split_off_validation(stages, path, language))
    finish(stages, plain, languages, args)


def _extract_talks(stages: Stages, archive: Path) -> dict[str, Path]:
    """The plain text of the archive, as a stage: the later ones are kept as long as the archive is the same."""
    names = [f"{part}.{language}" for part in ("train", "test") for language in ("de", "en")]

    def work(sources: list[Path], targets: list[Path]) -> None:
        made = iwslt14.extract(sources[0], stages.folder / "raw")
        for name, target in zip(names, targets):
            os.replace(made[name], target)

    made = stages.run("extract", [archive], [f"raw.{name}" for name in names], None, work)
    return dict(zip(names, made))


def _split_off_validation(stages: Stages, path: Path, language: str) -> dict[str, Path]:
    """Every 23rd pair goes to validation, the others to training."""

    def work(sources: list[Path], targets: list[Path]) -> None:
        with (
            open_text(sources[0]) as lines,
            targets[0].open("w", encoding="utf-8", newline="\n") as train,
            targets[1].open("w", encoding="utf-8", newline="\n") as valid,
        ):
            for number, line in enumerate(lines, 1):
                (valid if number % iwslt14.VALID_EVERY == 0 else train).write(line)

    names = [f"split.train.{language}", f"split.valid.{language}"]
    train, valid = stages.run(f"split {language}", [path], names, iwslt14.VALID_EVERY, work)
    return {f"train.{language}": train, f"valid.{language}": valid}


def prepare_text(args: argparse.Namespace) -> None:
    """Any parallel corpus."""
    stages = _stages(args)
    languages = (args.source_lang, args.target_lang)
    plain = {}
    for part in PARTS:
        prefix = getattr(args, f"{part}pref")
        if prefix is None:
            continue
        for language in languages:
            path = _find(prefix, language)
            plain[f"{part}.{language}"] = tokenise(
                stages, path, f"tok.{part}.{language}", language, lower=not args.keep_case
            )
        _check_same_length([plain[f"{part}.{language}"] for language in languages])
    if args.clean:
        names = [f"clean.{language}" for language in languages]
        sources = [plain[f"train.{language}"] for language in languages]
        for language, path in zip(languages, clean_pairs(stages, sources, names, Cleaning())):
            plain[f"train.{language}"] = path
    finish(stages, plain, languages, args)


def _find(prefix: str, language: str) -> Path:
    for name in (f"{prefix}.{language}", f"{prefix}.{language}.gz"):
        if Path(name).exists():
            return Path(name)
    raise FileNotFoundError(f"neither {prefix}.{language} nor {prefix}.{language}.gz exists")


def _check_same_length(paths: Sequence[Path]) -> None:
    counts = []
    for path in paths:
        with path.open("rb") as file:
            counts.append(sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")))
    if len(set(counts)) > 1:
        raise ValueError(
            f"{paths[0]} has {counts[0]:,} lines but {paths[1]} has {counts[1]:,}: parallel text needs line for line"
        )


def _stages(args: argparse.Namespace) -> Stages:
    return Stages(args.workdir or args.destdir / "work", args.workers)


def finish(stages: Stages, plain: dict[str, Path], languages: tuple[str, str], args: argparse.Namespace) -> None:
    """Learn and apply subwords, then binarise into ``args.destdir``."""
    codes = learn_subwords(stages, [plain[f"train.{language}"] for language in languages], args.bpe_operations)
    for name, path in plain.items():
        apply_subwords(stages, codes, path, name)
    parts = [part for part in PARTS if f"{part}.{languages[0]}" in plain]
    binarise(stages.folder, parts, languages, args)
    shutil.copyfile(codes, args.destdir / "codes")
    if args.keep_text:
        from fairseq_cli.preprocess import MADE_BY_RECIPE

        for name in plain:
            _copy(stages.folder / name, args.destdir / name)
        _copy(codes, args.destdir / "code")
        (args.destdir / MADE_BY_RECIPE).touch()
    print(f"ready: {args.destdir}")


def _copy(source: Path, target: Path) -> None:
    part = target.with_name(target.name + ".part")
    shutil.copyfile(source, part)
    os.replace(part, target)


def binarise(folder: Path, parts: Sequence[str], languages: tuple[str, str], args: argparse.Namespace) -> None:
    """What ``fairseq-preprocess`` does, called as a function."""
    from fairseq import options
    from fairseq_cli import preprocess

    command = ["--source-lang", languages[0], "--target-lang", languages[1], "--destdir", str(args.destdir)]
    command += ["--workers", str(args.workers)]
    for part in parts:
        command += [f"--{part}pref", str(folder / part)]
    for language in languages:
        # A finished run is made anew from its (reused) stages.
        (args.destdir / f"dict.{language}.txt").unlink(missing_ok=True)
    preprocess.main(options.get_preprocessing_parser().parse_args(command))


def get_parser() -> argparse.ArgumentParser:
    """The command line of this tool."""
    parser = Parser(description=(__doc__ or "").split("\n\n")[0])
    sources = parser.add_subparsers(dest="source", required=True, metavar="SOURCE")

    def add(name: str, run: object, text: str, operations: int) -> argparse.ArgumentParser:
        source = sources.add_parser(name, help=text, description=text)
        source.set_defaults(run=run)
        source.add_argument("--destdir", type=Path, required=True, help="data-bin folder to make")
        source.add_argument("--workers", type=int, default=1, help="number of processes (default: %(default)s)")
        source.add_argument(
            "--bpe-operations", type=int, default=operations, help="number of subword merges (default: %(default)s)"
        )
        source.add_argument(
            "--workdir", type=Path, metavar="DIR", help="folder of the stages' results (default: DESTDIR/work)"
        )
        source.add_argument(
            "--keep-text",
            action="store_true",
            help="also leave the text in subwords, and the merges as 'code', in DESTDIR",
        )
        return source

    numbers = add("numbers", prepare_numbers, "made-up amounts, dates and clock times in words", 400)
    numbers.add_argument("--train-size", type=int, default=24000, help="training pairs (default: %(default)s)")
    numbers.add_argument("--valid-size", type=int, default=500, help="validation pairs (default: %(default)s)")
    numbers.add_argument("--test-size", type=int, default=500, help="test pairs (default: %(default)s)")
    numbers.add_argument("--seed", type=int, default=1, help="seed of the corpus (default: %(default)s)")

    talks = add("iwslt14", prepare_iwslt14, "the IWSLT'14 German-English talks", 10000)
    talks.add_argument("--archive", type=Path, help="the archive de-en.tgz, if it is on disk already")
    talks.add_argument("--sha256", metavar="HEX", help="refuse an archive with another checksum")
    talks.add_argument("--url", default=iwslt14.URL, help="where to fetch the archive (default: %(default)s)")

    text = add("text", prepare_text, "any parallel corpus, plain or gzipped", 10000)
    text.add_argument("--source-lang", required=True, help="suffix of the source files")
    text.add_argument("--target-lang", required=True, help="suffix of the target files")
    text.add_argument("--trainpref", required=True, help="training files without their suffix")
    text.add_argument("--validpref", help="validation files without their suffix")
    text.add_argument("--testpref", help="test files without their suffix")
    text.add_argument("--keep-case", action="store_true", help="do not lower-case")
    text.add_argument("--clean", action="store_true", help="drop pairs of unlikely lengths from the training data")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    setup_logging()
    args = get_parser().parse_args(argv)
    # Known before a corpus is fetched.
    need_packages(*NEEDS[args.source])
    args.run(args)


def console_main() -> None:
    """``fairseq prepare``: ``main`` with errors as one line."""
    run_command(main)
