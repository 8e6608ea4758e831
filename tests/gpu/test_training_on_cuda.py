"""The tutorial model trains and translates on a GPU in every number format."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.gpu
pytest.importorskip("num2words")
pytest.importorskip("subword_nmt")

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "plugins" / "tutorial_lstm"


def run(*words: object) -> str:
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("numbers") / "data-bin"
    sizes = ["--train-size", 2000, "--valid-size", 100, "--test-size", 100, "--bpe-operations", 200]
    run("-m", "plugins.tutorial_lstm.prepare", "numbers", "--destdir", folder, *sizes)
    return folder


@pytest.mark.parametrize("precision", [[], ["--fp16"], ["--bf16"], ["--amp"], ["--memory-efficient-fp16"]])
def test_the_loss_falls_and_sentences_come_out(data: Path, tmp_path: Path, precision: list[str]) -> None:
    said = run(
        *["-m", "fairseq_cli.train", data, "--user-dir", TUTORIAL, "--arch", "tutorial_simple_lstm"],
        *["--optimizer", "adam", "--lr", "0.005", "--max-tokens", 2000, "--max-epoch", 4, "--log-format", "json"],
        *["--save-dir", tmp_path, "--no-epoch-checkpoints", *precision],
    )
    losses = [float(value) for value in re.findall(r'"valid_loss": "([\d.]+)"', said)]
    assert len(losses) == 4 and losses[-1] < losses[0]
    flags = [flag for flag in precision if flag in ("--fp16", "--bf16")]
    command = ["-m", "fairseq_cli.generate", data, "--user-dir", TUTORIAL, "--path", tmp_path / "checkpoint_best.pt"]
    said = run(*command, "--beam", 3, "--remove-bpe", "--batch-size", 50, *flags)
    assert len(re.findall(r"^H-\d+\t", said, re.MULTILINE)) == 100
