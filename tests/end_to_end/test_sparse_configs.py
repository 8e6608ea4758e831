"""Training with a config that holds only what differs from the defaults."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf, open_dict
from toy_training import checkpoint, config, run, same

from fairseq.dataclass.configs import FairseqConfig

SECTIONS = ("common", "checkpoint", "dataset", "distributed_training", "optimization", "ema", "bmuf", "common_eval")
UNUSED = ("generation", "eval_lm", "interactive", "common_eval", "bmuf", "ema")


def sparse(cfg: Any) -> Any:
    """Without the keys that have their defaults, and without sections that nothing is left of."""
    fields = FairseqConfig.__dataclass_fields__
    for name in (*SECTIONS, *UNUSED):
        section: Any = cfg.get(name)
        if section is None:
            continue
        default = fields[name].type()
        with open_dict(section):
            for key in list(section):
                if str(section[key]) == str(getattr(default, key, None)):
                    del section[key]
    with open_dict(cfg):
        for name in UNUSED:
            cfg.pop(name, None)
    return cfg


def test_a_sparse_config_trains_saves_and_resumes(toy_pairs: str, tmp_path: Path) -> None:
    from fairseq.distributed.utils import call_main
    from fairseq.training_loop import main

    for stop in (3, 6):
        run(toy_pairs, tmp_path / "full", "--max-update", stop)
        call_main(sparse(config(toy_pairs, tmp_path / "sparse", "--max-update", stop)), main)
    full, other = (checkpoint(tmp_path / name) for name in ("full", "sparse"))
    assert same(full["model"], other["model"])
    assert full["cfg"]["checkpoint"].keys() == other["cfg"]["checkpoint"].keys()


@pytest.mark.parametrize("kind", ["config", "namespace"])
def test_checkpoints_are_saved_and_restored_with_a_section_of_few_keys(
    kind: str, toy_pairs: str, tmp_path: Path
) -> None:
    from fairseq import checkpoint_utils, tasks
    from fairseq.trainer import Trainer

    cfg = sparse(config(toy_pairs, tmp_path))
    values = {"save_dir": str(tmp_path), "no_epoch_checkpoints": True}
    section = OmegaConf.create(values) if kind == "config" else Namespace(**values)
    task = tasks.setup_task(cfg.task)
    trainer = Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))
    _, epoch_itr = checkpoint_utils.load_checkpoint(section, trainer)
    itr = epoch_itr.next_epoch_itr()
    trainer.train_step([next(itr)])
    assert checkpoint_utils.save_checkpoint(section, trainer, epoch_itr, 2.5) is not None
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint_best.pt", "checkpoint_last.pt"}
    extra, epoch_itr = checkpoint_utils.load_checkpoint(section, trainer)
    assert extra["val_loss"] == 2.5 and epoch_itr.iterations_in_epoch == 1
