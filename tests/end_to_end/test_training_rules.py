"""Rules of a run, each seen in a run: resets, finetuning, stopping, order of batches, memory, where metrics go."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from toy_training import checkpoint, config, run, same

from fairseq.criterions.cross_entropy import CrossEntropyCriterion
from fairseq.trainer import Trainer


@pytest.fixture(scope="module")
def trained(toy_pairs: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that stopped in the middle of its second epoch."""
    folder = tmp_path_factory.mktemp("trained")
    run(toy_pairs, folder, "--max-update", 12, "--save-interval-updates", 4, "--dropout", 0)
    return folder


def state_after(toy_pairs: str, folder: Path, *words: Any) -> dict[str, Any]:
    run(toy_pairs, folder, "--dropout", 0, *words)
    return checkpoint(folder)


def test_resets_forget_what_they_name_and_keep_the_rest(trained: Path, toy_pairs: str, tmp_path: Path) -> None:
    start = ["--restore-file", trained / "checkpoint_last.pt"]
    plain = state_after(toy_pairs, tmp_path / "a", *start, "--max-update", 13)
    assert plain["optimizer_history"][-1]["num_updates"] == 13
    assert plain["extra_state"]["train_iterator"]["epoch"] == 2

    data = state_after(toy_pairs, tmp_path / "b", *start, "--max-update", 13, "--reset-dataloader")
    assert data["extra_state"]["train_iterator"] == {**plain["extra_state"]["train_iterator"], "epoch": 1} | {
        "iterations_in_epoch": 1
    }
    fresh = state_after(toy_pairs, tmp_path / "c", *start, "--max-update", 1, "--reset-optimizer")
    assert fresh["optimizer_history"][-1]["num_updates"] == 1
    assert fresh["last_optimizer_state"]["state"][0]["step"] == 1
    overridden = state_after(
        toy_pairs, tmp_path / "d", *start, "--max-update", 13, "--optimizer-overrides", "{'eps': 0.5}"
    )
    assert overridden["last_optimizer_state"]["param_groups"][0]["eps"] == 0.5
    best = plain["extra_state"]["best"]
    again = state_after(toy_pairs, tmp_path / "e", *start, "--max-update", 13, "--reset-meters", "--disable-validation")
    assert "best" not in again["extra_state"] and best <= checkpoint(trained)["extra_state"]["best"]


def test_finetuning_takes_the_weights_and_nothing_else(trained: Path, toy_pairs: str, tmp_path: Path) -> None:
    source = trained / "checkpoint_last.pt"
    words = ["--finetune-from-model", source, "--lr", 0.0, "--lr-scheduler", "fixed", "--warmup-updates", 0]
    state = state_after(toy_pairs, tmp_path, *words, "--max-update", 1)
    assert same(state["model"], checkpoint(trained)["model"])
    assert state["optimizer_history"][-1]["num_updates"] == 1 and len(state["optimizer_history"]) == 2
    # The run's own checkpoint wins the next time.
    state = state_after(toy_pairs, tmp_path, *words, "--max-update", 2)
    assert state["optimizer_history"][-1]["num_updates"] == 2
    with pytest.raises(ValueError, match="can not be set together"):
        run(toy_pairs, tmp_path / "other", *words, "--reset-meters")
    with pytest.raises(ValueError, match="does not exist"):
        run(toy_pairs, tmp_path / "other", "--finetune-from-model", tmp_path / "nothing.pt")


