"""Iterative product quantisation: a run that is stopped between its steps goes on as if it had not been."""

from __future__ import annotations

import pytest
import torch
import toy_training

from fairseq import checkpoint_utils
from fairseq.modules.quantization.pq.modules import PQEmbedding, PQLinear

CONFIG = """
n_centroids:
  Linear: ["in_features", {"*": 4}]
  Embedding: ["embedding_dim", {"*": 4}]
block_sizes:
  Linear: ["*", 4]
  Embedding: ["*", 4]
layers_to_quantize:
  - encoder.embed_tokens
  - decoder.fc_out
"""


@pytest.fixture(scope="module")
def quantized(tmp_path_factory):
    """The data, the options of a run, and the folder of one that was not stopped."""
    folder = tmp_path_factory.mktemp("quantized")
    data = toy_training.make_data(folder)
    (folder / "pq.yaml").write_text(CONFIG)
    words = ["--quantization-config-path", folder / "pq.yaml", "--max-epoch", 4, "--save-interval-updates", 3]
    toy_training.run(data, folder / "whole", *words)
    return data, words, folder / "whole"


@pytest.mark.parametrize("name", ["checkpoint_1_3.pt", "checkpoint2.pt", "checkpoint3.pt"])
def test_a_resumed_run_ends_bit_for_bit_like_one_that_was_never_stopped(name, quantized, tmp_path):
    data, words, whole = quantized
    toy_training.run(data, tmp_path, *words, "--restore-file", whole / name)
    ends = [toy_training.checkpoint(folder, "checkpoint4.pt") for folder in (whole, tmp_path)]
    assert toy_training.same(ends[0]["model"], ends[1]["model"])
    assert {key for key in ends[0]["model"] if key.endswith("centroids")} == {
        "encoder.embed_tokens.centroids", "decoder.fc_out.centroids",
    }  # fmt: skip
    assert ends[0]["optimizer_history"][-1]["num_updates"] == ends[1]["optimizer_history"][-1]["num_updates"]


def test_a_quantized_checkpoint_is_loaded_to_translate(quantized):
    _, _, whole = quantized
    path = str(whole / "checkpoint4.pt")
    (model,), _, _ = checkpoint_utils.load_model_ensemble_and_task([path])
    assert isinstance(model.encoder.embed_tokens, PQEmbedding)
    assert isinstance(model.decoder.fc_out, PQLinear)
    stored = toy_training.checkpoint(whole, "checkpoint4.pt")["model"]
    assert toy_training.same(model.state_dict(), stored)
    logits, _ = model.eval()(torch.tensor([[4, 5, 2]]), torch.tensor([3]), torch.tensor([[2, 4]]))
    assert logits.isfinite().all()


def test_a_quantized_checkpoint_goes_on_without_the_schedule(quantized, tmp_path):
    data, _, whole = quantized
    toy_training.run(data, tmp_path, "--restore-file", whole / "checkpoint2.pt", "--max-epoch", 3)
    after, before = (
        toy_training.checkpoint(folder, name)["model"]
        for folder, name in ((tmp_path, "checkpoint3.pt"), (whole, "checkpoint2.pt"))
    )
    assert after.keys() == before.keys()
    assert after["encoder.embed_tokens.assignments"].equal(before["encoder.embed_tokens.assignments"])
    assert not after["encoder.embed_tokens.centroids"].equal(before["encoder.embed_tokens.centroids"])


def test_weights_of_another_size_are_refused_in_one_line(quantized, tmp_path):
    data, _, whole = quantized
    with pytest.raises(Exception, match=r"checkpoint2\.pt: encoder\.embed_tokens: centroids \[4, 4\]"):
        toy_training.run(
            data, tmp_path, "--restore-file", whole / "checkpoint2.pt", "--max-epoch", 3, "--encoder-embed-dim", 16
        )
