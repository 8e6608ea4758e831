"""Training reads the sentences it trains on, not the files they are in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fairseq import options
from fairseq.data import Dictionary
from fairseq.data.indexed.formats import data_file_path, index_file_path
from fairseq.data.indexed.mmap import MMapIndex
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.trainer import Trainer
from fairseq.training_loop import main

SENTENCES, LENGTH = 100_000, 750
SIZE = SENTENCES * LENGTH * 4
SMALL = ["embed-dim", "ffn-embed-dim", "attention-heads", "layers"]
TASKS = {
    "language_modeling": ("train", ["--arch", "transformer_lm", "--tokens-per-sample", LENGTH]),
    "translation": ("train.aa-bb.aa", ["--arch", "transformer", "-s", "aa", "-t", "bb"]),
}
RUN = (  # noqa: SIM905
    "--cpu --num-workers 0 --optimizer sgd --lr 0.1 --max-tokens 3000 --max-update 3 --disable-validation --no-save "
    "--valid-subset train"
).split()


def bytes_read(path: str) -> int:
    """What this process has read of anything by calls, and of a file through memory maps that it still has."""
    calls = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    pages, wanted = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            wanted = line.endswith(path)
        elif wanted and line.startswith("Rss:"):
            pages += int(line.split()[1]) * 1024
    return int(calls["rchar"]) + pages


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """300 MB of zeros, which take no room on the disk, as a hundred thousand sentences."""
    words = Dictionary()
    words.add_symbol("a")
    for name in ("dict", "dict.aa", "dict.bb"):
        words.save(str(tmp_path / f"{name}.txt"))
    prefix = str(tmp_path / "train")
    with open(data_file_path(prefix), "wb") as file:
        file.truncate(SIZE)
    with MMapIndex.writer(index_file_path(prefix), np.int32) as index:
        index.write(np.full(SENTENCES, LENGTH, dtype=np.int32))
    for side in ("aa", "bb"):
        for path in (data_file_path, index_file_path):
            os.link(path(prefix), path(f"{prefix}.aa-bb.{side}"))
    return tmp_path


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the system does not say what a process has read")
@pytest.mark.parametrize("task", sorted(TASKS))
def test_a_few_updates_touch_a_small_part_of_the_data(task: str, large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, words = TASKS[task]
    sides = ["decoder"] if task == "language_modeling" else ["encoder", "decoder"]
    shape = [word for side in sides for part in SMALL for word in (f"--{side}-{part}", 1 if part == "layers" else 4)]
    path = data_file_path(str(large / name))
    figures = [bytes_read(path)]
    step = Trainer.train_step

    def counting_step(trainer: Trainer, *batch: Any, **more: Any) -> Any:
        result = step(trainer, *batch, **more)
        figures.append(bytes_read(path))
        return result

    monkeypatch.setattr(Trainer, "train_step", counting_step)
    arguments = [str(large), "--task", task, *map(str, (*words, *shape, *RUN))]
    parsed = options.parse_args_and_arch(options.get_training_parser(), arguments)
    main(convert_namespace_to_omegaconf(parsed))
    assert len(figures) == 4
    # Most of it are modules that this test is the first to import.
    assert 0 < figures[-1] - figures[0] < SIZE / 4

    # The measure can tell: a map that is read whole counts whole.
    data = np.memmap(path, dtype=np.uint8, mode="r")
    data.sum(dtype=np.int64)
    assert bytes_read(path) - figures[-1] > SIZE / 2
