"""The main job from nothing to a score: prepare the numbers corpus, train the tutorial LSTM, translate, compute BLEU.

    python scripts/run_tutorial.py                # into tutorial-run/
    python scripts/run_tutorial.py --folder DIR --max-epoch 30

Every step is a command that is printed before it runs, so it can be repeated by hand.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

from tqdm import tqdm

from fairseq.utils.processes import available_cores

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = ROOT / "plugins" / "tutorial_lstm"
SAMPLES = 8
GOAL = 90.0  # BLEU on sentences that were not trained on


def environment() -> dict[str, str]:
    """That of this process, with as many threads as there are cores for it, unless it says how many.

    PyTorch counts all cores of the machine, also in a container that was given two of them: its threads then wait for
    each other most of the time.
    """
    bounds = {"OMP_NUM_THREADS": str(available_cores()), "OMP_WAIT_POLICY": "PASSIVE"}
    return {**bounds, **os.environ}


def run(command: list[str]) -> None:
    """Print a command and run it; exit as it exits if it fails."""
    print("\n$ " + shlex.join(command), flush=True)
    done = subprocess.run(command, cwd=ROOT, env=environment())
    if done.returncode != 0:
        sys.exit(done.returncode)


def translate(command: list[str], total: int) -> str:
    """Run the command that translates, with a progress bar over the sentences; return what it prints."""
    print("\n$ " + shlex.join(command), flush=True)
    lines = []
    # Lines are counted as they come, not in blocks of the pipe's size.
    variables = {**environment(), "PYTHONUNBUFFERED": "1"}
    with (
        subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, encoding="utf-8") as process,
        tqdm(total=total, desc="translating", unit=" sentences", mininterval=0.5 if sys.stderr.isatty() else 10) as bar,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            bar.update(line.startswith("D-"))
    if process.returncode != 0:
        print("".join(lines))
        sys.exit(process.returncode)
    return "".join(lines)


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
    parser.add_argument(
        "--workers",
        type=int,
        default=min(2, available_cores()),
        help="preparing processes (default: %(default)s)",
    )
    args = parser.parse_args()
    begin = time.monotonic()
    data, checkpoints = args.folder / "data-bin", args.folder / "checkpoints"
    print(f"data, training, translation: about 5 minutes on 2 cores; threads: {environment()['OMP_NUM_THREADS']}")
    run(python("fairseq_cli.prepare", "numbers", "--destdir", str(data), "--workers", str(args.workers)))
    run(
        python("fairseq_cli.train", str(data), "--user-dir", str(PLUGIN), "--arch", "tutorial_simple_lstm")
        + ["--encoder-dropout", "0.2", "--decoder-dropout", "0.2", "--optimizer", "adam", "--lr", "0.005"]
        + ["--lr-shrink", "0.5", "--max-tokens", "2000", "--source-lang", "de", "--target-lang", "en"]
        + ["--max-epoch", str(args.max_epoch), "--save-dir", str(checkpoints), "--no-epoch-checkpoints"]
        + ["--log-format", "simple", "--log-interval", "50"]
    )
    with (data / "work" / "test.de").open(encoding="utf-8") as sentences:
        total = sum(1 for _ in sentences)
    output = translate(
        python("fairseq_cli.generate", str(data), "--user-dir", str(PLUGIN))
        + ["--path", str(checkpoints / "checkpoint_best.pt"), "--beam", "5", "--remove-bpe", "--batch-size", "128"]
        + ["--no-progress-bar"],
        total,
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
