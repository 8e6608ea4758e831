#!/usr/bin/env python3
"""Training on one GPU: words per second, memory and use of the arithmetic in every number format.

    python benchmarks/gpu_training.py DATA-BIN                      (a folder of fairseq-preprocess, de-en)
    python benchmarks/gpu_training.py DATA-BIN --peer PYTHON --peer-path FOLDER --cells fp32 fp16

Every cell is one run of ``fairseq-train`` from random weights. The clock starts after the first updates and stops when
the device has finished the last one, so start-up and compiling do not count. One JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Dense peak of a Hopper SXM card, TFLOP/s, by the number format of the matrix products (vendor's datasheet).
HOPPER = {"float32": 67, "tf32": 494, "half": 989}
CELLS: dict[str, tuple[list[str], str]] = {
    "fp32": ([], "float32"),
    "tf32": (["--tf32"], "tf32"),
    "fp16": (["--fp16"], "half"),
    "fp16-lean": (["--memory-efficient-fp16"], "half"),
    "bf16": (["--bf16"], "half"),
    "bf16-lean": (["--memory-efficient-bf16"], "half"),
    "amp": (["--amp"], "half"),
}
RECIPE = [
    *["-s", "de", "-t", "en", "--dropout", "0.1", "--optimizer", "adam", "--adam-betas", "(0.9, 0.98)"],
    *["--lr", "5e-4", "--lr-scheduler", "inverse_sqrt", "--warmup-updates", "200", "--clip-norm", "1.0"],
    *["--criterion", "label_smoothed_cross_entropy", "--label-smoothing", "0.1", "--seed", "1"],
    *["--disable-validation", "--log-format", "json", "--log-interval", "50", "--fp16-init-scale", "16"],
]


def child(argv: list[str]) -> None:
    """``WARM ARGUMENTS...``: train, then print what the updates after the first ``WARM`` took.

    Runs under any fairseq, so it uses nothing but public names. Words are counted from what the loader knows on the
    host: nothing here waits for the device. Source words include padding.
    """
    warm, words = int(argv[0]), argv[1:]
    channel, sys.stdout = sys.stdout, sys.stderr
    sys.argv = ["fairseq-train", *words]
    import torch

    from fairseq.trainer import Trainer

    plain: Any = Trainer.train_step
    found = {"updates": 0, "source": 0, "target": 0}
    sizes: dict[str, int] = {}
    begin = [0.0]

    def train_step(self: Any, samples: Any, *args: Any, **kwargs: Any) -> Any:
        for sample in samples:
            found["target"] += int(sample["ntokens"])
            found["source"] += sample["net_input"]["src_tokens"].numel()
        done = plain(self, samples, *args, **kwargs)
        if not sizes:
            for name, value in self.model.named_parameters():
                inner = "embed" not in name and "output_projection" not in name
                part = name.split(".")[0] if inner else ("embedding" if "decoder.embed_tokens" in name else "other")
                sizes[part] = sizes.get(part, 0) + value.numel()
        found["updates"] += 1
        if found["updates"] == warm:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            found.update(source=0, target=0)
            begin[0] = time.perf_counter()
        elif found["updates"] == limit:
            torch.cuda.synchronize()
            found["microseconds"] = int(1e6 * (time.perf_counter() - begin[0]))
        return done

    limit = int(words[words.index("--max-update") + 1])
    Trainer.train_step = train_step  # type: ignore[method-assign]
    from fairseq_cli.train import cli_main

    cli_main()
    memory = torch.cuda.max_memory_allocated() / 1e6
    card = torch.cuda.get_device_name()
    print(
        json.dumps({**found, "sizes": sizes, "memory": memory, "card": card, "torch": torch.__version__}), file=channel
    )


def report(found: dict[str, Any], warm: int, peak: str) -> dict[str, Any]:
    """Words per second (of the target), updates per second, memory in MB, share of the card's arithmetic.

    Six operations per weight and word (two forward, four backward); attention's own products, small for sentences,
    are left out, so that the share is a lower bound.
    """
    seconds = found["microseconds"] / 1e6
    sizes = found["sizes"]
    products = sizes.get("encoder", 0) * found["source"] + sizes.get("decoder", 0) * found["target"]
    operations = 6 * (products + sizes.get("embedding", 0) * found["target"])
    figures = {
        "words_per_s": round(found["target"] / seconds),
        "updates_per_s": round((found["updates"] - warm) / seconds, 2),
        "peak_mb": round(found["memory"]),
        "tflops": round(operations / seconds / 1e12, 2),
    }
    if "H100" in found["card"] or "H200" in found["card"]:
        figures["mfu"] = round(operations / seconds / 1e12 / HOPPER[peak], 4)
    return {**figures, "card": found["card"], "torch": found["torch"]}


def run_cell(args: argparse.Namespace, side: str, cell: str) -> dict[str, Any]:
    """One run of ``fairseq-train``; a failure is reported, not raised, so that the other cells still run."""
    base, _, mode = cell.partition("+")
    flags, peak = CELLS[base]
    compiled = [] if not mode else ["--compile", *([mode.partition("=")[2]] if "=" in mode else [])]
    keep = ["--no-save"] if side == "peer" or args.save_dir is None else ["--save-dir", str(args.save_dir / cell)]
    words = [str(args.data), "--arch", args.arch, "--max-tokens", str(args.max_tokens)]
    words += [*RECIPE, *flags, *compiled, *keep, "--max-update", str(args.warm + args.updates), *args.more]
    python, path = (sys.executable, str(ROOT)) if side == "this" else (args.peer, args.peer_path)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([path, os.environ.get("PYTHONPATH", "")])}
    begin = time.perf_counter()
    command = [python, __file__, "--child", str(args.warm), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/", timeout=args.timeout)
    except subprocess.TimeoutExpired as late:
        said = late.stderr or b""
        return {"error": f"not done after {args.timeout} s: {said[-700:]!r}"}
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        return {"error": (done.stderr or done.stdout)[-1500:]}
    found = json.loads(lines[-1])
    # Copies of a parameter under a second name, as the peer's encoder has them, are no arithmetic.
    found["sizes"] = args.sizes = args.sizes or found["sizes"]
    return {**report(found, args.warm, peak), "whole_run_s": round(time.perf_counter() - begin, 1)}


def main(argv: list[str]) -> None:
    """Measure every cell on this side and, if given, the peer."""
    parser = argparse.ArgumentParser(description="Measure training on one GPU.")
    parser.add_argument("data", type=Path, help="data-bin folder, de-en")
    names = f"{', '.join(CELLS)}; with +compile or +compile=MODE: compiled"
    parser.add_argument("--cells", nargs="+", default=["fp32", "fp16", "bf16"], help=names)
    parser.add_argument("--arch", default="transformer_iwslt_de_en")
    parser.add_argument("--max-tokens", type=int, default=4096)
    parser.add_argument("--warm", type=int, default=30, help="updates before the clock starts (default: %(default)s)")
    parser.add_argument("--updates", type=int, default=100, help="updates that are timed (default: %(default)s)")
    parser.add_argument("--timeout", type=int, default=180, help="seconds a cell may take (default: %(default)s)")
    parser.add_argument("--peer", help="Python interpreter of another fairseq")
    parser.add_argument("--peer-path", default="", help="its source folder, if it is not installed")
    parser.add_argument("--save-dir", type=Path, help="keep the checkpoints of this side, a folder a cell")
    parser.add_argument("--more", nargs=argparse.REMAINDER, default=[], help="further options of fairseq-train")
    args = parser.parse_args(argv, argparse.Namespace(sizes=None))
    for cell in args.cells:
        own_option = "+" in cell or cell == "tf32"
        for side in ["this"] + (["peer"] if args.peer and not own_option else []):
            print(json.dumps({"cell": cell, "side": side, **run_cell(args, side, cell)}), flush=True)


if __name__ == "__main__":
    child(sys.argv[2:]) if sys.argv[1:2] == ["--child"] else main(sys.argv[1:])
