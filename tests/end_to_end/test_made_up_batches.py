"""The tasks and the model that measure speed; recorded numbers are those of the released 0.12.2."""

from __future__ import annotations

from argparse import Namespace

import pytest
import torch

from fairseq import options
from fairseq.benchmark.dummy_lm import DummyLMTask
from fairseq.benchmark.dummy_masked_lm import DummyMaskedLMTask
from fairseq.benchmark.dummy_model import DummyModel
from fairseq.benchmark.dummy_mt import DummyMTTask
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.logging import metrics
from fairseq.training_loop import main


def settings(**changed):
    usual = {
        "dict_size": 19, "dataset_size": 10, "tokens_per_sample": 10, "batch_size": 3, "max_tokens": None, "seed": 1,
        "src_len": 5, "tgt_len": 4,
    }  # fmt: skip
    return Namespace(**{**usual, **changed})


def batch_of(task):
    task.load_dataset("train")
    data = task.dataset("train")
    assert (len(data), data.sizes.tolist()) == (10, [data.size(0)] * 10)
    return data.collater([data[0]]), data.size(0)


def test_text_to_continue_is_as_recorded():
    batch, size = batch_of(DummyLMTask(settings()))
    assert batch["net_input"]["src_tokens"].tolist() == [list(range(2, 12))] * 3
    assert batch["target"].tolist() == [list(range(3, 13))] * 3
    assert (batch["id"], batch["nsentences"], batch["ntokens"], size) == (1, 3, 30, 10)
    assert len(DummyLMTask(settings()).dictionary) == 24
    assert batch_of(DummyLMTask(settings(batch_size=None, max_tokens=21)))[0]["nsentences"] == 2
    assert batch_of(DummyLMTask(settings(batch_size=None, max_tokens=5)))[0]["nsentences"] == 1


def test_text_with_masks_is_as_recorded():
    task = DummyMaskedLMTask(settings())
    batch, _ = batch_of(task)
    assert batch["net_input"]["src_tokens"][2].tolist() == [2, 3, 0, 5, 6, 7, 8, 9, 10, 0]
    assert batch["target"][2].tolist() == [1, 1, 4, 1, 1, 1, 1, 1, 1, 11]
    assert task.dictionary[task.mask_idx] == "<mask>"


def test_sentence_pairs_are_as_recorded():
    batch, size = batch_of(DummyMTTask.setup_task(settings()))
    assert batch["net_input"]["src_tokens"].tolist() == [[2, 3, 4, 5, 6, 7]] * 3
    assert batch["net_input"]["src_lengths"].tolist() == [5] * 3
    assert batch["net_input"]["prev_output_tokens"].tolist() == batch["target"].tolist() == [[2, 3, 4, 5, 6]] * 3
    assert (batch["ntokens"], size) == (12, 5)


@pytest.mark.parametrize("task", [DummyLMTask, DummyMaskedLMTask, DummyMTTask.setup_task])
def test_sizes_that_cannot_be_are_explained(task):
    with pytest.raises(ValueError, match="--batch-size or --max-tokens"):
        task(settings(batch_size=None)).load_dataset("train")
    with pytest.raises(ValueError, match="--dict-size 3 is too small"):
        task(settings(dict_size=3, src_len=9))


def test_the_model_gives_the_recorded_numbers():
    torch.manual_seed(1)
    task = DummyLMTask(settings(dict_size=16))
    model = DummyModel.build_model(Namespace(embed_dim=8, num_layers=2), Namespace(target_dictionary=range(20))).eval()
    tokens = torch.arange(4, 12).view(2, 4)
    (logits,) = model(tokens)
    torch.testing.assert_close(
        logits[0, 0, :5], torch.tensor([-0.8386, 0.2725, 0.2934, 0.1365, 0.9222]), rtol=0, atol=1e-4
    )
    chosen = torch.zeros(2, 4, dtype=torch.bool)
    chosen[0, 1] = chosen[1, 2] = True
    torch.testing.assert_close(model(tokens, masked_tokens=chosen)[0], logits[chosen])
    assert model.max_positions() == 1024
    torch.testing.assert_close(model.get_normalized_probs((logits,), log_probs=False).sum(-1), torch.ones(2, 4))
    assert len(task.dictionary) == 24


MODEL = ["--arch", "dummy_model", "--embed-dim", "16", "--num-layers", "1"]
TRANSFORMER = ["--arch", "transformer_tiny"]
for side in ("encoder", "decoder"):
    TRANSFORMER += [f"--{side}-embed-dim", "8", f"--{side}-ffn-embed-dim", "8", f"--{side}-layers", "1"]


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("dummy_lm", [*MODEL, "--tokens-per-sample", "16"]),
        ("dummy_masked_lm", [*MODEL, "--tokens-per-sample", "16"]),
        ("dummy_mt", [*TRANSFORMER, "--src-len", "6", "--tgt-len", "7"]),
    ],
)
def test_training_learns_the_one_batch(task, words):
    arguments = ["--task", task, *words, "--dict-size", "40", "--dataset-size", "80", "--batch-size", "2", "--cpu"]
    arguments += ["--optimizer", "adam", "--lr", "0.02", "--max-epoch", "1", "--no-save", "--disable-validation"]
    arguments += ["--log-format", "none", "--num-workers", "0"]
    parser = options.get_training_parser(default_task=task)
    metrics.reset()
    main(convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, arguments)))
    assert 0 < metrics.get_smoothed_value("train_inner", "loss") < 5
