"""Sixty made-up sentence pairs, a tiny model, and runs of the training tool over them."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
MODEL = (  # noqa: SIM905
    "--arch lstm --encoder-embed-dim 8 --encoder-hidden-size 8 --decoder-embed-dim 8 --decoder-hidden-size 8 "
    "--decoder-out-embed-dim 8 --encoder-layers 1 --decoder-layers 1 --dropout 0.2"
).split()
RUN = (  # noqa: SIM905
    "--task translation -s aa -t bb --cpu --num-workers 0 --seed 3 --log-format json --log-interval 1 --max-tokens 60 "
    "--optimizer adam --lr 0.01 --lr-scheduler inverse_sqrt --warmup-updates 4"
).split()


def make_data(folder: Path) -> str:
    """Binarised pairs: sixty to train on, ten to validate on."""
    from fairseq import options
    from fairseq_cli.preprocess import main as preprocess

    draw = random.Random(1)
    for split, lines in (("train", 60), ("valid", 10)):
        source = [[draw.choice("abcdefgh") for _ in range(draw.randint(2, 8))] for _ in range(lines)]
        (folder / f"{split}.aa").write_text("".join(" ".join(words) + "\n" for words in source))
        (folder / f"{split}.bb").write_text("".join(" ".join(reversed(words)) + "\n" for words in source))
    words = ["-s", "aa", "-t", "bb", "--trainpref", f"{folder}/train", "--validpref", f"{folder}/valid"]
    preprocess(options.get_preprocessing_parser().parse_args([*words, "--destdir", f"{folder}/bin"]))
    return f"{folder}/bin"


def config(data: str, save_dir: Any, *extra: Any) -> Any:
    """The whole config of a run."""
    from fairseq import options
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf

    model = [] if "--arch" in extra else MODEL
    words = [data, *model, *RUN, "--save-dir", str(save_dir), *map(str, extra)]
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), words))


def run(data: str, save_dir: Any, *extra: Any) -> None:
    """Train in this process."""
    from fairseq.training_loop import main

    main(config(data, save_dir, *extra))


def environment(**more: str) -> dict[str, str]:
    """That of a child: one thread, no GPU, no launcher's variables."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "MASTER_"))}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        known.pop(name, None)
    return {**known, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", **more}


def tool(name: str, *words: Any, code: int = 0, cwd: Any = ROOT, **variables: str) -> str:
    """Run ``python -m fairseq_cli.NAME words...``; returns what it printed."""
    command = [sys.executable, "-m", f"fairseq_cli.{name}", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment(**variables), timeout=300)
    assert done.returncode == code, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def checkpoint(folder: Any, name: str = "checkpoint_last.pt") -> dict[str, Any]:
    """The dictionary in a checkpoint."""
    from fairseq.serialization import read_checkpoint

    return read_checkpoint(os.path.join(folder, name))


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Whether two sets of parameters are equal to the last bit."""
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
