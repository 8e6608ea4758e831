"""The data layer: batching, token blocks, opening, collating, epochs of up to a hundred million sentences.

Each figure is what the calls take, without imports and the making of inputs; memory is that of the whole process. The
hundred million sentences (source and target lengths, which are 0.8 GB by themselves) are measured on this side alone;
both sides meet at one million.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks._measure import Row, Setup, Side
from benchmarks.preprocess import COPIES, enlarged

PROBE = Path(__file__).with_name("data_probe.py")
BLOCKS = ["none", "complete", "complete_doc", "eos"]
SMALL, LARGE = 20_000, 2_000_000
MANY = 100_000_000


def ask(side: Side, *question: object) -> dict[str, float]:
    """Figures that ``data_probe.py`` prints on a side."""
    lines = side.run(PROBE, *question).output.splitlines()
    answer: dict[str, float] = json.loads([line for line in lines if line.startswith("{")][-1])
    return answer


def in_processes(setup: Setup, side: Side, source: Path, workers: int) -> dict[str, float]:
    """Preprocess in several processes."""
    target = setup.work / f"workers-{side.name}-{workers}"
    words = ["-s", "de", "-t", "en", "--trainpref", source / "train", "--destdir", target, "--workers", workers]
    used = side.run("-m", "fairseq_cli.preprocess", *words)
    for path in target.iterdir():
        path.unlink()
    return {"cpu": used.cpu, "wall": used.wall}


def rows(setup: Setup) -> Iterator[Row]:
    """All figures, as they are found."""
    source = enlarged(setup.corpus, setup.work / "large")
    yield from setup.compare(
        f"preprocess, the corpus {COPIES} times over, 2 processes",
        lambda side, turn: in_processes(setup, side, source, 2),
    )
    yield from setup.compare("batch_by_size, 10 million sentences", lambda side, turn: ask(side, "batches", 10**7))
    for mode in BLOCKS:
        yield from setup.compare(
            f"token blocks, a million sentences, {mode}",
            lambda side, turn, mode=mode: ask(side, "blocks", mode),  # type: ignore[misc]
        )
    yield from setup.compare("collate 512 pairs", lambda side, turn: ask(side, "collate", 512))
    for number in (SMALL, LARGE):
        prefix = setup.work / f"open{number}"
        setup.this.run(PROBE, "write", prefix, number)
        yield from setup.compare(
            f"open a data set of {number:,} sentences",
            lambda side, turn, prefix=prefix: ask(side, "open_data", prefix),  # type: ignore[misc]
        )
    yield from setup.compare("epoch iterator, 1,000,000 pairs", lambda side, turn: ask(side, "epoch", 10**6))
    alone = Setup(setup.this, None, 1, setup.work)
    yield from alone.compare(f"epoch iterator, {MANY:,} pairs", lambda side, turn: ask(side, "epoch", MANY))
