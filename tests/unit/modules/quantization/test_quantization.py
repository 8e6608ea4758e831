"""Quantisation: rounding noise, product quantisation, and the schedule of the latter."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from fairseq.modules.quantization.pq import SizeTracker
from fairseq.modules.quantization.pq import quantize_model_ as product_quantize
from fairseq.modules.quantization.pq.pq import PQ
from fairseq.modules.quantization.scalar.ops import emulate_int
from fairseq.quantization_utils import Quantizer, quantize_model_scalar


@pytest.mark.parametrize("method", ["histogram", "tensor", "channel"])
def test_rounding_is_at_most_half_a_step_off_and_keeps_few_values(method: str) -> None:
    torch.manual_seed(0)
    w = torch.rand(64, 8) * 2 - 1
    rounded, scale, _ = emulate_int(w, 4, method)
    assert bool(((rounded - w).abs() <= scale * 0.51).float().mean() > 0.9)
    assert len(rounded[:, 0].unique()) <= 16
    with pytest.raises(ValueError, match="histogram, tensor, channel"):
        emulate_int(w, 4, "other")


def test_scalar_noise_keeps_names_and_rounds_everything_in_evaluation(build: Any, batch: dict) -> None:
    model = build().eval()
    before, keys = model(**batch)[0], list(model.state_dict())
    assert quantize_model_scalar(model, SimpleNamespace(quant_noise_scalar=0)) is model
    assert type(model.encoder.layers[0].fc1) is nn.Linear
    quantize_model_scalar(model, SimpleNamespace(quant_noise_scalar=0.5))
    assert list(model.state_dict()) == keys
    model.eval()
    after = model(**batch)[0]
    assert not torch.equal(before, after)
    torch.testing.assert_close(before, after, rtol=0.2, atol=0.2)
    model.train()(**batch)[0].sum().backward()
    assert model.encoder.layers[0].fc1.weight.grad is not None


def test_product_quantisation_decodes_to_the_weight_when_there_are_enough_centroids() -> None:
    torch.manual_seed(0)
    weight = torch.randn(6, 8)
    quantizer = PQ(weight, block_size=4, n_centroids=12, n_iter=30, verbose=False)
    quantizer.encode()
    torch.testing.assert_close(quantizer.decode(), weight, rtol=1e-3, atol=1e-3)
    kernel = torch.randn(4, 3, 3, 3)
    conv = PQ(kernel, block_size=9, n_centroids=12, n_iter=30, verbose=False)
    conv.encode()
    torch.testing.assert_close(conv.decode(), kernel, rtol=1e-3, atol=1e-3)


def test_a_product_quantised_model_trains_its_centroids(build: Any, batch: dict) -> None:
    model = build()
    tracker = SizeTracker(model)
    names = product_quantize(
        model,
        tracker,
        [r"decoder\.layers\.\d+\.fc[12]"],
        {"Linear": ("fuzzy_name", {"fc": 4})},
        {"Linear": ("in_features", {"*": 8})},
        n_iter=3,
        verbose=False,
    )
    assert names == [f"decoder.layers.{layer}.fc{n}" for layer in (0, 1) for n in (1, 2)]
    assert "4 layers quantised" in repr(tracker)
    model(**batch)[0].sum().backward()
    fc1 = model.decoder.layers[0].fc1
    assert fc1.weight.shape == (24, 16)
    assert float(fc1.centroids.grad.abs().sum()) > 0


def test_the_schedule_quantises_group_after_group(tmp_path: Any) -> None:
    config = tmp_path / "pq.yaml"
    config.write_text(
        "n_centroids:\n  Linear: ['in_features', {'*': 4}]\n"
        "block_sizes:\n  Linear: ['*', 2]\n"
        "layers_to_quantize:\n  - 'a'\n  - 'b'\n"
    )
    model = nn.ModuleDict({"a": nn.Linear(8, 8), "b": nn.Linear(8, 8)})
    resets = []
    trainer = SimpleNamespace(get_model=lambda: model, reinitialize=lambda: resets.append(1))
    quantizer = Quantizer(str(config), max_epoch=4, max_update=0)
    quantizer.set_trainer(trainer)
    kinds = []
    for epoch in range(1, 5):
        quantizer.begin_epoch(epoch)
        kinds.append([type(layer).__name__ for layer in model.values()])
    assert kinds == [["PQLinear", "Linear"]] * 2 + [["PQLinear", "PQLinear"]] * 2
    assert len(resets) == 2
    assert quantizer.state_dict()["quantization_step"] == 2
    with pytest.raises(AssertionError, match="multiple of 2 steps"):
        Quantizer(str(config), max_epoch=3, max_update=0)


def test_an_update_that_is_set_again_quantises_nothing(tmp_path: Any) -> None:
    config = tmp_path / "pq.yaml"
    config.write_text("block_sizes:\n  Linear: ['*', 2]\nlayers_to_quantize:\n  - 'a'\n  - 'b'\n")
    runs = []
    for notes in ({}, {"quantization_step": 1, "last_epoch": -1, "last_update": 0}):
        model = nn.ModuleDict({"a": nn.Linear(512, 2), "b": nn.Linear(512, 2)})
        quantizer = Quantizer(str(config), max_epoch=0, max_update=6)
        quantizer.set_trainer(SimpleNamespace(get_model=lambda model=model: model, reinitialize=lambda: None))
        if notes:
            quantizer.resume(notes, model, runs[0].state_dict())
        quantizer.step_update(0)
        quantizer.step_update(0)
        assert [type(layer).__name__ for layer in model.values()] == ["PQLinear", "Linear"]
        assert quantizer.notes() == {"quantization_step": 1, "last_epoch": -1, "last_update": 0}
        runs.append(model)
