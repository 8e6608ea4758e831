"""A plugin and a script as of 2019 through the tools: training, resuming, validation, generation, interaction."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = Path(__file__).parent / "plugins" / "release_09"
# As such scripts were: --min-lr with a schedule that has none, --ddp-backend=no_c10d, flags with values.
SCRIPT = """--task old_translation --arch old_gru --gru-width 12 --optimizer adam --adam-betas (0.9,0.98) --lr 1e-3
--lr-scheduler inverse_sqrt --warmup-updates 4 --warmup-init-lr 1e-07 --min-lr 1e-09 --criterion old_loss
--loss-weight 0.5 --max-sentences 8 --update-freq 2 --ddp-backend=no_c10d --no-progress-bar --log-interval 1
--left-pad-source True --cpu --num-workers 0"""


def tool(name: str, *words: object, stdin: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-m", f"fairseq_cli.{name}", *map(str, words)],
        input=stdin,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def test_a_plugin_of_release_09(tmp_path: Path) -> None:
    rng = random.Random(1)
    for part, lines in (("train", 40), ("valid", 8), ("test", 8)):
        text = ["".join(rng.choice("abcdef") + " " for _ in range(rng.randint(2, 7))).strip() for _ in range(lines)]
        (tmp_path / f"{part}.x").write_text("\n".join(text) + "\n")
        (tmp_path / f"{part}.y").write_text("\n".join(text).upper() + "\n")
    parts = [word for part in ("train", "valid", "test") for word in (f"--{part}pref", tmp_path / part)]
    tool("preprocess", "-s", "x", "-t", "y", *parts, "--destdir", tmp_path / "bin")

    train = [tmp_path / "bin", "--user-dir", PLUGIN, *SCRIPT.split(), "--save-dir", tmp_path / "ck"]
    said = tool("train", *train, "--max-update", 2)
    # Logged in bits per token by the loss itself, not by today's reduce_metrics.
    loss, twice = (float(number) for number in re.search(r"loss ([\d.]+) \| twice ([\d.]+)", said).groups())  # type: ignore[union-attr]
    assert abs(twice - 2 * 0.6931 * loss) < 0.02
    assert "Loaded checkpoint" in tool("train", *train, "--max-update", 4)

    using = [tmp_path / "bin", "--user-dir", f"{PLUGIN}/", "--path", tmp_path / "ck/checkpoint_last.pt", "--cpu"]
    using += ["--task", "old_translation"]
    assert "valid on 'valid' subset" in tool("validate", *using, "--max-sentences", 8, "--num-workers", 0)
    text = ["--bpe", "old_bpe", "--old-mark", "~", "--tokenizer", "old_lower"]
    said = tool("generate", *using, "--max-sentences", 3, "--num-workers", 0, "--beam", 3, "--max-len-b", 5, *text)
    assert len(re.findall(r"^D-\d+\t", said, re.MULTILINE)) == 8
    said = tool("interactive", *using, "--beam", 2, "--max-len-b", 5, *text, stdin="A b\nc\n")
    assert "S-0\ta b\n" in said and "D-1\t" in said
    assert not re.search(r"^D-\d+\t\S+\t.* ", said, re.MULTILINE), "the subword encoder joins with its mark"
