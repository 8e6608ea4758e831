"""Ask a trained model for the language of names.

    python plugins/classifying_names/classify.py plugins/classifying_names/names --path checkpoints/checkpoint_best.pt

Names come from standard input, one per line; for each, the three likeliest languages are printed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

__all__ = ["classify", "main"]

BEST = 3


@torch.inference_mode()
def classify(model: Any, task: Any, names: Iterable[str]) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """Yield each name with its likeliest languages and their log-probabilities (natural), best first."""
    for name in names:
        tokens = task.encode(" ".join(name.strip())).unsqueeze(0)
        if tokens.numel() == 0:
            continue
        scores = model(tokens)
        log_probs = torch.log_softmax(scores[0, 0].float(), dim=-1)
        best = log_probs.topk(min(BEST, log_probs.numel()))
        rows = [(task.target_dictionary[i], p) for p, i in zip(best.values.tolist(), best.indices.tolist())]
        yield name.strip(), rows


def main() -> None:
    """Load the model and answer."""
    from fairseq import checkpoint_utils, utils
    from fairseq.logging.lines import use_utf8

    use_utf8()
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("data", help="the data folder that the model was trained on")
    parser.add_argument("--path", required=True, help="checkpoint")
    args = parser.parse_args()
    utils.import_user_module(argparse.Namespace(user_dir=str(Path(__file__).resolve().parent)))
    models, _, task = checkpoint_utils.load_model_ensemble_and_task([args.path], arg_overrides={"data": args.data})
    model = models[0].eval()
    if sys.stdin.isatty():
        print("names, one per line:")
    for name, rows in classify(model, task, sys.stdin):
        print(name)
        for language, log_prob in rows:
            print(f"({log_prob:.2f})\t{language}")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
