"""Each step of the upgrade brings an old layout to today's and leaves today's alone."""

from __future__ import annotations

import copy
from argparse import Namespace

import pytest

import fairseq.serialization.upgrade_steps  # noqa: F401
from fairseq.serialization.upgrade import STEPS, upgrade_state

CURRENT = {
    "args": None,
    "cfg": None,
    "model": {},
    "optimizer_history": [
        {"criterion_name": "C", "optimizer_name": "O", "lr_scheduler_state": {"best": 1.0}, "num_updates": 7}
    ],
    "extra_state": {"train_iterator": {"version": 2, "epoch": 3, "iterations_in_epoch": 0}},
}


def step(name):
    (found,) = [s for s in STEPS if s.name == name]
    return found.apply


@pytest.mark.parametrize("one", STEPS, ids=lambda s: s.name)
def test_a_current_state_is_left_alone(one):
    state = copy.deepcopy(CURRENT)
    one.apply(state)
    assert state == CURRENT


def test_the_oldest_layout_becomes_todays():
    state = upgrade_state(
        {"model": {}, "optimizer": {"lr": 1}, "best_loss": 2.5, "epoch": 4, "batch_offset": 9, "val_loss": 3.0}
    )
    assert state["last_optimizer_state"] == {"lr": 1}
    assert state["optimizer_history"] == [
        {
            "criterion_name": "CrossEntropyCriterion",
            "optimizer_name": "FairseqNAG",
            "lr_scheduler_state": {"best": 2.5},
            "num_updates": 0,
        }
    ]
    assert state["extra_state"]["train_iterator"] == {"epoch": 4, "iterations_in_epoch": 9}
    assert state["extra_state"]["val_loss"] == 3.0
    assert not {"optimizer", "best_loss", "epoch", "batch_offset", "val_loss"} & set(state)


def test_the_optimizer_leaves_the_history():
    state = {"optimizer_history": [{"optimizer": 1}, {"optimizer": 2, "criterion_name": "C"}]}
    step("optimizer inside the history -> last_optimizer_state")(state)
    assert state["last_optimizer_state"] == 2
    assert state["optimizer_history"] == [{}, {"criterion_name": "C"}]


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("args: max_positions -> max_source_positions, max_target_positions", {"max_positions": 9},
         {"max_positions": 9, "max_source_positions": 9, "max_target_positions": 9}),
        ("args: max_positions -> max_source_positions, max_target_positions", {"max_positions": 9, "max_source_positions": 3},  # noqa: E501
         {"max_positions": 9, "max_source_positions": 3}),
        ("args: task translation when there were no tasks yet", {}, {"task": "translation"}),
        ("args: raw_text, lazy_load -> dataset_impl", {"raw_text": True}, {"raw_text": True, "dataset_impl": "raw"}),
        ("args: raw_text, lazy_load -> dataset_impl", {"lazy_load": True}, {"lazy_load": True, "dataset_impl": "lazy"}),
        ("args: remove_bpe -> post_process", {"remove_bpe": "@@ "}, {"remove_bpe": "@@ ", "post_process": "@@ "}),
        ("args: min_lr -> stop_min_lr", {"min_lr": 0.1}, {"stop_min_lr": 0.1}),
        ("args: criteria, tasks and architectures of wav2vec that were renamed",
         {"criterion": "kd_binary_cross_entropy", "log_keys": None, "task": "speech_pretraining", "arch": "audio_cpc"},
         {"criterion": "wav2vec", "task": "audio_pretraining", "arch": "wav2vec"}),
        ("args: one lr -> list, list of data folders -> the first", {"lr": 0.1, "data": ["a", "b"]}, {"lr": [0.1], "data": "a"}),  # noqa: E501
    ],
)  # fmt: skip
def test_options_of_old_namespaces_get_todays_names(name, before, after):
    state = {**copy.deepcopy(CURRENT), "args": Namespace(**before)}
    step(name)(state)
    assert vars(state["args"]) == after
    step(name)(state)
    assert vars(state["args"]) == after


def test_epochs_of_old_files_count_from_one():
    state = {**copy.deepcopy(CURRENT), "args": Namespace()}
    state["extra_state"]["train_iterator"]["epoch"] = 0
    step("epochs count from 1")(state)
    assert state["extra_state"]["train_iterator"]["epoch"] == 1


@pytest.mark.parametrize(("value", "generation"), [(True, "hard"), (False, None), ("soft", "soft"), (None, None)])
def test_print_alignment_was_a_yes_or_no(value, generation):
    state = {**copy.deepcopy(CURRENT), "cfg": {"generation": {"print_alignment": value}, "task": {}, "model": {}}}
    step("cfg: print_alignment true/false -> hard/none")(state)
    assert state["cfg"]["generation"]["print_alignment"] == generation


def test_print_alignment_inside_a_wav2vec_model_is_found():
    inner = {"task": {"eval_wer_config": {"print_alignment": True}}}
    state = {**copy.deepcopy(CURRENT), "cfg": {"model": {"w2v_args": inner}, "task": {"eval_wer_config": None}}}
    step("cfg: print_alignment true/false -> hard/none")(state)
    assert inner["task"]["eval_wer_config"]["print_alignment"] == "hard"


def test_normformer_options_without_weights_had_no_effect():
    options = {"scale_attn": True, "scale_fc": True, "scale_heads": False}
    weights = {"decoder.layers.0.ffn_layernorm.weight": 1}
    state = {**copy.deepcopy(CURRENT), "cfg": {"model": options}, "model": weights}
    step("cfg: options of NormFormer that were accepted without effect")(state)
    assert state["cfg"]["model"] == {"scale_attn": False, "scale_fc": True, "scale_heads": False}
