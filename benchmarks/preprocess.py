"""``fairseq-preprocess``: the corpus several times over, one process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks._measure import Row, Setup

COPIES = 10


def enlarged(corpus: Path, folder: Path) -> Path:
    """The training part of a corpus several times over, in a new folder."""
    folder.mkdir(exist_ok=True)
    for language in ("de", "en"):
        text = (corpus / f"train.{language}").read_bytes()
        (folder / f"train.{language}").write_bytes(text * COPIES)
    return folder


def rows(setup: Setup) -> Iterator[Row]:
    """Time and memory of one run."""
    large = enlarged(setup.corpus, setup.work / "large")
    yield from setup.compare(
        f"preprocess, the corpus {COPIES} times over",
        lambda side, turn: setup.preprocess(side, large, setup.work / f"large-{side.name}").figures(),
    )
