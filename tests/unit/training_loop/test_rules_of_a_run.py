"""When a run validates, saves and stops; which options it says it cannot follow."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fairseq.dataclass.configs import FairseqConfig
from fairseq.training_loop import early_stop
from fairseq.training_loop.schedule import decide, update_freq_of
from fairseq.unused_options import idle_in_training, idle_in_validation


def config(**changes: Any) -> Any:
    """The default config, with ``section__option=value``."""
    cfg = FairseqConfig()
    cfg.common.cpu = True
    for name, value in changes.items():
        section, _, option = name.partition("__")
        assert hasattr(getattr(cfg, section), option)
        setattr(getattr(cfg, section), option, value)
    return cfg


SAVES, VALIDATES = "save", "validate"


@pytest.mark.parametrize(
    ("options", "epoch", "updates", "end", "expected"),
    [
        ({}, 1, 5, False, set()),
        ({}, 1, 5, True, {SAVES, VALIDATES}),
        ({"checkpoint__save_interval": 2}, 1, 5, True, {VALIDATES}),
        ({"dataset__validate_interval": 2}, 1, 5, True, {SAVES}),
        ({"dataset__validate_interval": 2}, 2, 5, True, {SAVES, VALIDATES}),
        ({"checkpoint__save_interval_updates": 5}, 1, 5, False, {SAVES, VALIDATES}),
        ({"checkpoint__save_interval_updates": 5}, 1, 6, False, set()),
        ({"checkpoint__save_interval_updates": 5, "dataset__validate_after_updates": 6}, 1, 5, False, set()),
        ({"dataset__validate_interval_updates": 5}, 1, 5, False, {VALIDATES}),
        ({"dataset__validate_after_updates": 6}, 1, 5, True, {SAVES}),
        ({"dataset__disable_validation": True}, 1, 5, True, {SAVES}),
        ({"optimization__max_update": 5}, 1, 5, False, {SAVES, VALIDATES, "stop"}),
        ({"optimization__max_update": 6}, 1, 5, False, set()),
        ({"optimization__stop_time_hours": 0.5}, 1, 5, False, {SAVES, VALIDATES, "stop"}),
        ({"optimization__stop_time_hours": 1.5}, 1, 5, False, set()),
        # Never before the first update: an overflow in the very first leaves the count at 0.
        ({"checkpoint__save_interval_updates": 5, "dataset__validate_interval_updates": 5}, 1, 0, False, set()),
    ],
)
def test_what_follows_an_update(options: dict[str, Any], epoch: int, updates: int, end: bool, expected: Any) -> None:
    found = decide(config(**options), epoch, updates, end, seconds=3600)
    told = {word for word, is_so in ((SAVES, found.save), (VALIDATES, found.validate)) if is_so}
    assert told | ({"stop"} if found.stop_reason else set()) == expected


def test_the_last_number_of_batches_per_update_goes_on() -> None:
    cfg = config(optimization__update_freq=[4, 2])
    assert [update_freq_of(cfg, epoch) for epoch in (1, 2, 3)] == [4, 2, 2]


@pytest.mark.parametrize(
    ("patience", "larger", "values", "expected"),
    [
        (2, False, [3.0, 2.0, 2.5, 2.0], [False, False, False, True]),
        (2, True, [3.0, 4.0, 3.5, 4.0], [False, False, False, True]),
        (2, False, [3.0, None, 3.5, None, 2.0, 2.5], [False] * 6),
        (1, False, [3.0, 3.0], [False, True]),
        (-1, False, [3.0, 4.0, 5.0], [False] * 3),
        (0, False, [3.0, 4.0], [False] * 2),
    ],
)
def test_patience(patience: int, larger: bool, values: list[Any], expected: list[bool]) -> None:
    early_stop.forget()
    cfg = config(checkpoint__patience=patience, checkpoint__maximize_best_checkpoint_metric=larger)
    assert [early_stop.should_stop_early(cfg, value) for value in values] == expected
    early_stop.forget()


def test_options_without_effect_are_named_and_others_are_not() -> None:
    assert idle_in_training(config()) == [] and idle_in_validation(config()) == []
    told = idle_in_training(
        config(
            distributed_training__fast_stat_sync=True,
            distributed_training__localsgd_frequency=7,
            distributed_training__pipeline_chunks=4,
            dataset__gen_subset="valid",
        )
    )
    assert [sentence.split()[0] for sentence in told] == [
        *("--fast-stat-sync", "--localsgd-frequency", "--pipeline-chunks", "--gen-subset")
    ]
    only_ddp = config(distributed_training__ddp_comm_hook="fp16")
    assert idle_in_training(only_ddp) == []
    only_ddp.distributed_training.ddp_backend = "no_c10d"
    assert idle_in_training(only_ddp) == ["--ddp-comm-hook has no effect: only --ddp-backend pytorch_ddp reads it"]
    assert "float32 on the CPU" in idle_in_training(config(common__amp=True))[0]
    assert len(idle_in_validation(config(dataset__curriculum=3, common_eval__post_process="wordpiece"))) == 2


def test_a_position_of_other_workers_is_the_same_place_in_the_data() -> None:
    from fairseq.trainer.state import _move_position

    def moved(before: Any, now: int, count: int) -> int:
        extra = {"train_iterator": {"version": 2, "epoch": 3, "iterations_in_epoch": count}}
        _move_position(extra, before, now)
        return extra["train_iterator"]["iterations_in_epoch"]

    assert [moved(2, 1, 5), moved(2, 4, 5), moved(4, 2, 3), moved(2, 2, 5)] == [10, 2, 6, 5]
    assert moved(None, 4, 5) == 5  # upstream's files do not say
    untouched: dict[str, Any] = {}
    _move_position(untouched, 2, 1)
    assert untouched == {}


def test_shards_are_joined_only_if_they_belong_together() -> None:
    import torch

    from fairseq.checkpoint_utils.shards import join
    from fairseq.serialization.errors import CheckpointError

    def shard(rows: int, updates: int = 3) -> dict[str, Any]:
        group = {"params": [0]}
        state = {0: {"exp_avg": torch.full((rows, 2), float(rows)), "step": 3}}
        return {
            "model": {"w": torch.full((rows, 2), float(rows)), "version": torch.tensor([3.0])},
            "optimizer_history": [{"num_updates": updates}],
            "last_optimizer_state": {"state": state, "param_groups": [group]},
        }

    shapes = {"w": torch.Size([3, 2]), "version": torch.Size([1])}
    whole = join([shard(2), shard(1)], ["a", "b"], shapes, [torch.Size([3, 2])])
    assert whole["model"]["w"][:, 0].tolist() == [2, 2, 1] and whole["model"]["version"].tolist() == [3]
    assert whole["last_optimizer_state"]["state"][0]["exp_avg"][:, 0].tolist() == [2, 2, 1]
    with pytest.raises(CheckpointError, match="of different saves.*a: 3, b: 4"):
        join([shard(2), shard(1, 4)], ["a", "b"], shapes)
    with pytest.raises(CheckpointError, match="belong to another model"):
        join([shard(2), shard(2)], ["a", "b"], shapes)


def test_one_namespace_of_a_section_may_lack_what_others_have() -> None:
    # Configs of older checkpoints have fewer options.
    cfg = SimpleNamespace(common=config().common, distributed_training=SimpleNamespace(ddp_backend="c10d"))
    assert idle_in_training(cfg) == []
