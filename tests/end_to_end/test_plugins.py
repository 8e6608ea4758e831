"""Both shipped plugins through the real tools: data, training, resuming, generation, answers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "plugins" / "tutorial_lstm"
NAMES = ROOT / "plugins" / "classifying_names"

pytest.importorskip("num2words")
pytest.importorskip("subword_nmt")


def run(*words: object, stdin: str = "", code: int = 0) -> str:
    """Run ``python words...`` in the checkout; returns what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, words)], input=stdin, capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def train(data: Path, save: Path, *more: object) -> str:
    return run(
        *["-m", "fairseq_cli.train", data, "--user-dir", TUTORIAL, "--arch", "tutorial_simple_lstm"],
        *["--encoder-embed-dim", 16, "--encoder-hidden-dim", 16, "--decoder-embed-dim", 16, "--decoder-hidden-dim", 16],
        *["--optimizer", "adam", "--lr", "0.005", "--max-tokens", 400, "--source-lang", "de", "--target-lang", "en"],
        *["--save-dir", save, "--log-format", "json", "--num-workers", 0, *more],
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("numbers") / "data-bin"
    command = ["-m", "plugins.tutorial_lstm.prepare", "numbers", "--destdir", folder, "--train-size", 150]
    said = run(*command, "--valid-size", 20, "--test-size", 20, "--bpe-operations", 80)
    assert f"ready: {folder}" in said
    yield folder


def test_a_prepared_folder_is_prepared_again_from_its_stages(data: Path) -> None:
    before = (data / "train.de-en.de.bin").read_bytes()
    command = ["-m", "plugins.tutorial_lstm.prepare", "numbers", "--destdir", data, "--train-size", 150]
    said = run(*command, "--valid-size", 20, "--test-size", 20, "--bpe-operations", 80)
    assert "learn subwords: done before" in said
    assert (data / "train.de-en.de.bin").read_bytes() == before


def test_the_tutorial_is_trained_resumed_and_translates(data: Path, tmp_path: Path) -> None:
    import torch

    train(data, tmp_path / "whole", "--max-epoch", 4)
    train(data, tmp_path / "parts", "--max-epoch", 2)
    said = train(data, tmp_path / "parts", "--max-epoch", 4)
    assert "Loaded checkpoint" in said
    whole, parts = (
        torch.load(tmp_path / name / "checkpoint_last.pt", weights_only=False) for name in ("whole", "parts")
    )
    for key, value in whole["model"].items():
        assert torch.equal(value, parts["model"][key]), key
    for key, state in whole["last_optimizer_state"]["state"].items():
        other = parts["last_optimizer_state"]["state"][key]
        assert all(torch.equal(torch.as_tensor(v), torch.as_tensor(other[k])) for k, v in state.items())

    said = run(
        *["-m", "fairseq_cli.generate", data, "--user-dir", TUTORIAL, "--path", tmp_path / "whole/checkpoint_best.pt"],
        *["--beam", 3, "--remove-bpe", "--batch-size", 7, "--num-workers", 0],
    )
    assert len(re.findall(r"^D-\d+\t", said, re.MULTILINE)) == 20, "no sentence may be lost"
    assert re.search(r"^Generate test with beam=3: BLEU4 = [\d.]+", said, re.MULTILINE)


def test_names_are_classified_by_a_task_of_its_own(tmp_path: Path) -> None:
    data = tmp_path / "names"
    data.mkdir()
    for source in (NAMES / "names").glob("*.*"):
        (data / source.name).write_bytes(source.read_bytes())
    said = run(
        *["-m", "fairseq_cli.train", data, "--user-dir", NAMES, "--task", "simple_classification"],
        *["--arch", "pytorch_tutorial_rnn", "--hidden-dim", 32, "--optimizer", "adam", "--lr", "0.01"],
        *["--max-tokens", 500, "--max-epoch", 15, "--save-dir", tmp_path / "ck", "--no-epoch-checkpoints"],
        *["--log-format", "json", "--num-workers", 0],
    )
    losses = [float(loss) for loss in re.findall(r'"valid_loss": "([\d.]+)"', said)]
    assert len(losses) == 15 and losses[-1] < losses[0] / 2
    answer = run(NAMES / "classify.py", data, "--path", tmp_path / "ck/checkpoint_best.pt", stdin="Yamaguchi\n\n")
    assert re.search(r"Yamaguchi\n\(-0\.\d+\)\tjapanese\n", answer)
