"""Configs that lack keys, as older releases and programs make them, are read with defaults."""

from __future__ import annotations

from argparse import Namespace
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf

from fairseq.dataclass.configs import CheckpointConfig
from fairseq.dataclass.lenient import complete, lenient

KINDS = {
    "struct": lambda values: _struct(OmegaConf.create(values)),
    "config": OmegaConf.create,
    "namespace": lambda values: Namespace(**values),
    "object": lambda values: SimpleNamespace(**values),
}


def _struct(cfg: Any) -> Any:
    OmegaConf.set_struct(cfg, True)
    return cfg


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())
def test_a_section_that_lacks_keys_has_their_defaults(make: Any) -> None:
    section = lenient(make({"save_dir": "x", "patience": 3}), CheckpointConfig)
    assert (section.save_dir, section.patience) == ("x", 3)
    assert section.write_checkpoints_asynchronously is False and section.keep_best_checkpoints == -1
    with pytest.raises(AttributeError):
        section.no_such_key  # noqa: B018


def test_a_whole_config_is_completed_and_nothing_that_is_there_changes() -> None:
    cfg = _struct(OmegaConf.create({"common": {"seed": 7, "own": 1}, "task": {"_name": "t"}, "checkpoint": None}))
    OmegaConf.set_readonly(cfg, True)
    complete(cfg)
    assert (cfg.common.seed, cfg.common.own, cfg.task._name) == (7, 1, "t")
    assert cfg.common.log_interval == 100 and cfg.checkpoint.save_dir == "checkpoints"
    assert cfg.dataset.batch_size_valid is None and cfg.optimization.update_freq == [1]
    assert OmegaConf.is_struct(cfg) and OmegaConf.is_readonly(cfg)
    complete(Namespace())
