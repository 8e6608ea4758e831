"""Mistakes that used to show after an epoch, or never, are refused before the first update."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from toy_training import MODEL, config, run

from fairseq.trainer import Trainer
from fairseq.training_loop import main


@pytest.fixture(scope="module")
def trained(toy_pairs: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint after one update."""
    folder = tmp_path_factory.mktemp("trained")
    run(toy_pairs, folder, "--max-update", 1)
    return folder


@pytest.fixture(autouse=True)
def no_update(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An update is too late."""

    def train_step(*_: Any, **__: Any) -> None:
        raise AssertionError("an update was made")

    monkeypatch.setattr(Trainer, "train_step", train_step)


def refused(data: str, folder: Path, *words: Any, kind: type[Exception] = ValueError) -> str:
    with pytest.raises(kind) as error:
        run(data, folder / "ck", "--max-epoch", 1, *words)
    assert not list(folder.glob("ck/*.pt"))
    return str(error.value)


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        ("bleu", "it needs --eval-bleu"),
        ("nll_los", "did you mean nll_loss"),
        ("cer", "was not logged in validation; there are: loss, nll_loss, ppl"),
    ],
)
def test_a_metric_that_validation_does_not_give(metric: str, told: str, toy_pairs: str, tmp_path: Path) -> None:
    words = ["--best-checkpoint-metric", metric, "--criterion", "label_smoothed_cross_entropy"]
    assert told in refused(toy_pairs, tmp_path, *words, kind=KeyError)


def test_looking_for_a_metric_changes_nothing(toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from toy_training import checkpoint, same

    monkeypatch.undo()
    for metric in ("loss", "ppl"):
        run(toy_pairs, tmp_path / metric, "--max-update", 4, "--best-checkpoint-metric", metric)
    one, other = (checkpoint(tmp_path / metric) for metric in ("loss", "ppl"))
    assert same(one["model"], other["model"])


def test_a_metric_of_an_option_that_is_given_is_believed(
    toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AssertionError, match="an update was made"):
        run(toy_pairs, tmp_path, "--best-checkpoint-metric", "bleu", "--eval-bleu", "--maximize-best-checkpoint-metric")


@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_later_data_folder_that_cannot_be_read(what: str, toy_pairs: str, tmp_path: Path) -> None:
    other = tmp_path / "second"
    if what == "file":
        shutil.copytree(toy_pairs, other)
        for path in other.glob("train.*"):
            path.unlink()
    told = refused(f"{toy_pairs}{os.pathsep}{other}", tmp_path, kind=FileNotFoundError)
    assert str(other) in told and "number 2 of 2" in told


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--eval-bleu-args", '{"beem": 4}', "did you mean beam"),
        ("--eval-bleu-args", '{"beam": "four"}', "a number"),
        ("--eval-bleu-detok-args", '{"target_lan": "en"}', "target_lan"),
        ("--update-freq", "2.5", "--update-freq 2.5: a whole number"),
        ("--update-freq", "1,2.5", "--update-freq 2.5: a whole number"),
    ],
)
def test_values_that_were_taken_silently(option: str, value: str, told: str, toy_pairs: str, tmp_path: Path) -> None:
    words = ["--eval-bleu"] if option.startswith("--eval") else []
    assert told.lower() in refused(toy_pairs, tmp_path, *words, option, value).lower()


def test_a_fraction_in_a_composed_config(toy_pairs: str, tmp_path: Path) -> None:
    cfg = config(toy_pairs, tmp_path)
    OmegaConf.set_struct(cfg, False)
    cfg.optimization.update_freq = [2.5]
    with pytest.raises(ValueError, match=r"--update-freq 2.5: a whole number"):
        main(cfg)


def test_sacrebleu_is_looked_for_first(toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "sacrebleu" else real(name, *a))
    assert "pip install sacrebleu" in refused(toy_pairs, tmp_path, "--eval-bleu", kind=ImportError)


def test_alignments_that_are_not_there(toy_pairs: str, tmp_path: Path) -> None:
    told = refused(toy_pairs, tmp_path, "--load-alignments", kind=FileNotFoundError)
    assert "train.align.aa-bb" in told and "--align-suffix" in told


def test_files_of_the_other_direction_are_named(
    toy_pairs: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    # Back-translation trains both directions from one folder: it is no error.
    with pytest.raises(AssertionError, match="an update was made"):
        run(toy_pairs, tmp_path, "-s", "bb", "-t", "aa", "--max-epoch", 1)
    assert "bb-aa is trained from the files of aa-bb" in caplog.text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--continue-once", "nowhere.pt"], "--continue-once nowhere.pt"),
        (["--finetune-from-model", "nowhere.pt"], "--finetune-from-model nowhere.pt"),
        (["--store-ema", "--ema-seed-model", "nowhere.pt"], "--ema-seed-model nowhere.pt"),
        (["--valid-subset", "vaild"], "did you mean: valid"),
        (["--train-subset", "trian"], "trian"),
        (["--max-tokens", 5, "--max-tokens-valid", 5], "tokens. Raise --max-tokens"),
        (["--tensorboard-logdir", "/dev/null/logs"], "--tensorboard-logdir"),
    ],
    ids=["continue", "finetune", "average", "subset", "training subset", "too long", "logs"],
)
def test_other_late_checks(words: list[Any], told: str, toy_pairs: str, tmp_path: Path) -> None:
    assert told in refused(toy_pairs, tmp_path, *words, kind=Exception)


def test_settings_that_the_optimizer_does_not_have(trained: Path, toy_pairs: str) -> None:
    with pytest.raises(ValueError, match="no setting 'beta'; did you mean betas"):
        run(toy_pairs, trained, "--max-update", 2, "--optimizer-overrides", "{'beta': (0.9, 0.98)}")


def test_a_sentence_that_is_too_long_is_named() -> None:
    import numpy as np

    from fairseq.data.data_utils import batch_by_size

    with pytest.raises(AssertionError, match=r"max_tokens=5: sentence 7 \(counted from 0\) has 9 tokens.*--max-tokens"):
        batch_by_size(np.array([3, 7, 1]), None, num_tokens_vec=np.array([2, 9, 8]), max_tokens=5)


@pytest.mark.parametrize("call", ["translate", "sample", "generate"])
def test_keywords_of_hub_calls(call: str, toy_pairs: str, trained: Path) -> None:
    from fairseq.models.lstm import LSTMModel

    hub = LSTMModel.from_pretrained(str(trained), "checkpoint_last.pt", toy_pairs)
    given = hub.encode("a b") if call == "generate" else "a b"
    with pytest.raises(TypeError, match="no such option 'beem'. Did you mean beam"):
        getattr(hub, call)(given, beem=4)
    getattr(hub, call)(given, beam=2, lenpen=0.5, max_len_a=1.2)


def test_the_command_says_it_in_one_line(
    toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from toy_training import RUN

    from fairseq_cli.train import console_main

    words = [toy_pairs, *MODEL, *RUN, "--save-dir", str(tmp_path), "--update-freq", "2.5"]
    monkeypatch.setattr(sys, "argv", ["fairseq-train", *words])
    with pytest.raises(SystemExit) as left:
        console_main()
    said = capsys.readouterr().err.strip()
    assert left.value.code in (1, 2) and said.count("\n") == 0 and "2.5" in said
