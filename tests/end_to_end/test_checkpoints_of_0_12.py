"""Checkpoints of the releases 0.12.x hold some weights of encoder layers twice; training goes on from them anyway."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from toy_training import checkpoint, run, same

MODEL = (  # noqa: SIM905
    "--arch transformer --encoder-layers 2 --decoder-layers 1 --encoder-embed-dim 16 --decoder-embed-dim 16 "
    "--encoder-ffn-embed-dim 24 --decoder-ffn-embed-dim 24 --encoder-attention-heads 2 --decoder-attention-heads 2 "
    "--share-decoder-input-output-embed --dropout 0"
).split()
COPIES = {
    "in_proj_weight": (48, 16),
    "in_proj_bias": (48,),
    "out_proj_weight": (16, 16),
    "out_proj_bias": (16,),
    "fc1_weight": (24, 16),
    "fc1_bias": (24,),
    "fc2_weight": (16, 24),
    "fc2_bias": (16,),
}


def as_0_12_saved_it(state: dict[str, Any]) -> None:
    """Put the copies in front of the weights of each encoder layer, and give them places in the optimizer's state."""
    buffers = {"encoder.version", "decoder.version", "decoder.output_projection.weight"}
    weights: dict[str, torch.Tensor] = {}
    parameters: list[tuple[int, bool]] = []
    for name, value in state["model"].items():
        layer = ".".join(name.split(".")[:3])
        if layer.startswith("encoder.layers.") and f"{layer}.in_proj_weight" not in weights:
            for copy, shape in COPIES.items():
                weights[f"{layer}.{copy}"] = torch.full(shape, float("nan"))
                parameters.append((weights[f"{layer}.{copy}"].numel(), True))
        weights[name] = value
        if name not in buffers:
            parameters.append((value.numel(), False))
    state["model"] = weights
    saved = state["last_optimizer_state"]
    (group,) = saved["param_groups"]
    if len(group["params"]) == 1:
        for name, value in saved["state"][0].items():
            if torch.is_tensor(value) and value.dim() == 1:
                rest = iter(value.split([size for size, is_copy in parameters if not is_copy]))
                parts = [torch.full((size,), 9.0) if is_copy else next(rest) for size, is_copy in parameters]
                saved["state"][0][name] = torch.cat(parts)
        return
    places = [number for number, (_, is_copy) in enumerate(parameters) if not is_copy]
    assert len(places) == len(group["params"])
    saved["state"] = {places[number]: values for number, values in saved["state"].items()}
    group["params"] = list(range(len(parameters)))


@pytest.mark.parametrize("precision", [[], ["--bf16"]])
def test_training_goes_on_as_if_the_copies_had_not_been_there(
    toy_pairs: str, tmp_path: Path, precision: list[str]
) -> None:
    words = [*MODEL, *precision, "--disable-validation"]
    run(toy_pairs, tmp_path, *words, "--max-update", 3)
    saved = tmp_path / "checkpoint_last.pt"
    state = checkpoint(tmp_path)
    as_0_12_saved_it(state)
    torch.save(state, tmp_path / "old.pt")
    ends = []
    for number, path in enumerate((saved, tmp_path / "old.pt")):
        run(toy_pairs, tmp_path / str(number), *words, "--max-update", 6, "--restore-file", path)
        ends.append(checkpoint(tmp_path / str(number)))
    assert same(ends[0]["model"], ends[1]["model"])
    assert not any("in_proj" in name for name in ends[1]["model"])
    moments = [end["last_optimizer_state"]["state"][0]["exp_avg"] for end in ends]
    assert torch.equal(*moments)
