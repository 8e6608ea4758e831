"""Batches of tasks whose models are still to come, against recorded ones (``golden/task_batches.json``)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

GOLDEN = json.loads((Path(__file__).parent / "golden" / "task_batches.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    from fairseq import options
    from fairseq_cli.preprocess import main

    made = tmp_path_factory.mktemp("text")
    for split, lines in GOLDEN["text"].items():
        (made / split).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    words = [
        "--only-source",
        "--trainpref",
        f"{made}/train",
        "--validpref",
        f"{made}/valid",
        "--destdir",
        f"{made}/bin",
    ]
    main(options.get_preprocessing_parser().parse_args(words))
    return f"{made}/bin"


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    return value.tolist() if isinstance(value, (torch.Tensor, np.ndarray)) else value


def about(batch: Any) -> dict[str, Any]:
    shape = list(batch["net_input"]["src_tokens"].shape)
    return {"id": batch["id"].tolist(), "ntokens": int(batch["ntokens"]), "shape": shape}


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=[case["id"] for case in GOLDEN["cases"]])
def test_batches_are_the_recorded_ones(case: dict[str, Any], folder: str) -> None:
    from fairseq import options, tasks
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf

    given = case["given"]
    np.random.seed(given.get("np_seed", 0))
    torch.manual_seed(given.get("torch_seed", 0))
    # Batches do not depend on the model, so any will do.
    words = [folder, "--arch", "transformer_lm", *given["options"]]
    args = options.parse_args_and_arch(options.get_training_parser(), words)
    task = tasks.setup_task(convert_namespace_to_omegaconf(args).task)
    task.load_dataset("train", combine=True, epoch=1)

    def iterator() -> Any:
        return task.get_batch_iterator(dataset=task.dataset("train"), max_positions=None, **given["iterator"])

    epochs = iterator()
    found = [[about(batch) for batch in epochs.next_epoch_itr(shuffle=True)] for _ in range(given["epochs"])]
    first = next(iter(iterator().next_epoch_itr(shuffle=False)))
    assert found == case["expect"]["epochs"]
    assert len(task.dataset("train")) == case["expect"]["length"]
    assert plain(first) == case["expect"]["first"]
