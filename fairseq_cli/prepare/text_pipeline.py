"""From parallel text to subword text: tokenise, clean, learn subwords, apply them.

The stages work on whole files, in several processes, and each writes its result under a temporary name first. A stage
whose result exists already for the same input and settings is not run again, so an interrupted preparation continues
where it stopped.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache, partial
from importlib.util import find_spec
from itertools import islice, zip_longest
from pathlib import Path
from typing import IO, Any

from fairseq import file_io

__all__ = [
    "Cleaning",
    "Stages",
    "apply_subwords",
    "clean_pairs",
    "learn_subwords",
    "need_packages",
    "open_text",
    "tokenise",
]

CHUNK = 2000  # lines a worker handles at a time
# What preparing uses each package for.
USES = {"num2words": "the numbers corpus", "sacremoses": "tokenising", "subword_nmt": "subwords"}


def need_packages(*modules: str) -> None:
    """Refuse to begin without the packages that a preparation uses.

    Raises:
        ImportError: names the first one that is missing, and what to install.
    """
    for module in modules:
        if find_spec(module) is None:
            raise ImportError(
                f"{USES[module]} needs {module.replace('_', '-')}; install the tutorial's extras: "
                "pip install 'fairseq[tutorial]'"
            )


def open_text(path: Path) -> IO[str]:
    """Open UTF-8 text for reading, plain or gzipped; only line feeds end a line."""
    if path.suffix == ".gz":
        return file_io.decoded(io.BufferedReader(gzip.open(path)), str(path), newline="\n")  # type: ignore[arg-type]
    return file_io.open_text(path, newline="\n")


@dataclass
class Stages:
    """Runs stages and remembers, in ``folder/stages.json``, which results are up to date."""

    folder: Path
    workers: int = 1
    done: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._record.exists():
            self.done = json.loads(self._record.read_text(encoding="utf-8"))

    @property
    def _record(self) -> Path:
        return self.folder / "stages.json"

    def run(
        self, name: str, sources: Sequence[Path], results: Sequence[str], settings: Any, work: Callable[..., None]
    ) -> list[Path]:
        """Make ``results`` from ``sources`` by ``work(sources, temporary results)``, unless that was done before.

        Raises:
            FileNotFoundError: a source is missing.
        """
        targets = [self.folder / result for result in results]
        state = _fingerprint(sources, settings)
        if self.done.get(name) == state and all(target.exists() for target in targets):
            print(f"{name}: done before")
            return targets
        temporary = [target.with_name(target.name + ".part") for target in targets]
        work(list(sources), temporary)
        for part, target in zip(temporary, targets):
            os.replace(part, target)
        self.done[name] = state
        self._save()
        return targets

    def _save(self) -> None:
        part = self._record.with_name("stages.json.part")
        part.write_text(json.dumps(self.done, indent=1, sort_keys=True), encoding="utf-8")
        os.replace(part, self._record)


def _fingerprint(sources: Sequence[Path], settings: Any) -> str:
    for source in sources:
        if not source.exists():
            raise FileNotFoundError(f"{source}: no such file")
    stats = [(str(source), source.stat().st_size, source.stat().st_mtime_ns) for source in sources]
    return hashlib.sha256(json.dumps([stats, settings], sort_keys=True, default=str).encode()).hexdigest()


# ------------------------------------------------------------------ work on lines


def _chunks(lines: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(lines)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def _map_file(work: Callable[[list[str]], list[str]], source: Path, target: Path, workers: int, title: str) -> None:
    """Write ``work`` of every chunk of lines of a file to another, in order."""
    from tqdm import tqdm

    with ExitStack() as stack:
        lines = stack.enter_context(open_text(source))
        out = stack.enter_context(target.open("w", encoding="utf-8", newline="\n"))
        bar = stack.enter_context(tqdm(desc=title, unit=" lines", unit_scale=True, leave=False))
        results: Iterable[list[str]]
        if workers > 1:
            pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(workers))
            results = pool.imap(work, _chunks(lines))
        else:
            results = map(work, _chunks(lines))
        for chunk in results:
            out.writelines(line + "\n" for line in chunk)
            bar.update(len(chunk))


@lru_cache(maxsize=4)
def _moses(language: str) -> Any:
    try:
        from sacremoses import MosesTokenizer
    except ImportError:
        raise ImportError(
            "tokenising needs sacremoses; install the tutorial's extras: pip install 'fairseq[tutorial]'"
        ) from None
    return MosesTokenizer(language)


@lru_cache(maxsize=4)
def _normaliser(language: str) -> Any:
    from sacremoses import MosesPunctNormalizer

    # Control characters are removed as well, as recipes for WMT do.
    return MosesPunctNormalizer(language, post_remove_control_chars=True)


def _tokenise_lines(language: str, lower: bool, style: str, lines: list[str]) -> list[str]:
    tokeniser = _moses(language)
    lines = [line.lower() if lower else line for line in lines]
    if style == "wmt":
        lines = [_normaliser(language).normalize(line) for line in lines]
    split = style != "plain"
    return [tokeniser.tokenize(line.strip(), aggressive_dash_splits=split, return_str=True) for line in lines]


def tokenise(
    stages: Stages, source: Path, result: str, language: str, lower: bool = True, style: str = "plain"
) -> Path:
    """Moses tokenisation of one file (through sacremoses), lower-cased first if asked for.

    Args:
        style: ``"plain"``; ``"split dashes"``, which makes three tokens of ``a-b``; ``"wmt"``, which normalises
            punctuation, too.
    """

    def work(sources: list[Path], targets: list[Path]) -> None:
        lines = partial(_tokenise_lines, language, lower, style)
        _map_file(lines, sources[0], targets[0], stages.workers, f"tokenise {source.name}")

    settings = [language, lower, *([] if style == "plain" else [style])]
    return stages.run(f"tokenise {result}", [source], [result], settings, work)[0]


@dataclass(frozen=True)
class Cleaning:
    """Which sentence pairs to keep, by their numbers of tokens."""

    ratio: float = 1.5
    shortest: int = 1
    longest: int = 175

    def keeps(self, source: str, target: str) -> bool:
        """Whether both sentences are of a sensible length, also compared with each other."""
        lengths = len(source.split()), len(target.split())
        if not all(self.shortest <= length <= self.longest for length in lengths):
            return False
        return max(lengths) <= self.ratio * min(lengths)


def clean_pairs(stages: Stages, sources: Sequence[Path], results: Sequence[str], rule: Cleaning) -> list[Path]:
    """Copy the pairs that a rule keeps.

    Raises:
        ValueError: the two files have different numbers of lines.
    """

    def work(paths: list[Path], targets: list[Path]) -> None:
        with ExitStack() as stack:
            files = [stack.enter_context(open_text(path)) for path in paths]
            outs = [stack.enter_context(path.open("w", encoding="utf-8", newline="\n")) for path in targets]
            for number, pair in enumerate(zip_longest(*files), 1):
                if None in pair:
                    raise ValueError(
                        f"{paths[0]} and {paths[1]} have different numbers of lines: one ends before line {number}"
                    )
                if rule.keeps(*pair):
                    for out, line in zip(outs, pair):
                        out.write(line)

    settings = [rule.ratio, rule.shortest, rule.longest]
    return stages.run(f"clean {results[0]}", sources, results, settings, work)


def learn_subwords(stages: Stages, sources: Sequence[Path], operations: int) -> Path:
    """Learn joint byte-pair merges (Sennrich et al. 2016) on several files; returns the file of codes."""
    _need_subword_nmt()
    from subword_nmt.learn_bpe import learn_bpe

    def work(paths: list[Path], targets: list[Path]) -> None:
        def lines() -> Iterator[str]:
            for path in paths:
                with open_text(path) as file:
                    yield from file

        print(f"learning {operations:,} subword merges")
        with targets[0].open("w", encoding="utf-8", newline="\n") as out:
            learn_bpe(lines(), out, operations)

    return stages.run("learn subwords", sources, ["codes"], operations, work)[0]


@lru_cache(maxsize=2)
def _subwords(codes: str) -> Any:
    _need_subword_nmt()
    from subword_nmt.apply_bpe import BPE

    with open(codes, encoding="utf-8") as file:
        return BPE(file)


def _need_subword_nmt() -> None:
    try:
        import subword_nmt  # noqa: F401
    except ImportError:
        raise ImportError(
            "subwords need subword-nmt; install the tutorial's extras: pip install 'fairseq[tutorial]'"
        ) from None


def _segment_lines(codes: str, lines: list[str]) -> list[str]:
    segmenter = _subwords(codes)
    return [segmenter.process_line(line.rstrip("\n")) for line in lines]


def apply_subwords(stages: Stages, codes: Path, source: Path, result: str) -> Path:
    """Split the words of one file into subwords, marked with ``@@``."""

    def work(sources: list[Path], targets: list[Path]) -> None:
        lines = partial(_segment_lines, str(codes))
        _map_file(lines, sources[0], targets[0], stages.workers, f"subwords {source.name}")

    return stages.run(f"subwords {result}", [source, codes], [result], None, work)[0]
