"""Bytes changed and cut at random: an error that says something, or a result; no crash, no hang, no large allocation.

``FAIRSEQ_TEST_FUZZ`` raises the number of damaged files of each kind (60).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from forked import forked

from fairseq.serialization import CheckpointError, read_checkpoint

COUNT = int(os.environ.get("FAIRSEQ_TEST_FUZZ", "60"))
ROOM = 500 << 20
MEMORY = 100 << 20
# What a tool reports in one line; other exceptions would be shown as mistakes of the program.
REPORTED = (OSError, ValueError, RuntimeError, AssertionError, EOFError, UnicodeError, KeyError)


def damaged(good: bytes, draw: random.Random) -> bytes:
    """A copy with a few changes: single bytes, numbers of eight bytes, a piece cut out, the end cut off."""
    bad = bytearray(good)
    for _ in range(draw.choice([1, 1, 2, 6])):
        at = draw.randrange(len(bad))
        how = draw.random()
        if how < 0.5:
            bad[at] = draw.randrange(256)
        elif how < 0.7:
            extreme = draw.choice([0, 1, 2**31, 2**32, 2**62, 2**63, 2**64 - 1, 2**64 - 8])
            bad[at : at + 8] = extreme.to_bytes(8, "little")
        elif how < 0.8:
            del bad[at : at + draw.randint(1, 9)]
        elif how < 0.9:
            bad[at:at] = bytes(draw.choices(range(256), k=draw.randint(1, 9)))
        else:
            del bad[at:]
        if not bad:
            break
    return bytes(bad)


def try_all(path: Path, read: Callable[[], object], seed: int) -> None:
    """Damage one of several files again and again, and read in one child."""
    good = path.read_bytes()

    def work() -> None:
        draw, wrong, errors = random.Random(seed), [], 0
        for number in range(COUNT):
            path.write_bytes(damaged(good, draw))
            try:
                read()
            except REPORTED as error:
                errors += 1
                if not str(error):
                    wrong.append(f"{number}: {type(error).__name__} without a word")
            except Exception as error:
                wrong.append(f"{number}: {type(error).__name__}: {error}")
        print("\n".join(wrong))
        raise SystemExit(1 if wrong or not errors else 0)

    try:
        ending = forked(work, ROOM)
    finally:
        path.write_bytes(good)
    assert ending.code == 0, ending.output
    assert ending.peak < MEMORY


@pytest.mark.parametrize("layout", ["zip", "legacy"])
@pytest.mark.parametrize("mmap", [False, True])
def test_checkpoints(layout, mmap, tmp_path):
    from argparse import Namespace

    import numpy as np

    state = {
        "args": Namespace(arch="toy", lr=[0.1], data="x"),
        "model": {"w": torch.arange(12.0).view(3, 4), "b": torch.zeros(4, dtype=torch.float16)},
        "extra_state": {"epoch": 3, "val_loss": np.float64(1.5), "array": np.arange(3)},
        "last_optimizer_state": {"state": {0: {"step": 3, "exp_avg": torch.ones(5)}}, "param_groups": [{"lr": 0.1}]},
    }
    path = tmp_path / "x.pt"
    torch.save(state, path, _use_new_zipfile_serialization=layout == "zip")

    def read() -> None:
        try:
            read_checkpoint(path, mmap=mmap)
        except CheckpointError as error:
            assert str(path) in str(error)
            raise

    try_all(path, read, 1)


def write_items(prefix: Path, kind: str) -> None:
    from fairseq.data import indexed_dataset

    builder = indexed_dataset.make_builder(f"{prefix}.bin", kind, vocab_size=1000)
    for length in range(1, 40):
        builder.add_item(torch.arange(4, 4 + length, dtype=torch.int32))
    builder.finalize(f"{prefix}.idx")


@pytest.mark.parametrize("kind", ["mmap", "cached", "lazy"])
@pytest.mark.parametrize("end", ["idx", "bin"])
def test_binarised_data(kind, end, tmp_path):
    from fairseq.data import data_utils

    prefix = tmp_path / "train"
    write_items(prefix, kind)

    def read() -> None:
        dataset = data_utils.load_indexed_dataset(str(prefix), None, kind)
        if dataset is None:
            raise FileNotFoundError("no dataset")
        if getattr(dataset, "supports_prefetch", False):
            dataset.prefetch(range(len(dataset)))
        for index in range(min(len(dataset), 100)):
            dataset[index]

    # Any bytes are token ids: of damage to the data file only what is missing can be noticed, so the damage must
    # include a shorter file.
    try_all(tmp_path / f"train.{end}", read, 2)


@pytest.mark.parametrize("kind", ["cached", "lazy"])
def test_binarised_data_that_is_cut_after_the_check(kind, tmp_path, monkeypatch):
    """Its tokens were whatever was in memory."""
    from fairseq.data import data_utils

    prefix = tmp_path / "train"
    write_items(prefix, kind)
    dataset = data_utils.load_indexed_dataset(str(prefix), None, kind)
    size = os.path.getsize(f"{prefix}.bin")
    os.truncate(f"{prefix}.bin", 50)
    monkeypatch.setattr(os.path, "getsize", lambda name: size)
    with pytest.raises(ValueError, match=r"train\.bin.* ends within item"):
        if kind == "cached":
            dataset.prefetch(range(len(dataset)))
        dataset[len(dataset) - 1]


def test_dictionaries(tmp_path):
    from fairseq.data import Dictionary

    path = tmp_path / "dict.txt"
    path.write_text("".join(f"wörd{number} {number}\n" for number in range(50)), encoding="utf-8")

    def read() -> None:
        try:
            Dictionary.load(str(path))
        except Exception as error:
            if type(error) is Exception:  # what upstream raises for text in another encoding; callers catch it
                raise RuntimeError(str(error)) from error
            raise

    try_all(path, read, 3)


def test_safetensors(tmp_path):
    from fairseq.checkpoint_utils.safetensors_format import read_safetensors, write_safetensors

    path = tmp_path / "x.safetensors"
    write_safetensors({"model": {"w": torch.arange(12.0).view(3, 4)}, "cfg": {"a": (1, 2)}}, str(path))
    try_all(path, lambda: read_safetensors(str(path)), 4)
