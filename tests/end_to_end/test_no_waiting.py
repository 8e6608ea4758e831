"""An update asks the device nothing, so that a GPU never has to wait for the host; what is checked late does no harm.

Tensors on the device ``meta`` have no values: reading one is an error. A step that works on them cannot
wait for a GPU either.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import toy_training
from torch import Tensor

from fairseq import options, tasks, utils
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.logging import metrics
from fairseq.trainer import Trainer
from fairseq.trainer.readback import Readback

TRANSFORMER = (  # noqa: SIM905
    "--arch transformer --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 32 --decoder-embed-dim 32 "
    "--encoder-ffn-embed-dim 64 --decoder-ffn-embed-dim 64 --encoder-attention-heads 2 --decoder-attention-heads 2"
).split()

PAIRS = "--task translation -s aa -t bb".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def toy_text(toy_pairs: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """One side of the pairs, binarised for language models."""
    from fairseq_cli.preprocess import main as preprocess

    folder = tmp_path_factory.mktemp("text")
    given = Path(toy_pairs).parent
    words = ["--only-source", "--trainpref", f"{given}/train.aa", "--validpref", f"{given}/valid.aa"]
    preprocess(options.get_preprocessing_parser().parse_args([*words, "--destdir", str(folder)]))
    return str(folder)


def ask_later(self: Any, value: Tensor, then: Any) -> bool:
    """What ``Readback.ask`` does with values on a GPU, for others."""
    self._pending.append((value.detach().clone(), SimpleNamespace(synchronize=lambda: None), then))
    return True


def trainer(pairs: str, folder: Path, *words: Any, model: Any = toy_training.MODEL) -> tuple[Any, list[Any]]:
    """A trainer, and batches for it."""
    common = [word for word in toy_training.RUN if "language_modeling" not in words or word not in PAIRS]
    words = (pairs, *model, *common, "--save-dir", str(folder), *map(str, words))
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), list(words)))
    task = tasks.setup_task(cfg.task)
    torch.manual_seed(1)
    made = Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))
    return made, list(made.get_train_iterator(1).next_epoch_itr(shuffle=False))


@pytest.fixture(autouse=True)
def own_metrics() -> Any:
    metrics.reset()
    yield
    metrics.reset()


@pytest.mark.parametrize(
    "words",
    [
        "",
        "--bf16",
        "--bf16 --clip-norm 1",
        "--memory-efficient-bf16 --clip-norm 1 --optimizer adafactor --scale-parameter --relative-step --lr 0",
        "--clip-norm 1 --store-ema",
        "--criterion cross_entropy --optimizer sgd --momentum 0.9",
        "--criterion label_smoothed_cross_entropy --label-smoothing 0.1 --report-accuracy --optimizer nag",
        "--optimizer adafactor --arch transformer_align --criterion label_smoothed_cross_entropy",
        "--optimizer adagrad --arch lightconv --encoder-kernel-size-list [3] --decoder-kernel-size-list [3]",
        "--optimizer adamax --adamax-betas (0.9,0.98)",
        "--optimizer adadelta --arch fconv",
        "--optimizer lamb --clip-norm 1",
        "--fp16-adam-stats",
    ],
)
def test_an_update_reads_nothing_from_the_device(
    toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    model = [] if "fconv" in words else TRANSFORMER
    made, batches = trainer(toy_pairs, tmp_path, *words.split(), model=model)
    made._model.to("meta")
    made.device = torch.device("meta")
    asked: list[Any] = []
    monkeypatch.setattr(Readback, "ask", lambda _, value, then: asked.append(value) or True)
    for batch in batches[:2]:
        with metrics.aggregate("train_inner"):
            made.train_step([utils.apply_to_sample(lambda tensor: tensor.to("meta"), batch)])
    assert made.get_num_updates() == 2 and len(asked) == 2
    with pytest.raises((RuntimeError, NotImplementedError)):  # a log line does ask
        metrics.get_smoothed_values("train_inner")


@pytest.mark.parametrize(
    "words",
    [
        f"--user-dir {toy_training.ROOT}/plugins/tutorial_lstm --arch tutorial_simple_lstm",
        "--arch transformer --criterion adaptive_loss --ddp-backend legacy_ddp --adaptive-softmax-cutoff 6,9",
        *(
            f"--task language_modeling --arch transformer_lm --tokens-per-sample 12 --sample-break-mode {blocks} {more}"
            for blocks in ("eos", "none")
            for more in (
                "",
                "--criterion adaptive_loss --ddp-backend legacy_ddp --adaptive-softmax-cutoff 6,9 "
                "--adaptive-input --adaptive-input-cutoff 6,9",
            )
        ),
    ],
)
def test_what_the_host_has_sent_is_not_read_from_the_device(
    toy_pairs: str, toy_text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    made, batches = trainer(toy_text if "language" in words else toy_pairs, tmp_path, *words.split(), model=[])
    made._model.to("meta")
    made.device = torch.device("meta")
    monkeypatch.setattr(Readback, "ask", lambda _, value, then: True)
    for batch in batches[:2]:
        made.train_step([utils.move_to_device(batch, "meta")])
    assert made.get_num_updates() == 2


@pytest.mark.parametrize("flag", ["--fp16", "--memory-efficient-fp16"])
def test_loss_scaling_reads_one_number(
    toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: str
) -> None:
    made, batches = trainer(toy_pairs, tmp_path, flag, "--clip-norm", 1, model=TRANSFORMER)
    made._model.to("meta")
    made.device = torch.device("meta")
    reads: list[Tensor] = []
    monkeypatch.setattr(Tensor, "__float__", lambda tensor: reads.append(tensor) or 1.0)
    for batch in batches[:2]:
        made.train_step([utils.apply_to_sample(lambda tensor: tensor.to("meta"), batch)])
    assert made.get_num_updates() == 2 and len(reads) == 2


def break_update(monkeypatch: pytest.MonkeyPatch, number: int, made: Any) -> None:
    """Let attention give NaN in one update, counted from 0."""
    from fairseq.models.lstm import AttentionLayer

    real = AttentionLayer.forward

    def forward(self: Any, *args: Any) -> Any:
        output, scores = real(self, *args)
        return (output * float("nan") if made.get_num_updates() == number else output), scores

    monkeypatch.setattr(AttentionLayer, "forward", forward)


@pytest.mark.parametrize("words", ["", "--clip-norm 1", "--bf16 --clip-norm 1"])
def test_a_broken_update_is_found_in_the_next_one_and_leaves_adam_where_it_was(
    toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any, words: str
) -> None:
    monkeypatch.setattr(Readback, "ask", ask_later)
    made, batches = trainer(toy_pairs, tmp_path, *words.split())
    break_update(monkeypatch, 2, made)
    made.train_step([batches[0]])
    made.train_step([batches[1]])
    before = {name: value.float().clone() for name, value in made.get_model().state_dict().items()}
    made.train_step([batches[2]])
    assert made.get_num_updates() == 3
    with pytest.raises(FloatingPointError, match="gradients are Nan/Inf"):
        made.train_step([batches[3]])
    assert made.get_num_updates() == 2
    crash = toy_training.checkpoint(tmp_path, "crash.pt")
    assert toy_training.same(crash["model"], before)
    assert crash["optimizer_history"][-1]["num_updates"] == 2
    assert "NaN detected in output of decoder.attention" in caplog.text


@pytest.mark.parametrize(
    "words", ["--optimizer sgd", "--optimizer nag --bf16 --clip-norm 1", "--optimizer adam --use-old-adam"]
)
def test_a_broken_update_does_no_harm_to_other_optimizers(
    toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.setattr(Readback, "ask", ask_later)
    made, batches = trainer(toy_pairs, tmp_path, *words.split())
    break_update(monkeypatch, 1, made)
    made.train_step([batches[0]])
    made.train_step([batches[1]])
    assert all(value.isfinite().all() for value in made.get_model().state_dict().values())
    with pytest.raises(FloatingPointError):
        made.settle()


def test_nothing_is_validated_or_saved_after_a_broken_update(
    toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Readback, "ask", ask_later)
    made, batches = trainer(toy_pairs, tmp_path)
    break_update(monkeypatch, 0, made)
    for action in (lambda: made.save_checkpoint(str(tmp_path / "a.pt"), {}), lambda: made.begin_valid_epoch(1)):
        made.set_num_updates(0)
        made.train_step([batches[0]])
        with pytest.raises(FloatingPointError):
            action()
    assert not os.path.exists(tmp_path / "a.pt")


def test_checks_that_come_late_change_no_number(
    toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy_training.run(toy_pairs, tmp_path / "now", "--max-epoch", 2)
    monkeypatch.setattr(Readback, "ask", ask_later)
    toy_training.run(toy_pairs, tmp_path / "later", "--max-epoch", 2)
    now, later = (toy_training.checkpoint(tmp_path / name)["model"] for name in ("now", "later"))
    assert toy_training.same(now, later)