def test_a_restore_file_that_is_not_there_is_a_fresh_start(toy_pairs: str, tmp_path: Path, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    state = state_after(toy_pairs, tmp_path, "--restore-file", tmp_path / "no.pt", "--max-update", 1)
    assert f"No existing checkpoint found {tmp_path}/no.pt" in caplog.text
    assert state["optimizer_history"][-1]["num_updates"] == 1


def test_training_ends_when_the_rate_has_fallen_or_patience_is_out(toy_pairs: str, tmp_path: Path, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    fixed = ["--lr-scheduler", "fixed", "--warmup-updates", 0, "--lr", 0.01, "--force-anneal", 1, "--lr-shrink", 0.1]
    state = state_after(toy_pairs, tmp_path / "rate", *fixed, "--stop-min-lr", 2e-4, "--max-epoch", 9)
    assert state["extra_state"]["train_iterator"]["epoch"] == 3  # after two epochs the rate is 1e-4
    assert "--stop-min-lr=0.0002" in caplog.text
    worse = ["--best-checkpoint-metric", "bsz", "--maximize-best-checkpoint-metric", "--patience", 2]
    state = state_after(toy_pairs, tmp_path / "patience", *worse, "--max-epoch", 9)
    # The size of a batch never grows: the first value stays the best.
    assert state["extra_state"]["train_iterator"]["epoch"] == 4
    assert "early stop since valid performance hasn't improved for last 2 runs" in caplog.text
    with pytest.raises(KeyError, match="--best-checkpoint-metric bleu was not logged"):
        run(toy_pairs, tmp_path / "bleu", "--best-checkpoint-metric", "bleu", "--max-update", 1)


def order_of_epochs(toy_pairs: str, monkeypatch: pytest.MonkeyPatch, *words: Any) -> list[list[tuple[int, ...]]]:
    epochs: list[list[tuple[int, ...]]] = []
    real_step, real_begin = Trainer.train_step, Trainer.begin_epoch

    def step(self: Trainer, samples: Any, raise_oom: bool = False) -> Any:
        epochs[-1].extend(tuple(sample["id"].tolist()) for sample in samples)
        return real_step(self, samples, raise_oom)

    def begin(self: Trainer, epoch: int) -> None:
        epochs.append([])
        real_begin(self, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", step)
        patch.setattr(Trainer, "begin_epoch", begin)
        run(toy_pairs, "unused", "--no-save", "--disable-validation", "--max-epoch", 3, *words)
    return epochs


def test_a_curriculum_keeps_the_order_for_so_many_epochs(
    toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second, third = order_of_epochs(toy_pairs, monkeypatch, "--curriculum", 2)
    # A loader that is kept from epoch to epoch keeps the order, as it always has: the third epoch has it too.
    assert first == second == third
    first, second, _ = order_of_epochs(toy_pairs, monkeypatch)
    assert first != second and sorted(first) == sorted(second)


@pytest.mark.parametrize("stop", [["--max-epoch", 2], ["--max-update", 13]], ids=["between epochs", "mid epoch"])
def test_a_run_with_a_curriculum_resumes_in_its_order(stop: list[Any], toy_pairs: str, tmp_path: Path) -> None:
    run(toy_pairs, tmp_path / "whole", "--curriculum", 1, "--max-epoch", 3)
    run(toy_pairs, tmp_path / "parts", "--curriculum", 1, *stop)
    run(toy_pairs, tmp_path / "parts", "--curriculum", 1, "--max-epoch", 3)
    assert same(checkpoint(tmp_path / "whole")["model"], checkpoint(tmp_path / "parts")["model"])


def test_a_batch_that_needs_too_much_memory_is_left_out(
    toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    real, calls = CrossEntropyCriterion.forward, []

    def failing(self: Any, model: Any, sample: Any, reduce: bool = True) -> Any:
        calls.append(sample["id"].numel())
        if len(calls) == 2:
            raise RuntimeError("DefaultCPUAllocator: out of memory (made up)")
        return real(self, model, sample, reduce)

    monkeypatch.setattr(CrossEntropyCriterion, "forward", failing)
    state = state_after(toy_pairs, tmp_path, "--max-update", 3, "--disable-validation")
    assert len(calls) == 4 and state["optimizer_history"][-1]["num_updates"] == 3
    assert "attempting to recover from OOM in forward/backward pass" in caplog.text


def test_the_module_where_numbers_break_is_named(
    toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    from fairseq.models.lstm import AttentionLayer

    real = AttentionLayer.forward

    def broken(self: Any, *args: Any) -> Any:
        output, scores = real(self, *args)
        return output * float("nan"), scores

    monkeypatch.setattr(AttentionLayer, "forward", broken)
    with pytest.raises(FloatingPointError, match="gradients are Nan/Inf"):
        run(toy_pairs, tmp_path, "--max-update", 1)
    assert "NaN detected in output of decoder.attention" in caplog.text


def test_metrics_go_to_every_program_that_is_asked_for(
    toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    pytest.importorskip("tensorboard")
    caplog.set_level(logging.INFO)
    from fairseq.logging import progress_bar

    sent: list[Any] = []
    fake = SimpleNamespace(
        run=None,
        init=lambda **given: (sent.append(("init", given)), setattr(fake, "run", object())),
        log=lambda values, step: sent.append((step, values)),
        config=SimpleNamespace(update=lambda config, **_: sent.append(("config", config))),
    )
    monkeypatch.setattr(progress_bar, "wandb", fake)
    monkeypatch.setenv("WANDB_NAME", "my run")
    log = tmp_path / "log.txt"
    places = ["--tensorboard-logdir", tmp_path / "tb", "--wandb-project", "project", "--log-file", log]
    run(toy_pairs, tmp_path / "ck", *places, "--max-update", 3)
    assert sent[0] == ("init", {"project": "project", "name": "my run"})
    assert next(config for kind, config in sent if kind == "config")["common"]["seed"] == 3
    steps = [step for step, values in sent if isinstance(step, int) and "train_inner/loss" in values]
    assert steps == [1, 2, 3] and any("valid/loss" in values for _, values in sent if isinstance(values, dict))
    assert {path.name for path in (tmp_path / "tb").iterdir()} >= {"train_inner", "train", "valid"}
    rows = [json.loads(line) for line in log.read_text().splitlines() if line.startswith('{"epoch"')]
    assert [row["num_updates"] for row in rows if "num_updates" in row] == ["1", "2", "3"]
    root = logging.getLogger("fairseq_cli.train")
    for handler in [handler for handler in root.handlers if isinstance(handler, logging.FileHandler)]:
        root.removeHandler(handler)
        handler.close()


def test_validation_follows_its_options(trained: Path, toy_pairs: str, tmp_path: Path, monkeypatch: Any) -> None:
    from fairseq_cli.validate import cli_main

    def validated(*words: Any) -> dict[str, float]:
        common = ["fairseq-validate", toy_pairs, "--path", trained / "checkpoint_last.pt", "--cpu", "--num-workers", 0]
        monkeypatch.setattr(sys, "argv", [*map(str, (*common, "--results-path", tmp_path, *words))])
        cli_main()
        return json.loads((tmp_path / "validate-valid.json").read_text())

    # All batches are counted as one, so bsz is the number of sentences.
    assert validated("--batch-size", 5)["bsz"] == 10
    first = validated("--batch-size", 5, "--max-valid-steps", 1)
    assert first["bsz"] == 5
    assert validated("--batch-size", 5, "--batch-size-valid", 2, "--max-valid-steps", 1)["bsz"] == 2
    halves = [validated("--batch-size", 5, "--num-shards", 2, "--shard-id", shard) for shard in (0, 1)]
    assert [half["bsz"] for half in halves] == [5, 5] and halves[0]["loss"] == first["loss"] != halves[1]["loss"]


def test_gradients_are_exchanged_once_per_update(
    toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import contextlib

    from fairseq import tasks
    from fairseq.trainer.step import TrainingStep

    cfg = config(toy_pairs, tmp_path)
    task = tasks.setup_task(cfg.task)
    trainer = Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))
    entered: list[int] = []

    @contextlib.contextmanager
    def no_sync() -> Any:
        entered.append(1)
        yield

    monkeypatch.setattr(Trainer, "data_parallel_world_size", 2)
    trainer._wrapped_model = SimpleNamespace(no_sync=no_sync)  # type: ignore[assignment]
    step = TrainingStep(trainer)
    for index in range(4):
        with step._without_sync(is_last=index == 3):
            pass
    assert len(entered) == 3


def test_every_worker_reads_the_file_when_told_so(trained: Path, toy_pairs: str, tmp_path: Path) -> None:
    words = ["--load-checkpoint-on-all-dp-ranks", "--restore-file", trained / "checkpoint_last.pt"]
    state = state_after(toy_pairs, tmp_path, *words, "--max-update", 13)
    assert state["optimizer_history"][-1]["num_updates"] == 13


def composite(toy_pairs: str, folder: Path, updates: int) -> Any:
    """A run in which the decoder has an optimizer and a schedule of its own."""
    from omegaconf import OmegaConf, open_dict

    cfg = config(toy_pairs, folder, "--max-update", updates)
    adam = {"_name": "adam", "adam_betas": [0.9, 0.98], "adam_eps": 1e-8, "weight_decay": 0.0, "lr": [0.02]}
    adam.update({"use_old_adam": False, "fp16_adam_stats": False, "tpu": False})
    rising = {"_name": "inverse_sqrt", "warmup_updates": 2, "warmup_init_lr": -1, "lr": [0.02]}
    level = {"_name": "fixed", "force_anneal": None, "lr_shrink": 0.1, "warmup_updates": 0, "lr": [0.5]}
    groups = {
        "default": {"optimizer": adam, "lr_scheduler": rising, "lr": [0.02], "lr_float": None},
        "decoder": {"optimizer": {**adam, "lr": [0.5]}, "lr_scheduler": level, "lr": [0.5], "lr_float": 0.001},
    }
    with open_dict(cfg):
        section = {"_name": "composite", "groups": groups, "dynamic_groups": False}
        cfg.optimizer = OmegaConf.create(section, flags={"allow_objects": True})
        cfg.lr_scheduler = OmegaConf.create({"_name": "pass_through"})
    return cfg


def test_groups_of_parameters_have_optimizers_and_schedules_of_their_own(
    toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    from fairseq.tasks.translation import TranslationTask
    from fairseq.training_loop import main

    real = TranslationTask.build_model

    def marked(self: Any, cfg: Any, from_checkpoint: bool = False) -> Any:
        model = real(self, cfg, from_checkpoint)
        for parameter in model.decoder.parameters():
            parameter.param_group = "decoder"
        return model

    monkeypatch.setattr(TranslationTask, "build_model", marked)
    caplog.set_level(logging.INFO)
    main(composite(toy_pairs, tmp_path / "whole", 5))
    rows = [json.loads(record.getMessage()) for record in caplog.records if record.name == "train_inner"]
    # What is logged at update u is the rate for the next one.
    assert [row["lr_default"] for row in rows[:3]] == ["0.01", "0.02", "0.0163299"]
    assert {row["lr_decoder"] for row in rows} == {"0.001"} and rows[0]["lr"] == "0.01"
    main(composite(toy_pairs, tmp_path / "parts", 3))
    main(composite(toy_pairs, tmp_path / "parts", 5))
    whole, parts = checkpoint(tmp_path / "whole"), checkpoint(tmp_path / "parts")
    assert sorted(whole["last_optimizer_state"]) == ["decoder", "default"]
    assert same(whole["model"], parts["model"])


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--tpu"], "TPUs are not supported"),
        (["--pipeline-model-parallel"], "--pipeline-model-parallel is not supported"),
        (["--model-parallel-size", 2], "--model-parallel-size 2 is not supported"),
        (["--fp16", "--bf16"], "cannot be combined"),
        (["--fp16", "--amp"], "Cannot use fp16 and AMP together"),
        (["--fp16", "--update-freq", "2,1"], "--fp16-scale-window must be given explicitly"),
        (["--memory-efficient-fp16", "--optimizer", "adagrad"], "Unsupported optimizer: Adagrad"),
        (["--fp16", "--optimizer", "adagrad"], "does not support flat params"),
    ],
)
def test_modes_that_are_not_there_or_contradict_each_other_are_refused(
    words: list[Any], complaint: str, toy_pairs: str, tmp_path: Path
) -> None:
    with pytest.raises((ValueError, AssertionError, RuntimeError), match=complaint):
        run(toy_pairs, tmp_path, "--max-update", 1, *words)


def test_a_run_that_does_not_validate_needs_no_validation_data(toy_pairs: str, tmp_path: Path) -> None:
    for path in Path(toy_pairs).iterdir():
        if not path.name.startswith("valid."):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    words = ["--max-update", 1, "--no-save"]
    with pytest.raises(FileNotFoundError, match="valid"):
        run(str(tmp_path), "unused", *words)
    run(str(tmp_path), "unused", *words, "--disable-validation")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ('{"beam": "x"}', "--eval-bleu-args: beam is 'x'; a number"),
        ('{"max_len_b": [3]}', "--eval-bleu-args: max_len_b is"),
        ('{"beam"', "--eval-bleu-args expects a JSON object"),
    ],
)
def test_options_of_generation_that_cannot_be_are_named(toy_pairs: str, given: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        run(toy_pairs, "unused", "--max-update", 1, "--no-save", "--eval-bleu", "--eval-bleu-args", given)


def test_options_of_generation_reach_it(toy_pairs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from fairseq.tasks.fairseq_task import FairseqTask

    real, built = FairseqTask.build_generator, []

    def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        built.append(real(self, *args, **kwargs))
        return built[-1]

    monkeypatch.setattr(FairseqTask, "build_generator", noted)
    words = ["--eval-bleu", "--eval-bleu-args", '{"beam": 2, "max_len_b": 5, "lenpen": 0.5}']
    run(toy_pairs, "unused", "--max-update", 1, "--no-save", *words)
    assert built and {(g.beam_size, g.max_len_b, g.len_penalty) for g in built} == {(2, 5, 0.5)}
