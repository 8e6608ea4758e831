"""The main job from nothing to a score: prepare the numbers corpus, train the tutorial LSTM, translate, compute BLEU.

    python scripts/run_tutorial.py                # into tutorial-run/
    python scripts/run_tutorial.py --folder DIR --max-epoch 30

Every step is a command that is printed before it runs, so it can be repeated by hand.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = ROOT / "plugins" / "tutorial_lstm"
SAMPLES = 8
GOAL = 90.0  # BLEU on sentences that were not trained on


def run(command: list[str], capture: bool = False) -> str:
    """Print a command, run it, and return its output if it is to be captured; exit as it exits if it fails."""
    print("\n$ " + shlex.join(command), flush=True)
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE if capture else None, text=True, encoding="utf-8")
    if done.returncode != 0:
        if capture:
            print(done.stdout)
        sys.exit(done.returncode)
    return done.stdout or ""


def python(module: str, *words: str) -> list[str]:
    """The command line of a module, for the Python this script runs on."""
    return [sys.executable, "-m", module, *words]


def show_samples(output: str) -> None:
    """Print the first source, reference and hypothesis lines side by side."""
    rows: dict[str, dict[str, str]] = {}
    for line in output.splitlines():
        match = re.match(r"([STD])-(\d+)\t(.*)", line)
        if match:
            kind, number, text = match.groups()
            rows.setdefault(number, {})[kind] = text.rpartition("\t")[2]
    print(f"\n{SAMPLES} of {len(rows)} unseen sentences:")
    for row in list(rows.values())[:SAMPLES]:
        print(f"  source      {row.get('S', '')}\n  reference   {row.get('T', '')}\n  translation {row.get('D', '')}\n")


def main() -> None:
    """Run all steps; exit 1 if the score is not what it should be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "tutorial-run", help="where to work")
    parser.add_argument("--max-epoch", type=int, default=7, help="epochs of training (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes for preparation (default: %(default)s)")
    args = parser.parse_args()
    begin = time.monotonic()
    data, checkpoints = args.folder / "data-bin", args.folder / "checkpoints"
    run(python("plugins.tutorial_lstm.prepare", "numbers", "--destdir", str(data), "--workers", str(args.workers)))
    run(
        python("fairseq_cli.train", str(data), "--user-dir", str(PLUGIN), "--arch", "tutorial_simple_lstm")
        + ["--encoder-dropout", "0.2", "--decoder-dropout", "0.2", "--optimizer", "adam", "--lr", "0.005"]
        + ["--lr-shrink", "0.5", "--max-tokens", "2000", "--source-lang", "de", "--target-lang", "en"]
        + ["--max-epoch", str(args.max_epoch), "--save-dir", str(checkpoints), "--no-epoch-checkpoints"]
        + ["--log-format", "simple", "--log-interval", "50"]
    )
    output = run(
        python("fairseq_cli.generate", str(data), "--user-dir", str(PLUGIN))
        + ["--path", str(checkpoints / "checkpoint_best.pt"), "--beam", "5", "--remove-bpe", "--batch-size", "128"],
        capture=True,
    )
    show_samples(output)
    score = re.search(r"^Generate test with beam=5: BLEU4 = ([\d.]+).*", output, re.MULTILINE)
    if score is None:
        sys.exit("fairseq-generate printed no score")
    print(score.group(0))
    print(f"all of it took {time.monotonic() - begin:.0f} seconds")
    if float(score.group(1)) < GOAL:
        sys.exit(f"BLEU {score.group(1)} is below {GOAL}")


if __name__ == "__main__":
    main()
