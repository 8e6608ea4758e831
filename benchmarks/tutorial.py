"""The main job: one epoch of the tutorial LSTM, and translating the test set with it, beam 5, same weights."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks._measure import LONGEST, Row, Setup, Side, Usage


def train(side: Side, data: Path, save: Path) -> Usage:
    """One epoch."""
    return side.run(
        *["-m", "fairseq_cli.train", data, "--user-dir", side.plugin, "--arch", "tutorial_simple_lstm"],
        *["--encoder-dropout", "0.2", "--decoder-dropout", "0.2", "--optimizer", "adam", "--lr", "0.005"],
        *["--lr-shrink", "0.5", "--max-tokens", "12000", "--max-epoch", "1", "--seed", "1", "--log-format", "json"],
        *["-s", "de", "-t", "en", "--save-dir", save, "--no-epoch-checkpoints", "--num-workers", "0"],
    )


def generate(side: Side, data: Path, checkpoint: Path) -> Usage:
    """Translate the test set."""
    return side.run(
        *["-m", "fairseq_cli.generate", data, "--user-dir", side.plugin, "--path", checkpoint],
        *[
            "--beam",
            "5",
            "--max-len-a",
            LONGEST[0],
            "--max-len-b",
            LONGEST[1],
            "--remove-bpe",
            "--batch-size",
            "64",
            "--required-batch-size-multiple",
            "1",
        ],
        # The peer's own BLEU needs a compiled library that its source distribution cannot build.
        *["--num-workers", "0", "-s", "de", "-t", "en", "--scoring", "sacrebleu"],
    )


def figure(side: Side, used: Usage, pattern: str) -> float:
    """The last number that a pattern finds in the output; ends the program if there is none."""
    found = re.findall(pattern, used.output)
    if not found:
        sys.exit(f"{side.name}: no speed in the output:\n{used.output[-3000:]}")
    return float(found[-1].replace(",", ""))


def rows(setup: Setup) -> Iterator[Row]:
    """The log's own speeds, and what the whole runs cost."""

    def one_epoch(side: Side, turn: int) -> dict[str, float]:
        used = train(side, setup.data, setup.work / f"tutorial-{side.name}-{turn}")
        return {"words per second": figure(side, used, r'"train_wps": "([\d.]+)"'), **used.figures()}

    yield from setup.compare("one epoch of the tutorial LSTM", one_epoch)
    weights = setup.given_checkpoint or setup.work / "tutorial-this-0" / "checkpoint_last.pt"

    def translate(side: Side, turn: int) -> dict[str, float]:
        used = generate(side, setup.data, weights)
        return {"sentences per second": figure(side, used, r"\(([\d.,]+) sentences/s"), **used.figures()}

    yield from setup.compare("translating with it, beam 5", translate)
