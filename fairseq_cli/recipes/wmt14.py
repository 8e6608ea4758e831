"""``examples/translation/prepare-wmt14en2de.sh`` and ``prepare-wmt14en2fr.sh``, in the folder they are called in.

Both leave a folder with the text in subwords (``train``, ``valid``, ``test`` in two languages) and the merges
(``code``), for ``fairseq-preprocess``. The steps are those that papers compare on: normalised punctuation, Moses
tokens with split dashes, validation sentences taken out of the training text, joint subwords, and pairs of unlikely
lengths dropped. The corpora have 4.5 and 36 million pairs: expect hours.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from fairseq.compat.suggest import Parser
from fairseq_cli.prepare import iwslt14 as talks
from fairseq_cli.prepare import text_pipeline as pipeline
from fairseq_cli.recipes.download import check_archive, fetch, find_archive
from fairseq_cli.recipes.workers import add_workers

__all__ = ["Corpus", "english_french", "english_german", "prepare"]

WMT13 = "https://www.statmt.org/wmt13/"
WMT14 = "https://www.statmt.org/wmt14/"
EUROPARL = WMT13 + "training-parallel-europarl-v7.tgz"
COMMON_CRAWL = WMT13 + "training-parallel-commoncrawl.tgz"
TEST_SETS = WMT14 + "test-full.tgz"
# Where two independent public sources agree. Others are recorded at the first download.
SHA256 = {EUROPARL: "0224c7c710c8a063dfd893b0cc0830202d61f4c75c17eb8e31836103d27d96e7"}


@dataclass(frozen=True)
class Corpus:
    """What a script prepares.

    Attributes:
        folder: where to.
        languages: source and target.
        texts: archive -> beginnings of the parallel files in it; the language follows, and perhaps ``.gz``.
        test: beginnings of the test files' names for source and reference.
        valid_every: each pair with a number that this divides goes to validation.
    """

    folder: str
    languages: tuple[str, str]
    texts: dict[str, tuple[str, ...]]
    test: tuple[str, str]
    valid_every: int


GERMAN_TEST = ("newstest2014-deen-src", "newstest2014-deen-ref")
FRENCH_TEST = ("newstest2014-fren-src", "newstest2014-fren-ref")
WMT17_EN_DE = Corpus(
    folder="wmt17_en_de",
    languages=("en", "de"),
    texts={
        EUROPARL: ("europarl-v7.de-en",),
        COMMON_CRAWL: ("commoncrawl.de-en",),
        "https://data.statmt.org/wmt17/translation-task/training-parallel-nc-v12.tgz": ("news-commentary-v12.de-en",),
    },
    test=GERMAN_TEST,
    valid_every=100,
)
WMT14_EN_DE = Corpus(
    folder="wmt14_en_de",
    languages=("en", "de"),
    texts={
        EUROPARL: ("europarl-v7.de-en",),
        COMMON_CRAWL: ("commoncrawl.de-en",),
        WMT14 + "training-parallel-nc-v9.tgz": ("news-commentary-v9.de-en",),
    },
    test=GERMAN_TEST,
    valid_every=100,
)
WMT14_EN_FR = Corpus(
    folder="wmt14_en_fr",
    languages=("en", "fr"),
    texts={
        EUROPARL: ("europarl-v7.fr-en",),
        COMMON_CRAWL: ("commoncrawl.fr-en",),
        WMT13 + "training-parallel-un.tgz": ("undoc.2000.fr-en",),
        WMT14 + "training-parallel-nc-v9.tgz": ("news-commentary-v9.fr-en",),
        "https://www.statmt.org/wmt10/training-giga-fren.tar": ("giga-fren.release2.fixed",),
    },
    test=FRENCH_TEST,
    valid_every=1333,
)


def english_german(argv: Sequence[str]) -> None:
    """``prepare-wmt14en2de.sh [--icml17]``."""
    parser = _parser("prepare-wmt14en2de.sh")
    parser.add_argument(
        "--icml17", action="store_true", help="only what WMT'14 had (Gehring et al. 2017), into wmt14_en_de"
    )
    args = parser.parse_args(argv)
    prepare(WMT14_EN_DE if args.icml17 else WMT17_EN_DE, args.workers, args.bpe_operations)


def english_french(argv: Sequence[str]) -> None:
    """``prepare-wmt14en2fr.sh``."""
    args = _parser("prepare-wmt14en2fr.sh").parse_args(argv)
    prepare(WMT14_EN_FR, args.workers, args.bpe_operations)


def _parser(name: str) -> argparse.ArgumentParser:
    text = "Fetch, tokenise and split into subwords. Archives in this folder or in orig/ are taken as they are."
    parser = Parser(prog=name, description=text)
    parser.add_argument(
        "--bpe-operations", type=int, default=40000, help="number of subword merges (default: %(default)s)"
    )
    add_workers(parser)
    return parser


def prepare(corpus: Corpus, workers: int = 1, operations: int = 40000) -> None:
    """Make the folder of a corpus. An interrupted run continues where it stopped.

    Raises:
        OSError: an archive could not be fetched.
        ValueError: an archive is damaged, or not the expected one.
        ImportError: a package of the tutorial's extra is missing.
    """
    pipeline.need_packages("sacremoses", "subword_nmt")
    folder = Path(corpus.folder)
    stages = pipeline.Stages(folder / "tmp", workers)
    archives = {url: _archive(url) for url in (*corpus.texts, TEST_SETS)}
    plain: dict[str, Path] = {}
    for side, language in enumerate(corpus.languages):
        text = _training_text(stages, corpus, archives, language)
        tokens = pipeline.tokenise(stages, text, f"tok.{language}", language, lower=False, style="wmt")
        plain |= _split(stages, corpus, tokens, language)
        test = _test_text(stages, corpus.test[side], archives[TEST_SETS], language)
        # Test sets keep their punctuation and their unusual characters.
        plain[f"test.{language}"] = pipeline.tokenise(
            stages, test, f"tok.test.{language}", language, lower=False, style="split dashes"
        )
    codes = pipeline.learn_subwords(stages, [plain[f"train.{name}"] for name in corpus.languages], operations)
    made = {name: pipeline.apply_subwords(stages, codes, path, f"bpe.{name}") for name, path in plain.items()}
    rule = pipeline.Cleaning(longest=250)
    for part in ("train", "valid"):
        names = [f"{part}.{language}" for language in corpus.languages]
        kept = pipeline.clean_pairs(stages, [made[name] for name in names], names, rule)
        made |= dict(zip(names, kept))
    for name, path in (*made.items(), ("code", codes)):
        part_file = folder / (name + ".part")
        shutil.copyfile(path, part_file)
        os.replace(part_file, folder / name)
    source, target = corpus.languages
    print(
        f"ready: {folder}; next: fairseq-preprocess --source-lang {source} --target-lang {target} --trainpref "
        f"{folder}/train --validpref {folder}/valid --testpref {folder}/test --destdir data-bin/{folder}"
    )


def _archive(url: str) -> Path:
    name = url.rpartition("/")[2]
    here, fetched = find_archive(name, (Path(),)), Path("orig") / name
    if here is not None:
        # What the user brought may be packed anew: only its own checksums must agree.
        check_archive(here)
        return here
    sha256 = None if fetched.is_file() else SHA256.get(url)
    return fetch(fetched, url, sha256, f". Put {name} into this folder or into orig/")


# -- what is in the archives


def _open_member(tar: tarfile.TarFile, beginning: str, language: str, archive: Path) -> IO[bytes]:
    """The file ``BEGINNING.LANGUAGE``, with or without ``.gz``, in whatever folder of the archive."""
    wanted = (f"{beginning}.{language}", f"{beginning}.{language}.gz", f"{beginning}.{language}.sgm")
    for member in tar:
        name = member.name.rpartition("/")[2]
        if member.isfile() and name in wanted:
            file = tar.extractfile(member)
            assert file is not None  # only regular files get here
            return gzip.open(file) if name.endswith(".gz") else file  # type: ignore[return-value]
    raise ValueError(f"{archive}: {wanted[0]} is missing in the archive; is it the one of the recipe?")


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    """Copy lines; a file that does not end in a line feed must not run into the next one."""
    last = b"\n"
    while block := source.read(1 << 20):
        target.write(block)
        last = block[-1:]
    if last != b"\n":
        target.write(b"\n")


def _training_text(stages: Any, corpus: Corpus, archives: dict[str, Path], language: str) -> Path:
    """All texts of a language, one behind the other."""

    def work(sources: list[Path], targets: list[Path]) -> None:
        with targets[0].open("wb") as out:
            for source, beginnings in zip(sources, corpus.texts.values()):
                for beginning in beginnings:
                    with _tar(source) as tar, _open_member(tar, beginning, language, source) as text:
                        _copy(text, out)

    sources = [archives[url] for url in corpus.texts]
    result: Path = stages.run(f"extract {language}", sources, [f"raw.{language}"], list(corpus.texts.values()), work)[0]
    return result


def _test_text(stages: Any, beginning: str, archive: Path, language: str) -> Path:
    """The sentences of a test set, which is XML of a kind."""

    def work(sources: list[Path], targets: list[Path]) -> None:
        with _tar(sources[0]) as tar, _open_member(tar, beginning, language, sources[0]) as file:
            lines: Iterator[str] = talks.segments(file.read().decode("utf-8"))
            with targets[0].open("w", encoding="utf-8", newline="\n") as out:
                out.writelines(line + "\n" for line in lines)

    result: Path = stages.run(f"extract test.{language}", [archive], [f"raw.test.{language}"], beginning, work)[0]
    return result


@contextlib.contextmanager
def _tar(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path) as tar:
            yield tar
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is no readable tar archive ({error}); get it again") from None


def _split(stages: Any, corpus: Corpus, text: Path, language: str) -> dict[str, Path]:
    """Training and validation sentences."""

    def work(sources: list[Path], targets: list[Path]) -> None:
        with ExitStack() as stack:
            lines = stack.enter_context(pipeline.open_text(sources[0]))
            train, valid = (stack.enter_context(path.open("w", encoding="utf-8", newline="\n")) for path in targets)
            for number, line in enumerate(lines, 1):
                (valid if number % corpus.valid_every == 0 else train).write(line)

    names = [f"{part}.{language}" for part in ("train", "valid")]
    results = stages.run(f"split {language}", [text], [f"split.{name}" for name in names], corpus.valid_every, work)
    return dict(zip(names, results))
